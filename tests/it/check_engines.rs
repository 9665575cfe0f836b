//! `check` and the engines agree: an image with an error is one that dockerd, Podman, containerd or umoci refuses.
//!
//! Each case is loaded into all four, whose storage is overlayfs, and checked by the binary. Where one side refuses an
//! image and the other does not, the test fails, unless docs/inspecting.md lists the case with its reason. The message
//! has the name of each case; `OCCYSTRAP_ENGINE_CASE=NAME` tries those whose names begin so, and prints what was said.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use crate::support::cli::Sandbox;
use crate::support::engine_cases::{self, EngineCase};
use crate::support::real::installed;
use crate::support::real_engine;

/// At least as many as were promised.
const LEAST: usize = 100;

/// Images that an engine loads at once. Each load of dockerd and Podman waits for the disk several times.
const BATCH: usize = 25;

/// The section of docs/inspecting.md that lists known differences.
const DIFFERENCES: &str = "#### Where check and engines differ";

/// The engines in the order of the letters in docs/inspecting.md.
const ENGINES: [(&str, char); 4] =
    [("dockerd", 'D'), ("podman", 'P'), ("containerd", 'C'), ("umoci", 'U')];

fn documentation() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/inspecting.md");
    std::fs::read_to_string(path).unwrap()
}

/// Returns the cells of the tables in a section, without the lines that have no code in their first cell.
fn rows(section: &str) -> Vec<Vec<String>> {
    let text = documentation();
    let text = text.split_once(section).unwrap_or_else(|| panic!("no '{section}'")).1;
    let text = text.split("\n##").next().unwrap();
    let cells = |line: &str| {
        let line = line.strip_prefix("| ")?.strip_suffix(" |")?;
        Some(line.split(" | ").map(|cell| cell.trim().to_owned()).collect::<Vec<_>>())
    };
    text.lines().filter_map(cells).filter(|row| row[0].starts_with('`')).collect()
}

/// What was said of a case.
struct Outcome {
    /// The rules of the errors of `check`.
    rules: BTreeSet<String>,
    /// The letters of the engines that refuse it, with their messages.
    refused: BTreeMap<char, String>,
}

/// Returns the rules of the errors that `check` finds.
fn errors(sandbox: &Sandbox, archive: &str) -> BTreeSet<String> {
    let said = sandbox.run(&["check", "-O", "json", &sandbox.uri("tar", archive)]);
    let document = said.json();
    let images = document["images"].as_array().unwrap();
    let results = images.iter().flat_map(|image| image["results"].as_array().unwrap());
    let errors = results.filter(|result| result["severity"] == "error");
    errors.map(|result| result["check"].as_str().unwrap().to_owned()).collect()
}

/// Returns the cases that an engine refuses, with its messages. Those that it probably accepts are loaded together; each
/// is loaded alone if that fails.
fn refusals(
    cases: &[EngineCase],
    is_doubtful: &[bool],
    folder: &Path,
    import: &dyn Fn(&Path) -> Result<(), String>,
) -> BTreeMap<usize, String> {
    let mut refused = BTreeMap::new();
    let load = |numbers: &[usize]| {
        let batch: Vec<&EngineCase> = numbers.iter().map(|number| &cases[*number]).collect();
        let path = folder.join("batch.tar");
        engine_cases::archive(&batch).write(&path);
        import(&path)
    };
    let (mut alone, good): (Vec<usize>, Vec<usize>) =
        (0..cases.len()).partition(|number| is_doubtful[*number]);
    for batch in good.chunks(BATCH) {
        if load(batch).is_err() {
            alone.extend(batch);
        }
    }
    for number in alone {
        if let Err(said) = load(&[number]) {
            refused.insert(number, said);
        }
    }
    refused
}

/// Returns what umoci says if it does not unpack the image in a layout.
fn unpack(layout: &Path, tag: &str, bundle: &Path) -> Result<(), String> {
    let image = format!("{}:{tag}", layout.display());
    let output =
        Command::new("umoci").args(["unpack", "--image", &image]).arg(bundle).output().unwrap();
    let _ = std::fs::remove_dir_all(bundle);
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// Checks all cases, and lets every engine load them. `None` if an engine is not there.
fn outcomes(test: &str, cases: &[EngineCase]) -> Option<Vec<Outcome>> {
    let engines = real_engine::all_with_overlayfs(test);
    if engines.is_empty() || !installed(test, &["umoci"]) {
        return None;
    }
    let sandbox = Sandbox::new();
    let next = Mutex::new(0..cases.len());
    let checked: Mutex<BTreeMap<usize, BTreeSet<String>>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(number) = next.lock().unwrap().next() else { break };
                    let name = format!("{number}.tar");
                    engine_cases::archive(&[&cases[number]]).write(&sandbox.path(&name));
                    let rules = errors(&sandbox, &name);
                    checked.lock().unwrap().insert(number, rules);
                }
            });
        }
    });
    let checked = checked.into_inner().unwrap();
    let is_doubtful: Vec<bool> = checked.values().map(|rules| !rules.is_empty()).collect();
    let refused = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for engine in engines {
            let (refused, is_doubtful) = (&refused, &is_doubtful);
            scope.spawn(move || {
                let folder = tempfile::tempdir().unwrap();
                let import = |path: &Path| engine.import(path);
                let found = refusals(cases, is_doubtful, folder.path(), &import);
                refused.lock().unwrap().insert(engine.name, found);
            });
        }
        scope.spawn(|| {
            let folder = tempfile::tempdir().unwrap();
            let all: Vec<&EngineCase> = cases.iter().collect();
            for (name, content) in engine_cases::archive(&all).0 {
                let path = folder.path().join("layout").join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, content).unwrap();
            }
            let mut found = BTreeMap::new();
            for (number, case) in cases.iter().enumerate() {
                let tag = case.image.name.replace(':', "-");
                let bundle = folder.path().join("bundle");
                if let Err(said) = unpack(&folder.path().join("layout"), &tag, &bundle) {
                    found.insert(number, said);
                }
            }
            refused.lock().unwrap().insert("umoci", found);
        });
    });
    let refused = refused.into_inner().unwrap();
    let outcome = |(number, rules)| {
        let said = |(name, letter): (&str, char)| {
            Some((letter, refused[name].get(&number)?.trim().to_owned()))
        };
        Outcome { rules, refused: ENGINES.into_iter().filter_map(said).collect() }
    };
    Some(checked.into_iter().map(outcome).collect())
}

/// Describes a case: its name, the rules that `check` names, the engines that refuse it.
fn line(case: &EngineCase, outcome: &Outcome) -> String {
    let rules: Vec<&str> = outcome.rules.iter().map(String::as_str).collect();
    let engines: String = outcome.refused.keys().collect();
    let rules = if rules.is_empty() { "no error".to_owned() } else { rules.join(", ") };
    let engines = if engines.is_empty() { "no engine" } else { engines.as_str() };
    format!("{}: check finds {rules}; {engines} refuses it", case.name)
}

#[test]
fn an_error_of_check_is_what_an_engine_refuses() {
    let test = "an_error_of_check_is_what_an_engine_refuses";
    let mut cases = engine_cases::all();
    assert!(cases.len() >= LEAST, "{} cases", cases.len());
    let only = std::env::var("OCCYSTRAP_ENGINE_CASE").ok();
    if let Some(only) = &only {
        cases.retain(|case| case.name.starts_with(only));
        assert!(!cases.is_empty(), "OCCYSTRAP_ENGINE_CASE={only}: there is no such case");
    }
    let Some(outcomes) = outcomes(test, &cases) else { return };
    if only.is_some() {
        for (case, outcome) in cases.iter().zip(&outcomes) {
            eprintln!("{}\n  {:?}", line(case, outcome), outcome.refused);
        }
    }
    let listed: BTreeMap<String, String> = rows(DIFFERENCES)
        .into_iter()
        .map(|row| (row[0].trim_matches('`').to_owned(), row[1..].join(" | ")))
        .collect();
    let mut wrong = Vec::new();
    for (case, outcome) in cases.iter().zip(&outcomes) {
        let differs = outcome.rules.is_empty() != outcome.refused.is_empty();
        match (differs, listed.get(&case.name)) {
            (true, None) => wrong.push(line(case, outcome)),
            (false, Some(_)) => wrong.push(format!("{}, and is listed", line(case, outcome))),
            (true, Some(reason)) if reason.is_empty() => {
                wrong.push(format!("{}: listed without a reason", case.name));
            }
            _ => {}
        }
    }
    if only.is_none() {
        for name in listed.keys().filter(|name| cases.iter().all(|case| case.name != **name)) {
            wrong.push(format!("{name}: is listed, and there is no such case"));
        }
        wrong.extend(undocumented(&outcomes));
    }
    assert!(
        wrong.is_empty(),
        "{} of {} cases (docs/inspecting.md, \"{DIFFERENCES}\"):\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

/// Compares the engines that docs/inspecting.md names for each rule with those that refused an image for that rule
/// alone.
fn undocumented(outcomes: &[Outcome]) -> Vec<String> {
    let mut found: BTreeMap<&str, BTreeSet<char>> = BTreeMap::new();
    for outcome in outcomes.iter().filter(|outcome| outcome.rules.len() == 1) {
        let rule = outcome.rules.first().unwrap();
        found.entry(rule).or_default().extend(outcome.refused.keys());
    }
    let mut documented: BTreeMap<String, String> = BTreeMap::new();
    for row in rows("### Rules").into_iter().chain(rows("#### Rules about members")) {
        let engines = row[2].replace(' ', "");
        for rule in row[0].split(", ").map(|rule| rule.trim_matches('`')) {
            if !engines.is_empty() {
                documented.insert(rule.to_owned(), engines.clone());
            }
        }
    }
    let mut wrong = Vec::new();
    for (rule, engines) in &found {
        let letters = ENGINES.iter().map(|(_, letter)| letter);
        let engines: String = letters.filter(|letter| engines.contains(letter)).collect();
        let says = documented.get(*rule).map_or("", String::as_str);
        if says != engines {
            wrong.push(format!(
                "rule {rule}: refused by '{engines}', docs/inspecting.md says '{says}'"
            ));
        }
    }
    let unknown = documented.keys().filter(|rule| !found.contains_key(rule.as_str()));
    wrong.extend(unknown.map(|rule| format!("rule {rule}: no case has this error alone")));
    wrong
}

#[test]
fn every_case_has_a_name_of_its_own_and_is_the_same_every_time() {
    let (all, again) = (engine_cases::all(), engine_cases::all());
    let names: BTreeSet<&str> = all.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), all.len());
    for (case, again) in all.iter().zip(&again) {
        assert_eq!((&case.name, &case.image.layers), (&again.name, &again.image.layers));
        assert_eq!(case.image.config, again.image.config, "{}", case.name);
    }
}

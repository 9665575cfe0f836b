//! Images that Docker, Podman and skopeo accept are copied by occystrap: unusual images, and the tools that accept them.
//!
//! Each case is moved by the binary. Of those that it rejects the peers are asked: skopeo, and for
//! archives dockerd and Podman. Where one of them takes the image, the test fails, unless
//! docs/compatibility.md lists the oddity with its reason. The message has the seed of each case, which
//! `OCCYSTRAP_ODD_SEED=SEED` tries alone.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;

use crate::support::cli::Sandbox;
use crate::support::odd_cases::{self, Case, Put};
use crate::support::real::installed;
use crate::support::real_engine;

/// At least as many as were promised.
const LEAST: usize = 300;

/// Cases that are tried side by side.
const WORKERS: usize = 4;

/// The section of docs/compatibility.md that lists what is refused on purpose, and its first column.
const REFUSED: &str = "## Refused on purpose";

/// Oddities that occystrap refuses and a peer takes, with the reason.
fn refused_on_purpose() -> BTreeMap<String, String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/compatibility.md");
    let text = std::fs::read_to_string(path).unwrap();
    let section = text.split_once(REFUSED).unwrap_or_else(|| panic!("no '{REFUSED}'")).1;
    let section = section.split("\n## ").next().unwrap_or_default();
    let row = |line: &str| {
        let (name, rest) = line.strip_prefix("| `")?.split_once("` |")?;
        let reason = rest.trim().trim_end_matches('|').trim();
        Some((name.to_owned(), reason.to_owned()))
    };
    section.lines().filter_map(row).collect()
}

/// A case that was rejected, and what was said.
struct Rejected {
    case: Case,
    put: Put,
    said: String,
    /// It is copied if nothing is verified: only the verdict is against it.
    is_moved: bool,
    sandbox: Sandbox,
}

fn attempt(case: Case) -> Option<Rejected> {
    let sandbox = Sandbox::new();
    let put = case.put(&sandbox.path("."));
    let ran = sandbox.process(&put.uri, &sandbox.uri("oci-layout", "moved"), &[]);
    if ran.code == 0 {
        return None;
    }
    let said = ran.stderr.lines().find(|line| line.starts_with("error:")).unwrap_or(&ran.stderr);
    let said = sandbox.redact(said);
    let unverified =
        sandbox.process(&put.uri, &sandbox.uri("oci-layout", "again"), &["--no-verify"]);
    Some(Rejected { said, is_moved: unverified.code == 0, case, put, sandbox })
}

/// Returns the peers that accept an image. If occystrap copies the image and then reports FAILED, skopeo does not
/// count: the engines must reject it.
fn takers(test: &str, rejected: &Rejected) -> Vec<&'static str> {
    let mut takers = Vec::new();
    let destination = rejected.sandbox.path("skopeo");
    let skopeo = || {
        Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--quiet"])
            .args(&rejected.put.skopeo)
            .arg(format!("dir:{}", destination.display()))
            .output()
            .unwrap()
    };
    let in_archive = match &rejected.put.archive {
        None if rejected.is_moved => rejected.case.put_in_archive(&rejected.sandbox.path(".")),
        _ => None,
    };
    let archive = rejected.put.archive.as_ref().or(in_archive.as_ref());
    if (!rejected.is_moved || archive.is_none()) && skopeo().status.success() {
        takers.push("skopeo");
    }
    let Some(archive) = archive else { return takers };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for engine in real_engine::all(test) {
        if runtime.block_on(engine.load(archive)).is_ok() {
            takers.push(engine.name);
        }
    }
    takers
}

#[test]
fn an_image_that_a_peer_accepts_is_accepted() {
    let test = "an_image_that_a_peer_accepts_is_accepted";
    if !installed(test, &["skopeo", "xz", "bzip2"]) {
        return;
    }
    let mut cases = odd_cases::cases();
    let count = cases.len();
    assert!(count >= LEAST, "{count} cases");
    if let Ok(only) = std::env::var("OCCYSTRAP_ODD_SEED") {
        cases.retain(|case| case.seed.to_string() == only);
        assert_eq!(cases.len(), 1, "OCCYSTRAP_ODD_SEED={only}: there are {count} cases");
    }
    let is_all = cases.len() == count;
    cases.reverse();
    let (cases, rejected) = (Mutex::new(cases), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let Some(case) = cases.lock().unwrap().pop() else { break };
                    let outcome = attempt(case);
                    rejected.lock().unwrap().extend(outcome);
                }
            });
        }
    });
    let mut rejected = rejected.into_inner().unwrap();
    rejected.sort_by_key(|one| one.case.seed);
    let listed = refused_on_purpose();
    let is_listed =
        |case: &Case| case.oddities.iter().any(|oddity| listed.contains_key(&oddity.name));
    let mut disagreements = Vec::new();
    for one in rejected.iter().filter(|one| !is_listed(&one.case)) {
        let takers = takers(test, one);
        if !takers.is_empty() {
            let takers = takers.join(", ");
            disagreements.push(format!("{}\n    taken by {takers}; {}", one.case.name(), one.said));
        }
    }
    assert!(
        disagreements.is_empty(),
        "{} of {count} cases are rejected, and a peer takes them (docs/compatibility.md, \"{REFUSED}\"):\n{}",
        disagreements.len(),
        disagreements.join("\n")
    );
    // The list is true: the oddity exists, it is refused, and the reason is given.
    for (name, reason) in listed.iter().filter(|_| is_all) {
        let alone = rejected
            .iter()
            .find(|one| one.case.oddities.len() == 1 && one.case.oddities[0].name == *name);
        let alone = alone.unwrap_or_else(|| panic!("'{name}' is listed, and not refused"));
        assert!(!takers(test, alone).is_empty(), "'{name}' is listed, and no peer takes it");
        assert!(!reason.is_empty(), "'{name}' is listed without a reason");
    }
}

#[test]
fn a_seed_gives_the_same_case_every_time_and_each_oddity_has_a_name_of_its_own() {
    let mut names: Vec<String> = odd_cases::oddities().into_iter().map(|one| one.name).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
    let again = odd_cases::cases();
    for (case, again) in odd_cases::cases().iter().zip(&again) {
        assert_eq!(case.name(), again.name());
    }
}

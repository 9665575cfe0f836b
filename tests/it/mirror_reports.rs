//! The reports of `occystrap mirror`: documents, events, files for CI, monitoring and people; and `mirror from`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::cli::{Ran, Sandbox};
use crate::support::mirrored::{FILE, Mirrored, mirror};
use crate::support::real::installed;
use crate::support::registry::{ALWAYS, Fault, Registry};
use crate::support::tmux::Tmux;

/// Four images of two repositories, of which one cannot be fetched.
fn one_of_four_fails() -> (Registry, Registry, Sandbox) {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    let to = format!("{}/mirror/{{name}}", destination.url_host());
    Mirrored::at(&source, 2, 2).write_file(&sandbox, &to, &[]);
    source.fault("GET", "team/app1/manifests/1.0", Fault::status(404), ALWAYS);
    (source, destination, sandbox)
}

/// Runs a Python program with arguments in the sandbox; `None` where there is no Python.
fn python(test: &str, sandbox: &Sandbox, program: &str, arguments: &[&str]) -> Option<String> {
    if !installed(test, &["python3"]) {
        return None;
    }
    let mut command = Command::new("python3");
    command.arg("-c").arg(program).args(arguments).current_dir(sandbox.path(""));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_document_of_a_run_adds_up_and_is_made_again_from_the_ledger() {
    let (source, destination, sandbox) = one_of_four_fails();
    let ran = mirror(&sandbox, "run", &["-O", "json"]);
    let document = ran.exits(1).json();
    let summary = &document["summary"];
    assert_eq!((&summary["images"], &summary["copied"]), (&json!(4), &json!(3)), "{document}");
    assert_eq!((&summary["failed"], &summary["verified"]), (&json!(1), &json!(3)));
    let failure = &document["failures"][0];
    assert_eq!(failure["class"], "source-missing", "{failure}");
    assert_eq!(
        failure["destination"],
        format!("registry://{}/mirror/app1:1.0", destination.url_host())
    );
    assert!(!failure["message"].is_null() && !failure["hint"].is_null(), "{failure}");
    assert_eq!(document["left_out"], 0);
    // Every request that the registries saw is counted.
    for registry in [&source, &destination] {
        let seen = registry.requests().len();
        assert_eq!(summary["requests"][registry.url_host()], seen, "{summary}");
    }
    assert_eq!(summary["requests_by_status"][source.url_host()]["404"], 1, "{summary}");
    for command in ["status", "report"] {
        let again = mirror(&sandbox, command, &["-O", "json"]).exits(0).json();
        assert_eq!(again, document, "{command}");
    }
    // A later run of a part says nothing about extra images.
    source.mend();
    let document = mirror(&sandbox, "retry", &["-O", "json"]).exits(0).json();
    assert_eq!(
        (&document["summary"]["copied"], &document["summary"]["extra"]),
        (&json!(1), &Value::Null)
    );
}

#[test]
fn a_document_comes_also_where_there_is_no_run_and_where_the_command_failed() {
    let (_source, _destination, sandbox) = one_of_four_fails();
    let ran = mirror(&sandbox, "report", &["-O", "json"]);
    assert_ne!(ran.code, 0);
    assert_eq!(ran.json()["summary"], Value::Null);
    std::fs::write(sandbox.path("wrong.yaml"), "version: 2\n").unwrap();
    for command in ["run", "status", "plan"] {
        let ran = sandbox.run(&["mirror", command, "wrong.yaml", "-O", "json"]);
        let document = ran.exits(2).json();
        assert!(document["error"]["message"].is_string(), "{document}");
        assert_eq!(document["mirror"], "wrong.yaml");
    }
    let ran = sandbox.run(&["mirror", "run", "wrong.yaml", "-O", "jsonl"]);
    assert_eq!(ran.exits(2).stdout.lines().count(), 1);
    assert!(ran.json()["error"]["message"].is_string());
    let ran = sandbox.run(&["info", "tar://x.tar", "-O", "jsonl"]);
    ran.exits(2).says("'repair' and 'prune' have the format jsonl");
}

#[test]
fn a_plan_is_a_document() {
    let (_source, destination, sandbox) = one_of_four_fails();
    let document = mirror(&sandbox, "plan", &["-O", "json"]).json();
    assert_eq!(document["occystrap_mirror_plan"], 1);
    let new = document["changes"].as_array().unwrap();
    assert!(new.iter().all(|change| change["what"] == "new"), "{document}");
    assert_eq!(document["summary"]["new"], new.len());
    assert!(destination.requests_of("PUT", "").is_empty());
}

#[test]
fn events_come_a_line_each_and_the_document_is_the_last() {
    let (source, _destination, sandbox) = one_of_four_fails();
    source.fault("GET", "team/app0/manifests/0.0", Fault::too_many("1"), 1);
    let ran = mirror(&sandbox, "run", &["-O", "jsonl"]);
    let lines: Vec<Value> =
        ran.exits(1).stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
    assert_eq!(lines[0]["event"], "planned");
    assert_eq!((of("started"), of("copied"), of("failed")), (4, 3, 1), "{}", ran.stdout);
    assert!(of("paused") >= 1, "{}", ran.stdout);
    let [.., before, last] = lines.as_slice() else { panic!("{}", ran.stdout) };
    assert_eq!((&before["event"], &before["exit_code"]), (&json!("finished"), &json!(1)));
    assert_eq!((&last["occystrap_mirror"], &last["summary"]["images"]), (&json!(1), &json!(4)));
    assert!(last["summary"]["rate_limits"].as_u64().unwrap() >= 1, "{last}");
    let lines = mirror(&sandbox, "run", &["-O", "jsonl"]).stdout;
    assert_eq!(lines.matches("\"event\":\"unchanged\"").count(), 3, "{lines}");
}

/// What common readers of JUnit files require: numbers that are those of the cases, known elements and attributes.
const JUNIT: &str = "
import sys, xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1]).getroot()
assert root.tag == 'testsuites'
for suite in root:
    assert suite.tag == 'testsuite' and suite.get('name')
    cases = suite.findall('testcase')
    assert len(cases) == len(suite)
    names = [case.get('name') for case in cases]
    assert len(set(names)) == len(names), names
    for case in cases:
        assert case.get('classname') and set(case.attrib) == {'name', 'classname', 'time'}
        assert [one.tag for one in case] in ([], ['failure'], ['error'], ['skipped'])
    for tag, key in (('failure', 'failures'), ('error', 'errors'), ('skipped', 'skipped')):
        assert len(suite.findall('testcase/' + tag)) == int(suite.get(key)), key
    assert len(cases) == int(suite.get('tests')) == int(root.get('tests'))
    print(suite.get('tests'), suite.get('failures'), suite.get('errors'), suite.get('skipped'))
";

/// The text format of Prometheus: each sample has a type before it, names and labels are well formed, none comes twice.
const PROMETHEUS: &str = r#"
import re, sys
types, seen = {}, set()
text = open(sys.argv[1]).read()
assert text.endswith('\n')
for line in text.splitlines():
    if line.startswith('# '):
        kind, name, rest = line[2:].split(' ', 2)
        assert kind in ('HELP', 'TYPE'), line
        if kind == 'TYPE':
            assert rest in ('gauge', 'counter') and name not in types, line
            assert (rest == 'counter') == name.endswith('_total'), line
            types[name] = rest
        continue
    match = re.fullmatch(r'([a-z_]+)\{((?:[a-z]+="(?:[^"\\\n]|\\[\\"n])*",?)+)\} (\d+)', line)
    assert match and match[1] in types, line
    assert line.rsplit(' ', 1)[0] not in seen, line
    seen.add(line.rsplit(' ', 1)[0])
    print(line)
"#;

#[test]
fn files_for_ci_and_monitoring_are_read_by_other_programs() {
    let (_source, destination, sandbox) = one_of_four_fails();
    destination.fault("GET", "mirror/app0/manifests/1.0", Fault::status(403), ALWAYS);
    let files = "junit=r.xml,prometheus=r.prom,json=r.json,html=r.html";
    let ran = mirror(&sandbox, "run", &["--report", files]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let test = "files_for_ci_and_monitoring_are_read_by_other_programs";
    let Some(counts) = python(test, &sandbox, JUNIT, &["r.xml"]) else { return };
    let document: Value =
        serde_json::from_slice(&std::fs::read(sandbox.path("r.json")).unwrap()).unwrap();
    let count = |key: &str| document["summary"][key].as_u64().unwrap();
    let (failed, unconfirmed) = (count("failed"), count("unconfirmed"));
    assert!(
        counts.starts_with("4 ") && counts.trim().ends_with(&format!(" {unconfirmed}")),
        "{counts}"
    );
    assert!(failed >= 1, "{document}");
    let samples = python(test, &sandbox, PROMETHEUS, &["r.prom"]).unwrap();
    let host = destination.url_host();
    for sample in [
        format!("occystrap_mirror_images{{mirror=\"{FILE}\",state=\"failed\"}} {failed}"),
        format!("occystrap_mirror_paused{{mirror=\"{FILE}\",host=\"{host}\"}} 0"),
        format!(
            "occystrap_mirror_requests_total{{mirror=\"{FILE}\",host=\"{host}\",code=\"403\"}} "
        ),
        format!("occystrap_mirror_oldest_verification_seconds{{mirror=\"{FILE}\",of=\"images\"}} "),
        format!("occystrap_mirror_bytes_total{{mirror=\"{FILE}\",how=\"sent\"}} "),
    ] {
        assert!(samples.contains(&sample), "{sample} is not in\n{samples}");
    }
    // The same files come from the ledger at any time.
    let before = std::fs::read(sandbox.path("r.xml")).unwrap();
    mirror(&sandbox, "report", &["--report", files]).exits(0);
    assert_eq!(std::fs::read(sandbox.path("r.xml")).unwrap(), before);
    sandbox.assert_clean();
}

#[test]
fn a_report_that_cannot_be_written_is_known_before_the_run() {
    let (source, _destination, sandbox) = one_of_four_fails();
    std::fs::write(sandbox.path("notes"), "mine").unwrap();
    let ran = mirror(&sandbox, "run", &["--report", "html=notes"]);
    ran.exits(2).says("the file there is not a report");
    mirror(&sandbox, "run", &["--report", "html=no/such/x"]).exits(1).says("mkdir -p no/such");
    mirror(&sandbox, "run", &["--report", "pdf=x"]).exits(2).says("expected one of json, junit");
    assert!(source.requests().is_empty());
    assert_eq!(std::fs::read(sandbox.path("notes")).unwrap(), b"mine");
}

#[test]
fn the_page_fits_every_width_and_can_be_read_and_printed() {
    let test = "the page of a mirror in a browser";
    let Some(browser) = Browser::find(test) else { return };
    let (source, _destination, sandbox) = one_of_four_fails();
    let text = std::fs::read_to_string(sandbox.path(FILE)).unwrap();
    let limits = format!(
        "hosts: {{\"{}\": {{requests-per-second: 500, connections: 8}}}}\n",
        source.url_host()
    );
    let gone = format!(
        "- from: {}/a/{}\n  to: localhost:1/x\n  tags: {{regex: '.*'}}\n",
        source.url_host(),
        "long-name-".repeat(20) + "x"
    );
    std::fs::write(
        sandbox.path(FILE),
        text.replace("images:", &format!("{limits}images:")) + &gone,
    )
    .unwrap();
    mirror(&sandbox, "run", &["--report", "html=page.html"]).exits(1);
    let page = sandbox.path("page.html");
    for dark in [false, true] {
        let widths = [320, 400, 640, 641, 1_280, 1_600];
        for found in browser.measure(&page, &widths, dark) {
            assert_eq!(found["dark"], dark, "{found}");
            for kind in ["wide", "cut", "faint"] {
                assert_eq!(found[kind], json!([]), "{kind} at {}", found["width"]);
            }
            assert_eq!((&found["requests"], &found["scripts"]), (&json!(0), &json!(0)));
        }
        for width in [400, 1_280] {
            let picture = browser.picture(&page, (width, 2_200), dark);
            if let Some(folder) = std::env::var_os("OCCYSTRAP_PICTURES") {
                let scheme = if dark { "dark" } else { "light" };
                let name = format!("mirror-{width}-{scheme}.png");
                std::fs::copy(&picture, std::path::PathBuf::from(folder).join(name)).unwrap();
            }
        }
    }
    let paper = browser.print(&page);
    let bytes = std::fs::read(&paper).unwrap();
    assert!(bytes.starts_with(b"%PDF-") && bytes.len() > 10_000, "{}", bytes.len());
    if let Some(folder) = std::env::var_os("OCCYSTRAP_PICTURES") {
        std::fs::copy(&paper, std::path::PathBuf::from(folder).join("mirror.pdf")).unwrap();
    }
}

#[test]
fn a_terminal_shows_a_line_for_each_image_in_work_and_keeps_the_summary() {
    for columns in [50, 100] {
        // Each terminal has images of its own: what is there already is shown for too short a time.
        let (source, _destination, sandbox) = one_of_four_fails();
        let pause = std::time::Duration::from_millis(400);
        source.fault("GET", "/blobs/", Fault::Delay(pause), ALWAYS);
        let binary = env!("CARGO_BIN_EXE_occystrap");
        let script = format!("{binary} mirror run {FILE} --insecure --image-parallel 2; exec cat");
        let test = "the progress of a mirror in a terminal";
        let Some(terminal) = Tmux::start(test, &sandbox, (columns, 20), &script) else { return };
        let at_work =
            terminal.until("a line of all images", |screen| screen.contains("/4 images ["));
        assert!(at_work.lines().all(|line| line.chars().count() <= columns.into()), "{at_work}");
        let end = terminal.shows("Summary: ");
        assert!(!end.contains("images ["), "{end}");
        assert!(!end.contains("check  ") && !end.contains("fetch  "), "{end}");
    }
}

fn from(sandbox: &Sandbox, arguments: &[&str], input: &str) -> Ran {
    let mut command = sandbox.command(&[&["mirror", "from"], arguments].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Ran::ended(child.wait_with_output().unwrap())
}

const REGSYNC: &str = "version: 1
creds:
- registry: docker.io
  user: me
  pass: Hunter2-secret
defaults:
  interval: 60m
sync:
- source: busybox:latest
  target: registry:5000/library/busybox:latest
  type: image
";

#[test]
fn the_file_of_another_tool_becomes_one_that_a_plan_reads() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path("regsync.yml"), REGSYNC).unwrap();
    let ran = from(&sandbox, &["regsync.yml"], "");
    ran.exits(0).says("regsync.yml:4:3: ").says("'interval' is not converted");
    assert!(ran.stdout.contains("- from: busybox:latest\n"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("Hunter2") && !ran.stderr.contains("Hunter2"));
    from(&sandbox, &["regsync.yml", "--strict"], "").exits(3);
    // Standard input, and a destination for a list.
    let (source, destination) = (Registry::start(), Registry::start());
    Mirrored::at(&source, 1, 1);
    let list = format!("{}/team/app0:0.0\n# nothing\n", source.url_host());
    let to = format!("{}/x/{{repository}}", destination.url_host());
    let ran = from(&sandbox, &["-", "--to", &to, "--strict"], &list);
    std::fs::write(sandbox.path(FILE), &ran.exits(0).stdout).unwrap();
    mirror(&sandbox, "run", &[]).exits(0).says("1/1 images, 1 copied");
    assert!(destination.manifest("x/team/app0", "0.0").is_some());
}

#[test]
fn what_cannot_be_converted_is_an_error() {
    let sandbox = Sandbox::new();
    let said = |input: &str| from(&sandbox, &["-"], input).exits(2).stderr.clone();
    assert!(
        said("version: 1\nimages:\n- from: a:1\n  to: b/c\n")
            .contains("the file of a mirror already")
    );
    assert!(said("a: [1\n").contains("standard input:"), "{}", said("a: [1\n"));
    assert!(said("a: 1\n").contains("neither a file of regsync"));
    from(&sandbox, &["gone.yml"], "").exits(2).says("gone.yml");
    from(&sandbox, &["-", "-O", "json"], "busybox:1\n").exits(2).says("no document");
}

//! `check` as a gate of a pipeline: `--fail-on` and `--ignore`.

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage};
use crate::support::layer::{Member, file, layer};
use crate::support::shape;

fn put(sandbox: &Sandbox, members: &[Member]) -> String {
    let image = TestImage::with_layers("app:1", vec![layer(members)]);
    shape::docker25(&[&image], Pack::Gzip).write(&sandbox.path("in.tar"));
    sandbox.uri("tar", "in.tar")
}

fn check(sandbox: &Sandbox, source: &str, options: &[&str]) -> Ran {
    sandbox.run(&[&["check", source], options].concat())
}

/// A warning (`world-writable`) and a note (`setuid`).
fn open() -> Vec<Member> {
    vec![file("w", b"").mode(0o666), file("s", b"").mode(0o4755)]
}

#[test]
fn a_severity_decides_what_fails() {
    let sandbox = Sandbox::new();
    let source = put(&sandbox, &open());
    for (options, code) in [
        (&[][..], 0),
        (&["--fail-on", "error"], 0),
        (&["--fail-on", "warning"], 1),
        (&["--fail-on", "info"], 1),
    ] {
        check(&sandbox, &source, options).exits(code);
        let json = check(&sandbox, &source, &[&["-O", "json"], options].concat());
        let summary = json.exits(code).json()["summary"].clone();
        assert_eq!(summary["failed"], code == 1, "{options:?}");
        assert_eq!(summary["fail_on"], *options.last().unwrap_or(&"error"));
    }
    let good = put(&sandbox, &[file("a", b"")]);
    check(&sandbox, &good, &["--fail-on", "info"]).exits(0);
    let bad = put(&sandbox, &[file("a", b"").flag(b'V')]);
    check(&sandbox, &bad, &["--fail-on", "warning"]).exits(1);
    // What is quiet says why it fails.
    let source = put(&sandbox, &open());
    let said = check(&sandbox, &source, &["--quiet", "--fail-on", "warning"]);
    assert!(said.exits(1).stdout.contains("world-writable"), "{said:?}");
    assert!(!said.stdout.contains("setuid"), "{said:?}");
    assert_eq!(check(&sandbox, &source, &["--quiet"]).exits(0).stdout, "");
}

#[test]
fn ignored_rules_are_counted_and_neither_reported_nor_a_reason_to_fail() {
    let sandbox = Sandbox::new();
    let source = put(&sandbox, &open());
    let strict = ["--fail-on", "info", "-O", "json"];
    for ignore in [
        &["--ignore", "world-writable,setuid,docker-media-type,oci-media-type"][..],
        &["--ignore", "world-writable", "--ignore", "setuid"],
    ] {
        let document = check(&sandbox, &source, &[&strict[..], ignore].concat()).exits(0).json();
        let image = &document["images"][0];
        assert_eq!(image["ignored"], serde_json::json!({ "setuid": 1, "world-writable": 1 }));
        assert_eq!((&image["results"], &image["status"]), (&serde_json::json!([]), &"ok".into()));
        assert_eq!(document["summary"]["ignored"], 2);
        assert_eq!(document["summary"]["warnings"], 0);
    }
    let said = check(&sandbox, &source, &["--ignore", "world-writable"]);
    assert!(said.exits(0).stdout.contains("\nIgnored\n  world-writable (1)\n"), "{said:?}");
    assert!(said.stdout.contains("0 errors, 0 warnings"), "{said:?}");
    // An error can be ignored as well; others still count.
    let bad = put(&sandbox, &[file("a", b"").flag(b'V'), file("a/b", b"")]);
    check(&sandbox, &bad, &["--ignore", "tar-type"]).exits(1);
    check(&sandbox, &bad, &["--ignore", "tar-type,tar-parent"]).exits(0);
}

#[test]
fn a_rule_that_does_not_exist_is_a_wrong_command_line() {
    let sandbox = Sandbox::new();
    let source = put(&sandbox, &open());
    let said = check(&sandbox, &source, &["--ignore", "world-writeable"]);
    assert!(said.exits(2).stderr.contains("world-writable"), "{said:?}");
    check(&sandbox, &source, &["--ignore", ""]).exits(2);
    check(&sandbox, &source, &["--fail-on", "sometimes"]).exits(2);
}

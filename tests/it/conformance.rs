//! `occystrap plugin test`: green for each of our plugins that writes to storage, red for the hostile ones, each in the
//! row of the rule that it breaks.

use std::fmt::Write as _;

use crate::support::cli::{Ran, Sandbox};
use crate::support::hostile;

fn test(sandbox: &Sandbox, more: &[&str]) -> Ran {
    sandbox.run(&[&["plugin", "test"], more].concat())
}

#[test]
fn the_embedded_plugins_pass() {
    let sandbox = Sandbox::new();
    for name in ["dir", "tar", "oci-layout"] {
        let said = test(&sandbox, &[name, "-O", "json"]);
        said.exits(0);
        let json = said.json();
        assert_eq!(json["summary"]["failed"], 0, "{json:#}");
        assert!(json["summary"]["passed"].as_u64().unwrap() > 20, "{json:#}");
    }
    test(&sandbox, &["dir", "--with", "unique_names=true", "--with", "checksums=yes"]).exits(0);
    test(&sandbox, &["oci-layout", "--with", "compression=zstd"]).exits(0);
    sandbox.assert_clean();
}

#[test]
fn a_table_says_what_was_tried() {
    let sandbox = Sandbox::new();
    let said = test(&sandbox, &["oci-layout"]);
    said.exits(0);
    // Size and digest of the component are not what this is about.
    let (first, rest) = said.stdout.split_once('\n').unwrap();
    assert!(first.starts_with("oci-layout 0.5.0 ("), "{first}");
    insta::assert_snapshot!(rest);
    let quiet = test(&sandbox, &["-q", "oci-layout"]);
    assert_eq!(quiet.exits(0).stdout, "");
}

#[test]
fn a_plugin_that_needs_a_server_does_not_pass() {
    let sandbox = Sandbox::new();
    for (name, why) in [("registry", "needs a registry"), ("docker", "needs a container engine")] {
        let said = test(&sandbox, &[name]);
        said.exits(3);
        assert!(said.stdout.contains(why), "{}", said.stdout);
    }
}

#[test]
fn hostile_plugins_fail_where_they_break_the_contract() {
    let sandbox = Sandbox::new();
    let component = hostile::component().display().to_string();
    let mut transcript = String::new();
    for behaviour in [
        "verify-blind",
        "verify-write",
        "verify-panic",
        "verify-accuse",
        "verify-give-up",
        "receipt-without-layer",
        "receipt-state",
        "flood",
        "plan-few",
    ] {
        let option = format!("behaviour={behaviour}");
        let said = test(&sandbox, &["-q", &component, "--with", &option]);
        said.exits(1);
        writeln!(transcript, "{behaviour}\n{}", sandbox.redact(&said.stdout)).unwrap();
    }
    insta::assert_snapshot!(transcript);
    // Honest, it passes: the rows are red for what it does, not for what it is.
    test(&sandbox, &[&component]).exits(0);
    sandbox.assert_clean();
}

#[test]
fn a_file_that_is_no_plugin_fails() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path("text.wasm"), "no component").unwrap();
    let text = sandbox.path("text.wasm").display().to_string();
    let said = test(&sandbox, &[&text]);
    said.exits(1);
    assert!(said.stdout.contains("is not a WebAssembly component"), "{}", said.stdout);
    std::fs::write(sandbox.path("panics.wasm"), hostile::describing("panic")).unwrap();
    let panics = sandbox.path("panics.wasm").display().to_string();
    let said = test(&sandbox, &[&panics]);
    said.exits(1);
    assert!(said.stdout.contains("it crashed"), "{}", said.stdout);
    test(&sandbox, &["no-such-file"]).exits(1).says("cannot read the plugin 'no-such-file'");
    test(&sandbox, &["dir", "--with", "colour=red"])
        .exits(2)
        .says("output 'dir://' has no option 'colour'");
    test(&sandbox, &["dir", "--with", "colour"]).exits(2).says("expected NAME=VALUE");
}

//! An option with a secret before the query of a URI, and folders whose names only look like such an option.

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage};
use crate::support::shape;

const SECRET: &str = "Hunter2-of-a-path";

#[test]
fn an_option_with_a_secret_in_a_path_is_refused_before_anything_is_written() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::tiny("a/b:1")], Pack::Plain).write(&sandbox.path("in.tar"));
    let source = sandbox.uri("tar", "in.tar");
    for (separator, escape) in [('&', "%26"), (';', "%3B"), (',', "%2C"), ('#', "%23")] {
        for scheme in ["dir", "tar", "oci-layout"] {
            let out = sandbox.uri(scheme, &format!("out{separator}password={SECRET}"));
            let ran = sandbox.process(&source, &out, &["--receipt", "r.json"]);
            ran.exits(2).says(&format!("follows '{separator}' in a URI, and not '?'")).says(escape);
            let json = sandbox.process(&out, &sandbox.uri("dir", "x"), &["-O", "json"]);
            for said in [&ran, &json] {
                assert!(!said.stderr.contains("Hunter2") && !said.stdout.contains("Hunter2"));
            }
        }
    }
    assert_eq!(sandbox.tree("r.json").len() + sandbox.tree("x").len(), 0);
    let left: Vec<_> = std::fs::read_dir(sandbox.path("")).unwrap().collect();
    assert_eq!(left.len(), 3, "home, tmp and in.tar: {left:?}");
}

#[test]
fn a_folder_that_only_looks_like_an_option_is_typed_with_an_escape() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::tiny("a/b:1")], Pack::Plain).write(&sandbox.path("in.tar"));
    let source = sandbox.uri("tar", "in.tar");
    for name in ["run%26pass=2", "run%3Bkey=2", "run%2Csig=2"] {
        let out = sandbox.uri("dir", name);
        sandbox.process(&source, &out, &["--receipt", "r.json", "--verify=full"]).verified();
        let folder = name.replace("%26", "&").replace("%3B", ";").replace("%2C", ",");
        assert!(sandbox.path(&folder).join("catalog.json").exists(), "{name}");
        sandbox.run(&["verify", "r.json"]).exits(0);
        // The command of a receipt does the same.
        std::fs::remove_dir_all(sandbox.path(&folder)).unwrap();
        let said = sandbox.run(&["verify", "r.json"]);
        said.exits(1);
        let receipt: serde_json::Value =
            serde_json::from_slice(&std::fs::read(sandbox.path("r.json")).unwrap()).unwrap();
        let again = &receipt["receipts"][0]["again"]["destination"];
        let again = again.as_str().or(receipt["again"]["destination"].as_str()).unwrap();
        sandbox.process(&source, again, &[]).verified();
        assert!(sandbox.path(&folder).join("catalog.json").exists(), "{name}: {again}");
        std::fs::remove_file(sandbox.path("r.json")).unwrap();
    }
    // Names of other options, and words without a value, are parts of a path as they are.
    for name in ["a&b", "a,b=1", "pass=1", "a;os=linux"] {
        sandbox.process(&source, &sandbox.uri("dir", name), &[]).verified();
        assert!(sandbox.path(name).join("catalog.json").exists(), "{name}");
    }
}

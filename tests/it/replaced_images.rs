//! Every image that a run removes from its destination is named after it is removed.

use std::path::Path;

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage};
use crate::support::real::installed;
use crate::support::shape::{self, Archive};
use crate::support::traced::under_strace;

fn unpack(archive: &Archive, folder: &Path) {
    for (name, content) in &archive.0 {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

fn warnings(said: &Ran) -> Vec<String> {
    said.exits(0);
    let document = said.json();
    let lines = document["images"][0]["warnings"].as_array().unwrap();
    lines.iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

/// A sandbox with `new:1` in `new.tar`.
fn sandbox(new: &TestImage) -> Sandbox {
    let sandbox = Sandbox::new();
    shape::legacy(&[new], Pack::Gzip).write(&sandbox.path("new.tar"));
    sandbox
}

#[test]
fn every_image_of_an_unpacked_archive_that_is_replaced_is_named() {
    let [one, two, new] = ["one:1", "two:1", "new:1"].map(TestImage::tiny);
    let sandbox = sandbox(&new);
    type Shape = fn(&[&TestImage], Pack) -> Archive;
    let lost = |other: &str| {
        format!(
            "'new:1' takes the place of '{other}' in 'manifest.json', which no catalog lists; a \
             directory of its own keeps it"
        )
    };
    let hidden = "'manifest.json' here lists 'one:1', 'two:1'; from now on dir:// reads \
                  'catalog.json', which lists only 'new:1'; a directory of its own for that keeps \
                  all readable";
    let table: [(&[&TestImage], &str, Vec<String>); 6] = [
        (&[&one], "", vec![lost("one:1")]),
        (&[&one, &two], "", vec![lost("one:1"), lost("two:1")]),
        // The image that is written stands in the list already, wherever.
        (&[&new, &two], "", vec![lost("two:1")]),
        (&[&one, &new, &two], "", vec![lost("one:1"), lost("two:1")]),
        (&[&new], "", vec![]),
        (&[&one, &two], "?unique_names=true", vec![hidden.to_owned()]),
    ];
    let shapes: [(&str, Shape); 4] = [
        ("legacy", shape::legacy),
        ("podman", shape::podman),
        ("crane", shape::crane),
        ("docker25", shape::docker25),
    ];
    for (at, (images, options, expected)) in table.into_iter().enumerate() {
        for (name, shape) in shapes {
            let folder = format!("{name}{at}");
            unpack(&shape(images, Pack::Gzip), &sandbox.path(&folder));
            let to = format!("dir://{folder}{options}");
            let said = sandbox.process("tar://new.tar", &to, &["-O", "json"]);
            assert_eq!(warnings(&said), expected, "{folder}");
            // From now on it is the only one there.
            let said = sandbox.process("tar://new.tar", &to, &["-O", "json"]);
            assert_eq!(warnings(&said), [""; 0], "{folder}");
        }
    }
}

#[test]
fn an_image_whose_name_two_entries_of_a_layout_have_is_named_twice() {
    let [arm, amd, new] = ["app:1", "app:1", "app:1"].map(TestImage::new);
    let sandbox = sandbox(&new);
    let mut archive = shape::oci(&[&arm, &amd], Pack::Gzip);
    let platforms = ["arm64", "amd64"];
    archive.edit("index.json", |index| {
        for (entry, architecture) in
            index["manifests"].as_array_mut().unwrap().iter_mut().zip(platforms)
        {
            entry["annotations"]["org.opencontainers.image.ref.name"] = "1".into();
            entry["platform"] = serde_json::json!({ "os": "linux", "architecture": architecture });
        }
        let entries = index["manifests"].as_array_mut().unwrap();
        entries[0]["digest"] = format!("sha256:{}", "0".repeat(64)).into();
    });
    unpack(&archive, &sandbox.path("layout"));
    let said = sandbox.process("tar://new.tar", "oci-layout://layout:1", &["-O", "json"]);
    let shown = warnings(&said);
    assert!(shown.iter().any(|line| line.contains(&"0".repeat(64))), "{shown:?}");
}

#[test]
fn a_run_that_fails_does_not_say_that_it_has_replaced_an_image() {
    let test = "a_run_that_fails_does_not_say_that_it_has_replaced_an_image";
    if !installed(test, &["strace"]) {
        return;
    }
    let (old, new) = (TestImage::tiny("app:1"), TestImage::new("app:1"));
    for to in ["dir://out", "dir://out?unique_names=true", "oci-layout://out:1", "tar://out.tar"] {
        let sandbox = sandbox(&new);
        shape::legacy(&[&old], Pack::Gzip).write(&sandbox.path("old.tar"));
        sandbox.process("tar://old.tar", to, &[]).verified();
        // Every name of the commit fails to be made.
        let fails = ["inject=renameat2:error=ENOSPC", "inject=renameat:error=ENOSPC"];
        let words = ["process", "tar://new.tar", to, "-O", "json"];
        let said = Ran::of(under_strace(&sandbox, &words, &fails));
        let document = said.exits(1).json();
        let image = &document["images"][0];
        let error = image["error"]["message"].as_str().unwrap();
        assert!(error.contains("no space left"), "{to}: {error}");
        assert_eq!(image["warnings"].as_array().unwrap().len(), 0, "{to}: {image}");
        assert!(!said.stderr.contains("was another image"), "{to}: {}", said.stderr);
        assert!(!said.stderr.contains("takes the place"), "{to}: {}", said.stderr);
        // And one that succeeds does.
        let said = sandbox.process("tar://new.tar", to, &["-O", "json"]);
        assert_eq!(warnings(&said).len(), 1, "{to}");
    }
}

//! `occystrap mirror import`: an export is checked, loaded into a registry behind an air gap, and verified there.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use occystrap_base::oci::Digest;
use serde_json::Value;

use crate::support::cli::Sandbox;
use crate::support::exports::{Gap, flip};
use crate::support::mirrored::{FILE, mirror, put};
use crate::support::multi::Multi;
use crate::support::real::{RealRegistry, skopeo};
use crate::support::registry::{ALWAYS, Fault, Registry};
use crate::support::registry_referrers::{cosign, image, list_under_tag, refer};

const FOUR: [(&str, &str); 4] =
    [("app0", "0.0"), ("app0", "1.0"), ("app1", "0.0"), ("app1", "1.0")];

#[test]
fn an_export_is_loaded_and_verified_behind_the_gap() {
    for export in ["one", "one.tar"] {
        let gap = Gap::new(2, 2);
        gap.export(export, &[]).exits(0);
        let asked = gap.source.requests().len();
        let ran = gap.import(export, &["--image-parallel", "4"]);
        ran.exits(0)
            .says(&format!("Checked {export}: the export of run 1 of mirror.yaml, sha256:"));
        ran.says("4/4 images, 4 copied").says("4 verified");
        gap.assert_there(&FOUR);
        assert_eq!(gap.source.requests().len(), asked, "the source cannot be reached");
        // A blob is sent once: a layer for all, one for each repository, a layer and a config for each image.
        assert_eq!(gap.far.requests_of("PUT", "/blobs/uploads/").len(), 1 + 2 + 4 + 4);
        // Everything is asked for again.
        gap.import(export, &[]).exits(0).says("4 already there").says("4 verified");
        gap.far.remove_manifest("far/mirror/app0", "0.0");
        gap.import(export, &[]).exits(0).says("1 copied").says("4 verified");
        gap.assert_there(&FOUR);
    }
}

#[test]
fn what_was_imported_is_verified_later_with_the_file_of_the_export() {
    let gap = Gap::new(1, 2);
    gap.export("one", &[]).exits(0);
    gap.import("one", &["--report", "json=import.json"]).exits(0);
    let report = std::fs::read_to_string(gap.sandbox.path("import.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["kind"], &report["summary"]["verified"]), (&"import".into(), &2.into()));
    let verify = || {
        let ledger = ["--ledger", "mirror.yaml.import.ledger", "--insecure"];
        gap.sandbox.run(&[&["mirror", "verify", "one/mirror/mirror.yaml"][..], &ledger].concat())
    };
    verify().exits(0).says("Verified 2 of 2 images");
    gap.far.remove_manifest("far/mirror/app0", "1.0");
    verify().exits(1).says("the tag is missing");
    // What is missing is loaded again.
    gap.import("one", &[]).exits(0);
    verify().exits(0);
}

/// Everything that can be wrong with an export: what is done to the directory, and what is said.
type Damage = (&'static str, fn(&Path), &'static str);

fn layer_of(folder: &Path) -> std::path::PathBuf {
    let files = folder.join("blobs/sha256").read_dir().unwrap().map(|entry| entry.unwrap());
    files.max_by_key(|entry| entry.metadata().unwrap().len()).unwrap().path()
}

fn edit(path: &Path, edit: impl FnOnce(String) -> String) {
    let text = std::fs::read_to_string(path).unwrap();
    std::fs::write(path, edit(text)).unwrap();
}

const DAMAGES: &[Damage] = &[
    ("a bit of a layer", |folder| flip(&layer_of(folder)), "digest of 'blobs/sha256/"),
    ("a bit of the index", |folder| flip(&folder.join("index.json")), "digest of 'index.json'"),
    (
        "a bit of the receipts",
        |folder| flip(&folder.join("receipts.jsonl")),
        "digest of 'receipts.jsonl'",
    ),
    ("a bit of the marker", |folder| flip(&folder.join("oci-layout")), "digest of 'oci-layout'"),
    (
        "a bit of the file",
        |folder| flip(&folder.join("mirror/mirror.yaml")),
        "digest of 'mirror/mirror.yaml'",
    ),
    (
        "a letter of the document",
        |folder| {
            edit(&folder.join("export.json"), |text| text.replace("mirror/app0", "mirror/apq0"))
        },
        "digest of 'export.json'",
    ),
    (
        "a digest in the list",
        |folder| edit(&folder.join("SHA256SUMS"), |text| text.replacen('a', "b", 1)),
        "expected sha256:",
    ),
    (
        "a path in the list",
        |folder| edit(&folder.join("SHA256SUMS"), |text| text.replace("index.json", "indey.json")),
        "'SHA256SUMS' does not list 'index.json'",
    ),
    (
        "the end of the list",
        |folder| edit(&folder.join("SHA256SUMS"), |text| text[..text.len() / 2].to_owned()),
        "SHA256SUMS'",
    ),
    (
        "the first line of the list",
        |folder| {
            edit(&folder.join("SHA256SUMS"), |text| {
                let blob = text.lines().find(|line| line.contains("blobs/")).unwrap();
                text.replace(&format!("{blob}\n"), "")
            })
        },
        "is not in 'SHA256SUMS'",
    ),
    (
        "no list",
        |folder| std::fs::remove_file(folder.join("SHA256SUMS")).unwrap(),
        "holds no 'SHA256SUMS'",
    ),
    (
        "no layer",
        |folder| std::fs::remove_file(layer_of(folder)).unwrap(),
        "is missing, which 'SHA256SUMS' lists",
    ),
    (
        "half a layer",
        |folder| {
            let bytes = std::fs::read(layer_of(folder)).unwrap();
            std::fs::write(layer_of(folder), &bytes[..bytes.len() / 2]).unwrap();
        },
        "digest of 'blobs/sha256/",
    ),
    (
        "no document",
        |folder| std::fs::remove_file(folder.join("export.json")).unwrap(),
        "it is no complete export",
    ),
    (
        "no receipts",
        |folder| std::fs::remove_file(folder.join("receipts.jsonl")).unwrap(),
        "'receipts.jsonl' is missing",
    ),
    (
        "a later version",
        |folder| {
            edit(&folder.join("export.json"), |text| {
                text.replace("\"occystrap_export\": 1", "\"occystrap_export\": 2")
            })
        },
        "version of the export in 'export.json': expected 1, found 2",
    ),
    (
        "half a document",
        |folder| edit(&folder.join("export.json"), |text| text[..text.len() / 2].to_owned()),
        "is not the document of an export",
    ),
];

#[test]
fn a_damaged_export_is_refused_before_anything_is_sent() {
    let gap = Gap::new(2, 2);
    gap.export("whole", &[]).exits(0);
    for (what, damage, said) in DAMAGES {
        let copied = std::process::Command::new("cp")
            .args(["-r", "whole", "one"])
            .current_dir(gap.sandbox.path(""))
            .status();
        assert!(copied.unwrap().success());
        damage(&gap.sandbox.path("one"));
        let ran = gap.import("one", &[]);
        assert_eq!(ran.code, 1, "{what}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{what}: {}", ran.stderr);
        assert!(
            ran.stderr.contains("\nhint: ") || ran.stderr.contains("  hint: "),
            "{what}: {}",
            ran.stderr
        );
        assert_eq!(gap.far.requests().len(), 0, "{what}");
        assert!(!gap.sandbox.path("mirror.yaml.import.ledger").exists(), "{what}");
        std::fs::remove_dir_all(gap.sandbox.path("one")).unwrap();
    }
    gap.import("whole", &[]).exits(0);
}

#[test]
fn a_damaged_archive_is_refused_before_anything_is_sent() {
    let gap = Gap::new(1, 2);
    gap.export("whole.tar", &[]).exits(0);
    let whole = std::fs::read(gap.sandbox.path("whole.tar")).unwrap();
    // Headers, content, padding and the end, at every length that a copy may have reached.
    for part in 1..40 {
        let cut = whole.len() * part / 40;
        std::fs::write(gap.sandbox.path("one.tar"), &whole[..cut]).unwrap();
        gap.import("one.tar", &[]).exits(1);
    }
    for part in 0..40 {
        let mut bytes = whole.clone();
        let at = whole.len() * part / 40 + 3;
        bytes[at] ^= 0x10;
        std::fs::write(gap.sandbox.path("one.tar"), &bytes).unwrap();
        let ran = gap.import("one.tar", &[]);
        // A bit of the padding changes nothing.
        assert!(ran.code == 1 || ran.code == 0, "{at}: {}", ran.stderr);
        if ran.code == 0 {
            gap.assert_there(&FOUR[..2]);
        }
    }
}

#[test]
fn an_increment_needs_what_it_builds_on() {
    let gap = Gap::new(2, 2);
    gap.export("one", &[]).exits(0);
    put(&gap.source, 0, 1, 7);
    gap.export("two", &["--since", "1"]).exits(0);
    put(&gap.source, 1, 1, 8);
    gap.export("three", &["--since", "2"]).exits(0);

    // A destination without the base, and a ledger that knows nothing.
    let ran = gap.import("two", &[]);
    ran.exits(1)
        .says("the export of run 2 builds on that of run 1 (")
        .says("mirror/app0:0.0 is missing");
    ran.says("hint: import the export of run 1 first");
    assert_eq!(gap.writes(), 0);

    gap.import("one", &[]).exits(0);
    // The ledger knows that the one between is missing.
    let ran = gap.import("three", &[]);
    ran.exits(2)
        .says("the export of run 3 builds on that of run 2 (")
        .says("the last one is that of run 1");
    let writes = gap.writes();
    let ran = gap.import("two", &[]);
    ran.exits(0).says("1/1 images, 1 copied").says("1 verified");
    assert_eq!(gap.far.requests_of("PUT", "/blobs/uploads/").len(), 11 + 2, "a layer and a config");
    assert!(gap.writes() > writes);
    gap.import("three", &[]).exits(0).says("1/1 images, 1 copied");
    gap.assert_there(&FOUR);

    // An older one would bring back older images.
    for older in ["one", "two"] {
        let ran = gap.import(older, &[]);
        ran.exits(2).says("is older than that of run 3, which was imported into").says("hint: ");
    }
    gap.assert_there(&FOUR);
    // The newest again is a verification.
    gap.import("three", &[]).exits(0).says("1 already there").says("1 verified");
    // A new ledger finds the base at the destination.
    gap.import("three", &["--ledger", "new.ledger"]).exits(0);
}

#[test]
fn an_image_that_came_back_to_what_it_was_is_not_taken_as_known() {
    let gap = Gap::new(1, 2);
    gap.export("one", &[]).exits(0);
    let before = gap.source.manifest("team/app0", "1.0").unwrap();
    put(&gap.source, 0, 1, 7);
    gap.export("two", &["--since", "1"]).exits(0);
    gap.source.put_manifest("team/app0", "1.0", &before.0, before.1);
    put(&gap.source, 0, 0, 8);
    // It builds on the first one, and the second one is at the destination.
    gap.export("three", &["--since", "1"]).exits(0).says("1 images are as before");
    for export in ["one", "two"] {
        gap.import(export, &[]).exits(0);
    }
    let ran = gap.import("three", &[]);
    ran.exits(1).says("/far/mirror/app0:1.0 has changed since: expected sha256:");
    ran.says("hint: make the export with --since");
    gap.export("four", &["--since", "2"]).exits(0).says("2 images, ");
    gap.import("four", &[]).exits(0).says("2/2 images");
    gap.assert_there(&FOUR[..2]);
}

#[test]
fn a_registry_that_has_lost_a_layer_of_the_base_is_named() {
    for ledger in ["mirror.yaml.import.ledger", "new.ledger"] {
        let gap = Gap::new(1, 2);
        gap.export("one", &[]).exits(0);
        put(&gap.source, 0, 1, 7);
        gap.export("two", &["--since", "1"]).exits(0);
        gap.import("one", &[]).exits(0);
        let (_, manifest) = gap.source.manifest("team/app0", "1.0").unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let shared: Digest = manifest["layers"][0]["digest"].as_str().unwrap().parse().unwrap();
        gap.far.remove_blob("far/mirror/app0", shared);
        let writes = gap.writes();
        let ran = gap.import("two", &["--ledger", ledger]);
        ran.exits(1).says(&format!("/far/mirror/app0 has not the layer {shared}"));
        ran.says("hint: import the export of run 1 again");
        assert_eq!(gap.writes(), writes);
        // As the hint says: the base is loaded again.
        gap.import("one", &["--ledger", "again.ledger"]).exits(0);
        gap.import("two", &["--ledger", ledger]).exits(0).says("1 verified");
    }
}

#[test]
fn an_import_that_was_killed_goes_on_and_sends_nothing_twice() {
    for (signal, after) in [("-KILL", 2), ("-KILL", 6), ("-INT", 5)] {
        let gap = Gap::new(2, 2);
        gap.export("one", &[]).exits(0);
        gap.far.fault("PUT", "/blobs/uploads/", Fault::Delay(Duration::from_millis(30)), ALWAYS);
        let uploads = || gap.far.requests_of("PUT", "/blobs/uploads/").len();
        let to = gap.to();
        let mut command = gap.sandbox.command(&[
            "mirror",
            "import",
            "one",
            "--to",
            &to,
            "--insecure",
            "--image-parallel",
            "1",
            "-j",
            "1",
        ]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while uploads() < after {
            std::thread::sleep(Duration::from_millis(2));
        }
        let sent =
            std::process::Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        let output = child.wait_with_output().unwrap();
        gap.far.mend();
        if signal == "-INT" {
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(130), "{said}");
            let again = format!("'occystrap mirror import one --to {to}' goes on");
            assert!(said.contains(&again), "{said}");
        }
        // It is not complete, so that nothing can build on it yet.
        let ran = gap.import("one", &[]);
        ran.exits(0).says("Going on with run 1: ").says("4/4 images").says("4 verified");
        gap.assert_there(&FOUR);
        assert!(uploads() <= 11 + 1, "{signal} {after}: {}", uploads());
    }
}

#[test]
fn platforms_and_referrers_cross_the_gap() {
    let (source, far, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    far.take_sparse_indexes();
    far.list_referrers(2);
    let multi = Multi::build();
    multi.push(&source);
    let subject = image(&source, "team/app:1", 1);
    let sbom = refer(&source, "team/app", subject, "application/spdx+json", b"{\"spdx\":1}");
    let of_sbom = refer(&source, "team/app", sbom, "application/vnd.cncf.notary.signature", b"x");
    list_under_tag(&source, "team/app", subject, &[sbom]);
    list_under_tag(&source, "team/app", sbom, &[of_sbom]);
    let signature = cosign(&source, "team/app", subject, ".sig", &[b"cosign"]);
    let host = source.url_host();
    let text = format!(
        "version: 1\nimages:
- {{from: '{host}/multi:1', to: r.invalid/all}}
- {{from: '{host}/multi:1', to: r.invalid/sparse, platforms: [linux/amd64, linux/arm64]}}
- {{from: '{host}/multi:1', to: r.invalid/new, platforms: [linux/amd64, linux/arm64], index: rewrite}}
- {{from: '{host}/multi:1', to: r.invalid/single, platforms: [linux/arm64]}}
- {{from: '{host}/team/app:1', to: r.invalid/app, referrers: true}}
- {{from: '{host}/team/app@{subject}', to: r.invalid/pinned}}\n"
    );
    std::fs::write(sandbox.path(FILE), text).unwrap();
    for export in ["one", "one.tar"] {
        mirror(&sandbox, "export", &["--to", export]).exits(0).says("6 images");
    }
    let to = format!("registry://{}", far.url_host());
    let ran = sandbox.run(&["mirror", "import", "one.tar", "--to", &to, "--insecure"]);
    ran.exits(0).says("6/6 images, 6 copied").says("6 verified");
    let top = |name: &str| Digest::of(&far.manifest(name, "1").unwrap().1);
    let index = Digest::of(multi.index());
    assert_eq!((top("all"), top("sparse")), (index, index));
    let all: Vec<String> =
        multi.manifests.iter().map(|(_, bytes)| Digest::of(bytes).to_string()).collect();
    let there = |name: &str| {
        all.iter().map(|digest| far.manifest(name, digest).is_some()).collect::<Vec<_>>()
    };
    assert_eq!(there("all"), [true; 6]);
    assert_eq!(there("sparse"), [false, false, true, true, false, true]);
    assert_eq!(top("single").to_string(), all[3]);
    let (_, new) = far.manifest("new", "1").unwrap();
    let new: Value = serde_json::from_slice(&new).unwrap();
    assert_eq!(new["manifests"].as_array().unwrap().len(), 3, "two platforms, and an attestation");
    for digest in [subject, sbom, of_sbom, signature] {
        let digest = digest.to_string();
        assert_eq!(far.manifest("app", &digest), source.manifest("team/app", &digest));
    }
    let tag = format!("sha256-{}.sig", subject.hex());
    assert_eq!(far.manifest("app", &tag), source.manifest("team/app", &tag));
    assert!(far.manifest("pinned", &subject.to_string()).is_some());
    // A new signature alone makes an image new for the next export.
    let late = refer(&source, "team/app", subject, "application/spdx+json", b"{\"spdx\":2}");
    list_under_tag(&source, "team/app", subject, &[sbom, late]);
    mirror(&sandbox, "export", &["--to", "two", "--since", "2"])
        .exits(0)
        .says("1 images, ")
        .says("5 images are as before");
    sandbox
        .run(&["mirror", "import", "two", "--to", &to, "--insecure"])
        .exits(0)
        .says("1 verified");
    assert!(far.manifest("app", &late.to_string()).is_some());
}

#[test]
fn an_export_goes_into_layouts_as_well() {
    let gap = Gap::new(1, 2);
    gap.export("one", &[]).exits(0);
    put(&gap.source, 0, 1, 7);
    gap.export("two", &["--since", "1"]).exits(0);
    let to = gap.sandbox.uri("oci-layout", "far");
    let import = |from: &str| gap.sandbox.run(&["mirror", "import", from, "--to", &to]);
    let ran = import("two");
    ran.exits(1).says("/far/mirror/app0 has not the layer sha256:");
    import("one").exits(0).says("2/2 images").says("2 verified");
    import("two").exits(0).says("1/1 images").says("1 verified");
    let source = gap.sandbox.uri("oci-layout", "far/mirror/app0:1.0");
    gap.sandbox.process(&source, &gap.sandbox.uri("tar", "x.tar"), &[]).verified();
}

#[test]
fn a_place_that_is_none_is_refused() {
    let gap = Gap::new(1, 1);
    gap.export("one", &[]).exits(0);
    for to in ["127.0.0.1:1/x", "dir:///x", "registry://", "registry://u:secret@h/x"] {
        let ran = gap.sandbox.run(&["mirror", "import", "one", "--to", to]);
        ran.exits(2).says("is not a place for an import").says("hint: write registry://HOST");
        assert!(!ran.stderr.contains("secret"));
    }
    gap.sandbox.run(&["mirror", "import", "none", "--to", &gap.to()]).exits(1);
}

#[test]
fn docker_registry_gets_an_export_and_its_increment() {
    let Some(real) = RealRegistry::start("docker_registry_gets_an_export_and_its_increment") else {
        return;
    };
    let gap = Gap::new(2, 2);
    gap.export("one", &[]).exits(0);
    put(&gap.source, 0, 1, 7);
    gap.export("two.tar", &["--since", "1"]).exits(0);
    let to = format!("registry://{}/far", real.host());
    let import =
        |from: &str| gap.sandbox.run(&["mirror", "import", from, "--to", &to, "--insecure"]);
    import("two.tar").exits(1).says("import the export of run 1 first");
    import("one").exits(0).says("4/4 images, 4 copied").says("4 verified");
    import("two.tar").exits(0).says("1/1 images, 1 copied").says("1 verified");
    for (name, tag) in FOUR {
        let image = format!("docker://{}/far/mirror/{name}:{tag}", real.host());
        let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &image]);
        let (_, expected) = gap.source.manifest(&format!("team/{name}"), tag).unwrap();
        assert_eq!(raw, expected, "{image}");
        let copy = format!("dir:{}", gap.sandbox.path(&format!("{name}-{tag}")).display());
        skopeo(&["copy", "--src-tls-verify=false", &image, &copy]);
    }
}

//! `occystrap mirror export`: what the other side of an air gap lacks, as an OCI layout with receipts and digests.

use std::process::Stdio;
use std::time::Duration;

use occystrap_base::oci::Digest;
use serde_json::Value;

use crate::support::cli::Sandbox;
use crate::support::exports::{Gap, file_of, sha256sum};
use crate::support::mirrored::{FILE, Mirrored, mirror, put};
use crate::support::real::{installed, skopeo};
use crate::support::registry::{ALWAYS, Fault, Registry};

/// Digests in the requests for blobs of a registry.
fn fetched(registry: &Registry) -> Vec<String> {
    let requests = registry.requests_of("GET", "/blobs/");
    requests.iter().map(|one| one.path.rsplit('/').next().unwrap().to_owned()).collect()
}

#[test]
fn an_export_is_a_layout_with_receipts_and_a_list_of_digests() {
    let gap = Gap::new(2, 2);
    let ran = gap.export("one", &[]);
    ran.exits(0).says("4 images to export").says("Exported to one: 4 images, ");
    ran.says("This is the export of run 1, sha256:").says("the next one: --since 1");
    let folder = gap.sandbox.path("one");
    let checked = sha256sum(&folder);
    assert!(checked.status.success(), "{checked:?}");
    // A layer for all, one for each repository, and a layer, a config and a manifest for each image.
    let blobs = folder.join("blobs/sha256").read_dir().unwrap().count();
    assert_eq!(blobs, 1 + 2 + 4 * 3);
    assert_eq!(fetched(&gap.source).len(), 1 + 2 + 4 * 2, "each blob is fetched once");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let index: Value = serde_json::from_slice(&read("index.json")).unwrap();
    let entries = index["manifests"].as_array().unwrap();
    let name = |entry: &Value| entry["annotations"]["org.opencontainers.image.ref.name"].clone();
    let names: Vec<Value> = entries.iter().map(name).collect();
    assert_eq!(names, ["mirror/app0:0.0", "mirror/app0:1.0", "mirror/app1:0.0", "mirror/app1:1.0"]);
    let document = gap.document("one");
    assert_eq!(document["occystrap_export"], 1);
    assert_eq!((&document["mirror"], &document["run"]), (&FILE.into(), &1.into()));
    assert_eq!(document["since"], Value::Null);
    let first = &document["items"][0];
    assert_eq!(first["repository"], "mirror/app0");
    assert_eq!((&first["tag"], &first["verdict"]), (&"0.0".into(), &"verified".into()));
    let (_, manifest) = gap.source.manifest("team/app0", "0.0").unwrap();
    assert_eq!(first["digest"], Digest::of(&manifest).to_string());
    let receipts = String::from_utf8(read("receipts.jsonl")).unwrap();
    let receipt: Value = serde_json::from_str(receipts.lines().next().unwrap()).unwrap();
    assert_eq!(receipt["objects"].as_array().unwrap().len(), 5, "{receipt}");
    assert_eq!(String::from_utf8(read("mirror/mirror.yaml")).unwrap(), file_of(&gap.sandbox));
    let known: Vec<String> =
        gap.files("one").into_iter().filter(|name| !name.contains("blobs")).collect();
    assert_eq!(known.len(), 6, "{known:?}");
}

#[test]
fn skopeo_reads_an_export() {
    if !installed("skopeo_reads_an_export", &["skopeo"]) {
        return;
    }
    let gap = Gap::new(1, 1);
    gap.export("one", &[]).exits(0);
    let image = format!("oci:{}:mirror/app0:0.0", gap.sandbox.path("one").display());
    let inspected: Value = serde_json::from_slice(&skopeo(&["inspect", &image])).unwrap();
    let (_, manifest) = gap.source.manifest("team/app0", "0.0").unwrap();
    assert_eq!(inspected["Digest"], Digest::of(&manifest).to_string());
    assert_eq!(inspected["Layers"].as_array().unwrap().len(), 3);
    let copy = format!("oci-archive:{}:x", gap.sandbox.path("copy.tar").display());
    skopeo(&["copy", &image, &copy]);
    // The reader of this project finds it by its name as well.
    let source =
        format!("oci-layout://{}?image=mirror/app0:0.0", gap.sandbox.path("one").display());
    gap.sandbox.process(&source, &gap.sandbox.uri("tar", "again.tar"), &[]).verified();
}

#[test]
fn an_archive_has_the_same_files_and_always_the_same_bytes() {
    let gap = Gap::new(2, 2);
    gap.export("one", &[]).exits(0);
    let mut archives = Vec::new();
    for ledger in ["a.ledger", "b.ledger"] {
        gap.export("x.tar", &["--ledger", ledger, "--image-parallel", "4"]).exits(0);
        archives.push(std::fs::read(gap.sandbox.path("x.tar")).unwrap());
        std::fs::rename(gap.sandbox.path("x.tar"), gap.sandbox.path("y.tar")).unwrap();
    }
    assert!(archives[0] == archives[1], "the same images give the same bytes");
    let mut archive = tar::Archive::new(&archives[0][..]);
    let mut names: Vec<String> = Vec::new();
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        assert_eq!((entry.header().mtime().unwrap(), entry.header().uid().unwrap()), (0, 0));
        names.push(entry.path().unwrap().display().to_string());
    }
    assert_eq!(names.last().unwrap(), "export.json", "it is written last");
    names.sort();
    let mut files: Vec<String> =
        gap.files("one").iter().map(|name| name.trim_start_matches('/').to_owned()).collect();
    files.sort();
    assert_eq!(names, files);
    gap.export("y.tar", &[]).exits(1).says("exists already");
    gap.export("z.tar.gz", &[]).exits(2).says("an export is not compressed");
}

#[test]
fn an_increment_leaves_out_what_was_carried() {
    let gap = Gap::new(2, 2);
    gap.export("one", &[]).exits(0);
    gap.export("none", &["--since", "1"])
        .exits(0)
        .says("Nothing has changed since the export of run 1");
    assert!(!gap.sandbox.path("none").exists());
    put(&gap.source, 0, 1, 7);
    let before = fetched(&gap.source).len();
    let ran = gap.export("two", &["--since", "1"]);
    ran.exits(0).says("1 images, 3 blobs").says("3 images are as before").says("2 layers left out");
    // A config for each image, to see what it consists of, and the one layer that is new.
    assert_eq!(fetched(&gap.source).len() - before, 4 + 1);
    assert!(sha256sum(&gap.sandbox.path("two")).status.success());
    let document = gap.document("two");
    assert_eq!(
        (&document["since"]["run"], document["items"].as_array().unwrap().len()),
        (&1.into(), 1)
    );
    let id = Digest::of(&std::fs::read(gap.sandbox.path("one/export.json")).unwrap());
    assert_eq!(document["since"]["export"], id.to_string());
    assert_eq!(document["as_before"].as_array().unwrap().len(), 3);
    let receipt = std::fs::read_to_string(gap.sandbox.path("two/receipts.jsonl")).unwrap();
    assert_eq!(receipt.matches("\"carried_to\":\"mirror/app0\"").count(), 2, "{receipt}");
    // The third builds on both.
    put(&gap.source, 1, 0, 8);
    gap.export("three", &["--since", "3"])
        .exits(0)
        .says("1 images, 3 blobs")
        .says("3 images are as before");
    let ran = gap.export("four", &["--since", "9"]);
    ran.exits(2).says("run 9 is no export of this ledger").says("its exports are the runs 4, 3, 1");
}

/// Starts an export, waits until so many blobs were asked for, and sends a signal.
fn stop(gap: &Gap, to: &str, after: usize, signal: &str) -> std::process::Output {
    gap.source.fault("GET", "/blobs/", Fault::Delay(Duration::from_millis(40)), ALWAYS);
    let mut command = gap.sandbox.command(&[
        "mirror",
        "export",
        FILE,
        "--insecure",
        "--to",
        to,
        "--image-parallel",
        "1",
        "-j",
        "1",
    ]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while fetched(&gap.source).len() < after {
        std::thread::sleep(Duration::from_millis(2));
    }
    let sent = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
    let output = child.wait_with_output().unwrap();
    gap.source.mend();
    output
}

#[test]
fn an_export_that_was_stopped_looks_incomplete_and_goes_on() {
    for (signal, code) in [("-KILL", None), ("-INT", Some(130))] {
        // Four configs are read first.
        for after in [2, 6, 8] {
            let gap = Gap::new(2, 2);
            let output = stop(&gap, "one", after, signal);
            assert_eq!(output.status.code(), code, "{output:?}");
            if code.is_some() {
                let said = String::from_utf8(output.stderr).unwrap();
                assert!(said.contains("the same command goes on"), "{said}");
            }
            let folder = gap.sandbox.path("one");
            assert!(!folder.join("export.json").exists());
            assert!(!sha256sum(&folder).status.success());
            let ran = gap.import("one", &[]);
            ran.exits(1).says("holds no 'export.json': it is no complete export").says("hint: ");
            assert_eq!(gap.far.requests().len(), 0);
            let before = fetched(&gap.source);
            let whole = folder.join("blobs/sha256").read_dir().unwrap().count();
            gap.export("one", &[]).exits(0).says("4 images");
            let again = fetched(&gap.source).len() - before.len();
            // The configs are read again, and layers that had landed are not.
            let documents = 4 * 2;
            let layers = (whole).saturating_sub(documents);
            assert_eq!(again, 4 + 7 - layers, "{after} {signal}");
            assert!(sha256sum(&folder).status.success());
            assert!(!folder.join("export.in-work").exists());
            gap.import("one", &[]).exits(0).says("4 verified");
        }
    }
    let gap = Gap::new(2, 2);
    let before = gap.sandbox.tree("");
    stop(&gap, "one.tar", 6, "-KILL");
    let is_archive = |name: &String| name.contains(".tar");
    assert!(!gap.sandbox.tree("").into_keys().any(|name| is_archive(&name)), "{before:?}");
    gap.export("one.tar", &[]).exits(0).says("4 images");
}

#[test]
fn blobs_that_a_stopped_export_left_and_nothing_needs_are_removed() {
    let gap = Gap::new(1, 2);
    stop(&gap, "one", 4, "-KILL");
    let stray = gap.sandbox.path("one/blobs/sha256").join("ab".repeat(32));
    std::fs::write(&stray, "of an image that has changed").unwrap();
    // One that another process has damaged meanwhile is fetched again.
    let landed = gap.sandbox.path("one/blobs/sha256").read_dir().unwrap().next().unwrap().unwrap();
    let length = landed.metadata().unwrap().len();
    std::fs::write(landed.path(), vec![0; usize::try_from(length).unwrap()]).unwrap();
    gap.export("one", &[]).exits(0);
    assert!(!stray.exists());
    assert!(sha256sum(&gap.sandbox.path("one")).status.success());
    gap.import("one", &[]).exits(0).says("2 verified");
}

#[test]
fn an_image_that_cannot_be_exported_is_missing_in_it_and_the_others_are_there() {
    let gap = Gap::new(2, 2);
    let (_, manifest) = gap.source.manifest("team/app1", "1.0").unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let own: Digest = manifest["layers"][2]["digest"].as_str().unwrap().parse().unwrap();
    for to in ["one", "one.tar"] {
        for fault in [Fault::status(404), Fault::Body(b"other bytes".to_vec())] {
            gap.source.fault("GET", &own.to_string(), fault, ALWAYS);
            let ran = gap.export(to, &["--retries", "0"]);
            ran.exits(1)
                .says("failed 127.0.0.1:")
                .says("/team/app1:1.0")
                .says("3 images, ")
                .says("1 FAILED");
            gap.source.mend();
            gap.import(to, &["--ledger", "far.ledger"]).exits(0).says("3/3 images");
            let _ = std::fs::remove_dir_all(gap.sandbox.path(to));
            let _ = std::fs::remove_file(gap.sandbox.path(to));
            std::fs::remove_file(gap.sandbox.path("far.ledger")).unwrap();
            std::fs::remove_file(gap.sandbox.path("far.ledger.lock")).unwrap();
        }
    }
    // What was missing comes with the next one.
    let runs = gap.export("one", &[]);
    runs.exits(0).says("4 images");
}

#[test]
fn nothing_is_written_over() {
    let gap = Gap::new(1, 1);
    gap.export("one", &[]).exits(0);
    gap.export("one", &[]).exits(1).says("'one' holds a complete export").says("hint: ");
    std::fs::create_dir(gap.sandbox.path("mine")).unwrap();
    std::fs::write(gap.sandbox.path("mine/notes"), "mine").unwrap();
    gap.export("mine", &[]).exits(1).says("'mine' is not empty, and holds no export");
    assert_eq!(gap.files("mine").len(), 1);
    // An empty directory, as a mounted disk has one, is taken.
    std::fs::create_dir(gap.sandbox.path("disk")).unwrap();
    gap.export("disk", &[]).exits(0);
}

#[test]
fn what_an_export_cannot_carry_is_an_error_with_its_line() {
    let (source, sandbox) = (Registry::start(), Sandbox::new());
    for tag in 0..2 {
        put(&source, 0, tag, 0);
    }
    let host = source.url_host();
    let mut said = Vec::new();
    for (entry, more) in [
        (
            format!(
                "- from: {host}/team/app0:0.0\n  to: r.invalid/a\n  filters: [normalize-timestamps]\n"
            ),
            "",
        ),
        (format!("- from: {host}/team/app0:0.0\n  to: oci-layout:///srv/x\n"), ""),
        (
            format!("- from: {host}/team/app0:0.0\n  to: r.invalid/a:1\n"),
            &*format!("- from: {host}/team/app0:1.0\n  to: s.invalid/a:1\n"),
        ),
    ] {
        std::fs::write(sandbox.path(FILE), format!("version: 1\nimages:\n{entry}{more}")).unwrap();
        let ran = mirror(&sandbox, "export", &["--to", "one"]);
        ran.exits(2);
        said.push(ran.stderr.replace(&host, "HOST"));
        assert!(!sandbox.path("one").exists());
    }
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn an_export_is_described_as_json() {
    let gap = Gap::new(1, 2);
    let ran = gap.export("one", &["-O", "json"]);
    ran.exits(0);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&document["occystrap_mirror_export"], &document["run"]), (&1.into(), &1.into()));
    assert_eq!(
        (&document["summary"]["images"], &document["summary"]["failed"]),
        (&2.into(), &0.into())
    );
    let id = Digest::of(&std::fs::read(gap.sandbox.path("one/export.json")).unwrap());
    assert_eq!(document["export"], id.to_string());
    gap.export("two", &["-O", "jsonl"]).exits(2);
    let ran = gap.export("one", &["-O", "json"]);
    let document: Value = serde_json::from_str(&ran.exits(1).stdout).unwrap();
    assert_eq!(document["error"]["message"], "'one' holds a complete export", "{document}");
}

#[test]
fn an_export_leaves_the_runs_of_its_ledger_alone() {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    let to = format!("{}/mirror/{{name}}", destination.url_host());
    Mirrored::at(&source, 2, 2).write_file(&sandbox, &to, &[]);
    mirror(&sandbox, "run", &[]).exits(0).says("4 copied");
    let before = destination.requests().len();
    mirror(&sandbox, "export", &["--to", "one"]).exits(0).says("the export of run 2, ");
    assert_eq!(destination.requests().len(), before, "the destination of the file plays no part");
    mirror(&sandbox, "run", &[]).exits(0).says("4/4 images, 4 unchanged");
    let ran = mirror(&sandbox, "status", &[]);
    assert!(ran.exits(0).stdout.contains("Run 3: finished; 4 of 4 images done"), "{}", ran.stdout);
    // A number of another kind of run is no export.
    mirror(&sandbox, "export", &["--to", "two", "--since", "1"])
        .exits(2)
        .says("run 1 is no export");
}

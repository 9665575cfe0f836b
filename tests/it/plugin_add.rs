//! `occystrap plugin add`, `list`, `show` and `remove`: no plugin runs without the consent of the user.

use std::fmt::Write as _;

use occystrap_base::oci::Digest;
use occystrap_output::plugin::PluginEngine;

use crate::support::cli::{Ran, Sandbox, Tree};
use crate::support::hostile::describing;
use crate::support::image::{Pack, TestImage};
use crate::support::plugin::{FOLDER, called, other_digest, plain};
use crate::support::registry::Registry;
use crate::support::shape;

fn with_image() -> Sandbox {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::new("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    sandbox
}

fn process(sandbox: &Sandbox, scheme: &str) -> Ran {
    sandbox.process(&sandbox.uri("tar", "in.tar"), &sandbox.uri(scheme, "out"), &[])
}

/// The plugin cannot be used, for this reason; what is built in can.
#[track_caller]
fn refused(sandbox: &Sandbox, why: &str) -> String {
    let said = process(sandbox, "hostile");
    assert!(said.code == 1 || said.code == 2, "{said:?}");
    said.says(why);
    assert_eq!(sandbox.tree("out"), Tree::new());
    process(sandbox, "dir").verified();
    std::fs::remove_dir_all(sandbox.path("out")).unwrap();
    sandbox.redact(&said.stderr)
}

#[test]
fn a_plugin_is_added_used_and_removed() {
    let sandbox = with_image();
    let file = sandbox.component("hostile.wasm", &plain());
    let mut transcript = String::new();
    let mut run = |line: &[&str], code: i32| {
        let said = sandbox.run(line);
        let text = sandbox.redact(&format!("{}{}", said.exits(code).stdout, said.stderr));
        writeln!(transcript, "$ occystrap {}\n{text}", sandbox.redact(&line.join(" "))).unwrap();
    };
    run(&["plugin", "add", &file], 2);
    assert_eq!(sandbox.tree("home"), Tree::new(), "nothing was granted, nothing is kept");
    run(&["plugin", "add", "--yes", &file], 0);
    run(&["plugin", "add", &file], 0);
    run(&["plugin", "list"], 0);
    run(&["plugin", "show", "hostile"], 0);
    let (from, to) = (sandbox.uri("tar", "in.tar"), sandbox.uri("hostile", "out"));
    run(&["process", &from, &to], 0);
    run(&["plugin", "remove", "hostile"], 0);
    assert_eq!(sandbox.tree(FOLDER).len(), 1, "the record remains, and says nothing");
    run(&["plugin", "remove", "hostile"], 2);
    run(&["plugin", "remove", "dir"], 2);
    run(&["process", &from, &to], 2);
    // The digest changes with every build of the plugin.
    let digest = Digest::of(&plain());
    let transcript = transcript.replace(&digest.hex()[..12], "…").replace(&digest.hex()[..8], "");
    insta::assert_snapshot!(transcript);
}

#[test]
fn the_kept_component_is_the_shown_one() {
    let sandbox = with_image();
    let file = sandbox.add(&plain());
    let record = std::fs::read_to_string(sandbox.record()).unwrap();
    let record: toml::Table = record.parse().unwrap();
    let entry = &record["plugin"][0];
    assert_eq!(entry["sha256"].as_str(), Some(Digest::of(&plain()).to_string().as_str()));
    assert_eq!(entry["source"].as_str(), Some(file.as_str()));
    assert_eq!(entry["schemes"][0].as_str(), Some("hostile"));
    let list = |name: &str| -> Vec<String> {
        let list = entry[name].as_array().unwrap().iter();
        list.map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    assert!(list("imports").contains(&"occystrap:output/storage-edit@0.1.0".to_owned()));
    assert!(list("granted").contains(&"storage-edit".to_owned()));
    assert!(!list("granted").contains(&"registry-push".to_owned()), "it does not import that");
    assert_eq!(std::fs::read(sandbox.kept(Digest::of(&plain()))).unwrap(), plain());
    // The file that it was added from is no longer needed.
    std::fs::remove_file(file).unwrap();
    process(&sandbox, "hostile").verified();
}

#[test]
fn at_a_terminal_the_user_is_asked() {
    let sandbox = Sandbox::new();
    let file = sandbox.component("hostile.wasm", &plain());
    let add = ["plugin", "add", file.as_str()];
    for no in [&b"n\n"[..], b"\n", b"yes, but\n", b"\x04", b"\x03"] {
        let said = sandbox.at_terminal(&add, no);
        let code = if no == b"\x03" { 130 } else { 1 };
        assert_eq!(said.code, code, "{said:?}");
        assert!(said.stdout.contains("while writing, create and replace files there"), "{said:?}");
        assert_eq!(sandbox.tree("home"), Tree::new(), "{no:?}");
    }
    let said = sandbox.at_terminal(&add, b"y\n");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(sandbox.kept(Digest::of(&plain())).exists());
    // There is no second question for permissions that were granted.
    let said = sandbox.at_terminal(&add, b"");
    assert_eq!((said.code, said.stdout.contains("[y/N]")), (0, false), "{said:?}");
}

#[test]
fn another_digest_needs_another_yes() {
    let sandbox = Sandbox::new();
    sandbox.add(&plain());
    // Simulates an earlier version with fewer permissions.
    sandbox.edit_record(", \"engine\"]", "]");
    let next = other_digest(&plain());
    let file = sandbox.component("next.wasm", &next);
    let before = sandbox.tree("home");
    let said = sandbox.run(&["plugin", "add", &file]);
    said.exits(2).says("It replaces 0.5.0 (sha256:").says("(engine), new\n");
    assert!(!said.stderr.contains("(storage), new"), "{}", said.stderr);
    assert_eq!(sandbox.tree("home"), before);
    sandbox.run(&["plugin", "add", "-q", "-y", &file]).exits(0);
    assert!(!sandbox.kept(Digest::of(&plain())).exists(), "the old one is gone");
    assert!(sandbox.kept(Digest::of(&next)).exists());
    assert_eq!(std::fs::read_to_string(sandbox.record()).unwrap().matches("[[plugin]]").count(), 1);
}

#[test]
fn a_component_that_was_changed_does_not_run() {
    let sandbox = with_image();
    sandbox.add(&plain());
    let kept = sandbox.kept(Digest::of(&plain()));
    std::fs::write(&kept, other_digest(&plain())).unwrap();
    let mut transcript = refused(&sandbox, "expected sha256:");
    sandbox.run(&["plugin", "show", "hostile"]).exits(1).says("expected sha256:");
    let listed = sandbox.run(&["plugin", "list"]);
    listed.exits(0).says("warning: plugin 'hostile'");
    assert!(listed.stdout.contains("hostile://"), "{listed:?}");
    std::fs::remove_file(&kept).unwrap();
    transcript += &refused(&sandbox, "no such file");
    // Added again, it is as it was.
    sandbox.add(&plain());
    process(&sandbox, "hostile").verified();
    for digest in [Digest::of(&plain()), Digest::of(&other_digest(&plain()))] {
        transcript = transcript.replace(&digest.hex()[..8], "");
    }
    insta::assert_snapshot!(transcript);
}

#[test]
fn a_record_that_was_changed_grants_nothing() {
    for (from, to, why) in [
        ("output/registry@0.1.0", "output/registry@0.1.1", "imports: granted"),
        ("\"engine\"]", "\"engine\", \"engine-load\"]", "permissions: granted"),
        ("\"storage-edit\", ", "", "permissions: granted"),
        ("schemes = [\"hostile\"]", "schemes = [\"hostile\", \"other\"]", "schemes: granted"),
        ("name = \"hostile\"", "name = \"friendly\"", "name: granted"),
        ("schemes = [\"hostile\"]", "schemes = [\"hostile\", \"dir\"]", "built-in plugin 'dir'"),
        ("version = 1\n", "version = 2\n", "version: expected 1, found 2"),
        ("granted = ", "extra = ", "unknown field"),
    ] {
        let sandbox = with_image();
        sandbox.add(&plain());
        sandbox.edit_record(from, to);
        refused(&sandbox, why);
    }
}

#[test]
fn a_record_that_everybody_may_write_is_not_believed() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = with_image();
    sandbox.add(&plain());
    for path in [sandbox.record(), sandbox.path(FOLDER)] {
        let good = std::fs::metadata(&path).unwrap().permissions();
        for (bit, why) in
            [(0o002, "can be written by every user"), (0o020, "can be written by its group")]
        {
            let open = std::fs::Permissions::from_mode(good.mode() | bit);
            std::fs::set_permissions(&path, open).unwrap();
            refused(&sandbox, why);
            std::fs::set_permissions(&path, good.clone()).unwrap();
        }
        // Only root can give something away.
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
            refused(&sandbox, "belongs to another user");
            std::os::unix::fs::chown(&path, Some(0), None).unwrap();
        }
    }
    process(&sandbox, "hostile").verified();
    let folder = sandbox.path("open").display().to_string();
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    let file = sandbox.component("hostile.wasm", &plain());
    let said = sandbox.run(&["plugin", "add", "--yes", &file, "--plugin-dir", &folder]);
    said.exits(1).says("can be written by every user");
    assert_eq!(sandbox.tree("open"), Tree::new());
}

#[test]
fn a_built_in_plugin_cannot_be_replaced() {
    let sandbox = Sandbox::new();
    let file = sandbox.component("dir.wasm", &describing("dir-scheme"));
    let said = sandbox.run(&["plugin", "add", "--yes", &file]);
    said.exits(1).says("answers to 'dir://', which the built-in plugin 'dir' does");
    let embedded = concat!(env!("CARGO_MANIFEST_DIR"), "/output/plugins/tar.wasm");
    let said = sandbox.run(&["plugin", "add", "--yes", embedded]);
    said.exits(1).says("plugin 'tar' has the name of a built-in plugin");
    assert_eq!(sandbox.tree("home"), Tree::new());
}

#[test]
fn an_installed_plugin_cannot_be_replaced_by_one_of_another_name() {
    let sandbox = Sandbox::new();
    sandbox.add(&called("another"));
    sandbox.edit_record("schemes = [\"another\"]", "schemes = [\"hostile\"]");
    let before = sandbox.tree("home");
    let file = sandbox.component("hostile.wasm", &plain());
    let said = sandbox.run(&["plugin", "add", "--yes", &file]);
    said.exits(1).says("'hostile://', which the installed plugin 'another' does");
    assert_eq!(sandbox.tree("home"), before);
}

#[test]
fn an_unknown_scheme_downloads_nothing() {
    let sandbox = with_image();
    let registry = Registry::start();
    let host = registry.url_host();
    for scheme in ["oci", "ghcr", "wasm", "http", "hostile"] {
        let to = format!("{scheme}://{host}/hostile:1");
        let said = sandbox.process(&sandbox.uri("tar", "in.tar"), &to, &["--insecure"]);
        said.exits(2);
        sandbox.run(&["verify", &to, "--insecure"]).exits(2);
    }
    assert_eq!(registry.requests().len(), 0);
    sandbox.assert_clean();
}

/// Compiled code runs unchecked: an attacker who could write it would control the host.
#[test]
fn machine_code_is_taken_from_nobody() {
    let sandbox = with_image();
    let engine = PluginEngine::new().unwrap();
    let compiled = engine.wasmtime().precompile_component(&plain()).unwrap();
    let file = sandbox.component("hostile.cwasm", &compiled);
    let mut said = vec![
        sandbox.run(&["plugin", "add", "--yes", &file]),
        sandbox.run(&["plugin", "show", &file]),
        sandbox.process(
            &sandbox.uri("tar", "in.tar"),
            &sandbox.uri("hostile", "out"),
            &["--plugin", &file],
        ),
    ];
    assert_eq!(sandbox.tree("home"), Tree::new());
    // Not even under its right digest.
    sandbox.add(&plain());
    let (plain, digest) = (Digest::of(&plain()), Digest::of(&compiled));
    sandbox.edit_record(&plain.to_string(), &digest.to_string());
    std::fs::write(sandbox.kept(digest), &compiled).unwrap();
    said.push(process(&sandbox, "hostile"));
    for said in said {
        said.exits(1).says("is machine code, which is never loaded");
    }
    assert_eq!(sandbox.tree("out"), Tree::new());
}

#[test]
fn two_that_add_at_once_are_both_recorded() {
    let sandbox = Sandbox::new();
    let names = ["alpha-1", "beta--2", "gamma-3", "delta-4", "epsil-5", "zeta--6"];
    let files = names.map(|name| sandbox.component(name, &called(name)));
    std::thread::scope(|scope| {
        for file in &files {
            scope.spawn(|| sandbox.run(&["plugin", "add", "-y", file]).exits(0).clone());
        }
    });
    let listed = sandbox.run(&["plugin", "list"]);
    for name in names {
        assert!(listed.exits(0).stdout.contains(name), "{listed:?}");
        assert!(sandbox.kept(Digest::of(&called(name))).exists());
    }
    std::thread::scope(|scope| {
        for name in names {
            scope.spawn(|| sandbox.run(&["plugin", "remove", name]).exits(0).clone());
        }
    });
    assert_eq!(sandbox.tree(FOLDER).len(), 1, "{:?}", sandbox.tree(FOLDER));
}

#[test]
fn files_of_a_killed_process_are_swept_away() {
    let sandbox = Sandbox::new();
    sandbox.add(&plain());
    let orphan = sandbox.kept(Digest::of(b"orphan"));
    let half = sandbox.path(FOLDER).join(".occystrap-Ab3x9Z");
    let notes = sandbox.path(FOLDER).join("notes.txt");
    for path in [&orphan, &half, &notes] {
        std::fs::write(path, "x").unwrap();
    }
    sandbox.add(&called("another"));
    assert!(!orphan.exists() && !half.exists());
    assert!(notes.exists(), "what is not ours stays");
    assert!(sandbox.kept(Digest::of(&plain())).exists());
}

#[test]
fn the_folder_is_where_the_user_wants_it() {
    let sandbox = with_image();
    let file = sandbox.component("hostile.wasm", &plain());
    let folder = sandbox.path("plugins").display().to_string();
    let add = ["plugin", "add", "-y", &file];
    Ran::of({
        let mut command = sandbox.command(&add);
        command.env("OCCYSTRAP_PLUGIN_DIR", &folder);
        command
    })
    .exits(0);
    assert!(sandbox.path("plugins/plugins.toml").exists());
    assert_eq!(sandbox.tree("home"), Tree::new());
    process(&sandbox, "hostile").exits(2).says("no plugin writes to 'hostile://'");
    let (from, to) = (sandbox.uri("tar", "in.tar"), sandbox.uri("hostile", "out"));
    sandbox.process(&from, &to, &["--plugin-dir", &folder]).verified();
    let mut homeless = sandbox.command(&add);
    homeless.env_remove("HOME");
    Ran::of(homeless).exits(2).says("there is no folder for plugins");
    let mut homeless = sandbox.command(&["plugin", "list"]);
    homeless.env_remove("HOME");
    Ran::of(homeless).exits(0);
}

#[test]
fn things_that_cannot_be_added() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("folder")).unwrap();
    std::fs::write(sandbox.path("text"), "hello").unwrap();
    std::fs::write(sandbox.path("module"), b"\0asm\x01\0\0\0").unwrap();
    let huge = std::fs::File::create(sandbox.path("huge")).unwrap();
    huge.set_len(1 << 40).unwrap();
    let mut transcript = String::new();
    for source in [
        "not-there",
        "folder",
        "text",
        "module",
        "huge",
        "/dev/zero",
        "https://example.com/x.wasm",
        "registry://example.com/x:1",
        "oci://example.com/x",
        "oci://example.com/x:1",
        "oci://example.com/x@sha256:12",
        "oci://example.com/x@sha512:12",
        "oci://me:hunter2@example.com/x:1",
        "oci://me:hunter2/3@example.com/x:1",
        "oci://example.com/x:1?tag=2",
        "oci://",
    ] {
        let said = sandbox.run(&["plugin", "add", "--yes", source]);
        assert!(said.code == 1 || said.code == 2, "{source}: {said:?}");
        assert!(!said.stderr.contains("hunter2"), "{}", said.stderr);
        let (code, text) = (said.code, sandbox.redact(&said.stderr));
        writeln!(transcript, "$ occystrap plugin add {source} (exit {code})\n{text}").unwrap();
    }
    sandbox.assert_clean();
    insta::assert_snapshot!(transcript.replace("hunter2", "[password]"));
}

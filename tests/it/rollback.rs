//! Commits that fail in the middle, end to end: the destination is unchanged.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::cli::{Ran, Sandbox};
use crate::support::hostile::Arena;
use crate::support::image::{Pack, TestImage, tar};
use crate::support::python::Python;
use crate::support::real::{installed, skip};
use crate::support::shape;
use crate::support::traced::under_strace;

/// A sandbox with an old image in `out`, and a new one of two layers in `in.tar`.
fn sandbox(to: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let layers = vec![tar(&[("one", b"1")]), tar(&[("two", b"2")])];
    let new = TestImage::with_layers("new:1", layers);
    shape::legacy(&[&TestImage::tiny("old:1")], Pack::Gzip).write(&sandbox.path("old.tar"));
    shape::legacy(&[&new], Pack::Gzip).write(&sandbox.path("in.tar"));
    sandbox.process(&sandbox.uri("tar", "old.tar"), &sandbox.uri("dir", to), &[]).verified();
    sandbox
}

/// The run fails, with these words, and nothing has changed.
#[track_caller]
fn fails(sandbox: &Sandbox, to: &str, words: &str) {
    let before = sandbox.tree("out");
    let said = sandbox.process(&sandbox.uri("tar", "in.tar"), &sandbox.uri("dir", to), &[]);
    said.exits(1).says(words);
    assert_eq!(sandbox.tree("out"), before);
}

#[test]
fn a_folder_in_the_place_of_the_last_file() {
    let sandbox = sandbox("out?unique_names=true");
    std::fs::create_dir_all(sandbox.path("out/manifest-new@1.json/x")).unwrap();
    fails(&sandbox, "out?unique_names=true", "manifest-new@1.json': it is a directory");
}

#[test]
fn a_file_in_the_place_of_a_folder() {
    let sandbox = sandbox("out");
    let layer = occystrap_base::oci::Digest::of(&tar(&[("two", b"2")])).hex();
    std::fs::write(sandbox.path("out").join(layer), "mine").unwrap();
    fails(&sandbox, "out", "layer.tar': not a directory");
}

#[test]
fn a_file_that_cannot_be_replaced() {
    let test = "a_file_that_cannot_be_replaced";
    let sandbox = sandbox("out");
    let catalog = sandbox.path("out/catalog.json");
    let immutable = |how: &str| {
        let mut chattr = Command::new("chattr");
        chattr.arg(how).arg(&catalog).output().is_ok_and(|output| output.status.success())
    };
    if !immutable("+i") {
        return skip(test, "a file cannot be made immutable here");
    }
    let before = sandbox.tree("out");
    let said = sandbox.process(&sandbox.uri("tar", "in.tar"), &sandbox.uri("dir", "out"), &[]);
    assert!(immutable("-i"));
    said.exits(1).says("catalog.json': operation not permitted");
    assert_eq!(sandbox.tree("out"), before);
}

#[test]
fn a_file_system_without_inodes() {
    let test = "a_file_system_without_inodes";
    let sandbox = Sandbox::new();
    let layers = (0..6_u8).map(|n| tar(&[("n", &[n])])).collect();
    let image = TestImage::with_layers("new:1", layers);
    shape::legacy(&[&TestImage::tiny("old:1")], Pack::Gzip).write(&sandbox.path("old.tar"));
    shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("in.tar"));
    let folder = sandbox.path("small");
    std::fs::create_dir(&folder).unwrap();
    for (inodes, exists) in [(14, true), (17, true), (20, true), (12, false), (16, false)] {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("nr_inodes={inodes}"), "tmpfs"]).arg(&folder);
        if !mount.output().is_ok_and(|output| output.status.success()) {
            return skip(test, "a tmpfs cannot be mounted here");
        }
        let to = sandbox.uri("dir", "small/out?unique_names=true");
        if exists {
            sandbox.process(&sandbox.uri("tar", "old.tar"), &to, &[]).verified();
        }
        let before = sandbox.tree("small");
        let said = sandbox.process(&sandbox.uri("tar", "in.tar"), &to, &[]);
        let after = sandbox.tree("small");
        Command::new("umount").arg(&folder).status().unwrap();
        said.exits(1).says("no space left on device");
        assert_eq!(after, before, "{inodes}");
    }
}

#[test]
fn a_plugin_that_writes_one_file_under_two_names() {
    let mut arena = Arena::new();
    let link = arena.sandbox.path("out/l");
    std::os::unix::fs::symlink(".", &link).unwrap();
    let before = arena.sandbox.tree("");
    for path in ["l/layer-1", "l/config", "l/l/l/layer-2"] {
        let said = arena.run(&format!("create={path}"), &[]);
        said.exits(1).says("plugin 'hostile' was stopped").says("are one file");
        assert_eq!(arena.sandbox.tree(""), before, "{path}");
    }
    arena.run("create=l/else", &["--verify=full"]).verified();
    std::fs::remove_file(&link).unwrap();
    arena = Arena::new();
    arena.run("create=else", &["--verify=full"]).verified();
}

#[test]
fn a_plugin_that_writes_what_no_file_can_be_called() {
    let arena = Arena::new();
    for (path, why) in [
        (&*"n".repeat(300), "a name of 300 bytes, 255 is the longest"),
        ("layer-1/x", "it is a folder of the same image"),
        ("catalog.json/x", "not a directory"),
        (".occystrap-commit.json", "temporary files"),
    ] {
        arena.run(&format!("create={path}"), &[]).exits(1).says(why);
        arena.untouched(path);
    }
}

/// A directory in which the name of one image has the manifest of another.
fn mixed_up(sandbox: &Sandbox, catalog: &serde_json::Value) {
    let path = sandbox.path("out/catalog.json");
    std::fs::write(path, catalog.to_string()).unwrap();
}

#[test]
fn a_name_with_the_manifest_of_another_image_is_no_source() {
    let sandbox = sandbox("out");
    let (from, to) = (sandbox.uri("dir", "out"), sandbox.uri("tar", "copy.tar"));
    for wrong in [
        json!({ "other": { "1": "manifest.json" } }),
        json!({ "old": { "2": "manifest.json" } }),
        json!({ "team/old": { "1": "manifest.json" } }),
        json!({ "old": { "sha256:0123": "manifest.json" } }),
    ] {
        mixed_up(&sandbox, &wrong);
        let said = sandbox.process(&from, &to, &[]);
        said.exits(1).says("found 'old:1'").says("hint: ");
        assert!(!Path::new(&sandbox.path("copy.tar")).exists());
        let said = sandbox.run(&["check", &from]);
        assert_eq!(said.code, 1, "{wrong}: {}", said.stdout);
        assert!(said.stdout.contains("found 'old:1'"), "{wrong}: {}", said.stdout);
        assert_ne!(sandbox.run(&["verify", &from]).code, 0, "{wrong}");
    }
    for right in [
        json!({ "old": { "1": "manifest.json" } }),
        json!({ "docker.io/library/old": { "1": "manifest.json" } }),
    ] {
        mixed_up(&sandbox, &right);
        sandbox.process(&from, &to, &[]).verified();
    }
    // Other programs, and 0.4.17, write the last part of a name, or none.
    let manifest = sandbox.path("out/manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap().replace("\n  ", "\n    ");
    mixed_up(&sandbox, &json!({ "team/old": { "1": "manifest.json" } }));
    for names in [r#""old:1""#, ""] {
        std::fs::write(&manifest, text.replace(r#""old:1""#, names)).unwrap();
        sandbox.process(&from, &to, &[]).verified();
    }
}

#[test]
fn a_directory_of_the_predecessor_with_one_manifest_is_read() {
    let test = "a_directory_of_the_predecessor_with_one_manifest_is_read";
    let Some(predecessor) = Python::find(test) else { return };
    let sandbox = Sandbox::new();
    let image = TestImage::tiny("team/app:1");
    shape::legacy(&[&image], Pack::Plain).write(&sandbox.path("in.tar"));
    let (from, to) = (sandbox.uri("tar", "in.tar"), sandbox.uri("dir", "out"));
    predecessor.process(&sandbox, &from, &to, &[]).exits(0);
    let said = sandbox.process(&sandbox.uri("dir", "out"), &sandbox.uri("tar", "out.tar"), &[]);
    said.verified();
}

#[test]
fn a_mount_in_the_way_is_named_with_the_command_that_shows_it() {
    let test = "a_mount_in_the_way_is_named_with_the_command_that_shows_it";
    if !installed(test, &["strace"]) {
        return;
    }
    for (to, fault, why) in [
        ("dir://out", "inject=renameat2:error=EBUSY", "a mount point cannot be replaced"),
        ("tar://out.tar", "inject=renameat:error=EBUSY", "a mount point cannot be replaced"),
        ("dir://out", "inject=linkat:error=EXDEV:when=2+", "on another file system"),
    ] {
        let sandbox = sandbox("out");
        sandbox.process("tar://old.tar", "tar://out.tar", &[]).verified();
        let before = (sandbox.tree("out"), std::fs::read(sandbox.path("out.tar")).unwrap());
        let said = Ran::of(under_strace(&sandbox, &["process", "tar://in.tar", to], &[fault]));
        said.exits(1).says(why).says("look with 'findmnt -T ");
        let after = (sandbox.tree("out"), std::fs::read(sandbox.path("out.tar")).unwrap());
        assert_eq!(after, before, "{to}");
    }
}

//! Destinations that cannot store an image: full, read-only, without permission, or something else already.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use regex::Regex;

use crate::support::bystander::Bystander;
use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage, noise, tar};
use crate::support::real::skip;
use crate::support::shape;

fn sandbox_with_source() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::new("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    let source = sandbox.uri("tar", "in.tar");
    (sandbox, source)
}

/// A small file system of its own; unmounted at the end. `None`, and a word why, where this user
/// cannot mount one.
struct Mount(PathBuf);

impl Mount {
    fn tmpfs(test: &str, path: PathBuf, options: &str) -> Option<Self> {
        std::fs::create_dir_all(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&path);
        match mount.output() {
            Ok(output) if output.status.success() => Some(Self(path)),
            _ => {
                skip(test, "a tmpfs cannot be mounted here");
                None
            }
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk() {
    let (sandbox, source) = sandbox_with_source();
    let Some(_small) = Mount::tmpfs("a_full_disk", sandbox.path("small"), "size=256k") else {
        return;
    };
    shape::legacy(&[&TestImage::tiny("old:1")], Pack::Gzip).write(&sandbox.path("old.tar"));
    // Side by side, any layer may be the first to find no room.
    let layer = Regex::new("'[0-9a-f…]+/layer.tar'").unwrap();
    let mut transcript = String::new();
    for to in [sandbox.uri("dir", "small/out"), sandbox.uri("tar", "small/out.tar")] {
        sandbox.process(&sandbox.uri("tar", "old.tar"), &to, &[]).verified();
        let before = sandbox.tree("small");
        let said = sandbox.process(&source, &to, &[]);
        assert_eq!(sandbox.tree("small"), before);
        sandbox.assert_clean();
        let said = sandbox.redact(&said.exits(1).stderr);
        transcript += &layer.replace(&said, "'[layer]/layer.tar'");
    }
    insta::assert_snapshot!(transcript);
}

/// More than all buffers between reading and writing hold.
#[test]
fn a_full_disk_while_a_filter_writes() {
    let sandbox = Sandbox::new();
    let test = "a_full_disk_while_a_filter_writes";
    let Some(_small) = Mount::tmpfs(test, sandbox.path("small"), "size=1m") else { return };
    let large = noise(7, 12 << 20);
    let layers = vec![tar(&[("large", &large)]), tar(&[("also", &large)])];
    let image = TestImage::with_layers("app:1", layers);
    shape::legacy(&[&image], Pack::Plain).write(&sandbox.path("in.tar"));
    let (from, to) = (sandbox.uri("tar", "in.tar"), sandbox.uri("dir", "small/out"));
    let said = sandbox.process(&from, &to, &["-f", "normalize-timestamps:ts=1"]);
    assert!(sandbox.tree("small").is_empty());
    said.exits(1).says("no space left on device");
}

#[test]
fn a_full_disk_in_the_temporary_folder() {
    let (sandbox, _) = sandbox_with_source();
    let test = "a_full_disk_in_the_temporary_folder";
    let Some(_small) = Mount::tmpfs(test, sandbox.path("small"), "size=256k") else { return };
    let archive = shape::legacy(&[&TestImage::new("app:1")], Pack::Plain).bytes();
    std::fs::write(sandbox.path("in.tar.zst"), crate::support::image::zstd(&archive)).unwrap();
    let small = sandbox.path("small").display().to_string();
    let from = sandbox.uri("tar", "in.tar.zst");
    let said = sandbox.process(&from, &sandbox.uri("tar", "out.tar"), &["--temp-dir", &small]);
    assert!(sandbox.tree("small").is_empty() && sandbox.tree("out.tar").is_empty());
    insta::assert_snapshot!(sandbox.redact(&said.exits(1).stderr));
}

#[test]
fn a_file_system_that_is_read_only() {
    let (sandbox, source) = sandbox_with_source();
    let test = "a_file_system_that_is_read_only";
    let Some(_mount) = Mount::tmpfs(test, sandbox.path("ro"), "size=64k,ro") else { return };
    let mut transcript = String::new();
    for to in
        [sandbox.uri("dir", "ro"), sandbox.uri("dir", "ro/new"), sandbox.uri("tar", "ro/out.tar")]
    {
        transcript += &sandbox.redact(&sandbox.process(&source, &to, &[]).exits(1).stderr);
    }
    assert!(sandbox.tree("ro").is_empty());
    insta::assert_snapshot!(transcript);
}

#[test]
fn a_full_disk_under_the_receipt() {
    let (sandbox, source) = sandbox_with_source();
    let test = "a_full_disk_under_the_receipt";
    let Some(_small) = Mount::tmpfs(test, sandbox.path("small"), "size=4k") else { return };
    std::fs::write(sandbox.path("small/all-of-it"), "x").unwrap();
    let before = sandbox.tree("small");
    let receipt = sandbox.path("small/receipt").display().to_string();
    let mut transcript = String::new();
    for (to, more) in [
        ("out", &["--receipt", &receipt][..]),
        ("raw", &["--receipt", &receipt, "--no-verify"]),
        ("all", &["--receipt", &receipt, "--all-platforms"]),
    ] {
        let scheme = if to == "all" { "oci-layout" } else { "dir" };
        let from = if to == "all" { sandbox.uri("oci-layout", "whole") } else { source.clone() };
        if to == "all" {
            sandbox.process(&source, &from, &[]).verified();
        }
        let said = sandbox.process(&from, &sandbox.uri(scheme, to), more);
        // Nothing of it is left, and the image is correct.
        assert_eq!(sandbox.tree("small"), before);
        sandbox.run(&["verify", &sandbox.uri(scheme, to)]).verified();
        transcript += &sandbox.redact(&said.exits(1).stderr);
    }
    insta::assert_snapshot!(transcript);
    let said =
        sandbox.process(&source, &sandbox.uri("dir", "out"), &["--receipt", &receipt, "-O=json"]);
    let image = &said.exits(1).json()["images"][0];
    assert_eq!(image["status"], "verified", "{image}");
    let message = image["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("the image has landed, but its receipt was not"), "{message}");
}

#[test]
fn a_limit_on_the_size_of_files() {
    // What `ulimit -f` sets; the kernel then answers "file too large", as a file system does whose
    // files cannot be larger.
    let mut old = Bystander::new();
    shape::legacy(&[&TestImage::new("app:1")], Pack::Gzip).write(&old.sandbox.path("in.tar"));
    for (scheme, name) in [("dir", "out"), ("tar", "out.tar"), ("dir", "new/folder")] {
        let source = old.sandbox.uri("tar", "in.tar");
        let plain = old.sandbox.command(&["process", &source, &old.sandbox.uri(scheme, name)]);
        let mut limited = Command::new("sh");
        // The signal that the limit sends is ignored, as a process under systemd has it.
        limited.args(["-c", "trap '' XFSZ; ulimit -f 200; exec \"$@\"", "sh"]);
        limited.arg(plain.get_program()).args(plain.get_args()).env_clear();
        limited.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let error = old.failed(scheme, &Ran::of(limited));
        writeln!(old.transcript, "{error}").unwrap();
    }
    insta::assert_snapshot!(old.transcript);
}

#[test]
fn a_destination_that_is_forbidden() {
    if rustix::process::geteuid().is_root() {
        // Root may write everywhere; an immutable folder or another user is needed to see it.
        as_nobody();
        return;
    }
    let (sandbox, source) = sandbox_with_source();
    let locked = sandbox.path("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, PermissionsExt::from_mode(0o555)).unwrap();
    forbidden(&sandbox, &source, &|command| command);
}

/// Runs the same as another user.
fn as_nobody() {
    let (sandbox, source) = sandbox_with_source();
    for folder in ["", "tmp", "home"] {
        std::fs::set_permissions(sandbox.path(folder), PermissionsExt::from_mode(0o777)).unwrap();
    }
    let locked = sandbox.path("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, PermissionsExt::from_mode(0o555)).unwrap();
    // Other users may not be able to enter the folder of the binary.
    let binary = sandbox.path("occystrap");
    std::fs::copy(env!("CARGO_BIN_EXE_occystrap"), &binary).unwrap();
    forbidden(&sandbox, &source, &|command| {
        let mut nobody = Command::new("setpriv");
        nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&binary);
        nobody.args(command.get_args()).current_dir("/").env_clear();
        nobody.env("PATH", "/usr/bin:/bin").env("TMPDIR", sandbox.path("tmp"));
        nobody
    });
}

fn forbidden(sandbox: &Sandbox, source: &str, run: &dyn Fn(Command) -> Command) {
    let mut transcript = String::new();
    for (scheme, name) in [("dir", "locked"), ("dir", "locked/new"), ("tar", "locked/out.tar")] {
        let said = Ran::of(run(sandbox.command(&["process", source, &sandbox.uri(scheme, name)])));
        transcript += &sandbox.redact(&said.exits(1).stderr);
        assert!(sandbox.tree("locked").is_empty());
    }
    insta::assert_snapshot!("a_destination_that_is_forbidden", transcript);
}

#[test]
fn a_destination_that_is_something_else() {
    let (sandbox, source) = sandbox_with_source();
    std::fs::write(sandbox.path("file"), "mine").unwrap();
    std::fs::create_dir(sandbox.path("folder")).unwrap();
    std::fs::create_dir(sandbox.path("catalogued")).unwrap();
    std::fs::write(sandbox.path("catalogued/catalog.json"), "[my own file]").unwrap();
    let before = sandbox.tree("");
    let mut transcript = String::new();
    for (scheme, name) in [
        ("dir", "file"),
        ("dir", "file/below"),
        ("tar", "folder"),
        ("tar", "not/there.tar"),
        ("dir", "catalogued"),
    ] {
        let said = sandbox.process(&source, &sandbox.uri(scheme, name), &[]);
        writeln!(transcript, "## {scheme} {name}\n{}", sandbox.redact(&said.exits(1).stderr))
            .unwrap();
        assert_eq!(sandbox.tree(""), before, "{scheme} {name}");
    }
    insta::assert_snapshot!(transcript);
}

#[test]
fn a_receipt_that_cannot_be_written_is_found_out_first() {
    let mut old = Bystander::new();
    shape::legacy(&[&TestImage::new("app:1")], Pack::Gzip).write(&old.sandbox.path("in.tar"));
    let source = old.sandbox.uri("tar", "in.tar");
    std::fs::create_dir(old.sandbox.path("folder")).unwrap();
    for (what, name) in
        [("no folder", "not-there/r"), ("a folder", "folder"), ("in a file", "in.tar/r")]
    {
        let receipt = old.sandbox.path(name).display().to_string();
        old.refuses_source(what, &source, &["--receipt", &receipt], || ());
    }
    assert!(old.sandbox.tree("folder").is_empty());
    insta::assert_snapshot!(old.transcript);
}

#[test]
fn a_destination_with_links_that_lead_out() {
    let (sandbox, source) = sandbox_with_source();
    let image = TestImage::new("app:1");
    std::fs::create_dir(sandbox.path("elsewhere")).unwrap();
    std::fs::create_dir(sandbox.path("out")).unwrap();
    let layer = image.layer_path(1);
    let (folder, _) = layer.split_once('/').unwrap();
    std::os::unix::fs::symlink("../elsewhere", sandbox.path("out").join(folder)).unwrap();
    let before = sandbox.tree("");
    let said = sandbox.process(&source, &sandbox.uri("dir", "out"), &[]);
    said.exits(1).says("leads out of the destination");
    let after = sandbox.tree("");
    assert!(sandbox.tree("elsewhere").is_empty());
    assert_eq!(after, before);
}

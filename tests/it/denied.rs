//! Files that the user has no permission to read: they are not called wrong, and not called verified.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage};
use crate::support::shape;

const NOBODY: u32 = 65534;

fn allow(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Runs as a user whose permissions are checked, and who may not enter the folder of the binary.
fn run(sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    let mut command = Command::new(sandbox.path("occystrap"));
    command.args(arguments).env_clear().env("HOME", sandbox.path("nowhere"));
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    Ran::of(command)
}

#[test]
fn files_that_may_not_be_read_are_unchecked() {
    for scheme in ["dir", "oci-layout", "tar"] {
        let sandbox = Sandbox::new();
        shape::legacy(&[&TestImage::new("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
        let receipt = sandbox.path("receipt").display().to_string();
        let to = sandbox.uri(scheme, "out");
        let source = sandbox.uri("tar", "in.tar");
        sandbox.process(&source, &to, &["--receipt", &receipt]).verified();
        std::fs::copy(env!("CARGO_BIN_EXE_occystrap"), sandbox.path("occystrap")).unwrap();
        allow(&sandbox.path(""), 0o755);
        allow(receipt.as_ref(), 0o644);
        // A file is its own only entry, without a name.
        for entry in sandbox.tree("out").keys().filter(|entry| !entry.is_empty()) {
            let path = sandbox.path("out").join(entry);
            let is_dir = path.is_dir();
            allow(&path, if is_dir { 0o755 } else { 0 });
        }
        if scheme == "tar" {
            allow(&sandbox.path("out"), 0);
        }
        for level in [&["verify", receipt.as_str()][..], &["verify", "--fast", &receipt]] {
            let said = run(&sandbox, level);
            said.exits(3).says("permission denied").says("1 UNCONFIRMED");
            assert!(!said.stderr.contains("repair it with"), "{}", said.stderr);
        }
    }
}

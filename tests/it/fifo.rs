//! Files named by the user that are not regular files: occystrap does not wait for a writer of a FIFO, and does not replace
//! a device.

use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage};
use crate::support::shape;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::new("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    let made = Command::new("mkfifo").arg(sandbox.path("ff")).status().unwrap();
    assert!(made.success());
    sandbox
}

/// Ends within some seconds, whatever it says.
#[track_caller]
fn ends(sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    let mut command = sandbox.command(arguments);
    let pipe = std::process::Stdio::piped;
    let mut child = command.stdout(pipe()).stderr(pipe()).spawn().unwrap();
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > Duration::from_secs(30) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{arguments:?} waits for ever");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ran::ended(child.wait_with_output().unwrap())
}

#[test]
fn nothing_waits_for_a_fifo() {
    let sandbox = sandbox();
    let registry = "registry://127.0.0.1:9/a:1";
    for arguments in [
        &["process", "tar://ff", "dir://x"][..],
        &["info", "tar://ff"],
        &["check", "tar://ff"],
        &["search", "tar://ff", "x"],
        &["verify", "tar://ff"],
        &["verify", "ff"],
        &["verify", "--untrusted", "--root", "/", "ff"],
        &["info", "--authfile", "ff", registry],
        &["info", "--ca-bundle", "ff", registry],
        &["process", "--layer-cache", "ff", "tar://in.tar", "registry://127.0.0.1:9/a:1"],
        &["plugin", "show", "./ff"],
        &["plugin", "list", "--plugin", "ff"],
        &["process", "tar://in.tar", "dir://x", "-f", "inspect:file=ff"],
    ] {
        let said = ends(&sandbox, arguments);
        assert_ne!(said.code, 0, "{arguments:?}: {}", said.stderr);
        assert!(said.stderr.contains("error: ") || !said.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_receipt_replaces_nothing_that_is_no_receipt() {
    let sandbox = sandbox();
    let source = std::fs::read(sandbox.path("in.tar")).unwrap();
    sandbox.process("tar://in.tar", "tar://out.tar", &[]).verified();
    std::os::unix::fs::symlink("in.tar", sandbox.path("link")).unwrap();
    std::os::unix::fs::symlink("nowhere/at/all", sandbox.path("dangling")).unwrap();
    std::fs::hard_link(sandbox.path("in.tar"), sandbox.path("hard")).unwrap();
    let mut transcript = String::new();
    for (to, receipt) in [
        ("dir://x", "ff"),
        ("dir://x", "/dev/null"),
        ("dir://x", "/dev/stdout"),
        ("dir://x", "in.tar"),
        ("dir://x", "./link"),
        ("dir://x", "hard"),
        ("dir://x", "dangling"),
        ("tar://out.tar", "out.tar"),
        ("tar://new.tar", "new.tar"),
    ] {
        let before =
            (sandbox.tree("out.tar"), sandbox.path("ff").symlink_metadata().unwrap().ino());
        let said = ends(&sandbox, &["process", "tar://in.tar", to, "--receipt", receipt]);
        said.exits(2);
        assert_eq!(
            before,
            (sandbox.tree("out.tar"), sandbox.path("ff").symlink_metadata().unwrap().ino())
        );
        assert!(!sandbox.path("x").exists() && !sandbox.path("new.tar").exists(), "{receipt}");
        transcript += &format!("## {receipt}\n{}", sandbox.redact(&said.stderr));
    }
    assert!(std::fs::read(sandbox.path("in.tar")).unwrap() == source);
    assert!(!std::path::Path::new("/dev/null").is_file());
    insta::assert_snapshot!(transcript);

    // A link to a receipt stays one.
    std::fs::write(sandbox.path("old"), "{\"occystrap_receipt\": 1}").unwrap();
    std::os::unix::fs::symlink("old", sandbox.path("latest")).unwrap();
    sandbox.process("tar://in.tar", "dir://x", &["--receipt", "latest"]).verified();
    assert!(sandbox.path("latest").is_symlink());
    sandbox.run(&["verify", "old"]).verified();
}

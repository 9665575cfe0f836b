//! Ctrl-C in the middle: exit code 130, and no trace of the run is visible.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::bombs;
use crate::support::bystander::Bystander;
use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage, gzip, tar};
use crate::support::push::push;
use crate::support::registry::{ALWAYS, Fault, Registry};
use crate::support::shape;

/// Longer than a run needs to hear a signal, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(child: &Child, name: &str) {
    let process = rustix::process::Pid::from_child(child);
    let signal = match name {
        "INT" => rustix::process::Signal::INT,
        "TERM" => rustix::process::Signal::TERM,
        "HUP" => rustix::process::Signal::HUP,
        _ => rustix::process::Signal::KILL,
    };
    rustix::process::kill_process(process, signal).unwrap();
}

/// Starts to move an image whose second layer stops in the middle, waits until it does, and sends a
/// signal.
fn stopped(old: &Bystander, scheme: &str, to: &str, name: &str, fault: Fault) -> Ran {
    let registry = Registry::start();
    let image = TestImage::new("team/app:1");
    let source = push(&registry, &image, Pack::Gzip);
    let layer = occystrap_base::oci::Digest::of(&gzip(&image.layers[1]));
    registry.fault("GET", &format!("/blobs/{layer}"), fault, ALWAYS);
    let mut command = old.sandbox.command(&["process", &source, &old.sandbox.uri(scheme, to)]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // All layers were asked for, so that the first is there and the second on its way.
    wait_until("the layers were not asked for", || {
        registry.requests_of("GET", "/blobs/").len() >= 4
    });
    std::thread::sleep(Duration::from_millis(50));
    signal(&child, name);
    let started = Instant::now();
    let said = Ran::ended(child.wait_with_output().unwrap());
    assert!(started.elapsed() < Duration::from_secs(5), "{scheme} {name}: {:?}", started.elapsed());
    said
}

#[test]
fn a_signal_while_a_layer_hangs() {
    let mut transcript = String::new();
    for fault in
        [Fault::HangAfter(100_000), Fault::HangAfter(0), Fault::Delay(Duration::from_secs(30))]
    {
        for (scheme, to) in [("dir", "out"), ("tar", "out.tar"), ("dir", "new/folder")] {
            for name in ["INT", "TERM", "HUP"] {
                let old = Bystander::new();
                let said = stopped(&old, scheme, to, name, fault.clone());
                said.exits(130);
                old.untouched(&format!("{scheme} {name} {fault:?}"));
                transcript = old.sandbox.redact(&said.stderr);
            }
        }
    }
    insta::assert_snapshot!(transcript, @r"
    error: interrupted; the destination was left as it was
    Summary: 0/1 images, 0 layers, 0 B, [s], 0/1 verified
    ");
}

#[test]
fn a_run_under_nohup_continues_when_the_terminal_is_closed() {
    let old = Bystander::new();
    let registry = Registry::start();
    let source = push(&registry, &TestImage::new("team/app:1"), Pack::Gzip);
    registry.fault("GET", "/manifests/", Fault::Delay(Duration::from_millis(500)), 1);
    let to = old.sandbox.uri("dir", "out");
    let own = old.sandbox.command(&["process", &source, &to]);
    // This is what `nohup` does.
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(own.get_program());
    command
        .args(own.get_args())
        .envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    wait_until("the manifest was not asked for", || {
        !registry.requests_of("GET", "/manifests/").is_empty()
    });
    signal(&child, "HUP");
    Ran::ended(child.wait_with_output().unwrap()).verified();
}

#[test]
fn a_kill_leaves_nothing_either() {
    // Files get their names at the end: there is nothing to clean up.
    for (scheme, to) in [("dir", "out"), ("tar", "out.tar")] {
        let old = Bystander::new();
        stopped(&old, scheme, to, "KILL", Fault::HangAfter(100_000)).exits(137);
        old.untouched(scheme);
    }
}

#[test]
fn a_signal_while_the_manifest_hangs() {
    let old = Bystander::new();
    let registry = Registry::start();
    let source = push(&registry, &TestImage::new("team/app:1"), Pack::Gzip);
    registry.fault("GET", "/manifests/", Fault::HangAfter(10), ALWAYS);
    let mut command =
        old.sandbox.command(&["process", &source, &old.sandbox.uri("dir", "out"), "-O", "json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the manifest was not asked for", || {
        !registry.requests_of("GET", "/manifests/").is_empty()
    });
    signal(&child, "INT");
    let said = Ran::ended(child.wait_with_output().unwrap());
    said.exits(130);
    assert_eq!(said.json()["images"][0]["status"], "error");
    old.untouched("while the manifest hangs");
}

#[test]
fn a_signal_while_a_plugin_is_compiled() {
    let old = Bystander::new();
    let plugin = old.sandbox.path("slow.wasm");
    std::fs::write(&plugin, bombs::holding(&bombs::branches(380_000))).unwrap();
    let plugin = plugin.display().to_string();
    let to = old.sandbox.uri("dir", "out");
    for arguments in [
        vec!["plugin", "add", "--yes", &plugin],
        vec!["plugin", "test", &plugin],
        vec!["process", "--plugin", &plugin, "tar://in.tar", &to],
        vec!["verify", "--plugin", &plugin, &to],
    ] {
        let mut command = old.sandbox.command(&arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        signal(&child, "TERM");
        let started = Instant::now();
        let said = Ran::ended(child.wait_with_output().unwrap());
        assert!(started.elapsed() < Duration::from_secs(5), "{arguments:?}");
        said.exits(130).says("error: interrupted");
        old.untouched(arguments[0]);
    }
}

#[test]
fn a_terminal_that_is_closed_is_an_interruption() {
    let old = Bystander::new();
    let registry = Registry::start();
    let source = push(&registry, &TestImage::new("team/app:1"), Pack::Gzip);
    registry.fault("GET", "/blobs/", Fault::HangAfter(10), ALWAYS);
    let mut command = old.sandbox.command(&["process", &source, &old.sandbox.uri("dir", "out")]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("no layer was asked for", || !registry.requests_of("GET", "/blobs/").is_empty());
    drop((child.stdout.take(), child.stderr.take()));
    signal(&child, "HUP");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    old.untouched("a terminal that is closed");
}

/// A pipe that its reader does not read holds up every write to it.
#[test]
fn a_signal_ends_a_command_whose_output_is_not_read() {
    let sandbox = Sandbox::new();
    let files: Vec<(String, &[u8])> =
        (0..20_000).map(|number| (format!("a-long-name-of-a-file/{number}"), &b""[..])).collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (&**name, *bytes)).collect();
    let image = TestImage::with_layers("app:1", vec![tar(&files)]);
    shape::legacy(&[&image], Pack::Plain).write(&sandbox.path("in.tar"));
    for name in ["INT", "TERM"] {
        for arguments in [
            &["search", "tar://in.tar", "*"][..],
            &["search", "-O", "json", "tar://in.tar", "*"],
            &["info", "--tree", "-O", "json", "tar://in.tar"],
            &["export", "tar://in.tar", "-o", "-"],
        ] {
            let mut command = sandbox.command(arguments);
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            let output = child.stdout.take().unwrap();
            // A pipe holds 64 KiB.
            wait_until("the pipe is not full", || {
                rustix::io::ioctl_fionread(&output).unwrap() > 60_000
            });
            std::thread::sleep(Duration::from_millis(100));
            ends(&mut child, name, &format!("{arguments:?}"));
        }
    }
}

/// Sends a signal, and checks that the process ends with the exit code of an interruption.
fn ends(child: &mut Child, name: &str, what: &str) {
    signal(child, name);
    let started = Instant::now();
    let code = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status.code(),
            None if started.elapsed() > PATIENCE => {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("{what}: does not end after {name}");
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    assert_eq!(code, Some(130), "{what} {name}");
}

#[test]
fn a_signal_ends_an_export_to_a_fifo_without_a_reader() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::tiny("app:1")], Pack::Plain).write(&sandbox.path("in.tar"));
    let (fifo, mode) = (sandbox.path("fifo"), rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let mut command = sandbox.command(&["export", "tar://in.tar", "-o", "fifo"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // The handler of signals is in place long before, and the open waits for a reader.
    std::thread::sleep(Duration::from_secs(1));
    assert!(child.try_wait().unwrap().is_none());
    ends(&mut child, "INT", "export to a FIFO");
}

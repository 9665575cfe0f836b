//! A process that is killed, or that fails, in its commit, while another one writes into the same directory.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::cli::{Ran, Sandbox, Tree};
use crate::support::image::{Pack, TestImage, tar};
use crate::support::real::installed;
use crate::support::shape;
use crate::support::traced::under_strace;

/// Longer than a busy machine needs to start a process.
const PATIENCE: Duration = Duration::from_secs(20);

/// Microseconds that a call waits: until the other process has come to the lock.
const WAIT: &str = "delay_enter=1500000";

/// Two images with a layer in common, and a directory that has another one, or is missing.
fn sandbox(exists: bool) -> Sandbox {
    let sandbox = Sandbox::new();
    let shared = tar(&[("shared", b"in both")]);
    for name in ["one", "two"] {
        let own = tar(&[("own", name.as_bytes())]);
        let image = TestImage::with_layers(&format!("{name}:1"), vec![shared.clone(), own]);
        shape::legacy(&[&image], Pack::Plain).write(&sandbox.path(&format!("{name}.tar")));
    }
    if exists {
        shape::legacy(&[&TestImage::tiny("old:1")], Pack::Plain).write(&sandbox.path("old.tar"));
        sandbox.process(&sandbox.uri("tar", "old.tar"), &to(&sandbox), &[]).verified();
    }
    sandbox
}

fn to(sandbox: &Sandbox) -> String {
    sandbox.uri("dir", "work/out?unique_names=true")
}

/// Starts to move an image with a fault, and waits until its commit has begun.
fn begun(sandbox: &Sandbox, name: &str, faults: &[&str]) -> Child {
    let source = sandbox.uri("tar", &format!("{name}.tar"));
    let mut command = under_strace(sandbox, &["process", &source, &to(sandbox)], faults);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    let is_there = || sandbox.tree("work").keys().any(|path| path.ends_with("commit.json"));
    while !is_there() {
        assert!(started.elapsed() < PATIENCE, "{name}: no commit has begun");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

/// Returns the files after one image was written alone.
fn alone(exists: bool) -> Tree {
    let sandbox = sandbox(exists);
    sandbox.process(&sandbox.uri("tar", "two.tar"), &to(&sandbox), &[]).verified();
    sandbox.tree("work")
}

#[test]
fn a_waiting_process_undoes_a_killed_one() {
    let test = "a_waiting_process_undoes_a_killed_one";
    if !installed(test, &["strace"]) {
        return;
    }
    for exists in [true, false] {
        let sandbox = sandbox(exists);
        std::fs::create_dir_all(sandbox.path("work")).unwrap();
        let wait = format!("inject=linkat:{WAIT}:when=4");
        let killed = begun(&sandbox, "one", &[&wait]);
        let two = sandbox.uri("tar", "two.tar");
        let mut other = sandbox.command(&["process", &two, &to(&sandbox), "--verify=full"]);
        let other = other.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        kill_with_children(killed);
        Ran::ended(other.wait_with_output().unwrap()).verified();
        assert_eq!(sandbox.tree("work"), alone(exists));
    }
}

/// Kills a tracer and the process that it traces.
fn kill_with_children(mut child: Child) {
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let traced = std::fs::read_to_string(children).unwrap();
    for number in traced.split_whitespace() {
        let process = rustix::process::Pid::from_raw(number.parse().unwrap()).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    }
    child.wait().unwrap();
}

#[test]
fn a_waiting_process_does_not_rely_on_one_that_fails() {
    let test = "a_waiting_process_does_not_rely_on_one_that_fails";
    if !installed(test, &["strace"]) {
        return;
    }
    let sandbox = sandbox(true);
    // The layers are there when the other process looks, and gone when it writes.
    let fails = begun(&sandbox, "one", &[&format!("inject=renameat:error=ENOSPC:{WAIT}:when=1")]);
    let two = sandbox.uri("tar", "two.tar");
    let said = sandbox.process(&two, &to(&sandbox), &["--verify=full"]);
    Ran::ended(fails.wait_with_output().unwrap()).exits(1).says("no space left on device");
    said.verified();
    assert_eq!(sandbox.tree("work"), alone(true));
}

#[test]
fn eight_at_once_with_kills_between_lose_nothing() {
    let sandbox = sandbox(true);
    let all: Vec<String> = (0..8).map(|n| format!("app{n}:1")).collect();
    for name in &all {
        let shared = tar(&[("shared", b"in all")]);
        let own = tar(&[("own", name.as_bytes())]);
        let image = TestImage::with_layers(name, vec![shared, own]);
        shape::legacy(&[&image], Pack::Plain).write(&sandbox.path(&format!("{name}.tar")));
    }
    let start = |name: &String| {
        let source = sandbox.uri("tar", &format!("{name}.tar"));
        let mut command = sandbox.command(&["process", &source, &to(&sandbox)]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for round in 0..6 {
        let mut running: Vec<Child> = all.iter().map(start).collect();
        std::thread::sleep(Duration::from_millis(20 + round * 15));
        for child in running.iter_mut().step_by(2) {
            let _ = child.kill();
        }
        for (n, child) in running.into_iter().enumerate() {
            let said = Ran::ended(child.wait_with_output().unwrap());
            assert!(said.code == 0 || (n % 2 == 0 && said.code == 137), "{n}: {}", said.stderr);
        }
    }
    for name in &all {
        Ran::ended(start(name).wait_with_output().unwrap()).verified();
    }
    sandbox.run(&["verify", &sandbox.uri("dir", "work/out")]).verified().says("9/9 verified");
    let left = sandbox.tree("work").into_keys().filter(|path| path.contains(".occystrap-"));
    assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new());
}

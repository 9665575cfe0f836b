//! A mirror that is killed or interrupted goes on where it was: what has landed is not sent again.

use std::process::{Child, Stdio};
use std::time::Duration;

use crate::support::cli::Sandbox;
use crate::support::mirrored::{FILE, Mirrored, mirror};
use crate::support::registry::{ALWAYS, Fault, Registry};

/// Starts a run that sends one image at a time.
fn start(sandbox: &Sandbox) -> Child {
    let mut command =
        sandbox.command(&["mirror", "run", FILE, "--insecure", "--image-parallel", "1", "-j", "1"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn signal(child: &Child, name: &str) {
    let sent = std::process::Command::new("kill").args([name, &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

/// Blobs that a registry has received, those that it received twice included.
fn uploads(registry: &Registry) -> Vec<String> {
    let requests = registry.requests_of("PUT", "/blobs/uploads/");
    let digest = |path: &str| path.split("digest=").nth(1).unwrap().to_owned();
    requests.iter().map(|request| digest(&request.path)).collect()
}

/// Stops a run after so many uploads, and returns what it had sent.
fn stopped(sandbox: &Sandbox, destination: &Registry, after: usize, name: &str) -> (i32, String) {
    destination.fault("PUT", "/blobs/uploads/", Fault::Delay(Duration::from_millis(30)), ALWAYS);
    let child = start(sandbox);
    while uploads(destination).len() < after {
        std::thread::sleep(Duration::from_millis(2));
    }
    signal(&child, name);
    let output = child.wait_with_output().unwrap();
    destination.mend();
    (output.status.code().unwrap_or(-1), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_run_that_was_killed_goes_on_and_sends_nothing_twice() {
    for after in [1, 3, 6, 9] {
        let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
        let many = Mirrored::at(&source, 2, 2);
        many.write_file(&sandbox, &format!("{}/mirror/{{name}}", destination.url_host()), &[]);
        let (code, _) = stopped(&sandbox, &destination, after, "-KILL");
        assert_eq!(code, -1);
        mirror(&sandbox, "run", &[]).exits(0).says("4/4 images").says("4 verified");
        let mut sent = uploads(&destination);
        let all = sent.len();
        sent.sort_unstable();
        sent.dedup();
        // One upload may have been in work when the process ended.
        assert!(all - sent.len() <= 1, "{after}: {all} uploads of {} blobs", sent.len());
        assert_eq!(sent.len(), 1 + 2 + 4 + 4);
        mirror(&sandbox, "run", &[]).exits(0).says("4 unchanged");
    }
}

#[test]
fn an_interrupted_run_says_how_it_goes_on() {
    for name in ["-INT", "-TERM"] {
        let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
        let many = Mirrored::at(&source, 2, 2);
        many.write_file(&sandbox, &format!("{}/mirror/{{name}}", destination.url_host()), &[]);
        let (code, said) = stopped(&sandbox, &destination, 5, name);
        assert_eq!(code, 130, "{said}");
        assert!(said.contains("'occystrap mirror run mirror.yaml' goes on"), "{said}");
        let ran = mirror(&sandbox, "run", &[]);
        ran.exits(0).says("Going on with run 1: ").says("4/4 images");
    }
}

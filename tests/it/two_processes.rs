//! Two processes that both start to write into a directory that does not exist yet.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use occystrap_base::oci::Digest;

use crate::support::cli::{Ran, Sandbox, Tree};
use crate::support::image::{Pack, TestImage, gzip, tar};
use crate::support::push::push;
use crate::support::registry::{ALWAYS, Fault, Registry};
use crate::support::shape;

/// Longer than a busy machine needs to start a process.
const PATIENCE: Duration = Duration::from_secs(10);

/// A move of an image whose first layer meets a fault: it has begun when this returns.
fn begun(sandbox: &Sandbox, registry: &Registry, name: &str, fault: Fault) -> Child {
    let image = TestImage::new(name);
    let source = push(registry, &image, Pack::Gzip);
    let path = format!("/blobs/{}", Digest::of(&gzip(&image.layers[0])));
    registry.fault("GET", &path, fault, ALWAYS);
    let to = format!("{}?unique_names=true", sandbox.uri("dir", "new/folder"));
    let mut command = sandbox.command(&["process", &source, &to]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while registry.requests_of("GET", &path).is_empty() {
        assert!(started.elapsed() < PATIENCE, "{name}: its layer was not asked for");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[test]
fn the_one_that_fails_takes_nothing_away_under_the_other() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let fails = begun(&sandbox, &registry, "fails:1", Fault::HangAfter(10));
    // Still waiting when the other is gone.
    let lands = begun(&sandbox, &registry, "lands:1", Fault::Delay(Duration::from_millis(1500)));
    let process = rustix::process::Pid::from_child(&fails);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    Ran::ended(fails.wait_with_output().unwrap()).exits(130);
    assert_eq!(sandbox.tree("new"), Tree::new());
    Ran::ended(lands.wait_with_output().unwrap()).verified();
    sandbox.run(&["verify", &sandbox.uri("dir", "new/folder")]).verified().says("1/1 verified");
    sandbox.assert_clean();
}

#[test]
fn both_are_in_the_catalog() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let delay = Fault::Delay(Duration::from_millis(300));
    let both = ["one:1", "two:1"].map(|name| begun(&sandbox, &registry, name, delay.clone()));
    for child in both {
        Ran::ended(child.wait_with_output().unwrap()).verified();
    }
    sandbox.run(&["verify", &sandbox.uri("dir", "new/folder")]).verified().says("2/2 verified");
}

#[test]
fn a_process_that_waits_for_a_lock_says_so() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::tiny("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    std::fs::create_dir(sandbox.path("out")).unwrap();
    let folder = std::fs::File::open(sandbox.path("out")).unwrap();
    folder.lock().unwrap();
    let mut command = sandbox.command(&["process", "tar://in.tar", "dir://out"]);
    let pipe = std::process::Stdio::piped;
    let child = command.stdout(pipe()).stderr(pipe()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    folder.unlock().unwrap();
    let said = Ran::ended(child.wait_with_output().unwrap());
    said.verified().says("warning: waiting for another occystrap, which has locked 'out'");
}

/// The file system gives the inode of a file that was replaced to the next new one.
#[test]
fn an_image_that_was_replaced_twice_before_it_was_verified_is_not_called_damaged() {
    let sandbox = Sandbox::new();
    let sources: Vec<String> = (0..6)
        .map(|n: u8| {
            let layer = tar(&[("number", &[n])]);
            let file = format!("{n}.tar");
            let image = TestImage::with_layers("app:1", vec![layer]);
            shape::legacy(&[&image], Pack::Plain).write(&sandbox.path(&file));
            sandbox.uri("tar", &file)
        })
        .collect();
    for to in ["dir://one", "dir://many?unique_names=true", "oci-layout://layout"] {
        for _ in 0..15 {
            let start = |source: &String| {
                let mut command = sandbox.command(&["process", source, to]);
                command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            };
            let running: Vec<Child> = sources.iter().map(start).collect();
            for child in running {
                let said = Ran::ended(child.wait_with_output().unwrap());
                assert_eq!(said.code, 0, "{to}: {}", said.stderr);
            }
        }
    }
}

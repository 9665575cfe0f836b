//! File systems without unnamed files, simulated by a filter of system calls: a signal leaves nothing behind, and the run
//! after a kill removes what the killed one left.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::cli::{Ran, Sandbox, Tree};
use crate::support::image::{Pack, TestImage, noise, tar};
use crate::support::real::{installed, skip};
use crate::support::shape;

/// Compiles the filter; `None`, and the test's name, where that cannot be done.
fn filter(test: &str, sandbox: &Sandbox) -> Option<()> {
    if !installed(test, &["cc"]) {
        return None;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/support/no_tmpfile.c");
    let mut compiler = Command::new("cc");
    compiler.arg("-o").arg(sandbox.path("filter")).arg(source);
    let done = compiler.output().unwrap();
    if !done.status.success() {
        skip(test, "the filter cannot be compiled here");
        return None;
    }
    Some(())
}

fn filtered(sandbox: &Sandbox, arguments: &[&str]) -> Command {
    let plain = sandbox.command(arguments);
    let mut command = Command::new(sandbox.path("filter"));
    command.arg(plain.get_program()).args(plain.get_args()).env_clear();
    command.current_dir(sandbox.path(""));
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// Layers that take some tenths of a second to compress.
fn large() -> TestImage {
    let layers = (0..4).map(|n| tar(&[("noise", &noise(n, 6_000_000))])).collect();
    TestImage::with_layers("big:1", layers)
}

fn parts(sandbox: &Sandbox) -> Vec<String> {
    let all = sandbox.tree("work").into_keys().chain(sandbox.tree("tmp").into_keys());
    all.filter(|name| name.contains(".occystrap-")).collect()
}

#[test]
fn every_output_lands_and_replaces() {
    let test = "every_output_lands_and_replaces";
    let sandbox = Sandbox::new();
    let Some(()) = filter(test, &sandbox) else { return };
    std::fs::create_dir(sandbox.path("work")).unwrap();
    for name in ["one:1", "two:2", "two:2"] {
        shape::legacy(&[&TestImage::tiny(name)], Pack::Gzip).write(&sandbox.path("in.tar"));
        for (scheme, to) in [
            ("dir", "d"),
            ("dir", "u?unique_names=true"),
            ("oci-layout", "deep/l"),
            ("tar", "t.tar"),
        ] {
            let to = sandbox.uri(scheme, &format!("work/{to}"));
            let source = sandbox.uri("tar", "in.tar");
            Ran::of(filtered(&sandbox, &["process", &source, &to, "--verify=full"])).verified();
            assert_eq!(parts(&sandbox), Vec::<String>::new(), "{to}");
        }
    }
    sandbox.run(&["verify", &sandbox.uri("dir", "work/u")]).verified().says("2/2 verified");
    // A commit that fails is taken back there as well.
    let manifest = sandbox.path("work/d/catalog.json");
    std::fs::remove_file(&manifest).unwrap();
    std::fs::create_dir(&manifest).unwrap();
    let before = sandbox.tree("work");
    let to = sandbox.uri("dir", "work/d");
    Ran::of(filtered(&sandbox, &["process", &sandbox.uri("tar", "in.tar"), &to])).exits(1);
    assert_eq!(sandbox.tree("work"), before);
}

#[test]
fn a_signal_leaves_nothing_and_a_kill_nothing_after_the_next_run() {
    let test = "a_signal_leaves_nothing_and_a_kill_nothing_after_the_next_run";
    let sandbox = Sandbox::new();
    let Some(()) = filter(test, &sandbox) else { return };
    std::fs::create_dir(sandbox.path("work")).unwrap();
    shape::legacy(&[&large()], Pack::Plain).write(&sandbox.path("big.tar"));
    shape::legacy(&[&TestImage::tiny("small:1")], Pack::Plain).write(&sandbox.path("small.tar"));
    let (big, small) = (sandbox.uri("tar", "big.tar"), sandbox.uri("tar", "small.tar"));
    let to = sandbox.uri("oci-layout", "work");
    let mut began = [0; 4];
    for wait in [30, 60, 90, 120, 200] {
        for (index, signal) in [
            rustix::process::Signal::INT,
            rustix::process::Signal::TERM,
            rustix::process::Signal::HUP,
            rustix::process::Signal::KILL,
        ]
        .into_iter()
        .enumerate()
        {
            let mut command = filtered(&sandbox, &["process", &big, &to]);
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let started = std::time::Instant::now();
            while parts(&sandbox).is_empty() && started.elapsed() < Duration::from_secs(10) {
                std::thread::sleep(Duration::from_millis(2));
            }
            began[index] += usize::from(!parts(&sandbox).is_empty());
            std::thread::sleep(Duration::from_millis(wait - 30));
            let process = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(process, signal).unwrap();
            let said = Ran::ended(child.wait_with_output().unwrap());
            if signal == rustix::process::Signal::KILL {
                Ran::of(filtered(&sandbox, &["process", &small, &to])).verified();
            } else {
                said.exits(130);
            }
            assert_eq!(parts(&sandbox), Vec::<String>::new(), "{signal:?} {wait}");
            for entry in sandbox.path("work").read_dir().unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => std::fs::remove_dir_all(path).unwrap(),
                    false => std::fs::remove_file(path).unwrap(),
                }
            }
            assert_eq!(sandbox.tree("work"), Tree::new());
        }
    }
    assert!(began.iter().all(|times| *times > 2), "{began:?}: no file was begun before the signal");
}

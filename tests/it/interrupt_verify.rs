//! Ctrl-C while many receipts are verified: the run ends soon, reports the interruption once, and does not count what was
//! not checked.

use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use occystrap::pipeline::verify_each;
use occystrap_base::error::Error;
use occystrap_images::level::Level;
use occystrap_verify::subject::Subject;

use crate::support::cli::{Ran, Sandbox};
use crate::support::context::context;
use crate::support::image::{Pack, TestImage};
use crate::support::push::to;
use crate::support::registry::{ALWAYS, Fault, Registry};
use crate::support::shape;

const RECEIPTS: usize = 300;

/// Many receipts for an image at a registry that does not answer any more.
fn receipts(sandbox: &Sandbox, registry: &Registry) -> Vec<String> {
    shape::legacy(&[&TestImage::tiny("app:1")], Pack::Plain).write(&sandbox.path("in.tar"));
    let first = sandbox.path("r.json").display().to_string();
    let (from, to) = (sandbox.uri("tar", "in.tar"), to(registry, "team/app:1"));
    sandbox.process(&from, &to, &["--receipt", &first]).verified();
    let names: Vec<String> = (0..RECEIPTS).map(|index| format!("r{index}.json")).collect();
    for name in &names {
        std::fs::hard_link(&first, sandbox.path(name)).unwrap();
    }
    registry.fault("HEAD", "/v2/", Fault::Delay(Duration::from_secs(60)), ALWAYS);
    registry.fault("GET", "/v2/", Fault::Delay(Duration::from_secs(60)), ALWAYS);
    names
}

/// Runs a command until it has asked the registry for something, and interrupts it.
fn interrupted(sandbox: &Sandbox, registry: &Registry, words: &[&str]) -> Ran {
    let before = registry.requests().len();
    let mut command = sandbox.command(words);
    let child: Child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while registry.requests().len() == before {
        assert!(started.elapsed() < Duration::from_secs(20), "the registry was not asked");
        std::thread::sleep(Duration::from_millis(5));
    }
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let started = Instant::now();
    let said = Ran::ended(child.wait_with_output().unwrap());
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    said
}

#[test]
fn one_line_says_that_the_verification_of_many_was_interrupted() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let names = receipts(&sandbox, &registry);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for workers in ["1", "4"] {
        let options = ["verify", "--fast", "-J", workers];
        let said = interrupted(&sandbox, &registry, &[&options[..], &names].concat());
        said.exits(130).says("Summary: 0/1 images");
        assert_eq!(said.stderr.matches("interrupted").count(), 1, "{}", said.stderr);
        let json = [&options[..], &["-O", "json"], &names].concat();
        let said = interrupted(&sandbox, &registry, &json);
        let document = said.exits(130).json();
        assert_eq!(document["images"].as_array().unwrap().len(), 1, "{document}");
        assert_eq!(document["summary"]["images"], 1, "{document}");
    }
}

#[test]
fn the_summary_of_untrusted_receipts_is_the_last_line_after_an_interruption() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let names = receipts(&sandbox, &registry);
    let host = registry.url_host();
    let options = ["verify", "--untrusted", "--insecure", "--allow-registry", &host, "-J", "2"];
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let said = interrupted(&sandbox, &registry, &[&options[..], &names].concat());
    said.exits(130);
    let last = said.stderr.lines().last().unwrap();
    assert!(last.starts_with("Summary: 0/0 receipts"), "{}", said.stderr);
    assert_eq!(said.stderr.matches("error: interrupted").count(), 1, "{}", said.stderr);
}

#[test]
fn nothing_is_opened_after_an_interruption() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let targets: Vec<usize> = (0..200).collect();
    for workers in [1, 4] {
        let (context, opened) = (context(&runtime), AtomicUsize::new(0));
        // The signal comes while the third is opened, which ends as it would have.
        let open = |at: &usize| -> Result<Subject, (String, Error)> {
            if opened.fetch_add(1, Ordering::SeqCst) == 2 {
                context.cancel.cancel();
            }
            Err((format!("r{at}"), Error::source("it is no receipt")))
        };
        let mut reports = Vec::new();
        let each = |report: occystrap_verify::report::ImageReport, _| {
            reports.push(report.error.unwrap().to_string());
            Ok(())
        };
        verify_each(&targets, open, Level::Fast, workers, &context, each).unwrap();
        assert!(opened.load(Ordering::SeqCst) <= 2 + workers, "{workers}: {opened:?}");
        let interrupted = reports.iter().filter(|why| why.contains("interrupted")).count();
        assert_eq!(interrupted, 1, "{reports:?}");
        assert_eq!(reports.len(), opened.into_inner() + 1, "{reports:?}");
    }
}

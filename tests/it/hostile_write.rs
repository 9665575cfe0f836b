//! Plugins that break a rule while they write: each is stopped and named, and nothing was changed.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::cli::Ran;
use crate::support::hostile::Arena;
use crate::support::image::{Pack, TestImage};
use crate::support::push::push;
use crate::support::registry::{ALWAYS, Fault, Registry};

#[test]
fn an_honest_one_works() {
    let arena = Arena::new();
    for level in ["--verify=fast", "--verify=full"] {
        arena.run("honest", &[level]).verified();
    }
    let image = TestImage::new("app:1");
    assert_eq!(std::fs::read(arena.sandbox.path("out/config")).unwrap(), image.config);
    assert!(std::fs::read(arena.sandbox.path("out/layer-1")).unwrap() == image.layers[1]);
    // A plugin may take layers as they are stored.
    let arena = Arena::new();
    let registry = Registry::start();
    let source = push(&registry, &image, Pack::ZstdFrames);
    let plugin = crate::support::hostile::component().display().to_string();
    let to = arena.sandbox.uri("hostile", "stored?behaviour=stored");
    arena.sandbox.process(&source, &to, &["--plugin", &plugin, "--verify=full"]).verified();
    let stored = Pack::ZstdFrames.pack(&image.layers[1]);
    assert!(std::fs::read(arena.sandbox.path("stored/layer-1")).unwrap() == stored);
}

#[test]
fn plugins_that_cost_too_much_are_stopped() {
    let mut arena = Arena::new();
    arena.stopped("grow", "more than 64 MiB of memory");
    arena.stopped("recurse", "stack");
    arena.stopped("panic", "it crashed");
    arena.stopped("flood", "logged more than 1000 lines");
    arena.stopped("handles", "opened more than 1024 handles");
    arena.stopped("sinks", "opened more than 1024 handles");
    arena.stopped("files", "wrote more than 4096 files");
    arena.stopped("pieces", "more than 65536 pieces");
    arena.stopped("gaps", "more than 65536 pieces");
    arena.stopped("write-big", "more than 65536 bytes in one call");
    arena.stopped("write-huge", "more than 5 MiB in one call");
    arena.stopped("shout", "more than 5 MiB in one call");
    arena.stopped("pad-big", "more than 1048576 bytes in one call");
    arena.stopped("reserve-big", "more than 65536 bytes in one call");
    arena.stopped("plan-huge", "more than 5 MiB in one call");
    arena.stopped("receipt-huge", "more than");
    // The flood is cut from what is shown, or the snapshot would hold 1,000 lines of it.
    let mut lines: Vec<&str> = arena.transcript.lines().collect();
    lines.retain(|line| {
        !line.contains("warning: ") || line.ends_with(" line 0") || line.ends_with(" line 999")
    });
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn the_path_of_a_file_that_was_given_up_is_free_again() {
    let arena = Arena::new();
    arena.run("given-up", &["--verify=full"]).verified();
    assert_eq!(std::fs::read_to_string(arena.sandbox.path("out/a/b")).unwrap(), "below");
}

#[test]
fn permissions_that_were_not_granted_are_denied() {
    let mut arena = Arena::new();
    arena.stopped("open-registry", "access-denied");
    arena.stopped("open-engine", "access-denied");
    insta::assert_snapshot!(arena.transcript);
}

#[test]
fn paths_that_lead_out_are_refused() {
    let mut arena = Arena::new();
    for (place, rule) in [
        ("..", "leaves the destination"),
        ("../secret", "leaves the destination"),
        ("a/../../secret", "leaves the destination"),
        ("/etc/passwd", "leaves the destination"),
        ("/", "leaves the destination"),
        (".", "leaves the destination"),
        ("a//b", "leaves the destination"),
        ("", "impossible form"),
        ("a%00b", "impossible form"),
    ] {
        for call in ["create", "stat", "read", "digest"] {
            arena.stopped(&format!("{call}={place}"), rule);
        }
    }
    arena.stopped(&format!("create={}", "x".repeat(5_000)), "impossible form");
    let transcript = arena.transcript.replace(&"x".repeat(100), "");
    insta::assert_snapshot!(transcript);
}

#[test]
fn links_that_lead_out() {
    let arena = Arena::new();
    let mut transcript = String::new();
    for (call, place) in [
        ("read", "link"),
        ("read", "dirlink/secret"),
        ("read", "rootlink/etc/passwd"),
        ("digest", "link"),
        ("digest", "dirlink/secret"),
        ("stat", "dirlink/secret"),
        ("create", "dirlink/secret"),
        ("create", "dirlink/new"),
        ("create", "rootlink/tmp/occystrap-escaped"),
    ] {
        let said = arena.run(&format!("{call}={place}"), &[]);
        said.exits(1);
        let error = said.stderr.lines().next().unwrap();
        transcript += &format!("{call} {place}\n    {}\n", arena.sandbox.redact(error));
        arena.untouched(&format!("{call} {place}"));
        assert!(!std::path::Path::new("/tmp/occystrap-escaped").exists());
    }
    insta::assert_snapshot!(transcript);
    // A link in the place of a file is replaced, not followed.
    arena.run("create=link", &[]).verified();
    assert_eq!(std::fs::read_to_string(arena.sandbox.path("secret")).unwrap(), "not for plugins");
    assert_eq!(std::fs::read_to_string(arena.sandbox.path("out/link")).unwrap(), "evil");
}

#[test]
fn calls_in_the_wrong_order_are_refused() {
    let mut arena = Arena::new();
    arena.stopped("gap-unfilled", "did not fill a gap");
    arena.stopped("gap-twice", "did not fill a gap");
    arena.stopped("fill-anywhere", "did not fill a gap");
    arena.stopped("plan-few", "planned 0 layers, the image has 3");
    arena.stopped("plan-many", "planned 4 layers, the image has 3");
    arena.stopped("keep-blob", "a handle that it does not hold");
    arena.stopped("guess-handle", "a handle that it does not hold");
    arena.stopped("unfinished", "leaves out layer 1 of 3");
    arena.stopped("framed", "as a layer, which it is not");
    arena.stopped("one-path", "with another size or digest");
    arena.stopped("give-up", "a?[2Jb?c");
    let lines: Vec<&str> =
        arena.transcript.lines().map(|line| &line[..line.len().min(150)]).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn receipts_that_lie() {
    let mut arena = Arena::new();
    for behaviour in [
        "receipt-empty",
        "receipt-without-config",
        "receipt-without-layer",
        "receipt-invented",
        "receipt-outside",
        "receipt-entry",
        "receipt-part",
        "receipt-far-part",
        "receipt-wrong-size",
        "receipt-wrong-digest",
        "receipt-bad-digest",
        "receipt-no-such-layer",
        "receipt-swapped",
        "receipt-config-is-layer",
        "receipt-many",
        "receipt-state",
        "skip",
        "skip-unchecked",
    ] {
        arena.stopped(behaviour, "was stopped");
    }
    // Layers of the right names and with other content: hashed, and found wrong.
    std::fs::write(arena.sandbox.path("out/layer-1"), "old").unwrap();
    std::fs::write(arena.sandbox.path("out/layer-2"), "old").unwrap();
    let before = arena.sandbox.tree("");
    let said = arena.run("skip-other", &[]);
    said.exits(1).says("plugin 'hostile' was stopped: its receipt names 'layer-0'");
    assert_eq!(arena.sandbox.tree(""), before);
    insta::assert_snapshot!(arena.transcript);
}

#[test]
fn a_source_that_fails_is_not_covered_up() {
    let arena = Arena::new();
    let registry = Registry::start();
    let image = TestImage::new("team/app:1");
    let source = push(&registry, &image, Pack::Gzip);
    let layer = occystrap_base::oci::Digest::of(&Pack::Gzip.pack(&image.layers[1]));
    registry.fault("GET", &format!("/blobs/{layer}"), Fault::status(404), ALWAYS);
    let plugin = crate::support::hostile::component().display().to_string();
    for behaviour in ["swallow", "honest"] {
        let to = arena.sandbox.uri("hostile", &format!("out?behaviour={behaviour}"));
        let said = arena.sandbox.process(&source, &to, &["--plugin", &plugin]);
        said.exits(1).says(": blob not found\n");
        arena.untouched(behaviour);
    }
}

#[test]
fn splicing_twice_is_refused() {
    let mut arena = Arena::new();
    arena.stopped("splice-twice", "spliced twice");
    insta::assert_snapshot!(arena.transcript);
}

#[test]
fn log_lines_are_cleaned_and_cut() {
    let arena = Arena::new();
    let said = arena.run("escape", &[]);
    said.verified();
    let line = said.stderr.lines().next().unwrap();
    assert!(line.contains("a?[2Jb?c?yyy"), "{line}");
    assert!(line.len() < 4_200, "{}", line.len());
    assert!(!said.stderr.contains(['\u{1b}', '\u{202e}']));
}

#[test]
fn a_loop_ends_with_ctrl_c() {
    let arena = Arena::new();
    let plugin = crate::support::hostile::component().display().to_string();
    let source = arena.sandbox.uri("tar", "in.tar");
    let to = arena.sandbox.uri("hostile", "out?behaviour=loop");
    let mut command = arena.sandbox.command(&["process", &source, &to, "--plugin", &plugin]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let asked = Instant::now();
    Ran::ended(child.wait_with_output().unwrap()).exits(130);
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    arena.untouched("loop");
}

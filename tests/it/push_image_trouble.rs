//! Pushes that fail: what is repeated, what is reported, and that no incomplete image appears.

use std::process::Stdio;
use std::time::{Duration, Instant};

use occystrap_base::oci::Digest;
use regex::Regex;

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage};
use crate::support::push::{holds, nothing, push, to};
use crate::support::registry::{ALWAYS, Auth, Fault, Registry};
use crate::support::shape;

/// An image at one registry, and another that it goes to.
struct Stage {
    sandbox: Sandbox,
    image: TestImage,
    from: Registry,
    registry: Registry,
    source: String,
}

impl Stage {
    fn new() -> Self {
        let (from, image) = (Registry::start(), TestImage::new("team/app:1"));
        let source = push(&from, &image, Pack::Gzip);
        Self { sandbox: Sandbox::new(), image, from, registry: Registry::start(), source }
    }

    fn layer(&self, index: usize) -> Digest {
        Digest::of(&Pack::Gzip.pack(&self.image.layers[index]))
    }

    fn run(&self, more: &[&str]) -> Ran {
        self.sandbox.process(&self.source, &to(&self.registry, "a/b:1"), more)
    }

    /// The push succeeds, and the summary names the retries.
    #[track_caller]
    fn made_up_for(&self, more: &[&str], cost: &str) {
        let said = self.run(more);
        said.verified();
        let last = said.stderr.lines().last().unwrap();
        assert!(last.contains(cost), "'{cost}' is not in: {last}");
        holds(&self.registry, "a/b:1", &self.image, Pack::Gzip);
    }

    /// The push fails, no image appears, and the user sees this message.
    #[track_caller]
    fn fails(&self, more: &[&str]) -> String {
        let said = self.run(more);
        said.exits(1);
        nothing(&self.registry, "a/b:1");
        self.sandbox.assert_clean();
        said.stderr
            .replace(&self.from.url_host(), "[from]")
            .replace(&self.registry.url_host(), "[to]")
    }
}

#[test]
fn passing_failures_of_a_push_are_retried() {
    for (method, part, fault) in [
        ("PUT", "/uploads/", Fault::status(500)),
        ("POST", "/uploads/", Fault::status(503)),
        ("PUT", "/uploads/", Fault::CutRequest(100_000)),
        ("PUT", "/manifests/", Fault::status(500)),
        ("HEAD", "/blobs/", Fault::status(502)),
        ("GET", "/blobs/", Fault::status(500)),
        ("GET", "/manifests/", Fault::status(500)),
    ] {
        let stage = Stage::new();
        stage.registry.fault(method, part, fault.clone(), 1);
        stage.made_up_for(&["-j", "1"], ", 1 retry, 1/1 verified");
    }
    let stage = Stage::new();
    stage.from.fault("GET", &format!("/blobs/{}", stage.layer(1)), Fault::CutAfter(100_000), 1);
    stage.made_up_for(&[], ", 1 retry, 1/1 verified");

    let stage = Stage::new();
    stage.registry.fault("POST", "/uploads/", Fault::too_many("1"), 1);
    let started = Instant::now();
    stage.made_up_for(&[], ", 1 retry, 1 rate limit, 1/1 verified");
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_token_that_ends_in_the_middle_of_an_upload() {
    for option in ["", "&chunk_size=100k"] {
        let stage = Stage::new();
        stage.registry.require(Auth::bearer("me", "hunter2"));
        let method = if option.is_empty() { "PUT" } else { "PATCH" };
        stage.registry.fault(method, "/uploads/", Fault::Expire, 1);
        let destination = to(&stage.registry, "a/b:1") + option;
        let user = ["--username", "me", "--password", "hunter2"];
        stage.sandbox.process(&stage.source, &destination, &user).verified();
        holds(&stage.registry, "a/b:1", &stage.image, Pack::Gzip);
    }
}

/// However often was tried again.
fn any_count(said: &str) -> String {
    Regex::new(", [0-9]+ retr(y|ies)").unwrap().replace_all(said, ", [n] retries").into_owned()
}

#[test]
fn failures_are_reported_readably() {
    let mut transcript = String::new();
    let mut note = |what: &str, said: String| {
        let stage = Sandbox::new();
        transcript += &format!("## {what}\n{}\n", stage.redact(&said));
    };
    for (what, method, part, fault) in [
        ("an upload is refused", "POST", "/uploads/", Fault::status(403)),
        ("a blob is refused", "PUT", "/uploads/", Fault::status(403)),
        ("a blob is too large", "PUT", "/uploads/", Fault::status(413)),
        ("it does not get better", "PUT", "/uploads/", Fault::status(500)),
        ("looking is refused", "HEAD", "/blobs/", Fault::status(403)),
    ] {
        let stage = Stage::new();
        stage.registry.fault(method, part, fault, ALWAYS);
        // A transfer that waited for the first may have begun before all were stopped.
        let said = stage.fails(&["-j", "1", "--retries", "1"]);
        note(what, any_count(&said));
    }
    let stage = Stage::new();
    let layer = format!("/blobs/{}", stage.layer(1));
    stage.from.fault("GET", &layer, Fault::status(404), ALWAYS);
    note("the source lost a layer", stage.fails(&["-j", "1"]));

    let stage = Stage::new();
    let mut wrong = Pack::Gzip.pack(&stage.image.layers[1]);
    wrong[300_000] ^= 1;
    stage.from.set_blob("team/app", stage.layer(1), &wrong);
    note("the source has other bytes", stage.fails(&["-j", "1"]));
    assert!(!stage.registry.pushed("a/b").contains(&stage.layer(1)));
    // It was taken back. A transfer that waited for it may have begun before all were stopped.
    assert!(!stage.registry.requests_of("DELETE", "/uploads/").is_empty());
    assert!(stage.registry.open_uploads() <= 1);

    let stage = Stage::new();
    stage.registry.docker_only();
    let said = stage.run(&[]);
    said.exits(1);
    assert_eq!(stage.registry.manifest("a/b", "1"), None);
    note(
        "it knows Docker's media types only",
        said.stderr.replace(&stage.registry.url_host(), "[to]"),
    );

    let stage = Stage::new();
    stage.registry.fault("PUT", "/manifests/", Fault::status(403), ALWAYS);
    let said = stage.run(&[]);
    said.exits(1);
    assert_eq!(stage.registry.manifest("a/b", "1"), None);
    note("the manifest is refused", said.stderr.replace(&stage.registry.url_host(), "[to]"));

    let stage = Stage::new();
    stage.registry.fault("PUT", "/manifests/", Fault::status(413), ALWAYS);
    let said = stage.run(&[]);
    said.exits(1);
    note("the manifest is too large", said.stderr.replace(&stage.registry.url_host(), "[to]"));

    let stage = Stage::new();
    stage.registry.say_digest(Digest::of(b"other"));
    let said = stage.run(&["-j", "1"]);
    said.exits(1);
    note("it stores something else", said.stderr.replace(&stage.registry.url_host(), "[to]"));

    insta::assert_snapshot!(transcript);
}

#[test]
fn options_that_are_none() {
    let stage = Stage::new();
    let mut transcript = String::new();
    for option in
        ["chunk_size=huge", "chunk_size=0", "compression=best", "chunks=1", "insecure=maybe"]
    {
        let destination = format!("registry://{}/a/b:1?{option}", stage.registry.url_host());
        let said = stage.sandbox.process(&stage.source, &destination, &[]);
        said.exits(2);
        transcript += &stage.sandbox.redact(&said.stderr);
    }
    assert_eq!(stage.from.requests().len() + stage.registry.requests().len(), 0);
    insta::assert_snapshot!(transcript);
}

#[test]
fn a_layer_in_a_file_that_is_not_what_its_manifest_promises_is_not_sent() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let image = TestImage::new("team/app:1");
    let mut archive = shape::oci(&[&image], Pack::Gzip);
    let name = format!("blobs/sha256/{}", Digest::of(&Pack::Gzip.pack(&image.layers[1])).hex());
    let mut damaged = archive.get(&name).to_vec();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    archive.set(&name, damaged);
    archive.write(&sandbox.path("in.tar"));
    let said =
        sandbox.run(&["process", &sandbox.uri("tar", "in.tar"), &to(&registry, "team/app:1")]);
    said.exits(1).says("digest of the compressed layer: expected sha256:");
    nothing(&registry, "team/app:1");
    let blob = Digest::of(&Pack::Gzip.pack(&image.layers[1]));
    assert!(registry.blob("team/app", blob).is_none());
    let sent = registry.requests_of("PUT", "/uploads/");
    assert!(sent.iter().all(|request| !request.path.contains(&blob.hex())), "it was sent");
}

#[test]
fn a_layer_that_is_not_what_the_config_says() {
    // The stored layer is what the manifest says; what is in it is not what the config says. As it is
    // only passed on, its content was not read: the digest of the image is that of the source.
    let stage = Stage::new();
    let other = TestImage::with_layers("team/app:1", vec![b"not what was promised".to_vec()]);
    let mut image = TestImage::tiny("team/app:1");
    let config = image.config.clone();
    image.layers = other.layers;
    image.config = config;
    let source = push(&stage.from, &image, Pack::Gzip);
    let said = stage.sandbox.process(&source, &stage.sandbox.uri("dir", "out"), &[]);
    said.exits(1).says("diff-id");
    // A layer that must be compressed again is compressed again.
    let zstd = to(&stage.registry, "a/b:1") + "&compression=zstd";
    stage.sandbox.process(&source, &zstd, &[]).exits(1).says("diff-id");
    nothing(&stage.registry, "a/b:1");
}

/// Ctrl-C, when a request was made that is never answered.
fn interrupted(stage: &Stage, destination: &str, method: &str, part: &str) -> Ran {
    stage.registry.fault(method, part, Fault::Deaf, ALWAYS);
    let mut command = stage.sandbox.command(&["process", &stage.source, destination]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while stage.registry.requests_of(method, part).is_empty() {
        assert!(started.elapsed() < Duration::from_secs(10), "nothing was sent");
        std::thread::sleep(Duration::from_millis(5));
    }
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let asked = Instant::now();
    let said = Ran::ended(child.wait_with_output().unwrap());
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    said
}

#[test]
fn a_signal_after_the_manifest() {
    for (method, effect) in [
        // It is on its way.
        ("PUT", "the destination may have it or not"),
        ("GET", "it was written, and is not verified"),
    ] {
        let stage = Stage::new();
        let said = interrupted(&stage, &to(&stage.registry, "a/b:1"), method, "/manifests/");
        said.exits(130).says(&format!("error: interrupted; {effect}\n"));
        assert_eq!(stage.registry.manifest("a/b", "1").is_some(), method == "GET");
        stage.sandbox.assert_clean();
    }
}

#[test]
fn a_signal_before_the_manifest() {
    for (method, part) in [("PUT", "/uploads/"), ("POST", "/uploads/"), ("HEAD", "/blobs/")] {
        let stage = Stage::new();
        let destination = to(&stage.registry, "a/b:1");
        let said = interrupted(&stage, &destination, method, part);
        said.exits(130).says("error: interrupted; the destination was left as it was");
        nothing(&stage.registry, "a/b:1");
        stage.sandbox.assert_clean();
    }
}

#[test]
fn a_tag_that_was_there_stays_until_the_new_one_is_whole() {
    let stage = Stage::new();
    stage.run(&[]).verified();
    let before = stage.registry.manifest("a/b", "1").unwrap();
    let newer = TestImage::with_layers(
        "team/app:1",
        vec![stage.image.layers[0].clone(), b"x".repeat(5_000)],
    );
    let source = push(&stage.from, &newer, Pack::Gzip);
    let layer = format!("/blobs/{}", Digest::of(&Pack::Gzip.pack(&newer.layers[1])));
    stage.from.fault("GET", &layer, Fault::status(404), 1);
    let destination = to(&stage.registry, "a/b:1");
    stage.sandbox.process(&source, &destination, &[]).exits(1);
    assert_eq!(stage.registry.manifest("a/b", "1").unwrap(), before);
}

//! Plugins that break a rule at a container engine: each is stopped and named, and nothing is loaded.

use std::fmt::Write as _;

use crate::support::cli::{Ran, Sandbox};
use crate::support::engine::Engine;
use crate::support::hostile::named;
use crate::support::image::{Pack, TestImage};
use crate::support::shape;

/// The name that the user gave; an older image has it.
const NAME: &str = "team/app:1";

/// An engine with images that must not change, and one that is to be loaded.
struct Arena {
    sandbox: Sandbox,
    image: TestImage,
    engine: Engine,
    before: Vec<(String, Option<String>)>,
    transcript: String,
}

impl Arena {
    fn new() -> Self {
        let (sandbox, engine) = (Sandbox::new(), Engine::start());
        let image = TestImage::new(NAME);
        shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("in.tar"));
        for name in [NAME, "busybox:latest"] {
            let older = TestImage::tiny(name);
            engine.put(&older, shape::legacy(&[&older], Pack::Plain).bytes());
        }
        let before = held(&engine);
        Self { sandbox, image, engine, before, transcript: String::new() }
    }

    fn run(&self, behaviour: &str, more: &[&str]) -> Ran {
        let plugin = named("hostile-engine").display().to_string();
        let to = format!(
            "hostile-engine://{NAME}?socket={}&behaviour={behaviour}",
            self.engine.socket().display()
        );
        let more = [&["--plugin", &plugin], more].concat();
        self.sandbox.process(&self.sandbox.uri("tar", "in.tar"), &to, &more)
    }

    /// The plugin is stopped, with one line that names it and `rule`; nothing was loaded.
    #[track_caller]
    fn stopped(&mut self, behaviour: &str, rule: &str) {
        let said = self.run(behaviour, &[]);
        assert_eq!(said.code, 1, "{behaviour}: {}", said.stderr);
        let error = said.stderr.lines().find(|line| line.starts_with("error: ")).unwrap();
        assert!(error.contains("plugin 'hostile-engine'"), "{behaviour}: {error}");
        assert!(error.contains(rule), "{behaviour}: '{rule}' is not in: {error}");
        assert!(error.len() < 400, "{behaviour}: {error}");
        assert_eq!(self.engine.loaded().len(), 0, "{behaviour}: something was loaded");
        assert_eq!(held(&self.engine), self.before, "{behaviour}");
        self.sandbox.assert_clean();
        writeln!(self.transcript, "{behaviour}\n    {}", self.sandbox.redact(error)).unwrap();
    }
}

/// Names, and what they stand for.
fn held(engine: &Engine) -> Vec<(String, Option<String>)> {
    let names = engine.names().into_iter();
    names.map(|name| (name.clone(), engine.id(&name))).collect()
}

#[test]
fn an_honest_one_works() {
    let arena = Arena::new();
    for level in ["--verify=fast", "--verify=full"] {
        arena.run("honest", &[level]).verified();
    }
    assert_eq!(arena.engine.loaded().len(), 2);
    assert_eq!(arena.engine.id(NAME), Some(arena.image.id().to_string()));
    // A second archive that is given up, or lost to the one behind it, changes nothing.
    let arena = Arena::new();
    arena.run("load-dropped", &[]).verified();
    assert_eq!(arena.engine.loaded().len(), 1);
    assert_eq!(arena.engine.id(NAME), Some(arena.image.id().to_string()));
}

#[test]
fn archives_that_are_not_of_the_image() {
    let mut arena = Arena::new();
    for behaviour in ["tag-other", "tag-more", "tag-none"] {
        arena.stopped(behaviour, "where you named it 'team/app:1'");
    }
    arena.stopped("second-image", "is not one image's");
    arena.stopped("list-keys", "is not one image's");
    for behaviour in ["extra-file", "extra-repositories", "extra-oci", "list-short"] {
        arena.stopped(behaviour, "is no part of the image");
    }
    for behaviour in ["symlink", "hardlink", "device"] {
        arena.stopped(behaviour, "something other than plain files");
    }
    for behaviour in ["extension", "damaged", "many-files", "endless"] {
        arena.stopped(behaviour, "the archive");
    }
    for behaviour in ["forged-config", "forged-layer", "list-itself", "list-nothing"] {
        arena.stopped(behaviour, "is not one of the image's blobs");
    }
    arena.stopped("unheaded", "a blob is not the whole content of one member");
    arena.stopped("no-list", "has no manifest.json");
    arena.stopped("list-again", "'manifest.json' twice");
    arena.stopped("no-end", "it is not complete");
    arena.stopped("behind-the-end", "bytes where zeros belong");
    arena.stopped("spliced-twice", "read after it was spliced");
    insta::assert_snapshot!(arena.transcript);
}

#[test]
fn other_images_than_the_one_that_was_handed_over() {
    let mut arena = Arena::new();
    for behaviour in ["list-swapped", "all-swapped", "list-twice"] {
        arena.stopped(behaviour, "its receipt");
    }
    arena.stopped("list-config", "is no part of the image");
    arena.stopped("left-out", "its receipt");
    arena.stopped("skip", "leaves out layer 1 of 3");
    arena.stopped("gzip", "its receipt");
    insta::assert_snapshot!(arena.transcript);
}

#[test]
fn receipts_that_lie() {
    let mut arena = Arena::new();
    for behaviour in [
        "no-config",
        "no-layer",
        "swapped",
        "invented",
        "size",
        "index",
        "other-image",
        "other-layer",
        "file",
        "blob",
    ] {
        arena.stopped(&format!("receipt-{behaviour}"), "was stopped: its receipt");
    }
    arena.stopped("never-finished", "which the host never saw written");
    insta::assert_snapshot!(arena.transcript);
}

#[test]
fn permissions_that_were_not_granted_are_denied() {
    let mut arena = Arena::new();
    arena.stopped("open-storage", "access-denied");
    arena.stopped("open-registry", "access-denied");
    arena.stopped("inspect-other", "'busybox:latest', which you did not name");
    arena.stopped("inspect-path", "which you did not name");
    arena.stopped("hash-other", "'busybox:latest', which you did not name");
    assert_eq!(arena.engine.requests("GET", "busybox"), 0);
    insta::assert_snapshot!(arena.transcript);
}

#[test]
fn a_stream_refuses_the_calls_of_a_file() {
    let mut arena = Arena::new();
    arena.stopped("reserve", "unsupported");
    arena.stopped("fill", "unsupported");
    arena.stopped("write-big", "more than 65536 bytes in one call");
    arena.stopped("handles", "more than 1024 handles");
    arena.stopped("load-empty", "it is not complete");
    arena.stopped("load-forged", "is not one of the image's blobs");
    // The engine is asked once.
    arena.run("flood", &[]).verified();
    assert!(arena.engine.requests("GET", "/images/") < 10);
    insta::assert_snapshot!(arena.transcript);
}

#[test]
fn verifying_changes_nothing_and_reaches_nothing() {
    let mut transcript = String::new();
    for (behaviour, rule) in [
        ("verify-load", "was stopped: it tried to load an image while verifying"),
        ("verify-other", "was stopped: it asked for the image 'busybox:latest'"),
        ("verify-hash-other", "was stopped: it asked for the image 'busybox:latest'"),
        ("verify-storage", "gave up after 'access-denied'"),
        ("verify-registry", "gave up after 'access-denied'"),
    ] {
        let arena = Arena::new();
        let said = arena.run(behaviour, &[]);
        said.exits(1).says(rule).says("0/1 verified, 1 FAILED");
        assert_eq!(arena.engine.loaded().len(), 1);
        assert_eq!(arena.engine.requests("POST", "/load"), 1);
        let text = said.stderr.replace(&arena.engine.socket().display().to_string(), "[S]");
        writeln!(transcript, "## {behaviour}\n{}", arena.sandbox.redact(&text)).unwrap();
    }
    insta::assert_snapshot!(transcript);
    let arena = Arena::new();
    arena.run("verify-flood", &[]).verified();
    assert_eq!(arena.engine.requests("GET", "/get"), 1);
}

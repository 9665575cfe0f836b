//! Plugins that break a rule at a registry: each is stopped and named, and no tag is created or moved.

use std::fmt::Write as _;

use crate::support::cli::{Ran, Sandbox};
use crate::support::hostile::named;
use crate::support::image::{Pack, TestImage};
use crate::support::push::push;
use crate::support::registry::Registry;

/// A registry with an image that must not change, and one that is to be pushed.
struct Arena {
    sandbox: Sandbox,
    image: TestImage,
    registry: Registry,
    source: String,
    _from: Registry,
    transcript: String,
}

impl Arena {
    fn new() -> Self {
        let (from, registry) = (Registry::start(), Registry::start());
        let image = TestImage::new("team/app:1");
        let source = push(&from, &image, Pack::Gzip);
        push(&registry, &TestImage::tiny("a/b:1"), Pack::Gzip);
        let sandbox = Sandbox::new();
        Self { sandbox, image, registry, source, _from: from, transcript: String::new() }
    }

    fn run(&self, behaviour: &str, more: &[&str]) -> Ran {
        let plugin = named("hostile-registry").display().to_string();
        let to = format!(
            "hostile-registry://{}/a/b:1?insecure=true&behaviour={behaviour}",
            self.registry.url_host()
        );
        self.sandbox.process(&self.source, &to, &[&["--plugin", &plugin], more].concat())
    }

    /// The plugin is stopped, with one line that names it and `rule`; no manifest was sent.
    #[track_caller]
    fn stopped(&mut self, behaviour: &str, rule: &str) {
        let said = self.run(behaviour, &[]);
        assert_eq!(said.code, 1, "{behaviour}: {}", said.stderr);
        let error = said.stderr.lines().find(|line| line.starts_with("error: ")).unwrap();
        assert!(error.contains("plugin 'hostile-registry'"), "{behaviour}: {error}");
        assert!(error.contains(rule), "{behaviour}: '{rule}' is not in: {error}");
        assert!(error.len() < 400, "{behaviour}: {error}");
        self.untouched(behaviour);
        writeln!(self.transcript, "{behaviour}\n    {}", self.sandbox.redact(error)).unwrap();
    }

    #[track_caller]
    fn untouched(&self, behaviour: &str) {
        let sent = self.registry.requests_of("PUT", "/manifests/");
        assert_eq!(sent.len(), 0, "{behaviour}: a manifest was sent");
        let paths = self.registry.requests();
        assert!(paths.iter().all(|one| one.path.starts_with("/v2/a/b/")), "{behaviour}");
        self.sandbox.assert_clean();
    }
}

#[test]
fn an_honest_one_works() {
    let arena = Arena::new();
    for level in ["--verify=fast", "--verify=full"] {
        arena.run("honest", &[level]).verified();
    }
    let (media_type, _) = arena.registry.manifest("a/b", "1").unwrap();
    assert_eq!(media_type, "application/vnd.oci.image.manifest.v1+json");
    // Parts are never smaller than the host allows, and never more of them.
    for (behaviour, largest) in [("chunk-byte", 4_096), ("chunk-nothing", 4_096), ("chunk-all", 0)]
    {
        let arena = Arena::new();
        arena.run(behaviour, &[]).verified();
        let parts = arena.registry.requests_of("PATCH", "/uploads/");
        let sizes: Vec<usize> = parts.iter().map(|one| one.body.len()).collect();
        assert_eq!(sizes.iter().max().copied().unwrap_or(0), largest, "{behaviour}");
    }
    // The manifest that was given last under a name is the one that is sent, and the only one.
    let arena = Arena::new();
    arena.run("two-manifests", &[]).verified();
    assert_eq!(arena.registry.requests_of("PUT", "/manifests/").len(), 1);
    assert_eq!(arena.image.layers.len(), 3);
}

#[test]
fn manifests_that_are_not_of_the_image() {
    let mut arena = Arena::new();
    for behaviour in ["short", "order", "twice", "config", "size", "invented"] {
        arena.stopped(&format!("manifest-{behaviour}"), "a manifest that lists something else");
    }
    for behaviour in ["both", "case"] {
        arena.stopped(&format!("manifest-{behaviour}"), "can be read in two ways");
    }
    arena.stopped("manifest-keys", "a manifest that cannot be read");
    arena.stopped("manifest-index", "that of an index");
    arena.stopped("manifest-type", "of the media type 'text/html'");
    arena.stopped("manifest-header", "of the media type 'text/html??x-evil: 1'");
    arena.stopped("manifest-huge", "a manifest of more than 4 MiB");
    arena.stopped("manifest-large", "a manifest of more than 4 MiB");
    arena.stopped("wrong-last", "digest");
    insta::assert_snapshot!(arena.transcript);
}

#[test]
fn names_that_the_user_did_not_give() {
    let mut arena = Arena::new();
    arena.stopped("other-tag", "as 'latest', which you did not name");
    arena.stopped("other-digest", "which you did not name");
    arena.stopped("no-tag", "which you did not name");
    arena.stopped("long-tag", "which you did not name");
    arena.stopped("no-manifest", "leaves out the manifest '1'");
    arena.stopped("long-name", "gave up after");
    arena.stopped("other-name", "gave up after");
    arena.stopped("no-digest", "gave up after 'invalid-digest'");
    insta::assert_snapshot!(arena.transcript);
}

#[test]
fn receipts_that_lie() {
    let mut arena = Arena::new();
    for behaviour in [
        "receipt-no-manifest",
        "receipt-no-layer",
        "receipt-no-config",
        "receipt-swapped",
        "receipt-invented",
        "receipt-no-digest",
        "receipt-file",
        "receipt-size",
        "receipt-other-tag",
        "wait-less",
        "push-less",
        "skip",
    ] {
        arena.stopped(behaviour, "was stopped: ");
    }
    arena.stopped("push-twice", "invalid-state");
    insta::assert_snapshot!(arena.transcript);
}

#[test]
fn permissions_that_were_not_granted_are_denied() {
    let mut arena = Arena::new();
    arena.stopped("open-storage", "access-denied");
    arena.stopped("open-engine", "access-denied");
    arena.stopped("handles", "more than 1024 handles");
    arena.run("use-storage", &[]).verified();
    insta::assert_snapshot!(arena.transcript);
}

#[test]
fn floods_end() {
    for behaviour in ["flood", "flood-names"] {
        let mut arena = Arena::new();
        arena.stopped(behaviour, "more than 4000 requests");
        // A look for a blob is two requests at most.
        assert!(arena.registry.requests().len() <= 8_010);
    }
}

#[test]
fn verifying_changes_nothing_and_reaches_nothing() {
    let mut transcript = String::new();
    for (behaviour, rule) in [
        ("verify-push", "was stopped: it tried to push a manifest while verifying"),
        ("verify-storage", "gave up after 'access-denied'"),
        ("verify-flood", "was stopped: it made more than 4000 requests"),
    ] {
        let arena = Arena::new();
        let said = arena.run(behaviour, &[]);
        said.exits(1).says(rule).says("0/1 verified, 1 FAILED");
        assert_eq!(arena.registry.requests_of("PUT", "/manifests/").len(), 1);
        writeln!(transcript, "## {behaviour}\n{}", arena.sandbox.redact(&said.stderr)).unwrap();
    }
    insta::assert_snapshot!(transcript);
}

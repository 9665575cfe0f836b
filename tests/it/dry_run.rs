//! `process --dry-run`: what it says would happen, and that nothing has happened.

use crate::support::cli::Sandbox;
use crate::support::engine::Engine;
use crate::support::image::{Pack, TestImage};
use crate::support::push::{push, to};
use crate::support::real::{RealRegistry, hello};
use crate::support::real_engine;
use crate::support::registry::Registry;
use crate::support::shape;
use crate::support::user::run;

const DRY: &[&str] = &["--dry-run"];

/// Every request since `before` is one that changes nothing.
#[track_caller]
fn only_read(registry: &Registry, before: usize) {
    let requests = registry.requests();
    for request in &requests[before..] {
        assert!(["GET", "HEAD"].contains(&request.method.as_str()), "{request:?}");
    }
}

/// An archive with three plain layers, as a source.
fn archive(sandbox: &Sandbox, image: &TestImage) -> String {
    shape::legacy(&[image], Pack::Plain).write(&sandbox.path("source.tar"));
    sandbox.uri("tar", "source.tar")
}

#[test]
fn files_at_the_destination_stay_as_they_are() {
    let (sandbox, image) = (Sandbox::new(), TestImage::new("team/app:1"));
    let source = archive(&sandbox, &image);
    std::fs::create_dir(sandbox.path("out")).unwrap();
    for (destination, first, second) in [
        ("dir://out/dir?unique_names=true", "3 to fetch", "0 to fetch"),
        ("oci-layout://out/layout:app", "3 to fetch", "3 to fetch"),
        ("tar://out/image.tar", "3 to fetch", "3 to fetch"),
    ] {
        let before = sandbox.tree("out");
        let said = sandbox.process(&source, destination, DRY);
        said.exits(0);
        assert!(said.stdout.contains(first), "{destination}: {}", said.stdout);
        assert!(said.stdout.ends_with("; nothing was written\n"), "{}", said.stdout);
        assert_eq!(said.stdout.matches("  layer ").count(), 3, "{}", said.stdout);
        assert_eq!(sandbox.tree("out"), before, "{destination}");

        sandbox.process(&source, destination, &[]).verified();
        let before = sandbox.tree("out");
        let said = sandbox.process(&source, destination, DRY);
        said.exits(0);
        assert!(said.stdout.contains(second), "{destination}: {}", said.stdout);
        assert_eq!(sandbox.tree("out"), before, "{destination}");
    }
    let said = sandbox.process(&source, "dir://out/dir?unique_names=true", DRY);
    assert_eq!(said.stdout.matches("skipped: the destination has it").count(), 3);
    sandbox.assert_clean();
}

#[test]
fn a_registry_is_asked_and_gets_nothing() {
    let (sandbox, image, registry) =
        (Sandbox::new(), TestImage::new("team/app:1"), Registry::start());
    let elsewhere = Registry::start();
    let remote = push(&elsewhere, &image, Pack::Gzip);
    let destination = to(&registry, "copy/app:1");
    let said = sandbox.process(&remote, &destination, DRY);
    said.exits(0);
    let missing = "fetched, as stored: the destination does not have it";
    assert_eq!(said.stdout.matches(missing).count(), 3, "{}", said.stdout);
    only_read(&registry, 0);
    assert_eq!(registry.manifest("copy/app", "1"), None);
    assert!(elsewhere.requests_of("GET", "/blobs/").len() < 4, "more than the config was fetched");

    sandbox.process(&remote, &destination, &[]).verified();
    let before = registry.requests().len();
    let said = sandbox.process(&remote, &to(&registry, "copy/app:2"), DRY);
    said.exits(0);
    let there = "not fetched, as stored: the destination has it";
    assert_eq!(said.stdout.matches(there).count(), 3, "{}", said.stdout);
    only_read(&registry, before);
    assert_eq!(registry.manifest("copy/app", "2"), None);

    // From one repository to another of the same registry.
    let before = registry.requests().len();
    let said = sandbox.process(&destination, &to(&registry, "other/app:1"), DRY);
    said.exits(0);
    assert_eq!(said.stdout.matches("the registry is asked to mount it from ").count(), 3);
    assert!(said.stdout.contains("0 to fetch (0 B), 3 if the registry does not mount it"));
    only_read(&registry, before);
    sandbox.assert_clean();
}

#[test]
fn the_storage_of_a_real_registry_stays_as_it_is() {
    let Some(registry) = RealRegistry::start("the_storage_of_a_real_registry_stays_as_it_is")
    else {
        return;
    };
    let sandbox = Sandbox::new();
    let source = format!("tar://{}", hello().display());
    let destination = registry.uri("team/hello:1");
    let more = ["--dry-run", "--insecure"];
    let before = registry.files();
    let said = sandbox.process(&source, &destination, &more);
    said.exits(0);
    assert!(said.stdout.contains("converted to gzip"), "{}", said.stdout);
    assert_eq!(registry.files(), before);

    sandbox.process(&source, &destination, &["--insecure"]).verified();
    let before = registry.files();
    for to in ["team/hello:2", "other/hello:1"] {
        sandbox.process(&destination, &registry.uri(to), &more).exits(0);
        assert_eq!(registry.files(), before, "{to}");
    }
    let said = sandbox.process(&destination, &registry.uri("team/hello:2"), &more);
    assert!(
        said.stdout.contains("not fetched, as stored: the destination has it"),
        "{}",
        said.stdout
    );
    sandbox.assert_clean();
}

#[test]
fn an_engine_is_not_loaded_into() {
    let (sandbox, image, engine) = (Sandbox::new(), TestImage::new("team/app:1"), Engine::start());
    let source = archive(&sandbox, &image);
    sandbox.process(&source, &engine.uri("team/app:1"), DRY).exits(0);
    assert_eq!((engine.requests("POST", ""), engine.names()), (0, Vec::new()));
    for engine in real_engine::all("an_engine_is_not_loaded_into") {
        let name = "dry/run:1";
        let said = sandbox.process(&source, &engine.uri(name), DRY);
        said.exits(0);
        assert!(said.stdout.contains("3 to fetch"), "{}", said.stdout);
        assert!(run(engine.client().inspect(name)).unwrap().is_none(), "{}", engine.name);
    }
    sandbox.assert_clean();
}

#[test]
fn filters_do_not_run_and_the_layer_cache_is_only_read() {
    let (sandbox, image, registry) =
        (Sandbox::new(), TestImage::new("team/app:1"), Registry::start());
    let from = Registry::start();
    let source = push(&from, &image, Pack::Gzip);
    let destination = to(&registry, "copy/app:1");
    let cache = sandbox.path("cache").display().to_string();
    let listed = format!("inspect:file={}", sandbox.path("list.jsonl").display());
    let filter = ["-f", "normalize-timestamps:ts=7"];
    let cached = [&filter[..], &["--layer-cache", &cache]].concat();

    let said = sandbox.process(&source, &destination, &[DRY, &cached, &["-f", &listed]].concat());
    said.exits(0);
    let filtered = "fetched and filtered, converted to gzip";
    assert_eq!(said.stdout.matches(filtered).count(), 3, "{}", said.stdout);
    assert!(!sandbox.path("list.jsonl").exists() && !sandbox.path("cache").exists());

    sandbox.process(&source, &destination, &cached).verified();
    let (kept, before) = (std::fs::read(&cache).unwrap(), registry.requests().len());
    let said = sandbox.process(&source, &destination, &[DRY, &cached].concat());
    said.exits(0);
    let known = "not fetched, known: the destination has it from an earlier run";
    assert_eq!(said.stdout.matches(known).count(), 3, "{}", said.stdout);
    assert!(said.stdout.contains("0 to fetch (0 B), 3 not fetched ("), "{}", said.stdout);
    assert_eq!(std::fs::read(&cache).unwrap(), kept);
    only_read(&registry, before);
    // The real run does what the plan says.
    let fetched = from.requests_of("GET", "/blobs/").len();
    sandbox.process(&source, &destination, &cached).verified();
    assert_eq!(from.requests_of("GET", "/blobs/").len() - fetched, 1, "only the config");
    sandbox.assert_clean();
}

#[test]
fn a_program_gets_a_document() {
    let (sandbox, image) = (Sandbox::new(), TestImage::new("team/app:1"));
    let source = archive(&sandbox, &image);
    let said = sandbox.process(&source, "oci-layout://layout:app", &["--dry-run", "-O", "json"]);
    said.exits(0);
    let json = said.json();
    assert_eq!(json["dry_run"], true);
    let layer = &json["images"][0]["layers"][0];
    assert_eq!(layer["diff_id"], image.diff_ids()[0].to_string());
    assert_eq!((&layer["action"], &layer["form"]), (&"converted".into(), &"gzip".into()));
    assert_eq!((&layer["reason"], &layer["fetched"]), (&"wanted".into(), &"yes".into()));
    assert_eq!(json["summary"]["layers"], 3);
    assert_eq!(json["images"][0]["error"], serde_json::Value::Null);
}

#[test]
fn a_dry_run_fails_with_the_exit_code_of_the_run() {
    let (sandbox, image) = (Sandbox::new(), TestImage::new("team/app:1"));
    let source = archive(&sandbox, &image);
    sandbox.process(&source, "tar://out.tar", &["--dry-run", "--receipt", "r.json"]).exits(2);
    std::fs::write(sandbox.path("notes.txt"), "notes").unwrap();
    for (source, destination) in [
        (source.as_str(), "tar://notes.txt"),
        ("tar://missing.tar", "tar://out.tar"),
        (source.as_str(), "oci-layout://layout?compression=lzma"),
        (source.as_str(), "registry://127.0.0.1:1/team/app:1?insecure=true"),
    ] {
        let (dry, real) = (
            sandbox.process(source, destination, &["--dry-run", "--retries", "0"]),
            sandbox.process(source, destination, &["--retries", "0"]),
        );
        assert_ne!(dry.code, 0, "{destination}");
        assert_eq!(dry.code, real.code, "{destination}: {}{}", dry.stdout, dry.stderr);
    }
    assert_eq!(std::fs::read(sandbox.path("notes.txt")).unwrap(), b"notes");
}

#[test]
fn a_run_says_of_each_layer_what_happens_to_it() {
    let (sandbox, image) = (Sandbox::new(), TestImage::new("team/app:1"));
    let source = archive(&sandbox, &image);
    let said = sandbox.process(&source, "oci-layout://layout:app", &["-v"]);
    said.verified().says("layer 1/3 (").says("converted to gzip");
    assert_eq!(said.stderr.matches("converted to gzip").count(), 3, "{}", said.stderr);
    let again = sandbox.process(&source, "dir://images?unique_names=true", &["-v"]);
    assert_eq!(again.verified().stderr.matches(": as stored").count(), 3, "{}", again.stderr);
}

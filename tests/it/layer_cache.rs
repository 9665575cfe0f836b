//! `--layer-cache`: which work is saved, and which is repeated all the same.

use occystrap_base::oci::Digest;

use crate::support::cli::Sandbox;
use crate::support::engine::Engine;
use crate::support::image::{Pack, TestImage, noise, tar};
use crate::support::push::{holds, push, to};
use crate::support::registry::Registry;
use crate::support::shape;

const FILTER: [&str; 2] = ["-f", "normalize-timestamps:ts=7"];

struct Place {
    image: TestImage,
    sandbox: Sandbox,
    from: Registry,
    registry: Registry,
    source: String,
}

impl Place {
    fn new() -> Self {
        let (image, from) = (TestImage::new("team/app:1"), Registry::start());
        let source = push(&from, &image, Pack::Gzip);
        Self { image, sandbox: Sandbox::new(), from, registry: Registry::start(), source }
    }

    /// Moves the image and returns its manifest, how many layers were fetched, and blobs sent.
    fn run(&self, source: &str, more: &[&str]) -> (Vec<u8>, usize, usize) {
        let cache = self.sandbox.path("cache").display().to_string();
        let (fetched, sent) = (self.fetched(), self.sent());
        let more = [&["--verify=full", "--layer-cache", &cache], more].concat();
        self.sandbox.process(source, &to(&self.registry, "copy/app:1"), &more).verified();
        let (_, manifest) = self.registry.manifest("copy/app", "1").unwrap();
        (manifest.to_vec(), self.fetched() - fetched, self.sent() - sent)
    }

    fn fetched(&self) -> usize {
        let layers = self.image.layers.iter().map(|layer| Digest::of(&Pack::Gzip.pack(layer)));
        let count = |digest: Digest| self.from.requests_of("GET", &digest.to_string()).len();
        layers.map(count).sum()
    }

    fn sent(&self) -> usize {
        self.registry.requests_of("PUT", "/uploads/").len()
    }

    /// The image as it was pushed is one that can be read.
    fn reads_back(&self) {
        let source = to(&self.registry, "copy/app:1");
        self.sandbox
            .process(&source, &self.sandbox.uri("dir", "back"), &["--verify=full"])
            .verified();
    }
}

#[test]
fn layers_that_were_filtered_before_are_not_fetched_again() {
    let place = Place::new();
    let (first, fetched, sent) = place.run(&place.source, &FILTER);
    assert_eq!((fetched, sent), (3, 4));
    assert_eq!(place.run(&place.source, &FILTER), (first.clone(), 0, 0));
    place.reads_back();

    // Another chain is another thing, and neither forgets the other.
    let other = ["-f", "exclude:pattern=usr/lib"];
    let (second, fetched, _) = place.run(&place.source, &other);
    assert_eq!(fetched, 3);
    assert_eq!(place.run(&place.source, &other), (second, 0, 0));
    assert_eq!(place.run(&place.source, &FILTER), (first, 0, 0));
    let zstd = [&FILTER[..], &["--compression", "zstd"]].concat();
    assert_eq!(place.run(&place.source, &zstd).1, 3);
    assert_eq!(place.run(&place.source, &zstd).1, 0);
    place.sandbox.assert_clean();
}

#[test]
fn layers_are_compressed_once() {
    let place = Place::new();
    shape::legacy(&[&place.image], Pack::Plain).write(&place.sandbox.path("a.tar"));
    let tar = place.sandbox.uri("tar", "a.tar");
    let (first, _, sent) = place.run(&tar, &[]);
    assert_eq!(sent, 4);
    let before = place.registry.requests().len();
    assert_eq!(place.run(&tar, &[]), (first, 0, 0));
    assert_eq!(
        place.registry.requests()[before..].iter().filter(|one| one.method == "POST").count(),
        0
    );
    let said = place.sandbox.run(&[
        "-v",
        "process",
        &tar,
        &to(&place.registry, "copy/app:1"),
        "--layer-cache",
        &place.sandbox.path("cache").display().to_string(),
    ]);
    assert_eq!(said.verified().stderr.matches("the destination has it already, as").count(), 3);
    place.reads_back();
}

#[test]
fn a_missing_layer_is_made_again() {
    let place = Place::new();
    let (first, ..) = place.run(&place.source, &FILTER);
    let manifest: serde_json::Value = serde_json::from_slice(&first).unwrap();
    let blob = manifest["layers"][1]["digest"].as_str().unwrap();
    place.registry.remove_blob("copy/app", blob.parse().unwrap());
    assert_eq!(place.run(&place.source, &FILTER), (first, 1, 1));
    place.reads_back();
}

#[test]
fn a_cache_that_was_damaged_begins_anew() {
    let place = Place::new();
    let (first, ..) = place.run(&place.source, &FILTER);
    let path = place.sandbox.path("cache");
    let text = std::fs::read_to_string(&path).unwrap();
    // The blob of one layer under the name of another must never reach a manifest.
    let at = text.find("\"blob\":\"sha256:").unwrap() + 15;
    let other = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
    std::fs::write(&path, format!("{}{other}{}", &text[..at], &text[at + 1..])).unwrap();
    let cache = path.display().to_string();
    let more = [&["--layer-cache", &cache], &FILTER[..]].concat();
    let ran = place.sandbox.process(&place.source, &to(&place.registry, "copy/app:1"), &more);
    ran.verified().says("is damaged, or has another version: an empty one replaces it");
    assert_eq!(ran.stderr.matches("an empty one replaces it").count(), 1, "{}", ran.stderr);
    assert_eq!(place.run(&place.source, &FILTER), (first, 0, 0));
}

#[test]
fn a_layer_that_nothing_changes_keeps_the_form_of_its_source() {
    let place = Place::new();
    shape::legacy(&[&place.image], Pack::Plain).write(&place.sandbox.path("a.tar"));
    let tar = place.sandbox.uri("tar", "a.tar");
    let others = [Registry::start(), Registry::start()];
    let sources = [
        (place.source.clone(), Pack::Gzip),
        (push(&others[0], &place.image, Pack::JoinedMembers), Pack::JoinedMembers),
        (push(&others[1], &place.image, Pack::Zstd), Pack::Zstd),
    ];
    for more in [&[][..], &["-f", "exclude:pattern=nothing"]] {
        for _ in 0..2 {
            place.run(&tar, more);
            for (source, pack) in &sources {
                place.run(source, more);
                holds(&place.registry, "copy/app:1", &place.image, *pack);
            }
        }
    }
    // The result has the requested compression.
    let gzip = ["--compression", "gzip"];
    place.run(&tar, &gzip);
    for (source, pack) in &sources[..2] {
        place.run(source, &gzip);
        holds(&place.registry, "copy/app:1", &place.image, *pack);
    }
    let (zstd, ..) = place.run(&sources[2].0, &gzip);
    assert!(!String::from_utf8(zstd).unwrap().contains("zstd"));

    // It is known all the same that nothing changes.
    let nothing = ["-f", "exclude:pattern=nothing"];
    place.run(&place.source, &nothing);
    assert_eq!(place.run(&place.source, &nothing).1, 0);
}

#[test]
fn claims_of_a_config_about_a_layer_are_not_believed() {
    let place = Place::new();
    let filter = ["-f", "exclude:pattern=secret"];
    place.run(&place.source, &filter);
    // Its first layer is another one, under the name of what the filter leaves as it is.
    let mut evil = TestImage::new("team/evil:1");
    evil.config.clone_from(&place.image.config);
    evil.layers = vec![tar(&[("secret", b"password")])];
    evil.layers.extend_from_slice(&place.image.layers[1..]);
    let source = push(&place.from, &evil, Pack::Gzip);
    let cache = place.sandbox.path("cache").display().to_string();
    let more = [&filter[..], &["--layer-cache", &cache]].concat();
    let there = to(&place.registry, "copy/evil:1");
    let said = place.sandbox.process(&source, &there, &more);
    said.exits(1).says("digest of the uncompressed layer (its diff-id)");
    assert_eq!(place.registry.manifest("copy/evil", "1"), None);
}

#[test]
fn wrong_bytes_that_were_seen_are_told() {
    let place = Place::new();
    place.run(&place.source, &FILTER);
    let (_, manifest) = place.registry.manifest("copy/app", "1").unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let digest: Digest = manifest["layers"][0]["digest"].as_str().unwrap().parse().unwrap();
    let mut bytes = place.registry.blob("copy/app", digest).unwrap().to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    place.registry.set_blob("copy/app", digest, bytes);
    let cache = place.sandbox.path("cache").display().to_string();
    let more = [&FILTER[..], &["--layer-cache", &cache]].concat();
    for _ in 0..2 {
        let said = place.sandbox.process(&place.source, &to(&place.registry, "copy/app:1"), &more);
        said.exits(1)
            .says(&format!("error: {}/copy/app@{digest}: ", place.registry.url_host()))
            .says(&format!("expected {digest}, found sha256:"))
            .says(
                "hint: the registry has wrong bytes under that digest, and does not accept others",
            );
    }
}

/// The blobs of the first two entries under each other's name, by an attacker who knows how the file is
/// made.
fn swap(path: &std::path::Path, what: &[&str]) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let entries = document["entries"].as_array_mut().unwrap();
    for what in what {
        let one = entries[0]["known"][what].take();
        let other = std::mem::replace(&mut entries[1]["known"][what], one);
        entries[0]["known"][what] = other;
    }
    let entries = document["entries"].to_string();
    let sha256 = Digest::of(entries.as_bytes());
    let version = &document["occystrap_layer_cache"];
    let wrong =
        format!(r#"{{"occystrap_layer_cache":{version},"sha256":"{sha256}","entries":{entries}}}"#);
    std::fs::write(path, wrong).unwrap();
}

/// A place, and an archive of two layers of so many bytes.
fn two_layers(size: usize) -> (Place, String) {
    let place = Place::new();
    let layer = |seed| tar(&[("file", &noise(seed, size))]);
    let image = TestImage::with_layers("team/app:1", vec![layer(1), layer(2)]);
    shape::legacy(&[&image], Pack::Plain).write(&place.sandbox.path("a.tar"));
    let tar = place.sandbox.uri("tar", "a.tar");
    (place, tar)
}

#[test]
fn a_wrong_entry_of_the_cache_is_forgotten() {
    let (place, tar) = two_layers(100_000);
    let (first, ..) = place.run(&tar, &[]);
    let path = place.sandbox.path("cache");
    swap(&path, &["blob", "size"]);
    let there = to(&place.registry, "copy/app:1");
    let more = ["--layer-cache", &path.display().to_string()];
    let ran = place.sandbox.process(&tar, &there, &[&more[..], &["--verify=full"]].concat());
    ran.exits(1)
        .says("digest of the uncompressed layer (its diff-id)")
        .says("hint: the bytes are those of the digest, and not what the config promises: with")
        .says("warning: the layer cache drops its entries for team/app:1");
    assert!(!ran.stderr.contains("remove these bytes"), "{}", ran.stderr);
    place.sandbox.process(&tar, &there, &more).verified();
    assert_eq!(place.run(&tar, &[]), (first, 0, 0));
    place.reads_back();
}

#[test]
fn an_impossible_entry_of_the_cache_is_replaced() {
    for (size, what) in [(1_000, &["blob", "size"][..]), (100_000, &["blob", "size", "diff_id"])] {
        let (place, tar) = two_layers(size);
        let (first, ..) = place.run(&tar, &[]);
        let path = place.sandbox.path("cache");
        swap(&path, what);
        let more = ["--layer-cache", &path.display().to_string()];
        let ran = place.sandbox.process(&tar, &to(&place.registry, "copy/app:1"), &more);
        ran.verified()
            .says("its entry in the layer cache is wrong, so that the layer is made again");
        place.reads_back();
        assert_eq!(place.run(&tar, &[]), (first, 0, 0));
    }
}

#[test]
fn where_it_cannot_help_it_says_so() {
    let place = Place::new();
    let engine = Engine::start();
    let ran = place.sandbox.process(&place.source, &engine.uri("a:1"), &["--layer-cache", "c"]);
    ran.verified().says("--layer-cache has no effect for 'docker://");
    let dir = place.sandbox.uri("oci-layout", "d");
    let more = ["--all-platforms", "--layer-cache", "c"];
    let ran = place.sandbox.process(&place.source, &dir, &more);
    ran.verified().says("--layer-cache has no effect with --all-platforms");
    assert!(!place.sandbox.path("c").exists());
    let there = to(&place.registry, "copy/app:1");
    for path in ["no/such/folder/cache", "."] {
        place.sandbox.process(&place.source, &there, &["--layer-cache", path]).exits(2);
    }
    assert_eq!(place.registry.requests().len(), 0);
}

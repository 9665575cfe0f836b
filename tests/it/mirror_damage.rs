//! `occystrap mirror verify` and `repair` with docker-registry: each kind of damage in its storage is found, and after a
//! repair each image is right for skopeo, or reported as kept damaged with the file to remove.

use std::fs;
use std::process::Command;
use std::time::Instant;

use occystrap_base::oci::Digest;
use serde_json::Value;

use crate::support::cli::{Ran, Sandbox};
use crate::support::damaged::{DamagedImage, Found, HARMLESS, Kind, Shape, kinds, put};
use crate::support::mirrored::{FILE, mirror};
use crate::support::real::RealRegistry;
use crate::support::registry::Registry;

/// Kinds of damage that one test must cover at least.
const LEAST_KINDS: usize = 50;

/// A mirror at docker-registry with an image for each kind of damage, and some that stay sound.
struct World {
    registry: RealRegistry,
    sandbox: Sandbox,
    kinds: Vec<Kind>,
    images: Vec<DamagedImage>,
    _source: Registry,
}

impl World {
    fn new(registry: RealRegistry, kinds: Vec<Kind>) -> Self {
        let (source, sandbox) = (Registry::start(), Sandbox::new());
        let shapes =
            kinds.iter().map(|kind| kind.shape).chain(HARMLESS.iter().map(|_| Shape::Plain));
        let images: Vec<DamagedImage> = shapes
            .enumerate()
            .map(|(number, shape)| {
                let parts = put(&source, number, shape);
                DamagedImage::new(number, shape, registry.storage(), parts)
            })
            .collect();
        let mut text = "version: 1\ndefaults: {referrers: true}\nimages:\n".to_owned();
        for name in images.iter().flat_map(DamagedImage::repositories) {
            let name = name.strip_prefix("mirror/").unwrap();
            text.push_str(&format!(
                "- from: {}/team/{name}\n  to: {}/mirror/{name}\n  tags: {{also: ['0.0']}}\n",
                source.url_host(),
                registry.host()
            ));
        }
        fs::write(sandbox.path(FILE), text).unwrap();
        mirror(&sandbox, "run", &["--image-parallel", "4"]).exits(0);
        mirror(&sandbox, "verify", &["--full"]).exits(0);
        Self { registry, sandbox, kinds, images, _source: source }
    }

    /// Returns the ends of the lines of which one must report a kind of damage.
    fn places(&self, kind: &Kind, image: &DamagedImage) -> String {
        match kind.found {
            Found::Blob(part) => format!("@{}", image.part(part)),
            Found::Image => format!("/mirror/app{}:0.0", image.number),
        }
    }

    /// Returns whether a command reports a kind of damage in a line that begins so.
    fn says(&self, ran: &Ran, beginning: &str, number: usize) -> bool {
        let place = self.places(&self.kinds[number], &self.images[number]);
        ran.stderr.lines().any(|line| {
            line.starts_with(beginning) && {
                let line = line.split(": ").next().unwrap_or_default();
                line.ends_with(&place)
            }
        })
    }

    /// Returns what skopeo cannot read of an image; `None` where all of it is right.
    fn unread(&self, image: &DamagedImage) -> Option<String> {
        // skopeo compares what it reads by digest, and believes a tag.
        let mut tags: Vec<(String, &str)> =
            image.repositories().iter().map(|name| (format!("{name}:0.0"), "manifest")).collect();
        let repository = &image.repositories()[0];
        if image.shape == Shape::Referred {
            let [_, list, signature] = image.tags().try_into().unwrap();
            tags.push((format!("{repository}:{signature}"), "signed"));
            let list = format!("{repository}:{list}");
            let document = self.raw(&list).unwrap_or_default();
            let document: Value = serde_json::from_slice(&document).unwrap_or_default();
            if document["manifests"][0]["digest"] != image.part("referrer").to_string() {
                return Some(format!("{list}: the referrer is not listed"));
            }
        }
        for (name, part) in &tags {
            let wanted = image.part(part);
            if self.raw(name).is_none_or(|bytes| Digest::of(&bytes) != wanted) {
                return Some(name.clone());
            }
        }
        let by_digest = |(name, part): &(String, &str)| {
            let repository = name.rsplit_once(':').unwrap().0;
            format!("{repository}@{}", image.part(part))
        };
        let mut whole: Vec<String> = tags.iter().map(by_digest).collect();
        if image.shape == Shape::Referred {
            whole.push(format!("{repository}@{}", image.part("referrer")));
        }
        whole.into_iter().find(|name| {
            let folder = tempfile::tempdir().unwrap();
            let to = format!("dir:{}", folder.path().display());
            let copy = ["copy", "--quiet", "--all", "--src-tls-verify=false"];
            self.skopeo(&copy, name, Some(&to)).is_none()
        })
    }

    /// Returns the manifest or index that a name leads to.
    fn raw(&self, name: &str) -> Option<Vec<u8>> {
        self.skopeo(&["inspect", "--raw", "--tls-verify=false"], name, None)
    }

    fn skopeo(&self, options: &[&str], name: &str, to: Option<&str>) -> Option<Vec<u8>> {
        let mut command = Command::new("skopeo");
        command.arg("--insecure-policy").args(options);
        command.arg(format!("docker://{}/{name}", self.registry.host())).args(to);
        let output = command.output().unwrap();
        output.status.success().then_some(output.stdout)
    }
}

/// Damages, verifies, repairs and verifies again; then does what the hints say.
fn damage_and_repair(registry: RealRegistry, kinds: Vec<Kind>) {
    let world = World::new(registry, kinds);
    let count = world.kinds.len();
    let started = Instant::now();
    for (kind, image) in world.kinds.iter().zip(&world.images) {
        (kind.damage)(image);
    }
    for (harmless, image) in HARMLESS.iter().zip(&world.images[count..]) {
        harmless(image);
    }
    let found = mirror(&world.sandbox, "verify", &["--full", "--retries", "0"]);
    found.exits(1);
    let mut wrong = Vec::new();
    for (number, kind) in world.kinds.iter().enumerate() {
        if world.unread(&world.images[number]).is_none() {
            wrong.push(format!("{}: skopeo reads the damaged image", kind.name));
        }
        if !world.says(&found, "FAILED ", number) {
            wrong.push(format!("{}: not found", kind.name));
        }
    }
    let accused = |image: &DamagedImage| found.stderr.contains(&format!("/app{}:", image.number));
    let sound = &world.images[count..];
    assert!(!sound.iter().any(accused), "what is sound is accused: {}", found.stderr);
    assert_eq!(wrong, Vec::<String>::new(), "{}", found.stderr);

    let repaired = mirror(&world.sandbox, "repair", &["--retries", "0"]);
    let after = mirror(&world.sandbox, "verify", &["--full", "--retries", "0"]);
    let mut kept = Vec::new();
    for (number, kind) in world.kinds.iter().enumerate() {
        let is_bad = world.says(&after, "FAILED ", number);
        let is_kept = world.says(&repaired, "kept-damaged ", number);
        let is_right =
            world.says(&repaired, "repaired ", number) || world.says(&repaired, "right ", number);
        let unread = world.unread(&world.images[number]);
        let fits = match is_kept {
            true => is_bad && unread.is_some(),
            false => is_right && !is_bad && unread.is_none(),
        };
        if !fits {
            wrong.push(format!(
                "{}: kept {is_kept}, repaired {is_right}, bad afterwards {is_bad}, skopeo {unread:?}",
                kind.name
            ));
        }
        kept.extend(is_kept.then_some(kind.name));
    }
    assert_eq!(wrong, Vec::<String>::new(), "{}\n{}", repaired.stderr, after.stderr);
    repaired.exits(if kept.is_empty() { 0 } else { 1 });
    after.exits(if kept.is_empty() { 0 } else { 1 });
    // What is gone is sent again.
    assert!(!kept.iter().any(|kind| kind.ends_with("removed")), "{kept:?}");

    // What the hints say helps.
    for file in repaired.stderr.split_whitespace().filter(|word| word.contains("registry/v2/")) {
        let file = file.strip_prefix("docker/registry/v2/").unwrap();
        let file = world.registry.storage().join(file);
        match file.is_dir() && !file.is_symlink() {
            true => fs::remove_dir_all(file).unwrap(),
            // Several images may have it.
            false => drop(fs::remove_file(file)),
        }
    }
    mirror(&world.sandbox, "repair", &["--retries", "0"]).exits(0);
    mirror(&world.sandbox, "verify", &["--full"]).exits(0);
    // The others were read after the repair.
    let was_kept =
        |number: &usize| world.kinds.get(*number).is_none_or(|kind| kept.contains(&kind.name));
    for number in (0..world.images.len()).filter(was_kept) {
        assert_eq!(world.unread(&world.images[number]), None);
    }
    eprintln!("{count} kinds in {:?}, kept at first: {kept:?}", started.elapsed());
}

#[test]
fn every_kind_of_damage_in_a_storage_is_found_and_repaired_or_reported() {
    let Some(registry) = RealRegistry::uncached("damage at docker-registry", false) else { return };
    let kinds = kinds();
    assert!(kinds.len() >= LEAST_KINDS, "{}", kinds.len());
    damage_and_repair(registry, kinds);
}

#[test]
fn a_registry_that_deletes_is_repaired_as_well() {
    let Some(registry) = RealRegistry::uncached("damage and deletes", true) else { return };
    // It deletes the entries of repositories, and keeps the bytes: some kinds of each group show it.
    damage_and_repair(registry, kinds().into_iter().step_by(4).collect());
}

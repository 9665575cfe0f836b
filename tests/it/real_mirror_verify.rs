//! `occystrap mirror verify`, `repair` and `prune` with docker-registry: every kind of damage in its storage is found, and
//! afterwards each image is right, or reported as kept damaged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use occystrap_base::oci::Digest;

use crate::support::cli::Sandbox;
use crate::support::mirrored::{FILE, Mirrored, mirror};
use crate::support::real::RealRegistry;
use crate::support::registry::Registry;

/// An image at docker-registry: repository `mirror/appN`, tag `0.0`.
struct Image {
    number: usize,
    storage: PathBuf,
    manifest: Digest,
    config: Digest,
    /// The layer that no other repository has.
    layer: Digest,
}

impl Image {
    fn of(registry: &RealRegistry, number: usize) -> Self {
        let bytes = registry.manifest(&format!("mirror/app{number}"), "0.0");
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let digest = |value: &serde_json::Value| value["digest"].as_str().unwrap().parse().unwrap();
        Self {
            number,
            storage: registry.storage(),
            manifest: Digest::of(&bytes),
            config: digest(&json["config"]),
            layer: digest(&json["layers"][2]),
        }
    }

    fn data(&self, digest: Digest) -> PathBuf {
        let hex = digest.hex();
        self.storage.join("blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    fn inside(&self, path: &str) -> PathBuf {
        self.storage.join(format!("repositories/mirror/app{}", self.number)).join(path)
    }

    fn layer_link(&self, digest: Digest) -> PathBuf {
        self.inside(&format!("_layers/sha256/{}/link", digest.hex()))
    }

    fn revision(&self) -> PathBuf {
        self.inside(&format!("_manifests/revisions/sha256/{}/link", self.manifest.hex()))
    }

    fn tag(&self) -> PathBuf {
        self.inside("_manifests/tags/0.0/current/link")
    }
}

/// What is damaged: a blob, or the image's manifest or tag.
#[derive(Clone, Copy)]
enum What {
    Layer,
    Config,
    Image,
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn flip(path: &Path, at: impl Fn(usize) -> usize) {
    change(path, |bytes| {
        let at = at(bytes.len());
        bytes[at] ^= 4;
    });
}

fn remove(path: &Path) {
    match path.is_dir() {
        true => fs::remove_dir_all(path).unwrap(),
        false => fs::remove_file(path).unwrap(),
    }
}

/// A kind of damage: its name, what it damages, how.
type Kind = (&'static str, What, fn(&Image));

const OTHER: &str = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

const KINDS: &[Kind] = &[
    ("first byte of a layer", What::Layer, |i| flip(&i.data(i.layer), |_| 0)),
    ("middle byte of a layer", What::Layer, |i| flip(&i.data(i.layer), |size| size / 2)),
    ("last byte of a layer", What::Layer, |i| flip(&i.data(i.layer), |size| size - 1)),
    ("half of a layer", What::Layer, |i| change(&i.data(i.layer), |b| b.truncate(b.len() / 2))),
    ("layer without its last byte", What::Layer, |i| {
        change(&i.data(i.layer), |b| b.truncate(b.len() - 1));
    }),
    ("empty layer", What::Layer, |i| change(&i.data(i.layer), Vec::clear)),
    ("longer layer", What::Layer, |i| change(&i.data(i.layer), |b| b.extend(b"more"))),
    ("layer of zeros", What::Layer, |i| change(&i.data(i.layer), |b| b.fill(0))),
    ("swapped pages of a layer", What::Layer, |i| {
        change(&i.data(i.layer), |b| b[..8192].rotate_left(4096));
    }),
    ("removed layer", What::Layer, |i| remove(&i.data(i.layer))),
    ("removed folder of a layer", What::Layer, |i| remove(i.data(i.layer).parent().unwrap())),
    ("flipped config", What::Config, |i| flip(&i.data(i.config), |size| size / 2)),
    ("empty config", What::Config, |i| change(&i.data(i.config), Vec::clear)),
    ("removed config", What::Config, |i| remove(&i.data(i.config))),
    ("removed link of a layer", What::Layer, |i| remove(&i.layer_link(i.layer))),
    ("removed folder of a link", What::Layer, |i| {
        remove(i.layer_link(i.layer).parent().unwrap());
    }),
    ("empty link of a layer", What::Layer, |i| change(&i.layer_link(i.layer), Vec::clear)),
    ("link that is no digest", What::Layer, |i| fs::write(i.layer_link(i.layer), "x").unwrap()),
    ("link of a layer to the config", What::Layer, |i| {
        fs::write(i.layer_link(i.layer), i.config.to_string()).unwrap();
    }),
    ("removed link of a config", What::Config, |i| remove(&i.layer_link(i.config))),
    ("flipped manifest", What::Image, |i| flip(&i.data(i.manifest), |size| size / 2)),
    ("cut manifest", What::Image, |i| change(&i.data(i.manifest), |b| b.truncate(20))),
    ("empty manifest", What::Image, |i| change(&i.data(i.manifest), Vec::clear)),
    ("removed manifest", What::Image, |i| remove(&i.data(i.manifest))),
    ("removed revision", What::Image, |i| remove(&i.revision())),
    ("empty revision", What::Image, |i| change(&i.revision(), Vec::clear)),
    ("removed tag", What::Image, |i| remove(&i.tag())),
    ("removed folder of a tag", What::Image, |i| remove(&i.inside("_manifests/tags/0.0"))),
    ("empty tag", What::Image, |i| change(&i.tag(), Vec::clear)),
    ("tag of a digest that is not there", What::Image, |i| fs::write(i.tag(), OTHER).unwrap()),
    ("tag that is no digest", What::Image, |i| fs::write(i.tag(), "latest").unwrap()),
];

fn damage_and_repair(registry: &RealRegistry) {
    let (source, sandbox) = (Registry::start(), Sandbox::new());
    let to = format!("{}/mirror/{{name}}", registry.host());
    Mirrored::at(&source, KINDS.len() + 1, 1).write_file(&sandbox, &to, &[]);
    mirror(&sandbox, "run", &["--image-parallel", "4"]).exits(0);
    mirror(&sandbox, "verify", &["--full"]).exits(0);
    let images: Vec<Image> = (0..KINDS.len()).map(|number| Image::of(registry, number)).collect();
    for ((_, _, damage), image) in KINDS.iter().zip(&images) {
        damage(image);
    }
    let marker = |(_, what, _): &Kind, image: &Image| match what {
        What::Layer => format!("@{}", image.layer),
        What::Config => format!("@{}", image.config),
        What::Image => format!("/mirror/app{}:0.0", image.number),
    };
    let ran = mirror(&sandbox, "verify", &["--full", "--retries", "0"]);
    ran.exits(1);
    for (kind, image) in KINDS.iter().zip(&images) {
        let found = ran
            .stderr
            .lines()
            .any(|line| line.starts_with("FAILED ") && line.ends_with(&marker(kind, image)));
        assert!(found, "{} was not found:\n{}", kind.0, ran.stderr);
    }
    let repaired = mirror(&sandbox, "repair", &["--retries", "0"]);
    let after = mirror(&sandbox, "verify", &["--full", "--retries", "0"]);
    let mut kept = Vec::new();
    for (kind, image) in KINDS.iter().zip(&images) {
        let marker = marker(kind, image);
        let ends = |text: &str, start: &str| {
            text.lines().any(|line| line.starts_with(start) && line.ends_with(&marker))
        };
        let is_bad = ends(&after.stderr, "FAILED ");
        let is_kept = ends(&repaired.stderr, "kept-damaged ");
        let is_repaired = ends(&repaired.stderr, "repaired ")
            || repaired
                .stderr
                .contains(&format!("repaired registry://{}{marker}", registry.host()));
        assert_eq!(is_bad, is_kept, "{}:\n{}\n{}", kind.0, repaired.stderr, after.stderr);
        assert!(
            is_kept || is_repaired || ends(&repaired.stderr, "right "),
            "{}: {}",
            kind.0,
            repaired.stderr
        );
        assert_eq!(skopeo_reads(registry, image.number), !is_bad, "{}: skopeo agrees", kind.0);
        kept.extend(is_kept.then_some(kind.0));
    }
    // docker-registry keeps bytes that are there, and takes again what is gone.
    assert!(!kept.iter().any(|kind| kind.starts_with("removed")), "{kept:?}");
    assert!(skopeo_reads(registry, KINDS.len()), "what was not damaged");
    // What the hint says helps.
    if !kept.is_empty() {
        repaired.exits(1).says("KEPT DAMAGED");
        let files = repaired.stderr.split_whitespace().filter(|word| word.ends_with("/data"));
        for file in files {
            let file = file.strip_prefix("docker/registry/v2/").unwrap();
            fs::remove_file(registry.storage().join(file)).unwrap();
        }
        mirror(&sandbox, "repair", &["--retries", "0"]).exits(0);
    }
    mirror(&sandbox, "verify", &["--full"]).exits(0);
    for image in &images {
        assert!(skopeo_reads(registry, image.number), "{}", KINDS[image.number].0);
    }
    assert!(sandbox.path(FILE).exists());
}

/// Whether skopeo copies the image and finds every digest right.
fn skopeo_reads(registry: &RealRegistry, number: usize) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let from = format!("docker://{}/mirror/app{number}:0.0", registry.host());
    let to = format!("dir:{}", folder.path().display());
    let tls = "--src-tls-verify=false";
    let mut command = Command::new("skopeo");
    command.args(["--insecure-policy", "copy", "--quiet", tls, &from, &to]);
    command.output().unwrap().status.success()
}

#[test]
fn every_kind_of_damage_in_the_storage_is_found_and_repaired_or_reported() {
    let Some(registry) = RealRegistry::start("damage at docker-registry") else { return };
    damage_and_repair(&registry);
}

#[test]
fn a_registry_that_deletes_is_repaired_as_well() {
    let Some(registry) = RealRegistry::with_deletes("damage and deletes") else { return };
    damage_and_repair(&registry);
}

#[test]
fn docker_registry_deletes_extra_images_by_their_digest_where_it_may() {
    let Some(registry) = RealRegistry::with_deletes("prune") else { return };
    let (source, sandbox) = (Registry::start(), Sandbox::new());
    let to = format!("{}/mirror/{{name}}", registry.host());
    Mirrored::at(&source, 1, 3).write_file(&sandbox, &to, &[]);
    mirror(&sandbox, "run", &[]).exits(0);
    let text = fs::read_to_string(sandbox.path(FILE)).unwrap();
    let text = text.replace("regex: '.*'", "regex: '[12].0'");
    fs::write(sandbox.path(FILE), format!("{text}prune: {{extra: delete}}\n")).unwrap();
    mirror(&sandbox, "run", &[]).exits(0);
    assert!(mirror(&sandbox, "prune", &[]).exits(0).stdout.contains("1 image is extra"));
    mirror(&sandbox, "prune", &["--yes"]).exits(0).says("1 deleted, 0 stay");
    let tags = Command::new("skopeo")
        .args(["list-tags", "--tls-verify=false"])
        .arg(format!("docker://{}/mirror/app0", registry.host()))
        .output()
        .unwrap();
    let tags: serde_json::Value = serde_json::from_slice(&tags.stdout).unwrap();
    assert_eq!(tags["Tags"], serde_json::json!(["1.0", "2.0"]));
    mirror(&sandbox, "verify", &["--full"]).exits(0);
}

//! Kinds of damage in the storage of docker-registry, one for each image of a mirror.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use occystrap_base::oci::Digest;
use serde_json::{Value, json};

use super::image::{gzip, noise, tar};
use super::multi::{INDEX, MANIFEST, Multi, described};
use super::registry::Registry;
use super::registry_referrers::{cosign, list_under_tag, refer};

/// What an image has beside a manifest, a config and layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Nothing.
    Plain,
    /// An index with two platforms and an attestation.
    Index,
    /// A referrer under the fallback tag, and a signature of cosign.
    Referred,
    /// Another repository with the same image.
    Twice,
}

/// What must be reported as bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A blob: the part of this name.
    Blob(&'static str),
    /// The image, by its tag.
    Image,
}

/// A kind of damage: its name, the image that it needs, what must be found, and how it is done.
pub struct Kind {
    pub name: &'static str,
    pub shape: Shape,
    pub found: Found,
    pub damage: fn(&DamagedImage),
}

/// An image at docker-registry, in the repository `mirror/appN` under the tag `0.0`.
pub struct DamagedImage {
    pub number: usize,
    pub shape: Shape,
    storage: PathBuf,
    parts: Vec<(&'static str, Digest)>,
}

/// Puts an image at the source: in the repository `team/appN` under the tag `0.0`. Returns its parts by name.
pub fn put(source: &Registry, number: usize, shape: Shape) -> Vec<(&'static str, Digest)> {
    let repository = format!("team/app{number}");
    let mut multi = Multi::default();
    let layers = |more: u64| {
        let own = 5_000 + 10 * number as u64 + more;
        vec![tar(&[("shared", &noise(1, 3_000))]), tar(&[("own", &noise(own, 12_000))])]
    };
    let entry = multi.image_with("linux/amd64", layers(0));
    let digest = |value: &Value| value["digest"].as_str().unwrap().parse().unwrap();
    let first: Value = serde_json::from_slice(&multi.manifests[0].1).unwrap();
    let mut parts: Vec<(&'static str, Digest)> = vec![
        ("layer", digest(&first["layers"][1])),
        ("config", digest(&first["config"])),
        ("child", digest(&entry)),
    ];
    if shape == Shape::Index {
        let other = multi.image_with("linux/arm64", layers(1));
        let document: Value = serde_json::from_slice(&multi.manifests[1].1).unwrap();
        parts.push(("other layer", digest(&document["layers"][1])));
        let attested = format!("{{\"_type\":\"in-toto\",\"of\":{number}}}").into_bytes();
        let config = json!({ "os": "unknown", "architecture": "unknown", "config": {},
            "rootfs": { "type": "layers", "diff_ids": [Digest::of(&attested).to_string()] } });
        let config = config.to_string().into_bytes();
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST,
            "config": described("application/vnd.oci.image.config.v1+json", &config),
            "layers": [described("application/vnd.in-toto+json", &attested)] });
        parts.push(("attested", Digest::of(&attested)));
        multi.blobs.extend([attested, config]);
        let attestation = multi.manifest(MANIFEST, manifest.to_string(), "unknown/unknown");
        parts.push(("attestation", digest(&attestation)));
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX,
            "manifests": [entry, other, attestation] });
        multi.manifest(INDEX, index.to_string(), "");
    }
    for blob in &multi.blobs {
        source.put_blob(blob);
    }
    for (media_type, bytes) in &multi.manifests {
        source.set_manifest(&repository, &Digest::of(bytes).to_string(), media_type, bytes);
    }
    let (media_type, bytes) = multi.manifests.last().unwrap();
    let top = source.put_manifest(&repository, "0.0", media_type, bytes);
    parts.push(("manifest", top));
    match shape {
        Shape::Referred => {
            let content = format!("list of contents {number}");
            let referrer =
                refer(source, &repository, top, "application/spdx+json", content.as_bytes());
            list_under_tag(source, &repository, top, &[referrer]);
            let signature = format!("signature {number}");
            let signed = cosign(source, &repository, top, ".sig", &[signature.as_bytes()]);
            parts.extend([
                ("referrer", referrer),
                ("contents", Digest::of(content.as_bytes())),
                ("signed", signed),
                ("signature", Digest::of(signature.as_bytes())),
            ]);
        }
        Shape::Twice => {
            source.put_manifest(&format!("{repository}-twin"), "0.0", media_type, bytes);
        }
        Shape::Plain | Shape::Index => {}
    }
    parts
}

impl DamagedImage {
    pub fn new(
        number: usize,
        shape: Shape,
        storage: PathBuf,
        parts: Vec<(&'static str, Digest)>,
    ) -> Self {
        Self { number, shape, storage, parts }
    }

    /// The digest of a part.
    pub fn part(&self, name: &str) -> Digest {
        let found = self.parts.iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("no part '{name}'")).1
    }

    /// The tags of the repository that must be there.
    pub fn tags(&self) -> Vec<String> {
        match self.shape {
            Shape::Referred => vec!["0.0".to_owned(), self.fallback(), self.sig()],
            _ => vec!["0.0".to_owned()],
        }
    }

    /// The repositories with the image.
    pub fn repositories(&self) -> Vec<String> {
        let name = format!("mirror/app{}", self.number);
        match self.shape {
            Shape::Twice => vec![name.clone(), format!("{name}-twin")],
            _ => vec![name],
        }
    }

    fn fallback(&self) -> String {
        format!("sha256-{}", self.part("manifest").hex())
    }

    fn sig(&self) -> String {
        format!("{}.sig", self.fallback())
    }

    /// The file with the bytes of a part.
    fn data(&self, part: &str) -> PathBuf {
        let hex = self.part(part).hex();
        self.storage.join("blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    fn inside(&self, path: &str) -> PathBuf {
        self.storage.join("repositories").join(&self.repositories()[0]).join(path)
    }

    /// The link of the repository to a blob.
    fn link(&self, part: &str) -> PathBuf {
        self.inside(&format!("_layers/sha256/{}/link", self.part(part).hex()))
    }

    fn twin_link(&self, part: &str) -> PathBuf {
        let path = format!("_layers/sha256/{}/link", self.part(part).hex());
        self.storage.join("repositories").join(&self.repositories()[1]).join(path)
    }

    /// The link of the repository to a manifest.
    fn revision(&self, part: &str) -> PathBuf {
        self.inside(&format!("_manifests/revisions/sha256/{}/link", self.part(part).hex()))
    }

    fn tag(&self, tag: &str) -> PathBuf {
        self.inside(&format!("_manifests/tags/{tag}/current/link"))
    }
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    let before = bytes.clone();
    change(&mut bytes);
    assert_ne!(before, bytes, "{}: nothing changed", path.display());
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

fn empty(path: &Path) {
    change(path, Vec::clear);
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::metadata(path).unwrap();
    fs::write(path, content).unwrap();
}

/// Puts a folder in the place of a file.
fn folder(path: &Path) {
    remove(path);
    fs::create_dir(path).unwrap();
}

/// Puts a symbolic link in the place of a file.
fn linked(path: &Path, to: &Path) {
    remove(path);
    symlink(to, path).unwrap();
}

fn parent(path: PathBuf) -> PathBuf {
    path.parent().unwrap().to_owned()
}

/// A digest that no registry here has.
const ABSENT: &str = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

/// The fields of a [`Kind`], in their order.
type Row = (&'static str, Shape, Found, fn(&DamagedImage));

/// All kinds of damage.
#[rustfmt::skip]
pub fn kinds() -> Vec<Kind> {
    use Found::{Blob, Image as Tag};
    use Shape::{Index, Plain, Referred, Twice};
    let table: Vec<Row> = vec![
        // The bytes of a layer.
        ("layer: first byte", Plain, Blob("layer"), |i| flip(&i.data("layer"), |_| 0)),
        ("layer: middle byte", Plain, Blob("layer"), |i| flip(&i.data("layer"), |size| size / 2)),
        ("layer: last byte", Plain, Blob("layer"), |i| flip(&i.data("layer"), |size| size - 1)),
        ("layer: half is cut", Plain, Blob("layer"), |i| change(&i.data("layer"), |b| b.truncate(b.len() / 2))),
        ("layer: last byte is cut", Plain, Blob("layer"), |i| change(&i.data("layer"), |b| b.truncate(b.len() - 1))),
        ("layer: one byte is left", Plain, Blob("layer"), |i| change(&i.data("layer"), |b| b.truncate(1))),
        ("layer: empty", Plain, Blob("layer"), |i| empty(&i.data("layer"))),
        ("layer: a byte longer", Plain, Blob("layer"), |i| change(&i.data("layer"), |b| b.push(0))),
        ("layer: a page longer", Plain, Blob("layer"), |i| change(&i.data("layer"), |b| b.resize(b.len() + 4096, 0))),
        ("layer: zeros", Plain, Blob("layer"), |i| change(&i.data("layer"), |b| b.fill(0))),
        ("layer: a page of zeros", Plain, Blob("layer"), |i| change(&i.data("layer"), |b| b[4096..8192].fill(0))),
        ("layer: swapped pages", Plain, Blob("layer"), |i| change(&i.data("layer"), |b| b[..8192].rotate_left(4096))),
        ("layer: twice", Plain, Blob("layer"), |i| change(&i.data("layer"), |b| b.extend_from_within(..))),
        ("layer: another blob", Plain, Blob("layer"), |i| write(&i.data("layer"), fs::read(i.data("config")).unwrap())),
        ("layer: a web page", Plain, Blob("layer"), |i| write(&i.data("layer"), "<html></html>")),
        ("layer: compressed again", Plain, Blob("layer"), |i| change(&i.data("layer"), |b| *b = gzip(b))),
        ("layer: removed", Plain, Blob("layer"), |i| remove(&i.data("layer"))),
        ("layer: removed with its folder", Plain, Blob("layer"), |i| remove(&parent(i.data("layer")))),
        ("layer: a folder", Plain, Blob("layer"), |i| folder(&i.data("layer"))),
        ("layer: a link to nothing", Plain, Blob("layer"), |i| linked(&i.data("layer"), Path::new("gone"))),
        ("layer: a link to itself", Plain, Blob("layer"), |i| linked(&i.data("layer"), Path::new("data"))),
        ("layer: a link to another blob", Plain, Blob("layer"), |i| linked(&i.data("layer"), &i.data("config"))),
        // The bytes of a config.
        ("config: flipped", Plain, Blob("config"), |i| flip(&i.data("config"), |size| size / 2)),
        ("config: empty", Plain, Blob("config"), |i| empty(&i.data("config"))),
        ("config: removed", Plain, Blob("config"), |i| remove(&i.data("config"))),
        ("config: another document", Plain, Blob("config"), |i| write(&i.data("config"), "{}")),
        ("config: a newline longer", Plain, Blob("config"), |i| change(&i.data("config"), |b| b.push(b'\n'))),
        ("config: a folder", Plain, Blob("config"), |i| folder(&i.data("config"))),
        // The links of a repository to its blobs.
        ("link of a layer: removed", Plain, Blob("layer"), |i| remove(&i.link("layer"))),
        ("link of a layer: removed with its folder", Plain, Blob("layer"), |i| remove(&parent(i.link("layer")))),
        ("link of a layer: empty", Plain, Blob("layer"), |i| empty(&i.link("layer"))),
        ("link of a layer: no digest", Plain, Blob("layer"), |i| write(&i.link("layer"), "x")),
        ("link of a layer: cut", Plain, Blob("layer"), |i| change(&i.link("layer"), |b| b.truncate(40))),
        ("link of a layer: to the config", Plain, Blob("layer"), |i| write(&i.link("layer"), i.part("config").to_string())),
        ("link of a layer: to nothing", Plain, Blob("layer"), |i| write(&i.link("layer"), ABSENT)),
        ("link of a layer: a folder", Plain, Blob("layer"), |i| folder(&i.link("layer"))),
        ("link of a config: removed", Plain, Blob("config"), |i| remove(&i.link("config"))),
        ("link of a config: empty", Plain, Blob("config"), |i| empty(&i.link("config"))),
        ("links: all removed", Plain, Blob("layer"), |i| remove(&i.inside("_layers"))),
        // The bytes of a manifest.
        ("manifest: flipped", Plain, Tag, |i| flip(&i.data("manifest"), |size| size / 2)),
        ("manifest: cut", Plain, Tag, |i| change(&i.data("manifest"), |b| b.truncate(20))),
        ("manifest: empty", Plain, Tag, |i| empty(&i.data("manifest"))),
        ("manifest: removed", Plain, Tag, |i| remove(&i.data("manifest"))),
        ("manifest: a newline longer", Plain, Tag, |i| change(&i.data("manifest"), |b| b.push(b'\n'))),
        ("manifest: no image", Plain, Tag, |i| write(&i.data("manifest"), "{}")),
        ("manifest: a web page", Plain, Tag, |i| write(&i.data("manifest"), "<html></html>")),
        ("manifest: a folder", Plain, Tag, |i| folder(&i.data("manifest"))),
        ("manifest: the config", Plain, Tag, |i| write(&i.data("manifest"), fs::read(i.data("config")).unwrap())),
        // The links of a repository to its manifests.
        ("revision: removed", Plain, Tag, |i| remove(&i.revision("manifest"))),
        ("revision: empty", Plain, Tag, |i| empty(&i.revision("manifest"))),
        ("revision: no digest", Plain, Tag, |i| write(&i.revision("manifest"), "latest")),
        ("revision: to the config", Plain, Tag, |i| write(&i.revision("manifest"), i.part("config").to_string())),
        ("revisions: all removed", Plain, Tag, |i| remove(&i.inside("_manifests/revisions"))),
        // Tags.
        ("tag: removed", Plain, Tag, |i| remove(&i.tag("0.0"))),
        ("tag: removed with its folder", Plain, Tag, |i| remove(&i.inside("_manifests/tags/0.0"))),
        ("tag: empty", Plain, Tag, |i| empty(&i.tag("0.0"))),
        ("tag: no digest", Plain, Tag, |i| write(&i.tag("0.0"), "latest")),
        ("tag: to nothing", Plain, Tag, |i| write(&i.tag("0.0"), ABSENT)),
        ("tag: to the config", Plain, Tag, |i| write(&i.tag("0.0"), i.part("config").to_string())),
        ("tag: a folder", Plain, Tag, |i| folder(&i.tag("0.0"))),
        ("tags: all removed", Plain, Tag, |i| remove(&i.inside("_manifests/tags"))),
        ("manifests: all removed", Plain, Tag, |i| remove(&i.inside("_manifests"))),
        ("repository: removed", Plain, Tag, |i| remove(&i.inside(""))),
        // Several platforms.
        ("index: flipped", Index, Tag, |i| flip(&i.data("manifest"), |size| size / 2)),
        ("index: removed", Index, Tag, |i| remove(&i.data("manifest"))),
        ("index: a child in its place", Index, Tag, |i| write(&i.data("manifest"), fs::read(i.data("child")).unwrap())),
        ("tag of an index: to a child", Index, Tag, |i| write(&i.tag("0.0"), i.part("child").to_string())),
        ("child: flipped", Index, Tag, |i| flip(&i.data("child"), |size| size / 2)),
        ("child: removed", Index, Tag, |i| remove(&i.data("child"))),
        ("revision of a child: removed", Index, Tag, |i| remove(&i.revision("child"))),
        ("layer of a child: flipped", Index, Blob("other layer"), |i| flip(&i.data("other layer"), |size| size / 2)),
        ("layer of a child: removed", Index, Blob("other layer"), |i| remove(&i.data("other layer"))),
        ("attestation: removed", Index, Tag, |i| remove(&i.data("attestation"))),
        ("attestation: cut", Index, Tag, |i| change(&i.data("attestation"), |b| b.truncate(9))),
        ("attested content: flipped", Index, Blob("attested"), |i| flip(&i.data("attested"), |_| 0)),
        // Referrers.
        ("referrer: flipped", Referred, Tag, |i| flip(&i.data("referrer"), |size| size / 2)),
        ("referrer: removed", Referred, Tag, |i| remove(&i.data("referrer"))),
        ("revision of a referrer: removed", Referred, Tag, |i| remove(&i.revision("referrer"))),
        ("content of a referrer: flipped", Referred, Blob("contents"), |i| flip(&i.data("contents"), |_| 0)),
        ("content of a referrer: removed", Referred, Blob("contents"), |i| remove(&i.data("contents"))),
        ("list of referrers: tag removed", Referred, Tag, |i| remove(&i.inside(&format!("_manifests/tags/{}", i.fallback())))),
        ("list of referrers: another image", Referred, Tag, |i| write(&i.tag(&i.fallback()), i.part("manifest").to_string())),
        ("signature: tag removed", Referred, Tag, |i| remove(&i.inside(&format!("_manifests/tags/{}", i.sig())))),
        ("signature: tag of another image", Referred, Tag, |i| write(&i.tag(&i.sig()), i.part("manifest").to_string())),
        ("signature: manifest removed", Referred, Tag, |i| remove(&i.data("signed"))),
        ("signature: flipped", Referred, Blob("signature"), |i| flip(&i.data("signature"), |_| 0)),
        // A blob that two repositories have.
        ("layer of two repositories: flipped", Twice, Blob("layer"), |i| flip(&i.data("layer"), |size| size / 2)),
        ("layer of two repositories: removed", Twice, Blob("layer"), |i| remove(&i.data("layer"))),
        ("layer of two repositories: a link removed", Twice, Blob("layer"), |i| remove(&i.link("layer"))),
        ("layer of two repositories: the other link", Twice, Blob("layer"), |i| remove(&i.twin_link("layer"))),
        ("manifest of two repositories: removed", Twice, Tag, |i| remove(&i.data("manifest"))),
    ];
    let kind = |(name, shape, found, damage)| Kind { name, shape, found, damage };
    table.into_iter().map(kind).collect()
}

/// Changes in the storage that clients cannot see.
pub const HARMLESS: &[fn(&DamagedImage)] = &[
    |i| remove(&i.inside("_manifests/tags/0.0/index")),
    |i| fs::create_dir_all(i.inside("_uploads/left-over")).unwrap(),
    |i| fs::write(parent(i.data("layer")).join("data.bak"), "x").unwrap(),
];

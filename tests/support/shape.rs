//! Archives in every form that tools write, with fine control to break them.

use std::path::Path;

use occystrap_base::oci::Digest;
use serde_json::{Value, json};

use super::image::{Pack, TestImage};

/// Members of an archive, in order. Names may repeat.
#[derive(Debug, Clone, Default)]
pub struct Archive(pub Vec<(String, Vec<u8>)>);

impl Archive {
    /// Appends a member.
    pub fn push(&mut self, name: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.0.push((name.into(), content.into()));
    }

    /// Appends a member that is not there yet, as content-addressed stores do.
    fn put(&mut self, name: String, content: Vec<u8>) {
        if !self.0.iter().any(|(known, _)| *known == name) {
            self.0.push((name, content));
        }
    }

    pub fn get(&self, name: &str) -> &[u8] {
        &self.0.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no {name}")).1
    }

    /// Replaces a member's content.
    pub fn set(&mut self, name: &str, content: impl Into<Vec<u8>>) {
        let member = self.0.iter_mut().find(|(known, _)| known == name);
        member.unwrap_or_else(|| panic!("no {name}")).1 = content.into();
    }

    pub fn remove(&mut self, name: &str) {
        self.get(name);
        self.0.retain(|(known, _)| known != name);
    }

    /// Changes the JSON of a member.
    pub fn edit(&mut self, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut document = serde_json::from_slice(self.get(name)).unwrap();
        edit(&mut document);
        self.set(name, document.to_string());
    }

    /// The tar. Member names are written as they are, `..` and `/` included.
    pub fn bytes(&self) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in &self.0 {
            builder.append(&header(name, content.len() as u64), content.as_slice()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    pub fn write(&self, path: &Path) {
        std::fs::write(path, self.bytes()).unwrap();
    }
}

/// A header whose name is not checked.
pub fn header(name: &str, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    assert!(name.len() <= 100, "{name}");
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header
}

fn manifest(
    images: &[&TestImage],
    config: impl Fn(&TestImage) -> String,
    layers: impl Fn(&TestImage) -> Vec<String>,
) -> String {
    let entries = images.iter().map(|image| {
        let tags: Vec<&str> =
            Some(image.name.as_str()).filter(|name| !name.is_empty()).into_iter().collect();
        json!({ "Config": config(image), "RepoTags": tags, "Layers": layers(image) })
    });
    Value::from_iter(entries).to_string()
}

fn id(layer: &[u8]) -> String {
    Digest::of(&[b"v1 ", layer].concat()).hex()
}

/// The path of a layer in an archive of [`legacy`].
pub fn legacy_layer(image: &TestImage, index: usize) -> String {
    format!("{}/layer.tar", id(&image.layers[index]))
}

/// `docker save` before Docker 25: `<id>/layer.tar`, where the id is not the diff-id.
pub fn legacy(images: &[&TestImage], pack: Pack) -> Archive {
    let mut archive = Archive::default();
    for image in images {
        for layer in &image.layers {
            archive.put(format!("{}/VERSION", id(layer)), b"1.0".to_vec());
            archive.put(format!("{}/layer.tar", id(layer)), pack.pack(layer));
        }
        archive.put(format!("{}.json", image.id().hex()), image.config.clone());
    }
    let layers = |image: &TestImage| {
        image.layers.iter().map(|layer| format!("{}/layer.tar", id(layer))).collect()
    };
    archive.push(
        "manifest.json",
        manifest(images, |image| format!("{}.json", image.id().hex()), layers),
    );
    archive.push("repositories", "{}");
    archive
}

/// `podman save`: layers by their diff-id at the root, and links for readers of the time before 1.10.
pub fn podman(images: &[&TestImage], pack: Pack) -> Archive {
    let name = |layer: &[u8]| format!("{}.tar", Digest::of(layer).hex());
    let mut archive = Archive::default();
    for image in images {
        for layer in &image.layers {
            archive.put(name(layer), pack.pack(layer));
        }
        archive.put(format!("{}.json", image.id().hex()), image.config.clone());
    }
    let layers = |image: &TestImage| image.layers.iter().map(|layer| name(layer)).collect();
    archive.push(
        "manifest.json",
        manifest(images, |image| format!("{}.json", image.id().hex()), layers),
    );
    archive.push("repositories", "{}");
    archive
}

/// `crane pull` and kaniko: every layer a `.tar.gz` at the root, the config `sha256:<hex>`.
pub fn crane(images: &[&TestImage], pack: Pack) -> Archive {
    let name = |layer: &[u8]| format!("{}.tar.gz", Digest::of(&pack.pack(layer)).hex());
    let mut archive = Archive::default();
    for image in images {
        archive.put(image.id().to_string(), image.config.clone());
        for layer in &image.layers {
            archive.put(name(layer), pack.pack(layer));
        }
    }
    let layers = |image: &TestImage| image.layers.iter().map(|layer| name(layer)).collect();
    archive.push("manifest.json", manifest(images, |image| image.id().to_string(), layers));
    archive
}

fn blob(archive: &mut Archive, content: &[u8]) -> String {
    let path = format!("blobs/sha256/{}", Digest::of(content).hex());
    archive.put(path.clone(), content.to_vec());
    path
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(content).to_string(), "size": content.len() })
}

/// An OCI image layout in a tar, without a `manifest.json`: skopeo's oci-archive, buildkit's
/// `type=oci`.
pub fn oci(images: &[&TestImage], pack: Pack) -> Archive {
    let mut archive = Archive::default();
    let mut listed = Vec::new();
    for image in images {
        let manifest = oci_manifest(image, pack);
        for layer in &image.layers {
            blob(&mut archive, &pack.pack(layer));
        }
        blob(&mut archive, &image.config);
        blob(&mut archive, manifest.as_bytes());
        let mut entry =
            descriptor("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes());
        entry["annotations"] =
            json!({ "io.containerd.image.name": format!("docker.io/library/{}", image.name) });
        listed.push(entry);
    }
    archive.push("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    archive.push("index.json", json!({ "schemaVersion": 2, "manifests": listed }).to_string());
    archive
}

/// Docker 25 and later: an OCI layout and a `manifest.json` that names its blobs.
pub fn docker25(images: &[&TestImage], pack: Pack) -> Archive {
    let mut archive = oci(images, pack);
    let path = |content: &[u8]| format!("blobs/sha256/{}", Digest::of(content).hex());
    let layers =
        |image: &TestImage| image.layers.iter().map(|layer| path(&pack.pack(layer))).collect();
    archive.push("manifest.json", manifest(images, |image| path(&image.config), layers));
    archive
}

/// The manifest of an image, as a registry or an OCI layout has it.
pub fn oci_manifest(image: &TestImage, pack: Pack) -> String {
    let layers = image.layers.iter().map(|layer| descriptor(pack.media_type(), &pack.pack(layer)));
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &image.config),
        "layers": Value::from_iter(layers),
    })
    .to_string()
}

/// Returns the manifest in Docker's schema 2, spaced as Docker does it.
pub fn docker_manifest(image: &TestImage) -> String {
    let layer = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    let layers = image.layers.iter().map(|plain| descriptor(layer, &Pack::Gzip.pack(plain)));
    let document = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": descriptor("application/vnd.docker.container.image.v1+json", &image.config),
        "layers": Value::from_iter(layers),
    });
    serde_json::to_string_pretty(&document).unwrap().replace("  ", "   ")
}

//! A multi-platform image, at a registry or in an archive.

use occystrap_base::oci::Digest;
use serde_json::{Value, json};

use super::image::{Pack, TestImage, tar};
use super::registry::Registry;
use super::shape::{Archive, oci_manifest};

pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A multi-platform image: blobs, manifests and indexes by what they are; the last is the index.
#[derive(Clone, Default)]
pub struct Multi {
    pub blobs: Vec<Vec<u8>>,
    pub manifests: Vec<(&'static str, Vec<u8>)>,
}

impl Multi {
    pub fn manifest(&mut self, media_type: &'static str, bytes: String, platform: &str) -> Value {
        let mut parts = platform.split('/');
        let mut said = json!({ "os": parts.next(), "architecture": parts.next() });
        if let Some(variant) = parts.next() {
            said["variant"] = variant.into();
        }
        let mut entry = described(media_type, bytes.as_bytes());
        if !platform.is_empty() {
            entry["platform"] = said;
        }
        self.manifests.push((media_type, bytes.into_bytes()));
        entry
    }

    pub fn image(&mut self, platform: &str) -> Value {
        let motd = tar(&[("etc/motd", platform.as_bytes())]);
        self.image_with(platform, vec![tar(&[("etc/base", b"the same for all")]), motd])
    }

    pub fn image_with(&mut self, platform: &str, layers: Vec<Vec<u8>>) -> Value {
        let mut image = TestImage::with_layers("multi:1", layers);
        let mut config: Value = serde_json::from_slice(&image.config).unwrap();
        let mut parts = platform.split('/');
        config["os"] = parts.next().into();
        config["architecture"] = parts.next().into();
        image.config = format!(" {config}\n").into_bytes();
        self.blobs.extend(image.layers.iter().map(|layer| Pack::Gzip.pack(layer)));
        self.blobs.push(image.config.clone());
        self.manifest(MANIFEST, oci_manifest(&image, Pack::Gzip), platform)
    }

    /// Returns an attestation as buildkit writes it, with one more layer that only looks like gzip.
    pub fn attestation(&mut self) -> Value {
        let layers = [b"{\"_type\":\"in-toto\"}".to_vec(), b"\x1f\x8bnot gzip at all".to_vec()];
        let config = json!({ "os": "unknown", "architecture": "unknown", "config": {},
            "rootfs": { "type": "layers", "diff_ids": [Digest::of(b"another").to_string()] } });
        // Not complete JSON: only its own reader knows its content.
        let config = format!("{config} and more").into_bytes();
        let document = json!({ "schemaVersion": 2, "mediaType": MANIFEST,
            "config": described("application/vnd.oci.image.config.v1+json", &config),
            "layers": layers.each_ref().map(|layer| described("application/vnd.in-toto+json", layer)) });
        self.blobs.extend(layers);
        self.blobs.push(config);
        self.manifest(MANIFEST, document.to_string(), "unknown/unknown")
    }

    /// An index with a nested one and an attestation, spaced as no serializer does.
    pub fn build() -> Self {
        let mut multi = Self::default();
        let nested = json!({ "schemaVersion": 2, "mediaType": INDEX,
            "manifests": [multi.image("linux/s390x")] });
        let nested = multi.manifest(INDEX, nested.to_string(), "");
        let amd64 = multi.image("linux/amd64");
        // Listed twice, once for a variant.
        let mut again = amd64.clone();
        again["platform"]["variant"] = "v2".into();
        let entries =
            json!([amd64, multi.image("linux/arm64/v8"), again, nested, multi.attestation()]);
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries,
            "annotations": { "kept": "yes" } });
        multi.manifest(INDEX, format!("\n {index} "), "");
        multi
    }

    pub fn index(&self) -> &[u8] {
        &self.manifests.last().unwrap().1
    }

    pub fn edit_index(&mut self, edit: impl FnOnce(&mut Value)) {
        let mut index = serde_json::from_slice(self.index()).unwrap();
        edit(&mut index);
        self.manifests.last_mut().unwrap().1 = index.to_string().into_bytes();
    }

    /// An index of the index.
    pub fn wrap(&mut self) {
        let inner = described(INDEX, self.index());
        let outer = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [inner] });
        self.manifests.push((INDEX, outer.to_string().into_bytes()));
    }

    pub fn push(&self, registry: &Registry) -> String {
        for blob in &self.blobs {
            registry.put_blob(blob);
        }
        for (media_type, bytes) in &self.manifests {
            registry.put_manifest(
                "multi",
                &format!("t{}", Digest::of(bytes).hex()),
                media_type,
                bytes,
            );
        }
        registry.put_manifest("multi", "1", INDEX, self.index());
        uri(registry, "multi:1")
    }

    /// An OCI layout in a tar.
    pub fn archive(&self) -> Archive {
        let mut archive = Archive::default();
        let manifests = self.manifests.iter().map(|(_, bytes)| bytes);
        for blob in self.blobs.iter().chain(manifests) {
            let name = format!("blobs/sha256/{}", Digest::of(blob).hex());
            if !archive.0.iter().any(|(known, _)| *known == name) {
                archive.push(name, blob.clone());
            }
        }
        let mut entry = described(INDEX, self.index());
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "1" });
        archive.push("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
        archive.push("index.json", json!({ "schemaVersion": 2, "manifests": [entry] }).to_string());
        archive
    }

    #[track_caller]
    pub fn assert_at(&self, registry: &Registry, repository: &str, tag: &str) {
        for (media_type, bytes) in &self.manifests {
            let digest = Digest::of(bytes).to_string();
            let (found_type, found) = registry.manifest(repository, &digest).expect("a manifest");
            assert_eq!((found_type.as_str(), &found[..]), (*media_type, &bytes[..]));
        }
        assert_eq!(&registry.manifest(repository, tag).unwrap().1[..], self.index());
        for blob in &self.blobs {
            assert!(registry.blob(repository, Digest::of(blob)).is_some());
        }
    }
}

pub fn described(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len() })
}

/// Its URI at a registry.
pub fn uri(registry: &Registry, name: &str) -> String {
    format!("registry://{}/{name}?insecure=true", registry.url_host())
}

//! Images, artifacts and indexes that a client pushes through `occystrap proxy`.

use occystrap_base::oci::Digest;
use occystrap_base::oci::manifest::{OCI_INDEX, OCI_MANIFEST};
use serde_json::{Value, json};

use super::image::{Pack, TestImage};
use super::multi::described;
use super::proxy::{Answer, ProxyProcess};
use super::shape::oci_manifest;

/// What a client pushes: blobs, then manifests; the last one is the one that it means.
#[derive(Default)]
pub struct Pushed {
    pub blobs: Vec<Vec<u8>>,
    pub manifests: Vec<(&'static str, Vec<u8>)>,
}

impl Pushed {
    /// A manifest of an image.
    pub fn image(pack: Pack) -> Self {
        let image = TestImage::tiny(&format!("{pack:?}"));
        let layers = image.layers.iter().map(|layer| pack.pack(layer));
        Self {
            blobs: layers.chain([image.config.clone()]).collect(),
            manifests: vec![(OCI_MANIFEST, oci_manifest(&image, pack).into_bytes())],
        }
    }

    /// A manifest of an artifact with these layers.
    pub fn artifact(kind: &str, layers: &[&[u8]]) -> Self {
        let empty = "application/vnd.oci.empty.v1+json";
        let listed = layers.iter().map(|layer| described("text/plain", layer));
        let document = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "artifactType": kind, "config": described(empty, b"{}"),
            "layers": Value::from_iter(listed) });
        let blobs = [&[b"{}".as_slice()], layers].concat();
        Self {
            blobs: blobs.iter().map(|blob| blob.to_vec()).collect(),
            manifests: vec![(OCI_MANIFEST, document.to_string().into_bytes())],
        }
    }

    /// An index of what others push.
    pub fn index(parts: Vec<Self>) -> Self {
        let mut all = Self::default();
        let mut listed = Vec::new();
        for part in parts {
            let (media_type, bytes) = part.manifests.last().unwrap();
            listed.push(described(media_type, bytes));
            all.blobs.extend(part.blobs);
            all.manifests.extend(part.manifests);
        }
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed });
        all.manifests.push((OCI_INDEX, index.to_string().into_bytes()));
        all
    }

    /// Changes the last manifest. Its bytes are spaced as no serializer does.
    pub fn edited(mut self, edit: impl FnOnce(&mut Value)) -> Self {
        let (_, bytes) = self.manifests.last_mut().unwrap();
        let mut document = serde_json::from_slice(bytes).unwrap();
        edit(&mut document);
        *bytes = format!(" {}\n\n", document.to_string().replace("\":", "\"  : ")).into_bytes();
        self
    }

    /// The manifest that the client means.
    pub fn last(&self) -> &(&'static str, Vec<u8>) {
        self.manifests.last().unwrap()
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.last().1)
    }

    /// Sends everything but the last manifest.
    #[track_caller]
    pub fn send_parts(&self, proxy: &ProxyProcess, name: &str) {
        self.blobs.iter().for_each(|blob| _ = proxy.put_blob(name, blob));
        let (_, parts) = self.manifests.split_last().unwrap();
        for (media_type, bytes) in parts {
            let target = Digest::of(bytes).to_string();
            let answer = proxy.put_manifest(name, &target, media_type, bytes);
            assert_eq!(answer.status, 201, "{}", answer.text());
        }
    }

    /// Sends everything, and the last manifest under `target`.
    #[track_caller]
    pub fn send(&self, proxy: &ProxyProcess, name: &str, target: &str) -> Answer {
        self.send_parts(proxy, name);
        let (media_type, bytes) = self.last();
        let answer = proxy.put_manifest(name, target, media_type, bytes);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let digest = Digest::of(bytes);
        assert_eq!(answer.header("location"), format!("/v2/{name}/manifests/{digest}"));
        assert_eq!(answer.header("docker-content-digest"), digest.to_string());
        assert_eq!(answer.header("occystrap-downstream-digest"), "");
        answer
    }
}

/// The field `subject` of what refers to a manifest.
pub fn subject(digest: Digest) -> Value {
    json!({ "mediaType": OCI_MANIFEST, "digest": digest.to_string(), "size": 1 })
}

//! The part of the registry for tests that lists referrers (distribution specification, "Listing Referrers"). Without
//! [`Registry::list_referrers`] it does not have this API, as docker-registry 2.8.
//!
//!     registry.list_referrers(2);                     // two in each page
//!     let sbom = refer(&registry, "a/b", subject, "application/spdx+json", b"content");
//!     let signature = cosign(&registry, "a/b", subject, ".sig", b"signature");

use occystrap_base::oci::Digest;
use serde_json::{Value, json};

use super::image::{TestImage, noise};
use super::multi::{INDEX, MANIFEST, described};
use super::registry::{Registry, State};
use super::registry_answer::Plan;

impl Registry {
    /// Has the API from now on, with so many referrers in a page.
    pub fn list_referrers(&self, page: usize) {
        self.state().referrer_page = Some(page);
    }

    /// Accepts indexes of which manifests are absent from now on.
    pub fn take_sparse_indexes(&self) {
        self.state().takes_sparse = true;
    }
}

impl State {
    pub(super) fn referrers(&self, repository: &str, subject: &str, query: &str) -> Plan {
        let Some(page) = self.referrer_page else { return Plan::error(404, "NOT_FOUND") };
        let asked = |name: &str| {
            let mut pairs = url::form_urlencoded::parse(query.as_bytes());
            pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        let mut all: Vec<(String, Value)> = Vec::new();
        for ((name, target), (media_type, bytes)) in &self.manifests {
            let document: Value = serde_json::from_slice(bytes).unwrap_or_default();
            if name != repository
                || !target.contains(':')
                || document["subject"]["digest"] != subject
            {
                continue;
            }
            let mut entry = described(media_type, bytes);
            entry["artifactType"] = match document["artifactType"].as_str() {
                Some(kind) => kind.into(),
                None => document["config"]["mediaType"].clone(),
            };
            all.push((target.clone(), entry));
        }
        all.sort_by(|one, other| one.0.cmp(&other.0));
        let mut headers = vec![("content-type", INDEX.to_owned())];
        if let Some(kind) = asked("artifactType") {
            all.retain(|(_, entry)| entry["artifactType"] == kind.as_str());
            headers.push(("oci-filters-applied", "artifactType".to_owned()));
        }
        let last = asked("last").unwrap_or_default();
        all.retain(|(digest, _)| *digest > last);
        let shown: Vec<&Value> = all.iter().take(page).map(|(_, entry)| entry).collect();
        if shown.len() < all.len() {
            let kind = asked("artifactType").map(|kind| format!("artifactType={kind}&"));
            let link = format!(
                "</v2/{repository}/referrers/{subject}?{}last={}>; rel=\"next\"",
                kind.unwrap_or_default(),
                all[page - 1].0
            );
            headers.push(("link", link));
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": shown });
        Plan::new(200, headers, index.to_string())
    }
}

/// Returns a manifest that refers to another one, and its blobs.
fn referrer(subject: Digest, kind: &str, content: &[u8]) -> (Value, [Vec<u8>; 2]) {
    let blobs = [b"{}".to_vec(), content.to_vec()];
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind,
        "config": described("application/vnd.oci.empty.v1+json", &blobs[0]),
        "layers": [described("application/octet-stream", &blobs[1])],
        "subject": { "mediaType": MANIFEST, "digest": subject.to_string(), "size": 1 },
        "annotations": { "org.example.note": "kept" },
    });
    (manifest, blobs)
}

/// Puts a referrer of a manifest at a registry.
pub fn refer(
    registry: &Registry,
    repository: &str,
    subject: Digest,
    kind: &str,
    content: &[u8],
) -> Digest {
    let (manifest, blobs) = referrer(subject, kind, content);
    for blob in &blobs {
        registry.put_blob(blob);
    }
    let text = manifest.to_string();
    let digest = Digest::of(text.as_bytes());
    registry.set_manifest(repository, &digest.to_string(), MANIFEST, text);
    digest
}

/// Puts manifests into the index under the fallback tag of what they refer to.
pub fn list_under_tag(registry: &Registry, repository: &str, subject: Digest, listed: &[Digest]) {
    let entry = |digest: &Digest| {
        let held = registry.manifest(repository, &digest.to_string());
        let (media_type, bytes) = held.unwrap_or((MANIFEST.to_owned(), "gone".into()));
        let mut entry = described(&media_type, &bytes);
        entry["digest"] = digest.to_string().into();
        entry["artifactType"] =
            serde_json::from_slice::<Value>(&bytes).unwrap_or_default()["artifactType"].clone();
        entry
    };
    let entries: Vec<Value> = listed.iter().map(entry).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
    let tag = format!("sha256-{}", subject.hex());
    registry.put_manifest(repository, &tag, INDEX, index.to_string());
}

/// Puts what cosign keeps under a tag at a registry: a manifest with the config of an image and a layer for each content.
pub fn cosign(
    registry: &Registry,
    repository: &str,
    subject: Digest,
    ending: &str,
    contents: &[&[u8]],
) -> Digest {
    let diff_ids: Vec<String> =
        contents.iter().map(|content| Digest::of(content).to_string()).collect();
    let config = json!({ "architecture": "", "os": "", "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    let config = config.to_string().into_bytes();
    let layers: Vec<Value> = contents
        .iter()
        .map(|content| described("application/vnd.dev.cosign.simplesigning.v1+json", content))
        .collect();
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "layers": layers,
        "config": described("application/vnd.oci.image.config.v1+json", &config) });
    registry.put_blob(&config);
    for content in contents {
        registry.put_blob(content);
    }
    let tag = format!("sha256-{}{ending}", subject.hex());
    registry.put_manifest(repository, &tag, MANIFEST, manifest.to_string())
}

/// Puts an image at a registry. Returns its digest.
pub fn image(registry: &Registry, name: &str, seed: u64) -> Digest {
    let layers = vec![super::image::tar(&[("file", &noise(seed, 5_000))])];
    let image = TestImage::with_layers(name, layers);
    super::push::push(registry, &image, super::image::Pack::Gzip);
    let (repository, tag) = name.rsplit_once(':').unwrap();
    Digest::of(&registry.manifest(repository, tag).unwrap().1)
}

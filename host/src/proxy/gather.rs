//! Everything that belongs to a pushed manifest: the blobs that the client sent, those that the downstream registry has, and
//! the manifests that an index lists.
//!
//! What it refuses: a manifest of which something is nowhere.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::pull::made_of;
use super::shared::Shared;
use occystrap_base::error::{Error, Kind};
use occystrap_base::oci::document::RawDescriptor;
use occystrap_base::oci::{Descriptor, Digest, ImageName, Manifest, json};
use occystrap_images::source::content_store::{
    DEEPEST, MOST_BYTES, MOST_MANIFESTS, parse, parse_index,
};
use occystrap_images::source::held::HeldImage;
use occystrap_images::source::received::ReceivedStore;
use occystrap_net::context::Blocking;
use occystrap_net::registry::Repository;
use occystrap_serve::received::ReceivedBlob;
use occystrap_serve::refusal::{Code, Refusal};
use occystrap_serve::route::digest;

/// A pushed image with everything that belongs to it.
pub struct Gathered {
    /// The image.
    pub image: Arc<HeldImage>,
    /// The manifest that it refers to.
    pub subject: Option<Digest>,
    /// Blobs that the client sent.
    pub sent: Vec<Digest>,
}

/// Gathers what belongs to a manifest that was pushed to `repository`. `others` is the repository downstream.
pub fn gather(
    shared: &Shared,
    repository: &str,
    tag: Option<&str>,
    root: &Manifest,
    others: &Blocking<Repository>,
) -> Result<Gathered, Refusal> {
    let name = ImageName { repository: repository.to_owned(), tag: tag.map(str::to_owned) };
    let place = format!("push of '{name}'");
    let mut gatherer = Gatherer {
        shared,
        repository,
        place: &place,
        others,
        manifests: HashMap::new(),
        blobs: HashMap::new(),
        bytes: 0,
    };
    gatherer.manifest(root.clone(), DEEPEST)?;
    let subject = subject(root)?;
    let Gatherer { manifests, blobs, .. } = gatherer;
    let sent = blobs.keys().copied().collect();
    let store = ReceivedStore { place, manifests, blobs, others: Some(others.clone()) };
    let image = Arc::new(store.image(name, root.digest, !shared.has_filters()));
    Ok(Gathered { image, subject, sent })
}

/// Returns the manifest that a manifest refers to (OCI image specification, `subject`).
fn subject(manifest: &Manifest) -> Result<Option<Digest>, Refusal> {
    let document: Value = json::parse(&manifest.bytes).unwrap_or_default();
    let named = document.get("subject").and_then(|subject| subject.get("digest")?.as_str());
    named.map(digest).transpose()
}

struct Gatherer<'a> {
    shared: &'a Shared,
    repository: &'a str,
    place: &'a str,
    others: &'a Blocking<Repository>,
    manifests: HashMap<Digest, Manifest>,
    blobs: HashMap<Digest, Arc<ReceivedBlob>>,
    /// Bytes of the manifests.
    bytes: u64,
}

impl Gatherer<'_> {
    fn refused(&self, error: &Error) -> Refusal {
        self.shared.refusal(error, Code::ManifestInvalid)
    }

    fn manifest(&mut self, manifest: Manifest, depth: usize) -> Result<(), Refusal> {
        self.bytes += manifest.bytes.len() as u64;
        if self.manifests.len() >= MOST_MANIFESTS || self.bytes > MOST_BYTES {
            return Err(Refusal::bad(
                Code::ManifestInvalid,
                format!(
                    "its indexes list more than {MOST_MANIFESTS} manifests, or {MOST_BYTES} bytes of them"
                ),
            ));
        }
        if manifest.is_index() {
            self.index(&manifest, depth)?;
        } else {
            let parsed = parse(&manifest, self.place).map_err(|error| self.refused(&error))?;
            let config = parsed.config(self.place).map_err(|error| self.refused(&error))?;
            for listed in std::iter::once(config).chain(parsed.layers()) {
                self.blob(listed)?;
            }
        }
        self.manifests.insert(manifest.digest, manifest);
        Ok(())
    }

    fn index(&mut self, index: &Manifest, depth: usize) -> Result<(), Refusal> {
        if depth == 0 {
            return Err(Refusal::bad(Code::ManifestInvalid, "its indexes are nested too deeply"));
        }
        let parsed = parse_index(&index.bytes, self.place).map_err(|error| self.refused(&error))?;
        for entry in &parsed.manifests {
            let what = entry.promised(self.place).map_err(|error| self.refused(&error))?;
            if !self.manifests.contains_key(&what.digest) {
                let child = self.child(&what)?;
                self.manifest(child, depth - 1)?;
            }
        }
        Ok(())
    }

    /// Returns a manifest that an index lists. It was pushed before the index.
    fn child(&self, what: &Descriptor) -> Result<Manifest, Refusal> {
        if let Some(pushed) = self.shared.remembered.by_digest(self.repository, what.digest) {
            return Ok(pushed.manifest);
        }
        let found = self.others.wait(self.others.manifest(&what.digest.to_string()));
        found.map_err(|error| match error.kind() {
            Kind::NotFound => Refusal::bad(
                Code::ManifestBlobUnknown,
                format!(
                    "the index lists the manifest {}, which was not pushed before it",
                    what.digest
                ),
            ),
            _ => self.refused(&error),
        })
    }

    /// Notes a blob that a manifest names.
    fn blob(&mut self, listed: &RawDescriptor) -> Result<(), Refusal> {
        let what = listed.promised(self.place).map_err(|error| self.refused(&error))?;
        if let Some(blob) = self.shared.blobs.get(self.repository, what.digest) {
            self.blobs.insert(what.digest, blob);
            return Ok(());
        }
        // It may stay where its URLs say.
        if self.blobs.contains_key(&what.digest) || listed.urls().next().is_some() {
            return Ok(());
        }
        let found = match self.others.known_blob(what.digest) {
            Some(_) => Ok(Some(what.size)),
            None => self.others.wait(self.others.stat_blob(what.digest)),
        };
        match found {
            Ok(Some(_)) => Ok(()),
            // The layer cache has what the filters made of it.
            Ok(None) if made_of(self.shared, what.digest).is_some() => Ok(()),
            Ok(None) => Err(Refusal::bad(
                Code::ManifestBlobUnknown,
                format!("the manifest names the blob {}, which was not pushed", what.digest),
            )),
            Err(error) => Err(self.shared.refusal(&error, Code::ManifestBlobUnknown)),
        }
    }
}

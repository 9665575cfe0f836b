//! An image that a client pushed to this program: its documents are in memory, its blobs in files.
//!
//! A client does not send what the destination has already: such a blob is read from there. What it refuses: a manifest
//! that was not pushed.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::content_store::{ContentStore, StoredManifest};
use super::held::HeldImage;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::layout::blob;
use occystrap_base::oci::{Descriptor, Digest, ImageName, Manifest};
use occystrap_layer::image::Content;
use occystrap_net::context::Blocking;
use occystrap_net::registry::Repository;
use occystrap_serve::received::ReceivedBlob;

/// The content of a pushed image.
pub struct ReceivedStore {
    /// Name of the push for errors.
    pub place: String,
    /// Manifests and indexes, by digest.
    pub manifests: HashMap<Digest, Manifest>,
    /// Blobs that the client sent. They stay on the disk as long as this store.
    pub blobs: HashMap<Digest, Arc<ReceivedBlob>>,
    /// The repository that has all other blobs, where there may be some.
    pub others: Option<Blocking<Repository>>,
}

impl ReceivedStore {
    /// Returns the image with this manifest or index, and with all manifests of the store.
    #[must_use]
    pub fn image(self, name: ImageName, root: Digest, keeps_plain: bool) -> HeldImage {
        let descriptor = |manifest: &Manifest| Descriptor {
            media_type: manifest.media_type.clone(),
            digest: manifest.digest,
            size: manifest.bytes.len() as u64,
        };
        let manifests = self.manifests.iter().map(|(digest, one)| (*digest, descriptor(one)));
        let (manifests, referrers) = (manifests.collect(), Vec::new());
        HeldImage { store: Arc::new(self), name, root, manifests, referrers, keeps_plain }
    }

    /// Returns the repository that has what the client did not send. Errors where nothing has it.
    fn others(&self, digest: Digest) -> Result<&Blocking<Repository>> {
        self.others.as_ref().ok_or_else(|| {
            let message = format!("{}: the blob {digest} was not pushed", self.place);
            Error::new(Kind::NotFound, message)
        })
    }
}

impl ContentStore for ReceivedStore {
    fn place(&self) -> &str {
        &self.place
    }

    fn fetch(&self, what: &Descriptor) -> Result<StoredManifest> {
        let manifest = self.manifests.get(&what.digest).cloned().ok_or_else(|| {
            let message = format!("{}: the manifest {} was not pushed", self.place, what.digest);
            Error::new(Kind::NotFound, message)
        })?;
        Ok(StoredManifest { manifest, refused: None })
    }

    fn stored_blob(&self, what: &Descriptor, called: &str, limit: u64) -> Result<Bytes> {
        let Some(found) = self.blobs.get(&what.digest) else {
            let others = self.others(what.digest)?;
            return others.wait(others.blob_bytes(what, limit));
        };
        let section = found.section();
        let place = format!("{}: {called} ('{}')", self.place, blob(what.digest));
        if section.size != what.size {
            let what_of = format!("{place}: size in bytes");
            return Err(Error::mismatch(what_of, what.size, section.size));
        }
        if section.size > limit {
            let size = section.size;
            return Err(Error::source(format!(
                "{place}: {size} bytes, more than the limit of {limit}"
            )));
        }
        let mut bytes = vec![0; section.size as usize];
        std::os::unix::fs::FileExt::read_exact_at(&*section.file, &mut bytes, section.offset)
            .map_err(|cause: io::Error| Error::io(Kind::Source, "read", &place, &cause))?;
        Ok(bytes.into())
    }

    fn content(&self, digest: Digest) -> Result<Content> {
        Ok(match self.blobs.get(&digest) {
            Some(blob) => Content::File(blob.section().clone()),
            None => Content::Registry(Repository::clone(self.others(digest)?)),
        })
    }

    fn has(&self, what: &Descriptor) -> Result<bool> {
        if self.blobs.contains_key(&what.digest) {
            return Ok(true);
        }
        let Some(others) = &self.others else { return Ok(false) };
        let found = others.wait(others.find_blob(what.digest, Some(what.size)))?;
        Ok(found.is_some())
    }
}

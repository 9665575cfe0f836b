//! Images that this program holds itself: one of an export of a mirror, or one that a client pushed to it.
//!
//! What it refuses: a manifest that the image should have and that the store does not have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::content_store::{ContentStore, parse};
use super::resolve;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::{Descriptor, Digest, ImageName};
use occystrap_layer::image::{Image, Whole};
use occystrap_net::registry::Referrer;

/// One image with everything that belongs to it.
pub struct HeldImage {
    /// Where its manifests, configs and layers are.
    pub store: Arc<dyn ContentStore + Send + Sync>,
    /// The name.
    pub name: ImageName,
    /// Its manifest or index.
    pub root: Digest,
    /// All its manifests and indexes, and those of its referrers.
    pub manifests: BTreeMap<Digest, Descriptor>,
    /// What refers to it.
    pub referrers: Vec<Referrer>,
    /// Whether plain layers stay plain, where a registry otherwise gets them compressed: the client that pushed the image
    /// knows the digest of its manifest, and asks for it at the destination.
    pub keeps_plain: bool,
}

impl HeldImage {
    /// Reads manifests and configs of a manifest or an index of the image: the image itself, or a referrer. What its index
    /// lists and is not among its manifests is left out.
    pub fn open(&self, digest: Digest) -> Result<Whole> {
        let place = self.store.place();
        let what = self.manifests.get(&digest).ok_or_else(|| {
            let message = format!("{place}: {} has no manifest {digest}", self.name);
            Error::new(Kind::NotFound, message)
        })?;
        let taken: BTreeSet<Digest> = self.manifests.keys().copied().collect();
        let root = self.store.manifest(what)?;
        let mut whole = resolve::with_manifests(&*self.store, root, taken, self.name.clone())?;
        if self.keeps_plain {
            whole.images_mut().try_for_each(|image| keep_plain(image, place))?;
        }
        Ok(whole)
    }
}

/// Makes the plain layers of an image opaque: such a layer is written as it is stored, under the media type in the manifest.
fn keep_plain(image: &mut Image, place: &str) -> Result<()> {
    let Some(manifest) = &image.manifest else { return Ok(()) };
    let parsed = parse(manifest, place)?;
    for (layer, listed) in image.layers.iter_mut().zip(parsed.layers()) {
        // A plain layer is stored under its diff-id.
        if layer.digest == Some(layer.diff_id) && !layer.opaque {
            layer.opaque = true;
            layer.media_type = listed.media_type().to_owned();
        }
    }
    Ok(())
}

//! A layer, where its bytes are, and how they are stored there.

use occystrap_base::files::Section;
use occystrap_base::oci::{Compression, Digest};
use occystrap_net::registry::Repository;
use occystrap_net::web::Elsewhere;

/// One layer of an image. Its bytes are read once, by whoever moves it.
#[derive(Clone)]
pub struct Layer {
    /// Digest of the uncompressed tar, from the config's `rootfs.diff_ids`. Of what is opaque, the
    /// digest of its bytes.
    pub diff_id: Digest,
    /// No tar, but what an attestation or another artifact holds: it has no other form than the
    /// one in which it is stored, and nothing but the digest of that to compare with.
    pub opaque: bool,
    /// Digest of the layer as it is stored; `None` where the source does not say (docker-save).
    pub digest: Option<Digest>,
    /// Size in bytes as it is stored.
    pub size: u64,
    /// Media type as it is stored.
    pub media_type: String,
    /// Where the bytes are.
    pub content: Content,
    /// What to call it in errors: `layer 3 of 7 of 'x.tar'`.
    pub place: String,
}

/// Where the bytes of a layer are.
#[derive(Clone)]
pub enum Content {
    /// Part of an open file.
    File(Section),
    /// A blob of a registry.
    Registry(Repository),
    /// At the URLs that its manifest names: the source does not have it.
    Elsewhere(Elsewhere),
}

impl Layer {
    /// A layer in a file whose compression the first bytes have told.
    #[must_use]
    pub fn in_file(
        section: Section,
        diff_id: Digest,
        digest: Option<Digest>,
        compression: Compression,
        place: String,
    ) -> Self {
        Self {
            diff_id,
            opaque: false,
            digest,
            size: section.size,
            media_type: compression.layer_media_type().to_owned(),
            content: Content::File(section),
            place,
        }
    }
}

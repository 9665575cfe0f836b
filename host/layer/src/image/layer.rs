//! A layer: where its bytes are, and how they are stored there.

use occystrap_base::files::Section;
use occystrap_base::oci::{Compression, Descriptor, Digest};
use occystrap_net::registry::Repository;
use occystrap_net::web::Elsewhere;

/// One layer of an image. Its bytes are read once, by the code that moves it.
#[derive(Clone)]
pub struct Layer {
    /// Digest of the uncompressed tar, from the config's `rootfs.diff_ids`. For an opaque layer, the digest of its
    /// bytes.
    pub diff_id: Digest,
    /// Whether this is not a tar, but content of an attestation or another artifact. It is never decompressed, and
    /// only the digest of its stored form can be compared.
    pub opaque: bool,
    /// Digest of the layer as it is stored; `None` where the source does not state it (docker-save).
    pub digest: Option<Digest>,
    /// Size in bytes as it is stored.
    pub size: u64,
    /// Media type as it is stored.
    pub media_type: String,
    /// The place of the bytes.
    pub content: Content,
    /// Name of the layer in errors: `layer 3 of 7 of 'x.tar'`.
    pub place: String,
}

/// The place of a layer's bytes.
#[derive(Clone)]
pub enum Content {
    /// A section of an open file.
    File(Section),
    /// A blob of a registry.
    Registry(Repository),
    /// URLs that the manifest names: the source itself does not have the layer.
    Elsewhere(Elsewhere),
}

impl Layer {
    /// Returns a layer in a file. `compression` was detected from its first bytes.
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

    /// Returns the descriptor of the stored layer. Layers of a registry always have a digest; for others,
    /// which may have none, the diff-id takes its place.
    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        Descriptor {
            media_type: self.media_type.clone(),
            digest: self.digest.unwrap_or(self.diff_id),
            size: self.size,
        }
    }
}

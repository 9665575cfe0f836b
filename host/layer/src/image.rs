//! One image and its layers. An image is immutable; a filter makes a new one.
//!
//! What it refuses: an artifact where an image is needed.

pub mod index;
pub mod layer;

use bytes::Bytes;

pub use index::{Family, ImageIndex, ListedImage, Whole};
pub use layer::{Content, Layer};
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::{Digest, ImageName, Manifest, Platform, artifact};

/// One image, for one platform.
#[derive(Clone)]
pub struct Image {
    /// The name at the destination.
    pub name: ImageName,
    /// The platform in its config; the variant of the index, where the config leaves it out.
    pub platform: Platform,
    /// The bytes of the config in the source. Their digest is the image ID.
    pub config: Bytes,
    /// Digest of `config`.
    pub id: Digest,
    /// The layers, lowest first.
    pub layers: Vec<Layer>,
    /// The manifest in the source; `None` where the source has no OCI or Docker manifest (docker-save, dir).
    pub manifest: Option<Manifest>,
    /// A defect that was tolerated. The user is warned when the image is moved.
    pub note: Option<String>,
    /// The type of an artifact that has the form of an image: a chart, a signature, a component. `None` for an image.
    pub artifact: Option<String>,
}

impl Image {
    /// Checks that this is an image. The error for an artifact names it and its type, and hints at `instead`.
    pub fn check_is_image(&self, instead: &str) -> Result<()> {
        let Some(kind) = &self.artifact else { return Ok(()) };
        let message = format!("'{}' {}", self.name, artifact::description(kind));
        Err(Error::source(message).hint(instead))
    }
}

//! One image and its layers. An image is immutable; a filter makes a new one.

pub mod index;
pub mod layer;

use bytes::Bytes;

pub use index::{Family, Index, Member, Whole};
pub use layer::{Content, Layer};
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::{Digest, ImageName, Manifest, Platform, manifest};

/// One image, for one platform.
#[derive(Clone)]
pub struct Image {
    /// What it is called in the output.
    pub name: ImageName,
    /// What its config says it is for; the variant as an index says, where the config leaves it out.
    pub platform: Platform,
    /// The config, as the source has it: its digest is the image ID.
    pub config: Bytes,
    /// Digest of `config`.
    pub id: Digest,
    /// Lowest first.
    pub layers: Vec<Layer>,
    /// The manifest, as the source has it; `None` where the source has none of that kind
    /// (docker-save, dir).
    pub manifest: Option<Manifest>,
    /// What is odd about it, and was excused: whoever moves it hears of it.
    pub note: Option<String>,
    /// The type of an artifact that has the form of an image: a chart, a signature, a component. `None` of images.
    pub artifact: Option<String>,
}

impl Image {
    /// Checks that this is an image. The error for an artifact names it and its type, and hints at `instead`.
    pub fn check_is_image(&self, instead: &str) -> Result<()> {
        let Some(artifact) = &self.artifact else { return Ok(()) };
        let message = format!(
            "'{}' is an OCI artifact ({}), not an image",
            self.name,
            manifest::type_or_not(artifact)
        );
        Err(Error::source(message).hint(instead))
    }
}

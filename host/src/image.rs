//! What an image is: a name, a platform, a config kept byte for byte, and layers that nobody has
//! fetched yet. Immutable; a filter makes a new one.

pub mod artifact;
mod compression;
pub mod config;
pub mod config_type;
pub mod descriptor;
pub mod digest;
pub mod document;
pub mod elsewhere;
pub mod index;
pub mod json;
pub mod layer;
pub mod layout;
pub mod manifest;
pub mod name;
pub mod part;
pub mod platform;
pub mod reading;
pub mod saved;
pub mod text_stream;
pub mod time;
pub mod types;
pub mod wanted;

use bytes::Bytes;

use crate::error::{Error, Result};

pub use compression::Compression;
pub use descriptor::Descriptor;
pub use digest::{Digest, Hasher};
pub use elsewhere::Elsewhere;
pub use index::{Family, Index, Member, Whole};
pub use layer::{Content, Layer, Section};
pub use manifest::Manifest;
pub use name::ImageName;
pub use part::Part;
pub use platform::Platform;
pub use wanted::Wanted;

/// More layers than any engine can mount (overlayfs stops at 500, Docker at 127); a manifest with
/// more is an attack on whoever allocates for it.
pub const MOST_LAYERS: usize = 1_000;

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

//! The identities in a receipt: of the plugin that wrote it, and of the image.

use serde::{Deserialize, Serialize};

use occystrap_base::oci::{Digest, ImageName, PlatformPart};

/// The exact plugin that wrote an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "the identity of a plugin")]
pub struct PluginIdentity {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Digest of the component.
    pub sha256: Digest,
    /// Version of the WIT package.
    pub wit: String,
}

/// The image that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "the identity of an image")]
pub struct ImageIdentity {
    /// The familiar name of its repository.
    pub name: String,
    /// Its tag.
    pub tag: Option<String>,
    /// Digest of its config; of an index, its own digest.
    pub id: Digest,
    /// The part of a multi-platform image.
    #[serde(default, skip_serializing_if = "PlatformPart::is_whole")]
    pub part: PlatformPart,
    /// Set for an artifact with a name of its own. An artifact that an index lists is known by its manifest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub artifact: bool,
    /// Manifests that an index lists and that were not moved, because the user wants other platforms alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<Digest>,
}

impl ImageIdentity {
    /// Returns its name.
    #[must_use]
    pub fn image_name(&self) -> ImageName {
        ImageName { repository: self.name.clone(), tag: self.tag.clone() }
    }
}

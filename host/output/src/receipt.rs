//! Receipts: what must be found at a destination after an image was written.
//!
//! A receipt is kept as JSON for a later check. The host accepts a receipt from a plugin only if its own
//! journal agrees. This module knows neither destinations nor plugins.

pub mod bundle;
mod expectation;
pub mod identity;
mod leak;
pub mod listed;
pub mod repeat_command;
pub mod step;
mod written;

use serde::{Deserialize, Serialize};

pub use bundle::{Bundle, RECEIPT};
pub use expectation::{Expectation, Place, Role};
pub use identity::{ImageIdentity, PluginIdentity};
pub use repeat_command::RepeatCommand;
pub use step::Step;
pub use written::{Extent, Published, WrittenFile};

use occystrap_base::oci::{Digest, Manifest, layout};

/// The version of the JSON. Other versions are refused.
pub const VERSION: u32 = 1;

/// The version of the WIT package that plugins of these receipts use.
pub const WIT_VERSION: &str = "0.1.0";

/// Largest receipt, in bytes. One with a thousand layers has some 400 KB.
pub(crate) const LARGEST: u64 = 64 * 1024 * 1024;

/// A receipt of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// [`VERSION`].
    pub occystrap_receipt: u32,
    /// The plugin that wrote the image.
    pub plugin: PluginIdentity,
    /// URI of the source, without secrets.
    pub source: String,
    /// URI of the destination, without secrets.
    pub destination: String,
    /// The image.
    pub image: ImageIdentity,
    /// The filters, as the user typed them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<String>,
    /// The command that writes it again; receipts of early versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<RepeatCommand>,
    /// The items that must be found.
    pub expectations: Vec<Expectation>,
    /// The files that the host wrote.
    pub journal: Vec<WrittenFile>,
    /// The state for the plugin's own check, in hexadecimal.
    #[serde(with = "hexadecimal", default, skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<u8>,
    /// Set for a receipt of this run. One that was read from a file may have been edited.
    #[serde(skip)]
    pub is_fresh: bool,
    /// The manifest or index that was written, where the destination has one.
    #[serde(skip)]
    pub manifest: Option<Manifest>,
    /// The files that the commit of this run made visible, until the image is verified.
    #[serde(skip)]
    pub published: Vec<Published>,
}

impl Receipt {
    /// Returns the bytes of config and layers that it covers.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let counted = |one: &&Expectation| matches!(one.role, Role::Config | Role::Layer(_));
        let sizes = self.expectations.iter().filter(counted).filter_map(|one| one.size);
        // A receipt may come from anywhere, so that the sum may be too large.
        sizes.fold(0, u64::saturating_add)
    }

    /// Returns the digest by which the image is known at its destination: that of its manifest or index, if the
    /// destination stores it under its digest.
    #[must_use]
    pub fn manifest_digest(&self) -> Option<Digest> {
        let manifests = self.expectations.iter().filter(|one| one.role == Role::Manifest);
        let mut digests = manifests.filter_map(|one| match &one.place {
            Place::Manifest { .. } => one.digest,
            Place::File { path } => one.digest.filter(|digest| *path == layout::blob(*digest)),
            _ => None,
        });
        digests.next()
    }

    /// Returns the manifests by which an index lists the image.
    pub fn listed_manifests(&self) -> impl Iterator<Item = Digest> {
        let is_listed = self.image.part.is_listed();
        let all =
            self.expectations.iter().filter(move |one| is_listed && one.role == Role::Manifest);
        all.filter_map(|one| one.digest)
    }
}

mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        let digits = text.as_bytes();
        let pairs = digits.chunks(2).map(|pair| {
            std::str::from_utf8(pair)
                .ok()
                .filter(|pair| pair.len() == 2)
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
        });
        pairs
            .collect::<Option<_>>()
            .ok_or_else(|| serde::de::Error::custom("state is not hexadecimal"))
    }
}

//! Expectations of a receipt: items at the destination with a role, a place, a size and a digest.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::step::Step;
use occystrap_base::oci::Digest;

/// The role of an expected item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The image config.
    Config,
    /// A layer, with its index.
    Layer(u32),
    /// The manifest, which lists config and layers.
    Manifest,
    /// A catalog, which lists images.
    Catalog,
    /// The image as a whole.
    Image,
}

impl Role {
    /// Returns whether it is the role of a layer.
    #[must_use]
    pub fn is_layer(self) -> bool {
        matches!(self, Self::Layer(_))
    }

    /// Returns whether it is the role of one of these layers, by their index.
    #[must_use]
    pub fn is_layer_of(self, indexes: &BTreeSet<u32>) -> bool {
        matches!(self, Self::Layer(index) if indexes.contains(&index))
    }
}

/// The place of an expected item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// A whole file.
    File {
        /// Relative to the destination.
        path: String,
    },
    /// Part of a file.
    Part {
        /// Relative to the destination.
        path: String,
        /// The member's name.
        member: String,
        /// The offset in bytes.
        offset: u64,
    },
    /// A string in a JSON file.
    Entry {
        /// Relative to the destination.
        path: String,
        /// The way to the string, outermost step first.
        steps: Vec<Step>,
        /// The string.
        value: String,
    },
    /// A blob of a repository.
    Blob {
        /// Its digest.
        digest: Digest,
    },
    /// A manifest of a repository.
    Manifest {
        /// Its tag or its digest.
        reference: String,
    },
    /// An image in an engine.
    Image {
        /// Its name.
        name: String,
    },
    /// A layer of an image in an engine.
    ImageLayer {
        /// The image's name.
        image: String,
        /// The layer's index; the lowest is 0.
        index: u32,
    },
}

impl Place {
    /// Returns the path of the file, if the item is in a file.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::File { path } | Self::Part { path, .. } | Self::Entry { path, .. } => Some(path),
            _ => None,
        }
    }

    /// Returns its name in findings, relative to the destination.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::Part { path, member, .. } => format!("{path}:{member}"),
            Self::File { path } | Self::Entry { path, .. } => path.clone(),
            Self::Blob { digest } => digest.to_string(),
            Self::Manifest { reference } => reference.clone(),
            Self::Image { name } => name.clone(),
            Self::ImageLayer { image, index } => format!("{image} layer {}", u64::from(*index) + 1),
        }
    }
}

/// An item that must be found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object that is expected")]
pub struct Expectation {
    /// Its role.
    pub role: Role,
    /// Its place.
    pub place: Place,
    /// Its size in bytes; `None` for an entry, or if only the digest is known.
    pub size: Option<u64>,
    /// Its digest; `None` for an entry, and for a file whose pieces are in the journal.
    pub digest: Option<Digest>,
}

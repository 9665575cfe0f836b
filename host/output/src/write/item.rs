//! What a session was handed, and so what its receipt must be about.

use std::collections::BTreeSet;

use occystrap_base::oci::{Digest, Manifest};
use occystrap_layer::image::{Image, Index, Layer};

/// What a session was handed.
#[derive(Clone, Copy)]
pub enum Item<'a> {
    /// An image, to be known by its name.
    Image(&'a Image),
    /// An image that an index lists, to be known by the digest of its manifest.
    Listed(&'a Image),
    /// An index, and the manifests that have landed in this run.
    Index {
        /// The index.
        index: &'a Index,
        /// Whether it gets the name; others are listed themselves.
        named: bool,
        /// What was written and accepted.
        landed: &'a BTreeSet<Digest>,
    },
}

impl<'a> Item<'a> {
    /// The image, where it is one.
    #[must_use]
    pub fn image(&self) -> Option<&'a Image> {
        match self {
            Self::Image(image) | Self::Listed(image) => Some(image),
            Self::Index { .. } => None,
        }
    }

    /// The layers that must be accounted for.
    #[must_use]
    pub fn layers(&self) -> &'a [Layer] {
        self.image().map_or(&[], |image| &image.layers)
    }

    /// Whether it may be given a name.
    #[must_use]
    pub fn is_named(&self) -> bool {
        match self {
            Self::Image(_) => true,
            Self::Listed(_) => false,
            Self::Index { named, .. } => *named,
        }
    }

    /// The manifest that must be kept, byte for byte.
    #[must_use]
    pub fn kept(&self) -> Option<&'a Manifest> {
        match self {
            // A filter changes no artifact.
            Self::Image(image) => image.manifest.as_ref().filter(|_| image.artifact.is_some()),
            Self::Listed(image) => image.manifest.as_ref(),
            Self::Index { index, .. } => Some(&index.manifest),
        }
    }

    /// What is listed and has not landed.
    #[must_use]
    pub fn absent(&self) -> Option<Digest> {
        match self {
            Self::Index { index, landed, .. } => {
                index.children.iter().find(|child| !landed.contains(child)).copied()
            }
            _ => None,
        }
    }
}

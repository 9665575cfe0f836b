//! A multi-platform image: an index and everything that it lists.

use std::collections::BTreeSet;

use super::Image;
use occystrap_base::oci::Manifest;
use occystrap_base::oci::{Digest, ImageName};

/// The image or images that a name in a source leads to.
pub enum Whole {
    /// An image for one platform.
    Image(Box<Image>),
    /// Images for several platforms.
    Family(Family),
}

/// An index with everything that it lists, in the order of writing: each manifest before the index that lists it.
pub struct Family {
    /// The name of the index.
    pub name: ImageName,
    /// Every image, once.
    pub members: Vec<ListedImage>,
    /// Every index, nested ones first. The name leads to the last one.
    pub indexes: Vec<ImageIndex>,
    /// Manifests that the indexes list and that are not wanted: they are for other platforms.
    pub left_out: BTreeSet<Digest>,
}

/// An image that an index lists.
pub struct ListedImage {
    /// The image, with its manifest.
    pub image: Image,
    /// The platform that the index states, or else the one of its config.
    pub platform: String,
}

/// An index, and the digests that it lists.
#[derive(Clone)]
pub struct ImageIndex {
    /// The index document.
    pub manifest: Manifest,
    /// Digests of the manifests and indexes that it lists.
    pub children: Vec<Digest>,
}

impl Whole {
    /// Returns the images, one for each platform.
    pub fn images(&self) -> impl Iterator<Item = &Image> {
        let (one, several) = match self {
            Self::Image(image) => (Some(&**image), &[][..]),
            Self::Family(family) => (None, &family.members[..]),
        };
        one.into_iter().chain(several.iter().map(|member| &member.image))
    }

    /// Returns the images, one for each platform, to change them.
    pub fn images_mut(&mut self) -> impl Iterator<Item = &mut Image> {
        let (one, several) = match self {
            Self::Image(image) => (Some(&mut **image), &mut [][..]),
            Self::Family(family) => (None, &mut family.members[..]),
        };
        one.into_iter().chain(several.iter_mut().map(|member| &mut member.image))
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &ImageName {
        match self {
            Self::Image(image) => &image.name,
            Self::Family(family) => &family.name,
        }
    }
}

//! A multi-platform image: an index, and everything that it lists.

use super::Image;
use occystrap_base::oci::Manifest;
use occystrap_base::oci::{Digest, ImageName};

/// What a name stands for at a source.
pub enum Whole {
    /// An image for one platform.
    Image(Box<Image>),
    /// Images for several.
    Family(Family),
}

/// An index with all that it lists, in the order in which it is written: what is listed before what
/// lists it.
pub struct Family {
    /// What the whole is called.
    pub name: ImageName,
    /// Every image, once.
    pub members: Vec<Member>,
    /// Every index, nested ones first; the last is what the name stands for.
    pub indexes: Vec<Index>,
}

/// An image that an index lists.
pub struct Member {
    /// The image, with its manifest.
    pub image: Image,
    /// What the index says that it is for, or else its config.
    pub platform: String,
}

/// An index, and what it lists.
#[derive(Clone)]
pub struct Index {
    /// As the source has it.
    pub manifest: Manifest,
    /// Of the manifests and indexes that it lists.
    pub children: Vec<Digest>,
}

impl Whole {
    /// Its images, one for each platform.
    pub fn images(&self) -> impl Iterator<Item = &Image> {
        let (one, several) = match self {
            Self::Image(image) => (Some(&**image), &[][..]),
            Self::Family(family) => (None, &family.members[..]),
        };
        one.into_iter().chain(several.iter().map(|member| &member.image))
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &ImageName {
        match self {
            Self::Image(image) => &image.name,
            Self::Family(family) => &family.name,
        }
    }
}

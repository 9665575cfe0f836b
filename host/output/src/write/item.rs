//! What a session is given to write, and so what its receipt must be about.

use std::collections::BTreeSet;

use super::target::Target;
use crate::plugin::bindings::{types, writer};
use crate::receipt::ImageIdentity;
use occystrap_base::oci::{Digest, ImageName, Manifest};
use occystrap_layer::image::{Content, Image, ImageIndex, Layer};

/// What a session is given to write.
#[derive(Clone, Copy)]
pub enum Item<'a> {
    /// An image, to be known by its name.
    Image(&'a Image),
    /// An image that the filters and the layer cache have prepared, to be known by its name.
    Prepared(&'a PreparedImage),
    /// An image that an index lists, to be known by the digest of its manifest.
    Listed(&'a Image),
    /// An image that an index lists, and that the filters and the layer cache have prepared.
    ListedPrepared(&'a PreparedImage),
    /// An index, and the manifests that have landed in this run.
    Index {
        /// The index.
        index: &'a ImageIndex,
        /// Whether it gets the name; others are listed themselves.
        named: bool,
        /// What was written and accepted.
        landed: &'a BTreeSet<Digest>,
    },
}

impl<'a> Item<'a> {
    /// Returns the image, where it is one.
    #[must_use]
    pub fn image(&self) -> Option<&'a Image> {
        match self {
            Self::Image(image) | Self::Listed(image) => Some(image),
            Self::Prepared(prepared) | Self::ListedPrepared(prepared) => Some(&prepared.image),
            Self::Index { .. } => None,
        }
    }

    /// Returns the layers that must be accounted for.
    #[must_use]
    pub fn layers(&self) -> &'a [Layer] {
        self.image().map_or(&[], |image| &image.layers)
    }

    /// Returns whether it may be given a name.
    #[must_use]
    pub fn is_named(&self) -> bool {
        match self {
            Self::Image(_) | Self::Prepared(_) => true,
            Self::Listed(_) | Self::ListedPrepared(_) => false,
            Self::Index { named, .. } => *named,
        }
    }

    /// Returns the manifest that must be kept, byte for byte.
    #[must_use]
    pub fn kept(&self) -> Option<&'a Manifest> {
        match self {
            // A filter changes no artifact.
            Self::Image(_) | Self::Prepared(_) => self
                .image()
                .filter(|image| image.artifact.is_some())
                .and_then(|image| image.manifest.as_ref()),
            Self::Listed(image) => image.manifest.as_ref(),
            Self::ListedPrepared(prepared) => {
                prepared.image.manifest.as_ref().filter(|_| prepared.is_same)
            }
            Self::Index { index, .. } => Some(&index.manifest),
        }
    }

    /// Returns a manifest that the index lists and that has not landed.
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

impl Item<'_> {
    /// Returns what happened to a layer before this session.
    #[must_use]
    pub fn origin(&self, index: usize) -> LayerOrigin {
        match self {
            Self::Prepared(prepared) | Self::ListedPrepared(prepared) => {
                prepared.origins.get(index).copied().unwrap_or_default()
            }
            _ => LayerOrigin::Source,
        }
    }

    /// Returns the request with which a plugin's session is opened.
    #[must_use]
    pub fn request(&self, identity: &ImageIdentity, target: &Target) -> writer::Request {
        let name = ImageName { repository: identity.name.clone(), tag: identity.tag.clone() };
        let name = target.name(&name);
        let for_guest = |manifest: &Manifest| types::Manifest {
            media_type: manifest.media_type.clone(),
            bytes: manifest.bytes.to_vec(),
        };
        let manifest = self.image().and_then(|image| image.manifest.as_ref());
        writer::Request {
            name: writer::ImageName {
                repository: name.repository,
                tag: name.tag.filter(|_| self.is_named()),
            },
            options: target.options.clone(),
            source_manifest: manifest.map(for_guest),
            index: match self {
                Self::Index { index, .. } => Some(for_guest(&index.manifest)),
                _ => None,
            },
            listed: !self.is_named(),
        }
    }
}

/// An image, and what happened to each of its layers before a session writes it.
pub struct PreparedImage {
    /// The image as it is written. In a dry run, layers that the filters will read are as the source has them.
    pub image: Image,
    /// For each layer, lowest first.
    origins: Vec<LayerOrigin>,
    /// Whether it has the manifest of the source.
    is_same: bool,
}

/// What happened to a layer before a session writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LayerOrigin {
    /// It is as the source has it, and was not read.
    #[default]
    Source,
    /// The filters have read it, and may have changed it.
    Filtered,
    /// The filters will read it, and may change it: this is a dry run, which fetches nothing.
    ToFilter,
    /// An earlier run, or an earlier image of this run, has made it, and the destination has it.
    Known,
}

impl PreparedImage {
    /// Returns an image that went through the filters. `before` is the image at the source, `known` are the layers
    /// that the layer cache knows, and `reads` is whether the filters read what is not known.
    #[must_use]
    pub fn new(before: &Image, known: &[Option<Layer>], after: Image, reads: bool) -> Self {
        let other = if reads { LayerOrigin::Filtered } else { LayerOrigin::Source };
        let mut origins = match before.layers.len() == after.layers.len() {
            true => origins(before, known, other),
            // A filter that changes their number reads all of them.
            false => vec![LayerOrigin::Filtered; after.layers.len()],
        };
        for (origin, layer) in origins.iter_mut().zip(&after.layers) {
            // What the filters read of a server is in a file now: they left this layer alone.
            if *origin == LayerOrigin::Filtered && !matches!(layer.content, Content::File(_)) {
                *origin = LayerOrigin::Source;
            }
        }
        let is_same = before.manifest.is_some() && before.manifest == after.manifest;
        Self { image: after, origins, is_same }
    }

    /// Returns an image for a dry run: as [`Self::new`], and no filter has read anything.
    #[must_use]
    pub fn for_dry_run(before: &Image, known: Vec<Option<Layer>>, reads: bool) -> Self {
        let origin = if reads { LayerOrigin::ToFilter } else { LayerOrigin::Source };
        let origins = origins(before, &known, origin);
        let mut image = before.clone();
        for (layer, known) in image.layers.iter_mut().zip(known) {
            if let Some(known) = known {
                *layer = known;
            }
        }
        // Another layer has another digest, so that the manifest of the source does not hold any more.
        if origins.iter().any(|origin| matches!(origin, LayerOrigin::ToFilter | LayerOrigin::Known))
        {
            image.manifest = None;
        }
        let is_same = before.manifest.is_some() && before.manifest == image.manifest;
        Self { image, origins, is_same }
    }
}

impl PreparedImage {
    /// Returns the image with so many layers at the bottom that the filters leave alone.
    #[must_use]
    pub fn with_spared(mut self, spared: usize) -> Self {
        let origins = self.origins.iter_mut().take(spared);
        for origin in origins.filter(|origin| **origin == LayerOrigin::ToFilter) {
            *origin = LayerOrigin::Source;
        }
        self
    }
}

fn origins(before: &Image, known: &[Option<Layer>], other: LayerOrigin) -> Vec<LayerOrigin> {
    let origin = |(index, layer): (usize, &Layer)| match known.get(index).and_then(Option::as_ref) {
        // The layer cache knows that it stays as the source has it.
        Some(known) if known.digest == layer.digest && known.diff_id == layer.diff_id => {
            LayerOrigin::Source
        }
        Some(_) => LayerOrigin::Known,
        None if layer.opaque => LayerOrigin::Source,
        None => other,
    };
    before.layers.iter().enumerate().map(origin).collect()
}

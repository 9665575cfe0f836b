//! The plan for the layers of an image.

use occystrap_plugin::writer::{Form, LayerSummary};

use crate::form::{Compression, form};

/// The forms of an image's layers, and which layers become the same blob.
#[derive(Default)]
pub struct Plan {
    /// The form of each layer, and the index of the first layer that becomes the same blob.
    layers: Vec<(Form, usize)>,
}

impl Plan {
    /// Returns the plan for an image. If a layer is not a tar, the image is an artifact, which keeps all its
    /// layers unchanged.
    #[must_use]
    pub fn new(layers: &[LayerSummary], wanted: Compression) -> Self {
        if layers.iter().any(|layer| layer.diff_id.is_none()) {
            return Self::keep_all(layers);
        }
        Self::from_forms(layers, layers.iter().map(|layer| form(layer, wanted)).collect())
    }

    /// Returns the plan for an image that an index lists. It keeps every layer unchanged, because the index contains the
    /// digest of the manifest, unless a filter has made a layer: such a layer has no digest yet, and the host writes an
    /// index that fits.
    #[must_use]
    pub fn listed(layers: &[LayerSummary], wanted: Compression) -> Self {
        match layers.iter().all(|layer| layer.digest.is_some()) {
            true => Self::keep_all(layers),
            false => Self::new(layers, wanted),
        }
    }

    /// Returns a plan that keeps every layer unchanged.
    #[must_use]
    pub fn keep_all(layers: &[LayerSummary]) -> Self {
        Self::from_forms(layers, vec![Form::Stored; layers.len()])
    }

    fn from_forms(layers: &[LayerSummary], forms: Vec<Form>) -> Self {
        // A layer that is kept is identified by its own digest, not by its diff-id: two tools may have
        // compressed the same layer differently, and then the manifest lists two blobs.
        let identity = |index: usize| match (&forms[index], &layers[index].digest) {
            (Form::Stored, Some(digest)) => Some(digest),
            _ => layers[index].diff_id.as_ref(),
        };
        let first = |index: usize| {
            let known = identity(index);
            let same = |other: &usize| {
                known.is_some() && identity(*other) == known && forms[*other] == forms[index]
            };
            (0..index).find(same).unwrap_or(index)
        };
        Self { layers: (0..layers.len()).map(|index| (forms[index], first(index))).collect() }
    }

    /// Returns the form of a layer.
    #[must_use]
    pub fn form(&self, index: usize) -> Form {
        self.layers.get(index).map_or(Form::Stored, |(form, _)| *form)
    }

    /// Returns the lowest layer that becomes the same blob. A layer that occurs twice in one image is one blob.
    #[must_use]
    pub fn first_with_same_blob(&self, index: usize) -> usize {
        self.layers.get(index).map_or(index, |(_, first)| *first)
    }

    /// Returns whether a layer is kept as the source has it.
    #[must_use]
    pub fn is_stored(&self, index: usize) -> bool {
        self.form(index) == Form::Stored
    }

    /// Returns whether every layer is kept as the source has it.
    #[must_use]
    pub fn unchanged(&self) -> bool {
        self.layers.iter().all(|(form, _)| *form == Form::Stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_keeps_all_its_layers() {
        let plain = layer("sha256:0", "application/spdx+json", "sha256:0");
        let other = LayerSummary { diff_id: None, ..plain.clone() };
        for wanted in [Compression::Keep, Compression::Gzip, Compression::Zstd] {
            assert!(Plan::new(&[plain.clone(), other.clone()], wanted).unchanged());
            assert!(!Plan::new(std::slice::from_ref(&plain), wanted).unchanged());
        }
    }

    #[test]
    fn an_image_that_an_index_lists_keeps_its_layers_unless_a_filter_made_one() {
        let plain = layer("a", "application/vnd.oci.image.layer.v1.tar", "1");
        let made = LayerSummary { digest: None, ..plain.clone() };
        assert!(Plan::listed(std::slice::from_ref(&plain), Compression::Zstd).unchanged());
        let plan = Plan::listed(&[plain, made], Compression::Keep);
        assert!(plan.form(1) == Form::Gzip && !plan.unchanged());
    }

    fn layer(diff_id: &str, media_type: &str, digest: &str) -> LayerSummary {
        LayerSummary {
            diff_id: Some(diff_id.to_owned()),
            media_type: media_type.to_owned(),
            size: 7,
            digest: Some(digest.to_owned()),
        }
    }

    #[test]
    fn one_layer_compressed_in_two_ways_is_two_blobs_if_it_is_kept() {
        let layers = [
            layer("a", "x+gzip", "1"),
            layer("a", "x+gzip", "2"),
            layer("a", "x+gzip", "1"),
            layer("a", "x", "3"),
        ];
        let first = |wanted| {
            let plan = Plan::new(&layers, wanted);
            (
                (0..4).map(|index| plan.first_with_same_blob(index)).collect::<Vec<_>>(),
                plan.unchanged(),
            )
        };
        assert_eq!(first(Compression::Keep), (vec![0, 1, 0, 3], false));
        assert_eq!(first(Compression::Zstd), (vec![0, 0, 0, 0], false));
        assert!(Plan::new(&layers[..3], Compression::Keep).unchanged());
    }
}

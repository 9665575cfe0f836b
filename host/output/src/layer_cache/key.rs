//! The key of an entry: a layer, and everything that decides how it is written.

use serde::{Deserialize, Serialize};

use crate::write::target::Endpoint;
use crate::write::target::Target;
use occystrap_base::oci::{Compression, Digest};
use occystrap_images::filter::Filters;
use occystrap_layer::blob::ENCODING;
use occystrap_layer::image::{Image, Layer};
use occystrap_layer::tar::writer::SPELLING;

/// A layer, and how it is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct LayerKey {
    /// Diff-id of the layer at the source.
    pub layer: Digest,
    /// The filters that it passes, each with its options.
    pub filters: Vec<String>,
    /// The compression after the filters.
    pub compression: String,
    /// Name of the output; the URI of the file instead, where each image has a file of its own.
    pub output: String,
}

/// Returns the filters as a key has them; `None` where a filter must read every layer.
pub fn spelled(filters: &Filters) -> Option<Vec<String>> {
    let filters = filters.keys()?;
    Some(filters.into_iter().map(|filter| format!("{filter} (tar {SPELLING})")).collect())
}

/// Returns the key of each layer; `None` where a filter must read every layer.
pub fn keys(image: &Image, filters: &Filters, target: &Target) -> Option<Vec<LayerKey>> {
    let spelled = spelled(filters)?;
    // A layer of zstd that a filter changes is one of zstd again.
    let compression = |layer: &Layer| match asked(target) {
        None if !spelled.is_empty() && layer.media_type.ends_with("zstd") => {
            format!("as it is, or zstd {ENCODING}")
        }
        asked => format!("{} {ENCODING}", asked.unwrap_or("as it is, or gzip")),
    };
    let output = match &target.endpoint {
        Endpoint::File(_) => target.lasting.clone(),
        _ => target.plugin.description().name.clone(),
    };
    let key = |layer: &Layer| LayerKey {
        layer: layer.diff_id,
        filters: spelled.clone(),
        compression: compression(layer),
        output: output.clone(),
    };
    Some(image.layers.iter().map(key).collect())
}

/// Returns whether a destination that compresses layers keeps the stored form of this one, if no filter changes
/// it.
pub fn goes_as_it_is(layer: &Layer, target: &Target) -> bool {
    // The same rule as in `plugins/manifest`.
    match asked(target) {
        None => {
            ["gzip", "zstd", "+xz", "+bzip2"].iter().any(|form| layer.media_type.ends_with(form))
        }
        Some(form) => layer.media_type.ends_with(form),
    }
}

/// Returns the compression of layers that do not keep their form.
pub fn compression(target: &Target) -> Compression {
    match asked(target) {
        Some("zstd") => Compression::Zstd,
        _ => Compression::Gzip,
    }
}

fn asked(target: &Target) -> Option<&str> {
    target.option("compression").filter(|value| !value.is_empty())
}

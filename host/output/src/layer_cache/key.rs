//! What an entry is about: a layer, and all that decides what becomes of it.

use serde::{Deserialize, Serialize};

use crate::write::target::Endpoint;
use crate::write::target::Target;
use occystrap_base::oci::{Compression, Digest};
use occystrap_images::filter::Filters;
use occystrap_layer::blob::ENCODING;
use occystrap_layer::image::{Image, Layer};
use occystrap_layer::tar::writer::SPELLING;

/// A layer, and what is to be done with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// Diff-id at the source.
    pub layer: Digest,
    /// What it goes through, each filter with its options.
    pub filters: Vec<String>,
    /// How it is compressed then.
    pub compression: String,
    /// Who writes it, and to which file, where images do not share one.
    pub output: String,
}

/// What is to be done with each layer; `None` where a filter wants to see every layer.
pub fn keys(image: &Image, filters: &Filters, target: &Target) -> Option<Vec<Key>> {
    let filters = filters.keys()?;
    let spelled = filters.into_iter().map(|filter| format!("{filter} (tar {SPELLING})"));
    let spelled: Vec<String> = spelled.collect();
    let compression = format!("{} {ENCODING}", asked(target).unwrap_or("as it is, or gzip"));
    let output = match &target.endpoint {
        Endpoint::File(_) => target.lasting.clone(),
        _ => target.plugin.description().name.clone(),
    };
    let key = |layer: &Layer| Key {
        layer: layer.diff_id,
        filters: spelled.clone(),
        compression: compression.clone(),
        output: output.clone(),
    };
    Some(image.layers.iter().map(key).collect())
}

/// Whether a layer keeps its stored form on its way to where layers are compressed, if no filter
/// changes it.
pub fn goes_as_it_is(layer: &Layer, target: &Target) -> bool {
    // As 'plugins/manifest' decides.
    match asked(target) {
        None => {
            ["gzip", "zstd", "+xz", "+bzip2"].iter().any(|form| layer.media_type.ends_with(form))
        }
        Some(form) => layer.media_type.ends_with(form),
    }
}

/// How layers are compressed that do not keep their form.
pub fn compression(target: &Target) -> Compression {
    match asked(target) {
        Some("zstd") => Compression::Zstd,
        _ => Compression::Gzip,
    }
}

fn asked(target: &Target) -> Option<&str> {
    target.option("compression").filter(|value| !value.is_empty())
}

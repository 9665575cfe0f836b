//! Finds files in the layers of an image: which layer has them, and whether a later layer deletes or replaces them.
//!
//! Layers are read in parallel and checked against their digests, as in a copy, so that no match comes from bytes that are
//! not the image's. What it refuses: malformed patterns, and more matches and members than [`SearchMemory`] allows.

mod found;
mod memory;
mod pattern;
mod show;

pub use found::{FoundImage, LayerSearch, Match};
pub use memory::SearchMemory;
pub use pattern::Pattern;
pub use show::{write_json, write_script, write_text};

use occystrap_base::error::{Error, Result};
use occystrap_layer::blob::{Stored, read_checked, read_layers};
use occystrap_layer::image::{Image, Layer};
use occystrap_layer::tar::TarReader;
use occystrap_net::context::Context;

/// Searches every layer of an image, or only layer `only` (from 0). Layers below that one are not read; those above it are,
/// to learn what became of its files. Errors when a layer does not match its digest or is not a tar, when the [`SearchMemory`]
/// is exceeded, and when the image has no layer `only`.
pub fn search(
    image: &Image,
    pattern: &Pattern,
    only: Option<usize>,
    context: &Context,
) -> Result<FoundImage> {
    if let Some(only) = only.filter(|only| *only >= image.layers.len()) {
        let what = format!("'{}': number of the layer to search", image.name);
        let most = image.layers.len();
        return Err(Error::mismatch(what, format!("1 to {most}"), only + 1)
            .hint("'occystrap info' lists the layers of an image"));
    }
    // An opaque layer is not a tar.
    let wanted = |index, layer: &Layer| !layer.opaque && only.is_none_or(|only| index >= only);
    let budget = SearchMemory::default();
    let search = |index, layer: &Layer, stored, _: &Context| {
        let pattern = only.is_none_or(|only| index == only).then_some(pattern);
        search_layer(layer, stored, pattern, &budget)
    };
    let searched = read_layers(&image.layers, wanted, "layer", context, search)?;
    Ok(FoundImage::of(image, searched.into_iter().map(Option::unwrap_or_default).collect()))
}

/// Searches one layer; without a pattern, only notes its effect on the layers below.
fn search_layer(
    layer: &Layer,
    stored: Stored,
    pattern: Option<&Pattern>,
    budget: &SearchMemory,
) -> Result<LayerSearch> {
    read_checked(layer, stored, |plain| {
        let mut search = LayerSearch::default();
        let mut reader = TarReader::new(plain, layer.place.clone());
        while let Some(member) = reader.next_member()? {
            match pattern {
                Some(pattern) => search.add(&member, pattern, budget)?,
                None => search.look_at(&member, budget)?,
            }
        }
        Ok(search)
    })
}

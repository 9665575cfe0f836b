//! Finds files in the layers of an image: which layer has them, and whether a later layer deletes or replaces them.
//!
//! Layers are read in parallel and checked against their digests, as in a copy, so that no match comes from bytes that are
//! not the image's. What it refuses: malformed patterns, and more matches and members than [`Budget`] allows.

mod budget;
mod found;
mod pattern;
mod show;

pub use budget::Budget;
pub use found::{FoundImage, LayerSearch, Match};
pub use pattern::Pattern;
pub use show::{write_json, write_script, write_text};

use occystrap_base::error::Result;
use occystrap_layer::blob::{Stored, read_checked, read_layers};
use occystrap_layer::image::{Image, Layer};
use occystrap_layer::tar::Reader;
use occystrap_net::context::Context;

/// Searches every layer of an image. Errors when a layer does not match its digest or is not a tar, and when the
/// [`Budget`] is exceeded.
pub fn search(image: &Image, pattern: &Pattern, context: &Context) -> Result<FoundImage> {
    // An opaque layer is not a tar.
    let wanted = |_, layer: &Layer| !layer.opaque;
    let budget = Budget::default();
    let search =
        |_, layer: &Layer, stored, _: &Context| search_layer(layer, stored, pattern, &budget);
    let searched = read_layers(&image.layers, wanted, "layer", context, search)?;
    Ok(FoundImage::of(image, searched.into_iter().map(Option::unwrap_or_default).collect()))
}

/// Searches one layer.
fn search_layer(
    layer: &Layer,
    stored: Stored,
    pattern: &Pattern,
    budget: &Budget,
) -> Result<LayerSearch> {
    read_checked(layer, stored, |plain| {
        let mut search = LayerSearch::default();
        let mut reader = Reader::new(plain, layer.place.clone());
        while let Some(member) = reader.next_member()? {
            search.add(&member, pattern, budget)?;
        }
        Ok(search)
    })
}

//! Finding files in the layers of an image: which layer has them, and whether a later one deletes or
//! replaces them.
//!
//! Layers are read side by side and checked against everything that was promised of them, as when they
//! are moved: nothing is said of bytes that are not the image's. What it refuses: patterns that cannot
//! be read, and more matches and members than [`Budget`] has room for.

mod budget;
mod found;
mod layer;
mod pattern;
mod show;

pub use budget::Budget;
pub use found::{FoundImage, Match};
pub use layer::LayerSearch;
pub use pattern::Pattern;
pub use show::{write_json, write_script, write_text};

use occystrap_base::error::Result;
use occystrap_layer::blob::{Stored, read_checked, read_layers};
use occystrap_layer::image::{Image, Layer};
use occystrap_layer::tar::Reader;
use occystrap_net::context::Context;

/// Search every layer of an image. Errors when one is not what was promised, is no tar, or when more
/// was found than there is room for.
pub fn search(image: &Image, pattern: &Pattern, context: &Context) -> Result<FoundImage> {
    // What is opaque is no tar.
    let wanted = |_, layer: &Layer| !layer.opaque;
    let budget = Budget::default();
    let search =
        |_, layer: &Layer, stored, _: &Context| search_layer(layer, stored, pattern, &budget);
    let searched = read_layers(&image.layers, wanted, "layer", context, search)?;
    Ok(FoundImage::of(image, searched.into_iter().map(Option::unwrap_or_default).collect()))
}

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
            search.see(&member, pattern, budget)?;
        }
        Ok(search)
    })
}

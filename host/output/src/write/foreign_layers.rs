//! Whether layers that are stored elsewhere stay there.
//!
//! Only the source's manifest names their URLs, so they can stay where an output keeps it byte for byte:
//! at a registry and in an OCI layout. That is what skopeo does: it copies the descriptor for both and
//! fetches the layer for archives, directories and engines. The OCI image specification allows both:
//! implementations "SHOULD NOT upload" layers of a non-distributable type, and blobs of a layout may be in
//! an external store.

use super::target::Target;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_layer::image::{Content, Image};
use occystrap_net::web::Elsewhere;
use occystrap_net::web::ForeignLayers;

/// Returns the first layer of an image that is stored elsewhere: its number, and where it is.
fn first(image: &Image) -> Option<(usize, &Elsewhere)> {
    let mut layers = image.layers.iter().zip(1..);
    layers.find_map(|(layer, number)| match &layer.content {
        Content::Elsewhere(elsewhere) => Some((number, elsewhere)),
        Content::File(_) | Content::Registry(_) => None,
    })
}

/// Decides whether the layers of an image stay elsewhere. `is_kept` is whether the plugin can keep the
/// manifest. Errors where the user wants what is not possible, before anything is fetched.
pub fn stay(image: &Image, is_kept: bool, target: &Target, wanted: ForeignLayers) -> Result<bool> {
    let is_kept = is_kept && target.plugin.description().oci_manifests;
    if first(image).is_none() {
        return Ok(false);
    }
    match wanted {
        ForeignLayers::Fail => check(std::iter::once(image), wanted).map(|()| false),
        ForeignLayers::Fetch => Ok(false),
        ForeignLayers::KeepOrFetch => Ok(is_kept),
        ForeignLayers::Keep if is_kept => Ok(true),
        ForeignLayers::Keep => {
            let (place, count) = (&target.display, image.layers.len());
            let (number, elsewhere) =
                first(image).map_or((0, String::new()), |(number, found)| (number, found.host()));
            let message = format!(
                "'{place}' would not keep the manifest of {}, which alone names the URL of layer {number} of {count}, at {elsewhere}",
                image.name
            );
            Err(Error::usage(message)
                .hint("--foreign-layers fetch downloads the layer and stores it"))
        }
    }
}

/// Errors where the user wants no layer that is stored elsewhere, and one of the images has one.
pub fn check<'a>(mut images: impl Iterator<Item = &'a Image>, wanted: ForeignLayers) -> Result<()> {
    if wanted != ForeignLayers::Fail {
        return Ok(());
    }
    match images.find_map(|image| Some((image, first(image)?))) {
        None => Ok(()),
        Some((image, (number, elsewhere))) => {
            let (name, count, host) = (&image.name, image.layers.len(), elsewhere.host());
            let message = format!(
                "{name}: layer {number} of {count} is not at the source: it is stored at {host}"
            );
            Err(Error::new(Kind::Source, message).hint(
                "--foreign-layers fetch downloads it and stores it; without the option it stays there if the destination keeps the manifest",
            ))
        }
    }
}

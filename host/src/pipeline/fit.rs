//! Whether the images of a source fit their destination: checked before any layer is fetched.

use std::collections::BTreeMap;

use super::request::{ReceiptStore, Request};
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::ImageName;
use occystrap_images::source::{self, Called};
use occystrap_layer::image::{Image, Whole};
use occystrap_net::context::Context;
use occystrap_output::receipt::RECEIPT;
use occystrap_output::write::foreign_layers;
use occystrap_output::write::target::Target;
use occystrap_verify::receipt::format::DestinationFormat;

/// Opens the images of the source. Errors when they do not fit the destination, or are no images where only images fit.
pub fn images(request: &Request, context: &Context) -> Result<Vec<Image>> {
    let images = check(request, request.source.open(context)?)?;
    foreign_layers::check(images.iter(), context.web.foreign_layers())?;
    images.iter().try_for_each(|image| check_artifact(request, image))?;
    Ok(images)
}

/// Opens the images of the source with all their platforms. Errors when they do not fit the destination.
pub fn wholes(request: &Request, context: &Context) -> Result<Vec<Whole>> {
    let opened = match &request.platforms {
        Some(platforms) => request.source.open_platforms(&platforms.wanted, context)?,
        None => request.source.open_wholes(context)?,
    };
    let wholes = check(request, opened)?;
    foreign_layers::check(wholes.iter().flat_map(Whole::images), context.web.foreign_layers())?;
    Ok(wholes)
}

/// Returns the images if the destination can hold all of them under distinct names. Errors name what to choose.
fn check<T: Called>(request: &Request, images: Vec<T>) -> Result<Vec<T>> {
    if let ReceiptStore::File(path) = &request.receipts {
        // Checked now: an error after the destination was changed would be too late.
        RECEIPT.check(path, request.target.file())?;
    }
    let target = &request.target;
    if images.len() < 2 {
        return Ok(images);
    }
    let names = source::names(&images);
    if target.holds_one() {
        let (count, display) = (images.len(), &target.display);
        let message = format!("the source holds {count} images, but '{display}' can hold only one");
        let choose = format!("choose one with ?image=NAME on the source: {names}");
        return Err(Error::usage(message).hint(match target.option("unique_names").is_some() {
            true => format!("add ?unique_names=true to the destination, or {choose}"),
            false => choose,
        }));
    }
    if let Some((first, second, tag)) = collision(target, &images) {
        let display = &target.display;
        let message = format!("'{first}' and '{second}' would both be '{tag}' in '{display}'");
        return Err(Error::usage(message)
            .hint(format!("choose one with ?image=NAME on the source: {names}")));
    }
    if matches!(request.receipts, ReceiptStore::File(_)) && !request.all_platforms {
        return Err(Error::usage(format!(
            "the source holds {} images, but a receipt is for one image",
            images.len()
        ))
        .hint(format!("choose one with ?image=NAME on the source: {names}")));
    }
    Ok(images)
}

/// Checks that an artifact goes through no filter, and to a destination that keeps manifests unchanged.
pub fn check_artifact(request: &Request, image: &Image) -> Result<()> {
    if !request.filters.is_empty() {
        image.check_is_image(
            "filters read and change images alone; leave --filter out to move it",
        )?;
    }
    match DestinationFormat::of(&request.target).has_manifests() {
        true => Ok(()),
        false => image.check_is_image("registry:// and oci-layout:// can hold it"),
    }
}

/// Returns two images that would get the same tag, if the destination distinguishes images only by tag.
fn collision<'a>(
    target: &Target,
    images: &'a [impl Called],
) -> Option<(&'a ImageName, &'a ImageName, &'a str)> {
    if !target.knows_tags_only() {
        return None;
    }
    let mut known: BTreeMap<&str, &ImageName> = BTreeMap::new();
    images.iter().find_map(|image| {
        let name = image.called();
        let tag = name.tag_or_latest();
        known.insert(tag, name).map(|first| (first, name, tag))
    })
}

//! The images of a source, each moved as one image: filtered, written, recorded in the layer cache.

use std::time::Instant;

use super::attempt::{Job, attempt, identity};
use super::fit;
use super::request::Request;
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::PlatformPart;
use occystrap_base::parallel::in_parallel;
use occystrap_layer::image::Image;
use occystrap_net::context::Context;
use occystrap_output::layer_cache::Turn;
use occystrap_output::receipt::{Receipt, RepeatCommand};
use occystrap_output::write::item::{Item, PreparedImage};
use occystrap_verify::report::{ImageReport, ImageStatus};

/// Moves every image of a source, several in parallel. Errors when the source cannot be read or its images do not fit
/// the destination.
pub fn move_images(request: &Request, context: &Context) -> Result<Vec<ImageReport>> {
    let images = fit::images(request, context)?;
    let several = images.len() > 1;
    Ok(in_parallel(&images, request.image_parallel, |image| {
        move_image(request, image, &context.about_one_of(several, &image.name.to_string()))
    }))
}

fn move_image(request: &Request, image: &Image, context: &Context) -> ImageReport {
    let keep = |receipt: &Receipt| request.write_receipts(vec![receipt.clone()]);
    let repeat = request.repeat_command(image.manifest.as_ref().map(|manifest| manifest.digest));
    move_filtered(request, image, &PlatformPart::Whole, repeat, keep, context).0
}

/// Filters an image, moves it and verifies that it landed. `part` is what it is of an index, and `repeat` the command that
/// moves it again. `keep` gets the receipt before the verification. Returns the report, and the receipt where something
/// was written.
pub(super) fn move_filtered(
    request: &Request,
    image: &Image,
    part: &PlatformPart,
    repeat: Option<RepeatCommand>,
    keep: impl FnOnce(&Receipt) -> Result<()>,
    context: &Context,
) -> (ImageReport, Option<Receipt>) {
    let started = Instant::now();
    let context = &context.clone().with_own_warnings();
    // Other images with the same layers wait until this one has landed.
    let (filtered, _turn) = match filter(request, image, context) {
        Ok(filtered) => filtered,
        Err(error) => return (not_filtered(request, image, part, error, started, context), None),
    };
    let identity = identity(&filtered.image, &image.name, part.clone());
    let item = match part.is_whole() {
        true => Item::Prepared(&filtered),
        false => Item::ListedPrepared(&filtered),
    };
    let (mut report, receipt) =
        attempt(request, Job::image(item, identity, repeat), started, keep, context);
    report.warnings.splice(0..0, context.warnings.lines());
    if let Some(receipt) = &receipt {
        record(request, image, &filtered.image, receipt, report.status, context);
    }
    (report, receipt)
}

/// Returns the image after the filters. Layers that the layer cache knows are not filtered again.
fn filter<'a>(
    request: &'a Request,
    image: &Image,
    context: &Context,
) -> Result<(PreparedImage, Option<Turn<'a>>)> {
    let Request { filters, target, .. } = request;
    let (turn, known) = match &request.layer_cache {
        Some(cache) => {
            // The cache is asked after the turn has come: an image before this one may have added layers.
            let turn = cache.turn(image, filters, target, context)?;
            (Some(turn), cache.known(image, filters, target, context)?)
        }
        None => (None, Vec::new()),
    };
    let after = filters.apply(image, known.clone(), context)?;
    Ok((PreparedImage::new(image, &known, after, filters.read_layers()), turn))
}

/// Records in the layer cache which layers the destination has now.
fn record(
    request: &Request,
    image: &Image,
    filtered: &Image,
    receipt: &Receipt,
    status: ImageStatus,
    context: &Context,
) {
    let Request { filters, target, .. } = request;
    let Some(cache) = &request.layer_cache else { return };
    match status {
        ImageStatus::Failed => cache.forget(image, filters, target),
        _ => cache.learn(image, filtered, filters, target, receipt),
    }
    // The image has landed, whether the cache can be saved or not.
    if let Err(error) = cache.save(&context.cancel) {
        tracing::warn!("{error}");
    }
}

/// Returns the report of an image that a filter rejected.
fn not_filtered(
    request: &Request,
    image: &Image,
    part: &PlatformPart,
    error: Error,
    started: Instant,
    context: &Context,
) -> ImageReport {
    let platform = image.platform.to_string();
    let mut report = request.report(&image.name, part.clone(), Some(&platform));
    report.error = Some(error);
    report.warnings = context.warnings.lines();
    report.finish(started.elapsed(), context)
}

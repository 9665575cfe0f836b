//! The flow: a source's images, through an output plugin, to a verdict each.
//!
//! ```text
//! source -> images -> (filter -> write -> receipt -> verify -> report), each -> run
//! ```

mod family;
mod fit;
mod verify;

use std::path::PathBuf;
use std::time::Instant;

use occystrap_base::error::{Error, Result};
use occystrap_base::oci::{Digest, ImageName, Part};
use occystrap_base::parallel::in_parallel;
use occystrap_base::warnings::Warnings;
use occystrap_images::filter::Filters;
use occystrap_images::level::Level;
use occystrap_images::source::Source;
use occystrap_layer::image::Image;
use occystrap_net::context::Context;
use occystrap_output::destination::{elsewhere, occupied};
use occystrap_output::layer_cache::{LayerCache, Turn};
use occystrap_output::receipt::{Bundle, ImageIdentity, Receipt, RepeatCommand, repeat_command};
use occystrap_output::write::item::Item;
use occystrap_output::write::target::Target;
use occystrap_verify::report::{ImageReport, ImageStatus, Run};
use occystrap_verify::verdict::object::{Outcomes, Verification};

pub use verify::{verify_each, verify_subjects};

/// What `occystrap process` was asked to do.
pub struct Process {
    /// From where.
    pub source: Source,
    /// What changes images on their way, or looks into them.
    pub filters: Filters,
    /// What became of layers in earlier runs.
    pub layer_cache: Option<LayerCache>,
    /// To where.
    pub target: Target,
    /// How far to verify; `None` for not at all.
    pub level: Option<Level>,
    /// Where to keep the receipt.
    pub receipt: Option<PathBuf>,
    /// How many images are moved side by side.
    pub image_parallel: usize,
    /// Whether every platform of each image is moved, and the index that lists them.
    pub all_platforms: bool,
    /// Options that name files and servers, for a command that does it again ([`RepeatCommand::options`]).
    pub files: Vec<String>,
}

/// Move every image of a source, and prove that each landed. What goes wrong is in the report.
pub fn process(request: &Process, context: &Context) -> Run {
    let started = Instant::now();
    // Before anything is fetched; and again before an image becomes visible.
    let target = &request.target;
    let is_free = occupied::check(target).and_then(|()| occupied::check_list(target));
    let reports = is_free.and_then(|()| {
        tracing::info!("reading {}", request.source.display);
        match request.all_platforms {
            true => family::process(request, context),
            false => process_images(request, context),
        }
    });
    let mut reports = reports.unwrap_or_else(|error| {
        let (source, target) = (&request.source.display, &request.target.display);
        vec![ImageReport::failed(source, target, error, context)]
    });
    tell_if_untouched(&mut reports);
    Run::new(reports, started.elapsed())
}

/// An interruption that came before anything was written may be told as one.
fn tell_if_untouched(reports: &mut [ImageReport]) {
    let early =
        |report: &ImageReport| report.error.as_ref().is_some_and(Error::is_bare_interruption);
    if reports.iter().all(early) {
        for error in reports.iter_mut().filter_map(|report| report.error.as_mut()) {
            *error = error.clone().with_effect("the destination was left as it was");
        }
    }
}

fn process_images(request: &Process, context: &Context) -> Result<Vec<ImageReport>> {
    let images = fit::check(request, request.source.open(context)?)?;
    elsewhere::check(images.iter(), context.web.foreign_layers())?;
    images.iter().try_for_each(|image| fit::check_artifact(request, image))?;
    let several = images.len() > 1;
    Ok(in_parallel(&images, request.image_parallel, |image| {
        let started = Instant::now();
        let context = &context.about_one_of(several, &image.name.to_string());
        // Images that share layers with this one wait for them, until it has landed.
        let (filtered, _turn) = match filter(request, image, context) {
            Ok(filtered) => filtered,
            Err(error) => return unfiltered(request, image, error, started, context),
        };
        let identity = identity(&filtered, &image.name, Part::Whole);
        // Before it is verified, which the user may not wait for.
        let keep = |receipt: &Receipt| keep_receipts(request, vec![receipt.clone()]);
        let again = again(request, image.manifest.as_ref().map(|manifest| manifest.digest));
        let item = Job::image(Item::Image(&filtered), identity, again);
        let (report, receipt) = attempt(request, item, started, keep, context);
        if let Some(receipt) = receipt {
            remember(request, image, &filtered, &receipt, report.status, context);
        }
        report
    }))
}

/// An image as the filters want it. What became of its layers before is not made again.
fn filter<'a>(
    request: &'a Process,
    image: &Image,
    context: &Context,
) -> Result<(Image, Option<Turn<'a>>)> {
    let Process { filters, target, .. } = request;
    let Some(cache) = &request.layer_cache else {
        return Ok((filters.apply(image, Vec::new(), context)?, None));
    };
    let turn = cache.turn(image, filters, target, context)?;
    let known = cache.known(image, filters, target, context)?;
    Ok((filters.apply(image, known, context)?, Some(turn)))
}

/// What became of an image's layers, for later runs.
fn remember(
    request: &Process,
    image: &Image,
    after: &Image,
    receipt: &Receipt,
    status: ImageStatus,
    context: &Context,
) {
    let Process { filters, target, .. } = request;
    let Some(cache) = &request.layer_cache else { return };
    match status {
        ImageStatus::Failed => cache.forget(image, filters, target),
        _ => cache.learn(image, after, filters, target, receipt),
    }
    // What landed has landed, whether it is remembered or not.
    if let Err(error) = cache.save(&context.cancel) {
        tracing::warn!("{error}");
    }
}

/// An image that did not come through the filters.
fn unfiltered(
    request: &Process,
    image: &Image,
    error: Error,
    started: Instant,
    context: &Context,
) -> ImageReport {
    let (source, target) = (&request.source.display, &request.target.display);
    let platform = image.platform.to_string();
    let mut report =
        ImageReport::started(source, target, &image.name).about(Part::Whole, Some(&platform));
    report.error = Some(error);
    report.finish(started.elapsed(), context)
}

/// How this is done again, from what the source was this time.
fn again(request: &Process, digest: Option<Digest>) -> RepeatCommand {
    let Process { source, target, all_platforms, files, .. } = request;
    RepeatCommand::new(source, digest, *all_platforms, target, files)
}

fn identity(image: &Image, name: &ImageName, part: Part) -> ImageIdentity {
    let (name, tag) = (name.repository.clone(), name.tag.clone());
    let artifact = image.artifact.is_some() && part.is_whole();
    ImageIdentity { name, tag, id: image.id, part, artifact }
}

/// An image or an index to move.
struct Job<'a> {
    handed: Item<'a>,
    identity: ImageIdentity,
    again: RepeatCommand,
    /// What came of the images that an index lists.
    looked: Outcomes,
}

impl<'a> Job<'a> {
    fn image(handed: Item<'a>, identity: ImageIdentity, again: RepeatCommand) -> Self {
        Self { handed, identity, again, looked: Outcomes::new() }
    }
}

/// Write an image or an index, keep its receipt, and prove that it landed.
fn attempt(
    request: &Process,
    item: Job,
    started: Instant,
    keep: impl FnOnce(&Receipt) -> Result<()>,
    context: &Context,
) -> (ImageReport, Option<Receipt>) {
    let Job { handed, identity, again, looked } = item;
    let context = &Context { warnings: Warnings::default(), ..context.clone() };
    let (source, target) = (&request.source.display, &request.target);
    let platform = match (&identity.part, handed.image()) {
        (Part::Platform(platform), _) => Some(platform.clone()),
        (_, image) => image.map(|image| image.platform.to_string()),
    };
    let mut report = ImageReport::started(source, &target.display, &identity.image_name())
        .about(identity.part.clone(), platform.as_deref());
    tracing::info!("{}: {} layers, to {}", report.name(), handed.layers().len(), target.display);
    let note = handed.image().and_then(|image| image.note.as_deref());
    let outcome = occystrap_output::write::write(handed, &identity, source, target, context)
        .and_then(|mut receipt| {
            receipt.filters = request.filters.texts().map(str::to_owned).collect();
            receipt.again = Some(again);
            let kept = keep(&receipt);
            let proof = prove(request, &receipt, &looked, context)?;
            // They are open, and the receipts of all platforms are kept.
            receipt.published.clear();
            Ok((receipt, kept, proof))
        });
    let receipt = match outcome {
        Ok((receipt, kept, proof)) => {
            report.landed(&receipt, proof, note);
            if let Err(error) = kept {
                report.without_receipt(error);
            }
            Some(receipt)
        }
        Err(error) => {
            report.error = Some(error);
            None
        }
    };
    report.warnings = context.warnings.lines();
    let report = report.finish(started.elapsed(), context);
    report.log();
    (report, receipt)
}

/// Verify what was just written, in a fresh instance that can only read.
fn prove(
    request: &Process,
    receipt: &Receipt,
    looked: &Outcomes,
    context: &Context,
) -> Result<Option<Verification>> {
    let Some(level) = request.level else { return Ok(None) };
    let target = &request.target;
    tracing::info!("{}{}: written, verifying", receipt.image.image_name(), receipt.image.part);
    let repair = repeat_command::command(receipt, target);
    occystrap_verify::verify::verify(receipt, target, level, looked, Some(&repair), context)
        .map(Some)
        .map_err(|error| error.with_effect("it was written, and is not verified"))
}

fn keep_receipts(request: &Process, receipts: Vec<Receipt>) -> Result<()> {
    match &request.receipt {
        Some(path) if !receipts.is_empty() => Bundle::new(receipts).write(path),
        _ => Ok(()),
    }
}

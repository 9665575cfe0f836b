//! The flow: a source's images, through an output plugin, to a verdict each.
//!
//! ```text
//! source -> images -> (filter -> write -> receipt -> verify -> report), each -> run
//! ```

mod family;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::cancel::Cancel;
use crate::context::Context;
use crate::docker::Engine;
use crate::error::{Error, Kind, Result};
use crate::filter::Filters;
use crate::image::{Digest, Image, ImageName, Part};
use crate::input::{self, Called, Source};
use crate::layer_cache::LayerCache;
use crate::output::engine::Named;
use crate::output::remote::Remote;
use crate::output::target::{ENGINE_OPTIONS, REPOSITORY_OPTIONS, image_name, tagged};
use crate::output::{self, Target, Written};
use crate::parallel::in_parallel;
use crate::plugin::Catalog;
use crate::plugin::catalog::is_to_come;
use crate::receipt::{Again, Bundle, Handed, ImageIdentity, Receipt, Role, again, place};
use crate::registry::{Client, Reference};
use crate::report::{ImageReport, Run, Status};
use crate::uri::Uri;
use crate::verify::derive::Found;
use crate::verify::{self, Level, Verification, derive, layout, published};

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
    /// Options that name files and servers, for a command that does it again ([`Again::options`]).
    pub files: Vec<String>,
}

/// Move every image of a source, and prove that each landed. What goes wrong is in the report.
pub fn process(request: &Process, context: &Context) -> Run {
    let started = Instant::now();
    tracing::info!("reading {}", request.source.display);
    let reports = match request.all_platforms {
        true => family::process(request, context),
        false => process_images(request, context),
    };
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
    let images = check_fit(request, request.source.open(context)?)?;
    Ok(in_parallel(&images, request.image_parallel, |image| {
        let started = Instant::now();
        let filtered = match filter(request, image, context) {
            Ok(filtered) => filtered,
            Err(error) => return unfiltered(request, image, error, started, context),
        };
        let identity = identity(&filtered, &image.name, Part::Whole);
        // Before it is verified, which the user may not wait for.
        let keep = |receipt: &Receipt| keep_receipts(request, vec![receipt.clone()]);
        let handed = Handed::Image(&filtered);
        let again = again(request, image.manifest.as_ref().map(|manifest| manifest.digest));
        let (report, receipt) = attempt(request, handed, identity, again, started, keep, context);
        if let (Some(cache), Some(receipt)) = (&request.layer_cache, receipt) {
            let Process { filters, target, .. } = request;
            match report.status {
                Status::Failed => cache.forget(image, filters, target),
                _ => cache.learn(image, &filtered, filters, target, &receipt),
            }
            // What landed has landed, whether it is remembered or not.
            if let Err(error) = cache.save() {
                tracing::warn!("{error}");
            }
        }
        report
    }))
}

/// An image as the filters want it. What they made of layers in earlier runs is not made again.
fn filter(request: &Process, image: &Image, context: &Context) -> Result<Image> {
    let Process { filters, target, .. } = request;
    let known = match &request.layer_cache {
        Some(cache) => cache.known(image, filters, target, context)?,
        None => Vec::new(),
    };
    filters.apply(image, known, context)
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
fn again(request: &Process, digest: Option<Digest>) -> Again {
    let Process { source, target, all_platforms, files, .. } = request;
    Again::new(source, digest, *all_platforms, target, files)
}

fn identity(image: &Image, name: &ImageName, part: Part) -> ImageIdentity {
    let (name, tag) = (name.repository.clone(), name.tag.clone());
    ImageIdentity { name, tag, id: image.id, part }
}

/// Write an image or an index, keep its receipt, and prove that it landed.
fn attempt(
    request: &Process,
    handed: Handed,
    identity: ImageIdentity,
    again: Again,
    started: Instant,
    keep: impl FnOnce(&Receipt) -> Result<()>,
    context: &Context,
) -> (ImageReport, Option<Receipt>) {
    let (source, target) = (&request.source.display, &request.target);
    let platform = match (&identity.part, handed.image()) {
        (Part::Platform(platform), _) => Some(platform.clone()),
        (_, image) => image.map(|image| image.platform.to_string()),
    };
    let mut report = ImageReport::started(source, &target.display, &identity.image_name())
        .about(identity.part.clone(), platform.as_deref());
    tracing::info!("{}: {} layers, to {}", report.name(), handed.layers().len(), target.display);
    let note = handed.image().and_then(|image| image.config_note.as_deref());
    let outcome =
        output::write(handed, &identity, source, target, context).and_then(|mut written| {
            written.receipt.filters = request.filters.texts().map(str::to_owned).collect();
            written.receipt.again = Some(again);
            let kept = keep(&written.receipt);
            prove(request, &written, context).map(|proof| (written, kept, proof))
        });
    let receipt = match outcome {
        Ok((written, kept, proof)) => {
            report.landed(&written.receipt, proof, note);
            if let Err(error) = kept {
                report.without_receipt(error);
            }
            Some(written.receipt)
        }
        Err(error) => {
            report.error = Some(error);
            None
        }
    };
    (report.finish(started.elapsed(), context), receipt)
}

/// Verify what was just written, in a fresh instance that can only read.
fn prove(request: &Process, written: &Written, context: &Context) -> Result<Option<Verification>> {
    let Some(level) = request.level else { return Ok(None) };
    let target = &request.target;
    let Written { receipt, .. } = written;
    tracing::info!("{}{}: written, verifying", receipt.image.image_name(), receipt.image.part);
    let repair = again::command(receipt, target);
    verify::verify(receipt, target, level, Some(&repair), context)
        .map(Some)
        .map_err(|error| error.with_effect("it was written, and is not verified"))
}

fn keep_receipts(request: &Process, receipts: Vec<Receipt>) -> Result<()> {
    match &request.receipt {
        Some(path) if !receipts.is_empty() => Bundle::new(receipts).write(path),
        _ => Ok(()),
    }
}

/// Whether all these images can go there, before the first does.
fn check_fit<T: Called>(request: &Process, images: Vec<T>) -> Result<Vec<T>> {
    if let Some(path) = &request.receipt {
        // Not only after the destination was changed.
        place::check(path, &request.target)?;
    }
    let target = &request.target;
    if images.len() < 2 {
        return Ok(images);
    }
    let names = input::names(&images);
    if target.holds_one() {
        let (count, display) = (images.len(), &target.display);
        let message = format!("the source holds {count} images, '{display}' can hold one");
        let choose = format!("choose one with ?image=NAME on the source: {names}");
        let unique = target.options.iter().any(|(name, _)| name == "unique_names");
        return Err(Error::usage(message).hint(match unique {
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
    if request.receipt.is_some() && !request.all_platforms {
        return Err(Error::usage(format!(
            "the source holds {} images, a receipt is about one",
            images.len()
        ))
        .hint(format!("choose one with ?image=NAME on the source: {names}")));
    }
    Ok(images)
}

/// Two images that would get the same tag in a directory where nothing but the tag tells them
/// apart.
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

/// What `occystrap verify` was asked to look at.
pub enum Subject {
    /// Receipts of one run, and where what they promise must be.
    Receipts(Vec<Receipt>, Target),
    /// Receipts of a plugin that is not there, and why: nothing of them can be looked at.
    WithoutPlugin(Vec<Receipt>, Error),
    /// A directory without a receipt.
    Directory(PathBuf, String),
    /// An archive without a receipt.
    Tar(PathBuf, String),
    /// An OCI image layout without a receipt, or a tag in it.
    Layout(PathBuf, Option<String>, String),
    /// An image at a registry without a receipt.
    Registry(Reference, Client, String),
    /// An image in an engine without a receipt.
    Engine(ImageName, Engine, String),
}

/// Verify what was written earlier. What goes wrong is in the report.
pub fn verify_subject(subject: &Subject, level: Level, context: &Context) -> Run {
    let started = Instant::now();
    let reports = look(subject, level, context).unwrap_or_else(|error| {
        let place: &str = match subject {
            Subject::Receipts(_, target) => &target.display,
            Subject::WithoutPlugin(receipts, _) => {
                receipts.first().map_or("", |receipt| receipt.destination.as_str())
            }
            Subject::Directory(_, display)
            | Subject::Tar(_, display)
            | Subject::Layout(_, _, display)
            | Subject::Registry(_, _, display)
            | Subject::Engine(_, _, display) => display,
        };
        vec![ImageReport::unopened(place, error, context)]
    });
    Run::new(reports, started.elapsed())
}

fn look(subject: &Subject, level: Level, context: &Context) -> Result<Vec<ImageReport>> {
    let started = Instant::now();
    let reports = |display: &str, found: Vec<Found>| {
        let report = |found| ImageReport::found(display, found).finish(started.elapsed(), context);
        found.into_iter().map(report).collect()
    };
    match subject {
        Subject::Receipts(receipts, target) => {
            let mut reports = Vec::with_capacity(receipts.len());
            for receipt in receipts {
                let started = Instant::now();
                let repair = again::command(receipt, target);
                let proof = verify::verify(receipt, target, level, Some(&repair), context)?;
                let mut report = ImageReport::of_receipt(receipt);
                report.landed(receipt, Some(proof), None);
                reports.push(report.finish(started.elapsed(), context));
            }
            Ok(reports)
        }
        Subject::WithoutPlugin(receipts, why) => {
            let report = |receipt: &Receipt| {
                let report = ImageReport::without_plugin(receipt, why.clone());
                report.finish(started.elapsed(), context)
            };
            Ok(receipts.iter().map(report).collect())
        }
        Subject::Directory(path, display) => {
            let found = derive::directory(path, level, context)?;
            Ok(reports(display, found))
        }
        Subject::Tar(path, display) => {
            let found = derive::tar(path, level, context)?;
            Ok(reports(display, found))
        }
        Subject::Layout(path, tag, display) => {
            let found = layout::images(path, tag.as_deref(), level, context)?;
            Ok(reports(display, found))
        }
        Subject::Registry(reference, client, display) => {
            let repository = client.repository(reference, context.counters.clone())?;
            let remote = Remote::new(repository, context);
            let found = published::images(&remote, reference, level, context)?;
            Ok(reports(display, found))
        }
        Subject::Engine(image, engine, display) => {
            let named = Named::new(engine.clone(), image.clone(), context);
            let found = verify::engine::held(&named, level)?;
            Ok(reports(display, found))
        }
    }
}

/// What to verify, from what the user typed: a receipt's path, or a URI.
pub fn subject(
    text: &str,
    catalog: &Catalog,
    client: impl FnOnce(&Uri) -> Result<Client>,
    cancel: &Cancel,
) -> Result<Subject> {
    // `dir:PATH` is a URI as well; any other word without `://` is a file.
    let short = |uri: &Uri| matches!(uri.scheme.as_str(), "dir" | "tar" | "oci-layout");
    // A login without a scheme must not be shown as the name of a file that is not there.
    let login = text.contains('@') && text.contains(':') && !Path::new(text).exists();
    if !text.contains("://") && !login && !Uri::parse(text).is_ok_and(|uri| short(&uri)) {
        let receipts = Bundle::read(text.as_ref())?;
        let Some(receipt) = receipts.first() else {
            return Err(Error::source(format!("'{text}' holds no receipt")));
        };
        let uri = Uri::parse(&receipt.destination)?;
        let plugin = match catalog.for_receipt(&uri.scheme, &receipt.plugin) {
            // Its component may be gone.
            Err(error) if matches!(error.kind(), Kind::Plugin | Kind::NotFound) => {
                return Ok(Subject::WithoutPlugin(receipts, error));
            }
            found => found?,
        };
        let target = Target::with_plugin(plugin, &uri, client, cancel)?;
        return Ok(Subject::Receipts(receipts, target));
    }
    let uri = Uri::parse(text)?;
    let (path, display) = (PathBuf::from(&uri.rest), uri.display());
    match uri.scheme.as_str() {
        "dir" => {
            uri.check_options("target", &["unique_names", "checksums"])?;
            Ok(Subject::Directory(path, display))
        }
        "tar" => {
            uri.check_options("target", &[])?;
            Ok(Subject::Tar(path, display))
        }
        "oci-layout" => {
            uri.check_options("target", &["compression"])?;
            let (path, tag) = tagged(&uri.rest)?;
            Ok(Subject::Layout(path, tag, display))
        }
        "registry" => {
            // What an output took says nothing about what is there.
            let known = [&REPOSITORY_OPTIONS[..], &["compression", "chunk_size"]].concat();
            uri.check_options("target", &known)?;
            Ok(Subject::Registry(Reference::parse(&uri.rest)?, client(&uri)?, display))
        }
        "docker" => {
            uri.check_options("target", &ENGINE_OPTIONS)?;
            let engine = Engine::find(uri.option("socket"), cancel)?;
            Ok(Subject::Engine(image_name(&uri.rest)?, engine, display))
        }
        scheme => Err(unverified(scheme, catalog)),
    }
}

/// What cannot be verified without a receipt: what a plugin writes that is not part of this program,
/// what is to come, and what nobody knows.
fn unverified(scheme: &str, catalog: &Catalog) -> Error {
    const KNOWN: &str =
        "dir://, tar://, oci-layout://, registry://, docker:// and receipts can be verified";
    match catalog.for_scheme(scheme) {
        Ok(_) => Error::usage(format!("'{scheme}://' can be verified with a receipt alone")).hint(
            "'occystrap process --receipt FILE' writes one, 'occystrap verify FILE' takes it",
        ),
        // One that was added, and cannot be used.
        Err(error) if error.kind() != Kind::Usage => error,
        Err(_) if is_to_come(scheme) => {
            Error::usage(format!("verifying '{scheme}://' is not yet supported")).hint(KNOWN)
        }
        Err(_) => Error::usage(format!("unknown scheme '{scheme}://'")).hint(KNOWN),
    }
}

/// Bytes of config and layers that a receipt covers.
#[must_use]
pub fn landed_bytes(receipt: &Receipt) -> u64 {
    let counted = receipt
        .expectations
        .iter()
        .filter(|expectation| matches!(expectation.role, Role::Config | Role::Layer(_)));
    // A receipt may come from anywhere.
    counted.filter_map(|expectation| expectation.size).fold(0, u64::saturating_add)
}

//! `occystrap process --dry-run`: the flow up to the plan of each image, and no further.
//!
//! What it refuses: to change anything. Filters are not run, as that takes the layers; what they make of a layer
//! is not known here.

use std::fmt;
use std::io::{self, Write};

use serde::{Serialize, Serializer};

use super::attempt::identity;
use super::fit;
use super::request::Request;
use occystrap_base::error::{Error, Kind, Result, one_line};
use occystrap_base::oci::{Digest, ImageName, PlatformPart};
use occystrap_base::parallel::in_parallel;
use occystrap_base::terminal::size::size;
use occystrap_base::terminal::table;
use occystrap_layer::image::{Image, Whole};
use occystrap_net::context::Context;
use occystrap_output::write::item::{Item, PreparedImage};
use occystrap_output::write::plan::{Action, Fetch, LayerPlan, PlanReason, form_name};
use occystrap_output::write::{self, occupied};

/// The note about filters that make other layers.
const REPLACED: &str = "the layers above are those that 'squash' and 'add' read; which layers they make is known after \
                        they have run";

/// What `occystrap process` would do with each image of a source.
#[derive(Serialize)]
pub struct DryRun {
    dry_run: bool,
    images: Vec<ImagePlan>,
    summary: DryRunSummary,
}

/// What would happen to one image.
#[derive(Serialize)]
struct ImagePlan {
    source: String,
    destination: String,
    image: String,
    tag: String,
    platform: String,
    #[serde(skip)]
    part: PlatformPart,
    #[serde(serialize_with = "layers")]
    layers: Vec<LayerPlan>,
    /// What the plans of the layers do not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
    /// Why no plan could be made.
    error: Option<Error>,
}

/// The plans of all images, in numbers. Sizes are those of layers at the source, in bytes.
#[derive(Default, Serialize)]
struct DryRunSummary {
    images: usize,
    errors: usize,
    layers: usize,
    fetched: usize,
    fetched_bytes: u64,
    fetched_if_missing: usize,
    not_fetched: usize,
    not_fetched_bytes: u64,
}

/// Plans for every image of a source. Errors where none can be planned for; what goes wrong with one of them is in its
/// plan.
pub fn dry_run(request: &Request, context: &Context) -> Result<DryRun> {
    occupied::check(&request.target)?;
    occupied::check_list(&request.target)?;
    let images = match request.all_platforms {
        true => of_wholes(request, context)?,
        false => of_images(request, context)?,
    };
    let mut summary = DryRunSummary { images: images.len(), ..DryRunSummary::default() };
    images.iter().for_each(|image| summary.count(image));
    Ok(DryRun { dry_run: true, images, summary })
}

fn of_images(request: &Request, context: &Context) -> Result<Vec<ImagePlan>> {
    let images = fit::images(request, context)?;
    Ok(in_parallel(&images, request.image_parallel, |image| {
        let planned = prepare(request, image, context).and_then(|prepared| {
            plan(request, Item::Prepared(&prepared), image, PlatformPart::Whole, context)
        });
        ImagePlan::new(request, image, PlatformPart::Whole, planned)
    }))
}

fn of_wholes(request: &Request, context: &Context) -> Result<Vec<ImagePlan>> {
    let wholes = fit::wholes(request, context)?;
    let mut plans = Vec::new();
    for whole in &wholes {
        match whole {
            Whole::Image(image) => {
                fit::check_artifact(request, image)?;
                let planned = plan_part(request, image, PlatformPart::Whole, context);
                plans.push(ImagePlan::new(request, image, PlatformPart::Whole, planned));
            }
            Whole::Family(family) => {
                plans.extend(in_parallel(&family.members, request.image_parallel, |member| {
                    let (image, part) =
                        (&member.image, PlatformPart::Platform(member.platform.clone()));
                    let planned = plan_part(request, image, part.clone(), context);
                    ImagePlan::new(request, image, part, planned)
                }));
            }
        }
    }
    Ok(plans)
}

/// Plans for a part of a source with all its platforms. Artifacts are not filtered.
fn plan_part(
    request: &Request,
    image: &Image,
    part: PlatformPart,
    context: &Context,
) -> Result<Vec<LayerPlan>> {
    let is_whole = part.is_whole();
    if request.filters.is_empty() || image.artifact.is_some() {
        let item = if is_whole { Item::Image(image) } else { Item::Listed(image) };
        return plan(request, item, image, part, context);
    }
    let prepared = prepare(request, image, context)?;
    let item = match is_whole {
        true => Item::Prepared(&prepared),
        false => Item::ListedPrepared(&prepared),
    };
    plan(request, item, image, part, context)
}

/// Returns an image with the layers that the layer cache knows.
fn prepare(request: &Request, image: &Image, context: &Context) -> Result<PreparedImage> {
    let Request { filters, target, .. } = request;
    let known = match &request.layer_cache {
        Some(cache) => cache.known(image, filters, target, context)?,
        None => Vec::new(),
    };
    let spared = filters.spared(image, context)?;
    Ok(PreparedImage::for_dry_run(image, known, filters.read_layers()).with_spared(spared))
}

fn plan(
    request: &Request,
    item: Item,
    image: &Image,
    part: PlatformPart,
    context: &Context,
) -> Result<Vec<LayerPlan>> {
    write::dry_run::dry_run(item, &identity(image, &image.name, part), &request.target, context)
}

impl ImagePlan {
    fn new(
        request: &Request,
        image: &Image,
        part: PlatformPart,
        planned: Result<Vec<LayerPlan>>,
    ) -> Self {
        let (layers, error) = match planned {
            Ok(layers) => (layers, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let (source, destination) =
            (request.source.display.clone(), request.target.display.clone());
        let platform = image.platform.to_string();
        let ImageName { repository, tag } = image.name.clone();
        let tag = tag.unwrap_or_default();
        // These filters have read nothing yet.
        let replaces = request.filters.replace_layers() && error.is_none();
        let note = (replaces && image.artifact.is_none()).then_some(REPLACED);
        Self { source, destination, image: repository, tag, platform, part, layers, note, error }
    }
}

/// The line above the plans of its layers.
impl fmt::Display for ImagePlan {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { image, tag, platform, part, destination, .. } = self;
        match tag.as_str() {
            "" => to.write_str(image)?,
            tag => write!(to, "{image}:{tag}")?,
        }
        match part {
            PlatformPart::Whole => write!(to, " ({platform}) to {destination}"),
            part => write!(to, "{part} to {destination}"),
        }
    }
}

impl DryRunSummary {
    fn count(&mut self, image: &ImagePlan) {
        self.errors += usize::from(image.error.is_some());
        self.layers += image.layers.len();
        for layer in &image.layers {
            let bytes = layer.layer.size;
            match layer.is_fetched() {
                Fetch::Yes => {
                    self.fetched += 1;
                    self.fetched_bytes = self.fetched_bytes.saturating_add(bytes);
                }
                Fetch::IfMissing => self.fetched_if_missing += 1,
                Fetch::No => {
                    self.not_fetched += 1;
                    self.not_fetched_bytes = self.not_fetched_bytes.saturating_add(bytes);
                }
            }
        }
    }

    fn line(&self) -> String {
        let number = |count: usize, one: &str| match count {
            1 => format!("1 {one}"),
            _ => format!("{count} {one}s"),
        };
        let mut line = format!(
            "Dry run: {}, {}: {} to fetch ({})",
            number(self.images, "image"),
            number(self.layers, "layer"),
            self.fetched,
            size(self.fetched_bytes),
        );
        if self.fetched_if_missing > 0 {
            line += &format!(", {} if the registry does not mount it", self.fetched_if_missing);
        }
        line += &format!(", {} not fetched ({})", self.not_fetched, size(self.not_fetched_bytes));
        if self.errors > 0 {
            line += &format!(", {}", number(self.errors, "error"));
        }
        line + "; nothing was written"
    }
}

impl DryRun {
    /// Returns 0 where a plan was made for every image, and otherwise the code of the first error; an interruption goes
    /// before others.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let mut errors = self.images.iter().filter_map(|image| image.error.as_ref());
        let interrupted = errors.clone().find(|error| error.kind() == Kind::Interrupted);
        interrupted.or_else(|| errors.next()).map_or(0, Error::exit_code)
    }

    /// Writes a line for each image and layer, and a summary.
    pub fn write_text(&self, to: &mut dyn Write) -> io::Result<()> {
        for image in &self.images {
            writeln!(to, "{}", one_line(&image.to_string()))?;
            for layer in &image.layers {
                writeln!(to, "  {}", one_line(&layer.to_string()))?;
            }
            if let Some(note) = &image.note {
                writeln!(to, "  note: {note}")?;
            }
            if let Some(error) = &image.error {
                writeln!(to, "  error: {error}")?;
                if let Some(hint) = error.hint_text() {
                    writeln!(to, "  hint: {hint}")?;
                }
            }
        }
        writeln!(to, "{}", self.summary.line())
    }

    /// Writes the document for programs, as JSON and a newline.
    pub fn write_json(&self, to: &mut dyn Write) -> io::Result<()> {
        table::write_json(to, self)
    }
}

/// A layer's plan as programs read it.
#[derive(Serialize)]
struct LayerDocument<'a> {
    index: usize,
    diff_id: Digest,
    digest: Option<Digest>,
    size: u64,
    media_type: &'a str,
    action: &'static str,
    form: Option<&'static str>,
    reason: &'static str,
    fetched: &'static str,
    text: String,
}

fn layers<S: Serializer>(layers: &[LayerPlan], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(layers.iter().map(document))
}

fn document(plan: &LayerPlan) -> LayerDocument<'_> {
    let layer = &plan.layer;
    LayerDocument {
        index: plan.index,
        diff_id: layer.diff_id,
        digest: layer.digest,
        size: layer.size,
        media_type: &layer.media_type,
        action: match plan.action {
            Action::Known => "known",
            Action::Skipped => "skipped",
            Action::AsStored => "as-stored",
            Action::Convert(_) => "converted",
        },
        form: match plan.action {
            Action::Convert(form) => Some(form_name(form)),
            _ => None,
        },
        reason: match plan.reason {
            PlanReason::MadeBefore => "made-before",
            PlanReason::Repeated(_) => "repeated",
            PlanReason::AtDestination => "at-destination",
            PlanReason::StaysElsewhere(_) => "stays-elsewhere",
            PlanReason::Mountable(_) => "mountable",
            PlanReason::Missing => "missing",
            PlanReason::AskedLater => "asked-later",
            PlanReason::Wanted => "wanted",
        },
        fetched: match plan.is_fetched() {
            Fetch::Yes => "yes",
            Fetch::No => "no",
            Fetch::IfMissing => "if-missing",
        },
        text: plan.to_string(),
    }
}

//! The plan for an image: what happens to each of its layers, and why.
//!
//! The plan is made here and nowhere else, before anything is fetched. The plugin says which layers it takes and in
//! which form, the layer cache says which layers it knows, and `--foreign-layers` says which layers stay at their URLs.
//! [`LayerPlan::is_fetched`] answers whether a layer is fetched, as far as the plan can know. A registry is asked for
//! each blob only when the blob is pushed (`destination/delivery.rs`, which a dry run asks as well). What this module
//! refuses: a plan of a plugin that has more or fewer layers than the image.

use std::fmt;

use super::foreign_layers;
use super::item::{Item, LayerOrigin};
use super::target::{Endpoint, Target};
use crate::destination::planned_layer::{PlannedLayer, RequestedForm};
use crate::plugin::WriteSession;
use crate::plugin::bindings::writer;
use crate::plugin::violation::violation;
use occystrap_base::error::Result;
use occystrap_base::oci::Compression;
use occystrap_base::terminal::size::size;
use occystrap_layer::image::{Content, Image, Layer};
use occystrap_net::context::Context;

/// What happens to one layer of an image.
pub struct LayerPlan {
    /// Its index in the image; the lowest layer is 0.
    pub index: usize,
    /// The layer as it is before it is written.
    pub layer: Layer,
    /// What happens to it.
    pub action: Action,
    /// Why that happens to it.
    pub reason: PlanReason,
    /// What happened to it before.
    pub origin: LayerOrigin,
    /// The form in which the plugin takes it; `None` where the plugin leaves it out.
    taken: Option<RequestedForm>,
    /// How many layers the image has.
    count: usize,
}

/// What happens to a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// An earlier run has written the layer, in its form for this destination. That result is used again.
    Known,
    /// The layer is not written.
    Skipped,
    /// The layer is written as it is.
    AsStored,
    /// The layer is written in this form.
    Convert(RequestedForm),
}

/// Reason for the action on a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanReason {
    /// The layer cache knows what an earlier run made of the layer, and the destination has that.
    MadeBefore,
    /// The image has the same layer further below, at this index.
    Repeated(usize),
    /// The destination has the layer.
    AtDestination,
    /// The layer stays at the URL that the manifest names. The text is the host of that URL.
    StaysElsewhere(String),
    /// This other repository of the registry has the layer. The registry is asked to mount the layer from there.
    Mountable(String),
    /// The registry does not have the layer.
    Missing,
    /// The registry is asked for the layer only when the layer is pushed.
    AskedLater,
    /// The output takes layers in this form.
    Wanted,
}

/// Whether a layer is fetched from its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetch {
    /// The layer is fetched.
    Yes,
    /// The layer is not fetched.
    No,
    /// The layer is fetched only if the registry does not have it.
    IfMissing,
}

/// Asks the plugin which layers of an image it takes, and in which form, and returns what happens to each. Errors
/// when the plugin cannot say, breaks a rule, or the user wants layers elsewhere that the destination cannot keep.
pub fn plan(
    session: &mut WriteSession,
    item: Item,
    image: &Image,
    target: &Target,
    context: &Context,
) -> Result<Vec<LayerPlan>> {
    let plugin = &target.plugin.description().name;
    let summaries: Vec<writer::LayerSummary> = (image.layers.iter().enumerate())
        .map(|(index, layer)| summary(image, layer, item.origin(index)))
        .collect();
    let decisions = session.plan(&summaries)?;
    if decisions.len() != image.layers.len() {
        let (layers, found) = (image.layers.len(), decisions.len());
        return Err(violation(
            plugin,
            format!("it planned {found} layers, the image has {layers}"),
        ));
    }
    let is_stored = |decision: &writer::Decision| match decision {
        writer::Decision::Skip | writer::Decision::Take(writer::Form::Stored) => true,
        writer::Decision::Take(_) => false,
    };
    let is_kept = image.manifest.is_some() && decisions.iter().all(is_stored);
    let stay = foreign_layers::stay(image, is_kept, target, context.web.foreign_layers())?;
    let taken: Vec<Option<RequestedForm>> = decisions.into_iter().map(form).collect();
    let plan = |index: usize| {
        let (layer, origin) = (&image.layers[index], item.origin(index));
        let (action, reason) = match (taken[index], &layer.content) {
            (None, _) => {
                let same = |below: &usize| {
                    let other = &image.layers[*below];
                    taken[*below].is_some()
                        && (other.diff_id == layer.diff_id
                            || (other.digest.is_some() && other.digest == layer.digest))
                };
                let same = (0..index).find(same);
                (Action::Skipped, same.map_or(PlanReason::AtDestination, PlanReason::Repeated))
            }
            (Some(_), Content::Elsewhere(elsewhere)) if stay => {
                (Action::Skipped, PlanReason::StaysElsewhere(elsewhere.host()))
            }
            (Some(_), _) if origin == LayerOrigin::Known => (Action::Known, PlanReason::MadeBefore),
            (Some(form), _) if keeps(layer, form) => match target.endpoint {
                Endpoint::Repository(..) => (Action::AsStored, PlanReason::AskedLater),
                _ => (Action::AsStored, PlanReason::Wanted),
            },
            (Some(form), _) => (Action::Convert(form), PlanReason::Wanted),
        };
        let count = image.layers.len();
        LayerPlan {
            index,
            layer: layer.clone(),
            action,
            reason,
            origin,
            taken: taken[index],
            count,
        }
    };
    Ok((0..image.layers.len()).map(plan).collect())
}

/// Returns what a plugin learns of a layer.
fn summary(image: &Image, layer: &Layer, origin: LayerOrigin) -> writer::LayerSummary {
    // An artifact keeps its manifest, and so every layer, whatever is in it.
    let is_tar = !layer.opaque && image.artifact.is_none();
    match origin {
        // A filtered layer is plain, or has zstd if the source has it with zstd. Its digest is not known yet, so that
        // no destination counts as having it. Equal layers give equal results: the digest here is therefore made from
        // theirs.
        LayerOrigin::ToFilter => {
            let unknown = format!("what filters make of {}", layer.diff_id);
            writer::LayerSummary {
                diff_id: Some(occystrap_base::oci::Digest::of(unknown.as_bytes()).to_string()),
                media_type: match layer.media_type.ends_with("zstd") {
                    true => Compression::Zstd.layer_media_type().to_owned(),
                    false => Compression::None.layer_media_type().to_owned(),
                },
                size: layer.size,
                digest: None,
            }
        }
        _ => writer::LayerSummary {
            diff_id: Some(layer.diff_id).filter(|_| is_tar).map(|known| known.to_string()),
            media_type: layer.media_type.clone(),
            size: layer.size,
            digest: layer.digest.map(|digest| digest.to_string()),
        },
    }
}

fn form(decision: writer::Decision) -> Option<RequestedForm> {
    match decision {
        writer::Decision::Skip => None,
        writer::Decision::Take(writer::Form::Stored) => Some(RequestedForm::Stored),
        writer::Decision::Take(writer::Form::Uncompressed) => Some(RequestedForm::Uncompressed),
        writer::Decision::Take(writer::Form::Gzip) => {
            Some(RequestedForm::Compressed(Compression::Gzip))
        }
        writer::Decision::Take(writer::Form::Zstd) => {
            Some(RequestedForm::Compressed(Compression::Zstd))
        }
    }
}

/// Returns whether a layer in this form has the bytes that it has now.
fn keeps(layer: &Layer, form: RequestedForm) -> bool {
    match form {
        RequestedForm::Stored => true,
        RequestedForm::Uncompressed => layer.media_type == Compression::None.layer_media_type(),
        RequestedForm::Compressed(_) => false,
    }
}

impl LayerPlan {
    /// Returns whether the layer is fetched from its source. A layer in a local file is read in any case in which it
    /// is written, and counts as fetched.
    #[must_use]
    pub fn is_fetched(&self) -> Fetch {
        let is_local = matches!(self.layer.content, Content::File(_));
        match (self.origin, self.action, &self.reason) {
            // The filters have read it before the plugin was asked.
            (LayerOrigin::Filtered | LayerOrigin::ToFilter, ..) => Fetch::Yes,
            (_, Action::Known | Action::Skipped, _) => Fetch::No,
            // The layer is compared with its digest before the registry is asked.
            (_, Action::AsStored, _) if is_local => Fetch::Yes,
            (_, Action::AsStored, PlanReason::AtDestination) => Fetch::No,
            (_, Action::AsStored, PlanReason::Mountable(_) | PlanReason::AskedLater) => {
                Fetch::IfMissing
            }
            (_, Action::AsStored | Action::Convert(_), _) => Fetch::Yes,
        }
    }

    /// Returns the layer with the form in which the plugin takes it; `None` where the plugin leaves it out.
    #[must_use]
    pub fn planned(&self, context: &Context) -> Option<PlannedLayer> {
        let form = self.taken?;
        let label = format!("layer {}/{}", self.index + 1, self.count);
        let progress = context.progress.layer(&label, self.layer.size);
        let (index, layer, stays) = (self.index, self.layer.clone(), self.stays());
        Some(PlannedLayer { index, layer, form, stays, progress })
    }

    /// Returns whether the layer stays at the URL that the manifest names.
    #[must_use]
    pub fn stays(&self) -> bool {
        matches!(self.reason, PlanReason::StaysElsewhere(_))
    }
}

impl fmt::Display for LayerPlan {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, layer, action, reason, origin, count, .. } = self;
        let digest = layer.digest.unwrap_or(layer.diff_id).short();
        write!(to, "layer {}/{count} ({digest}, {}): ", index + 1, size(layer.size))?;
        match origin {
            LayerOrigin::Filtered => to.write_str("filtered, ")?,
            LayerOrigin::ToFilter => to.write_str("fetched and filtered, ")?,
            LayerOrigin::Source | LayerOrigin::Known => match self.is_fetched() {
                _ if matches!(layer.content, Content::File(_)) => {
                    if *reason == PlanReason::AtDestination && *action == Action::AsStored {
                        to.write_str("not sent, ")?;
                    }
                }
                Fetch::Yes => to.write_str("fetched, ")?,
                Fetch::No => to.write_str("not fetched, ")?,
                Fetch::IfMissing => to.write_str("fetched if needed, ")?,
            },
        }
        match action {
            Action::Known => to.write_str("known")?,
            Action::Skipped => to.write_str("skipped")?,
            Action::AsStored if matches!(origin, LayerOrigin::Filtered | LayerOrigin::ToFilter) => {
                to.write_str("written as the filters leave it")?;
            }
            Action::AsStored => to.write_str("as stored")?,
            Action::Convert(form) if *origin == LayerOrigin::ToFilter => {
                write!(to, "converted to {} if the filters change it", form_name(*form))?;
            }
            Action::Convert(form) => write!(to, "converted to {}", form_name(*form))?,
        }
        match reason {
            PlanReason::MadeBefore => to.write_str(": the destination has it from an earlier run"),
            PlanReason::Repeated(below) => write!(to, ": the same as layer {}", below + 1),
            PlanReason::AtDestination => to.write_str(": the destination has it"),
            PlanReason::StaysElsewhere(host) => write!(to, ": it stays at {host}"),
            PlanReason::Mountable(from) => {
                write!(to, ": the registry is asked to mount it from {from}")
            }
            PlanReason::Missing => to.write_str(": the destination does not have it"),
            PlanReason::AskedLater => to.write_str(": sent unless the registry has it"),
            PlanReason::Wanted => Ok(()),
        }
    }
}

/// Returns the name of a form: `gzip`, `zstd`, `plain tar` or `stored`.
#[must_use]
pub fn form_name(form: RequestedForm) -> &'static str {
    match form {
        RequestedForm::Stored => "stored",
        RequestedForm::Uncompressed => "plain tar",
        RequestedForm::Compressed(Compression::Zstd) => "zstd",
        RequestedForm::Compressed(_) => "gzip",
    }
}

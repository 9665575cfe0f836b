//! A plan that is made against the real destination, and not carried out (`occystrap process --dry-run`).
//!
//! The plugin is opened and asked for its plan as for a write, with a destination that it can only read
//! ([`Target::plan_only`]). A registry is asked which blobs it has. What it refuses: to change anything. No file is
//! made or locked at the destination, and a registry gets no request but GET and HEAD.

use super::item::{Item, LayerOrigin};
use super::occupied;
use super::plan::{Action, LayerPlan, PlanReason, plan};
use super::target::Target;
use crate::destination::delivery::Delivery;
use crate::destination::remote::RepositoryReader;
use crate::receipt::ImageIdentity;
use occystrap_base::error::Result;
use occystrap_base::oci::{Descriptor, config_type};
use occystrap_base::parallel::in_parallel;
use occystrap_base::warnings::Warnings;
use occystrap_layer::image::Content;
use occystrap_net::context::Context;

/// Returns what a write would do with each layer of an image; nothing for an index. Errors as a write does before it
/// fetches anything.
pub fn dry_run(
    item: Item,
    identity: &ImageIdentity,
    target: &Target,
    context: &Context,
) -> Result<Vec<LayerPlan>> {
    occupied::check(target)?;
    let pending = target.plan_only(context)?;
    let access = pending.read_access();
    let mut session = target.plugin.write(pending, &Warnings::default(), &context.cancel)?;
    session.open(&item.request(identity, target))?;
    let Some(image) = item.image() else { return Ok(Vec::new()) };
    let layers = plan(&mut session, item, image, target, context)?;
    match access.repository() {
        Some(repository) => {
            // A registry that cannot be reached is an error, also where no layer is asked for.
            let media_type = config_type::OCI.to_owned();
            let size = image.config.len() as u64;
            let config = Descriptor { media_type, digest: image.id, size };
            repository.delivery(&config, None)?;
            ask_registry(layers, repository, context)
        }
        None => Ok(layers),
    }
}

/// Asks a registry for the layers that would be pushed as they are.
fn ask_registry(
    mut layers: Vec<LayerPlan>,
    to: &RepositoryReader,
    context: &Context,
) -> Result<Vec<LayerPlan>> {
    let reasons = in_parallel(&layers, context.parallel, |layer| reason(layer, to, context));
    for (layer, reason) in layers.iter_mut().zip(reasons) {
        if let Some(reason) = reason? {
            layer.reason = reason;
        }
    }
    Ok(layers)
}

/// Returns what becomes of a push; `None` where that is not known before the layer is there.
fn reason(
    plan: &LayerPlan,
    to: &RepositoryReader,
    context: &Context,
) -> Result<Option<PlanReason>> {
    let LayerPlan { layer, action: Action::AsStored, origin: LayerOrigin::Source, .. } = plan
    else {
        return Ok(None);
    };
    let Some(digest) = layer.digest else { return Ok(None) };
    let blob = Descriptor { media_type: layer.media_type.clone(), digest, size: layer.size };
    context.cancel.check()?;
    let source = match &layer.content {
        Content::Registry(from) => Some(from),
        _ => None,
    };
    Ok(Some(match to.delivery(&blob, source)? {
        Delivery::Present => PlanReason::AtDestination,
        Delivery::Mountable(from) => {
            let host = to.place();
            let host = host.split('/').next().unwrap_or_default();
            PlanReason::Mountable(format!("{host}/{from}"))
        }
        Delivery::Sent => PlanReason::Missing,
    }))
}

//! Attestations: what stands beside images in an index and is none. What they say is for their
//! readers; here their bytes are compared with their digests.

use super::finding::{Finding, Findings};
use super::layers::{as_layer, rule};
use crate::source::view::View;
use occystrap_base::error::Result;
use occystrap_layer::blob::{checked, open_one};
use occystrap_layer::image::Layer;
use occystrap_net::context::Context;

/// Read every layer. Errors when the user interrupts.
pub fn check(view: &View, to: &mut Findings, context: &Context) -> Result<()> {
    let mut right = 0;
    for (index, kept) in view.layers.iter().enumerate() {
        let (Some(layer), Some(digest)) = (as_layer(kept), kept.promised.digest) else { continue };
        let layer = Layer { opaque: true, digest: Some(digest), ..layer };
        let Some(stored) = open_one(&layer, context) else { continue };
        let read = checked(&layer, stored);
        context.cancel.check()?;
        match read {
            Ok(()) => right += 1,
            Err(error) => to.push(Finding::unread(rule(&error), &error).layer(index)),
        }
    }
    if right > 0 && right == view.layers.len() {
        to.pass("layer-digest", format!("{right} layers hold what the manifest promises"));
    }
    Ok(())
}

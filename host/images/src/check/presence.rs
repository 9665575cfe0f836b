//! Rules about where layers are: whether a registry has those that a manifest lists, without fetching them, and which
//! layers are stored elsewhere.
//!
//! A layer is *elsewhere* if the manifest names URLs for it and it is not where the manifest is. It is *unchecked*: the
//! URL is not requested, and an image with such layers is not wrong.

use futures_util::{StreamExt, stream};

use super::finding::{Finding, Findings, Severity};
use crate::source::view::{View, ViewedLayer};
use occystrap_base::error::Result;
use occystrap_base::oci::Digest;
use occystrap_layer::image::Content;
use occystrap_net::context::Context;
use occystrap_net::registry::Repository;

/// Name of the rule about layers that are stored elsewhere.
pub(super) const ELSEWHERE: &str = "layer-elsewhere";

/// Asks the registry for the size and the last byte of every layer. Errors when the user interrupts.
pub fn check(view: &View, to: &mut Findings, context: &Context) -> Result<()> {
    let layers = view.layers.iter().enumerate().filter_map(|(index, kept)| {
        let Some(Content::Registry(repository)) = &kept.content else { return None };
        Some((index, repository.clone(), kept.promised.digest?, kept.promised.size))
    });
    let ask = |(index, repository, digest, size): (usize, Repository, Digest, Option<u64>)| async move {
        (index, repository.find_blob(digest, size).await)
    };
    let answers = stream::iter(layers).map(ask).buffered(context.parallel.max(1));
    let answers: Vec<_> = context.runtime.block_on(answers.collect());
    context.cancel.check()?;
    let all = answers.len();
    let mut there = 0;
    for (index, answer) in answers {
        let promised = view.layers[index].promised.size;
        match (answer, promised) {
            (Err(error), _) => to.push(Finding::unread("layer-missing", &error).layer(index)),
            (Ok(None), _) if is_elsewhere(&view.layers[index]) => {
                to.push(elsewhere(index, &view.layers[index]));
            }
            (Ok(None), _) => {
                let message = "the registry does not have it, although the manifest lists it";
                to.push(Finding::error("layer-missing", message).layer(index));
            }
            (Ok(Some(found)), Some(expected)) if found != expected => to.push(
                Finding::error("layer-size", "has another size than the manifest promises")
                    .sides(format!("{expected} bytes"), found)
                    .layer(index),
            ),
            (Ok(Some(_)), _) => there += 1,
        }
    }
    if all > 0 && there == all {
        to.pass("layer-missing", format!("{all} layers are there, with their sizes"));
    }
    Ok(())
}

/// Reports layers of an OCI layout that are stored elsewhere. (A registry is asked for each of its layers first.)
pub fn check_elsewhere(view: &View, to: &mut Findings) {
    for (index, kept) in view.layers.iter().enumerate() {
        if kept.content.is_none() && is_elsewhere(kept) {
            to.push(elsewhere(index, kept));
        }
    }
}

/// Returns whether the manifest names URLs for a layer.
pub(super) fn is_elsewhere(kept: &ViewedLayer) -> bool {
    kept.promised.elsewhere.is_some()
}

/// Returns the finding for a layer that is stored elsewhere.
pub(super) fn elsewhere(index: usize, kept: &ViewedLayer) -> Finding {
    let host = kept.promised.elsewhere.as_ref().map(|elsewhere| elsewhere.host());
    let message = format!("stored elsewhere ({})", host.unwrap_or_default());
    Finding::new(Severity::Unchecked, ELSEWHERE, message).layer(index)
}

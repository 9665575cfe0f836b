//! Whether a registry has the layers that a manifest lists, without fetching them.

use futures_util::{StreamExt, stream};

use super::elsewhere;
use super::finding::{Finding, Findings};
use crate::source::view::View;
use occystrap_base::error::Result;
use occystrap_base::oci::Digest;
use occystrap_layer::image::Content;
use occystrap_net::context::Context;
use occystrap_net::registry::Repository;

/// Asks for every layer: its size, and its last byte. Errors when the user interrupts.
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
            (Ok(None), _) if elsewhere::is(&view.layers[index]) => {
                to.push(elsewhere::finding(index, &view.layers[index]));
            }
            (Ok(None), _) => {
                let message = "the registry lists it, and does not have it";
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

//! Finding files in the layers of an image: which layer has them, and whether a later one deletes or
//! replaces them.
//!
//! Layers are read side by side and checked against everything that was promised of them, as when they
//! are moved: nothing is said of bytes that are not the image's. What it refuses: patterns that cannot
//! be read, and more matches and members than [`Budget`] has room for.

mod budget;
mod fate;
mod found;
mod layer;
mod pattern;
mod show;

use std::sync::{Mutex, PoisonError};

pub use budget::Budget;
pub use fate::{Fate, Trace, fate};
pub use found::{FoundImage, Match};
pub use layer::LayerSearch;
pub use pattern::Pattern;
pub use show::{write_json, write_script, write_text};

use crate::blob::{Stored, open, walk};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::image::{Image, Layer};
use crate::layer_tar::Reader;
use crate::parallel::in_parallel;

/// Search every layer of an image. Errors when one is not what was promised, is no tar, or when more
/// was found than there is room for.
pub fn search(image: &Image, pattern: &Pattern, context: &Context) -> Result<FoundImage> {
    // What is opaque is no tar.
    let mut order: Vec<(usize, &Layer)> =
        image.layers.iter().enumerate().filter(|(_, layer)| !layer.opaque).collect();
    // The largest first, so that no core is left alone with it at the end.
    order.sort_by_key(|(_, layer)| std::cmp::Reverse(layer.size));
    // One that fails ends the others.
    let context = &Context { cancel: context.cancel.child(), ..context.clone() };
    let stored = open(order.iter().map(|(_, layer)| *layer), context);
    let jobs: Vec<Job> = (order.into_iter().zip(stored))
        .map(|((index, layer), stored)| Job { index, layer, stored: Mutex::new(Some(stored)) })
        .collect();
    let budget = Budget::default();
    let outcomes = in_parallel(&jobs, context.cores().min(context.parallel), |job| {
        let label = format!("layer {}/{}", job.index + 1, image.layers.len());
        let outcome = search_layer(job, &label, pattern, &budget, context);
        if outcome.is_err() {
            context.cancel.cancel();
        }
        outcome
    });
    let mut searched: Vec<LayerSearch> = Vec::new();
    searched.resize_with(image.layers.len(), LayerSearch::default);
    let mut errors = Vec::new();
    for (job, outcome) in jobs.iter().zip(outcomes) {
        match outcome {
            Ok(layer) => searched[job.index] = layer,
            Err(error) => errors.push(error),
        }
    }
    // Those that were ended say nothing of why.
    errors.sort_by_key(Error::is_bare_interruption);
    match errors.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(FoundImage::of(image, searched)),
    }
}

/// A layer that waits for its turn.
struct Job<'a> {
    index: usize,
    layer: &'a Layer,
    stored: Mutex<Option<Stored>>,
}

fn search_layer(
    job: &Job,
    label: &str,
    pattern: &Pattern,
    budget: &Budget,
    context: &Context,
) -> Result<LayerSearch> {
    let Job { layer, stored, .. } = job;
    let stored = stored.lock().unwrap_or_else(PoisonError::into_inner).take();
    let stored = stored.ok_or_else(Error::interrupted)?;
    let progress = context.progress.layer(label, layer.size);
    let searched = walk(layer, stored.showing(&progress), |plain| {
        let mut search = LayerSearch::default();
        let mut reader = Reader::new(plain, layer.place.clone());
        while let Some(member) = reader.next_member()? {
            search.see(&member, pattern, budget)?;
        }
        Ok(search)
    });
    progress.finish();
    searched
}

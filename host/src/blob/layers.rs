//! Reading the layers of an image, each once: side by side, the largest first, so that no core is
//! left alone with it at the end.

use std::sync::{Mutex, PoisonError};

use super::{Stored, open};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::image::Layer;
use crate::parallel::in_parallel;

/// Read the layers that are `wanted` (by index), as many at a time as there are cores; `label` is
/// what their bars are called. Returns what `read` made of each; `None` of those that are not
/// wanted. One that fails ends the others, and its error is what is returned.
pub fn read_layers<T: Send>(
    layers: &[Layer],
    wanted: impl Fn(usize, &Layer) -> bool,
    label: &str,
    context: &Context,
    read: impl Fn(usize, &Layer, Stored, &Context) -> Result<T> + Sync,
) -> Result<Vec<Option<T>>> {
    let mut order: Vec<(usize, &Layer)> = layers.iter().enumerate().collect();
    order.retain(|(index, layer)| wanted(*index, layer));
    order.sort_by_key(|(_, layer)| std::cmp::Reverse(layer.size));
    let context = &Context { cancel: context.cancel.child(), ..context.clone() };
    let stored = open(order.iter().map(|(_, layer)| *layer), context);
    let stored = stored.into_iter().map(|stored| Mutex::new(Some(stored)));
    let jobs: Vec<_> = order.into_iter().zip(stored).collect();
    let outcomes = in_parallel(&jobs, context.cores().min(context.parallel), |job| {
        let ((index, layer), stored) = job;
        let stored = stored.lock().unwrap_or_else(PoisonError::into_inner).take();
        let stored = stored.ok_or_else(Error::interrupted)?;
        let label = format!("{label} {}/{}", index + 1, layers.len());
        let progress = context.progress.layer(&label, layer.size);
        let outcome = read(*index, layer, stored.showing(&progress), context);
        progress.finish();
        if outcome.is_err() {
            context.cancel.cancel();
        }
        outcome
    });
    let mut all: Vec<Option<T>> = layers.iter().map(|_| None).collect();
    let mut errors = Vec::new();
    for (((index, _), _), outcome) in jobs.iter().zip(outcomes) {
        match outcome {
            Ok(made) => all[*index] = Some(made),
            Err(error) => errors.push(error),
        }
    }
    // Those that were ended say nothing of why.
    errors.sort_by_key(Error::is_bare_interruption);
    errors.into_iter().next().map_or(Ok(all), Err)
}

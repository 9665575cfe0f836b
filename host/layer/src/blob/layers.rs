//! Reading the layers of an image in parallel, each once. The largest goes first, so that it does not keep one core
//! busy alone at the end.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::{Stored, open};
use crate::image::Layer;
use occystrap_base::error::{Error, Result};
use occystrap_base::parallel::in_parallel;
use occystrap_net::context::Context;

/// Reads the layers that are `wanted` (by index), as many at a time as there are cores. `label` is the name of their
/// progress bars. Returns the result of `read` for each layer, `None` for those that are not wanted. The first
/// failure stops the other layers, and its error is returned.
pub fn read_layers<T: Send>(
    layers: &[Layer],
    wanted: impl Fn(usize, &Layer) -> bool,
    label: &str,
    context: &Context,
    read: impl Fn(usize, &Layer, Stored, &Context) -> Result<T> + Sync,
) -> Result<Vec<Option<T>>> {
    let context = &context.child();
    let chosen = layers.iter().enumerate().filter(|(index, layer)| wanted(*index, layer));
    let outcomes = side_by_side(chosen, context, |index, layer, stored| {
        let label = format!("{label} {}/{}", index + 1, layers.len());
        let progress = context.progress.layer(&label, layer.size);
        let outcome = read(index, layer, stored.showing(&progress), context);
        progress.finish();
        if outcome.is_err() {
            context.cancel.cancel();
        }
        outcome.map(|made| (index, made))
    });
    let mut all: Vec<Option<T>> = layers.iter().map(|_| None).collect();
    let mut errors = Vec::new();
    for outcome in outcomes {
        match outcome {
            Ok((index, made)) => all[index] = Some(made),
            Err(error) => errors.push(error),
        }
    }
    // The layers that were stopped only report an interruption.
    errors.sort_by_key(Error::is_bare_interruption);
    errors.into_iter().next().map_or(Ok(all), Err)
}

/// Opens layers, and reads as many at a time as there are cores. The results are in no particular order.
pub fn side_by_side<'a, T: Send>(
    layers: impl Iterator<Item = (usize, &'a Layer)>,
    context: &Context,
    read: impl Fn(usize, &'a Layer, Stored) -> T + Sync,
) -> Vec<T> {
    let mut layers: Vec<_> = layers.collect();
    layers.sort_by_key(|(_, layer)| std::cmp::Reverse(layer.size));
    let sizes: Vec<u64> = layers.iter().map(|(_, layer)| layer.size).collect();
    let workers = context.cores().min(context.parallel);
    let ahead = leave_cores_idle(&sizes, workers, context.cores());
    let stored = open(layers.iter().map(|(_, layer)| *layer), context).into_iter().zip(ahead);
    let stored = stored.map(|(stored, ahead)| Mutex::new(Some(stored.read_ahead(ahead))));
    let jobs: Vec<_> = layers.into_iter().zip(stored).collect();
    let read = in_parallel(&jobs, workers, |((index, layer), stored)| {
        // Each job runs once.
        let stored = stored.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(read(*index, layer, stored))
    });
    read.into_iter().flatten().collect()
}

/// Returns for each layer whether more than a fourth of the `cores`' time would be idle while it is read, if each
/// layer kept one core busy. Layers begin in this order, `workers` at a time, each on the first free worker. Where
/// cores are idle, a thread that reads ahead uses them; where none is, it only costs the handing over.
fn leave_cores_idle(sizes: &[u64], workers: usize, cores: usize) -> Vec<bool> {
    let mut ends = vec![0_u64; workers.max(1)];
    let mut spans = Vec::new();
    for size in sizes {
        let (worker, start) =
            ends.iter().copied().enumerate().min_by_key(|(_, end)| *end).unwrap_or_default();
        ends[worker] = start.saturating_add(*size);
        spans.push(start..ends[worker]);
    }
    let idle = |span: &Range<u64>| {
        let busy = |end: &u64| u128::from((*end).min(span.end).saturating_sub(span.start));
        let all = u128::from(span.end - span.start) * cores as u128;
        all - ends.iter().map(busy).sum::<u128>().min(all) > all / 4
    };
    spans.iter().map(idle).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_reads_ahead_where_cores_would_be_idle() {
        let idle = leave_cores_idle;
        assert_eq!(idle(&[407, 220, 116, 84], 2, 2), [false; 4]);
        assert_eq!(idle(&[9], 2, 2), [true]);
        assert_eq!(idle(&[9, 1], 2, 2), [true, false]);
        assert_eq!(idle(&[5, 5, 5], 2, 2), [false, false, true]);
        assert_eq!(idle(&[5, 5, 5], 1, 2), [true; 3], "-j 1");
        assert_eq!(idle(&[5, 5, 5], 1, 1), [false; 3]);
        assert_eq!(idle(&[u64::MAX; 9], 2, 2).len(), 9);
        assert!(idle(&[], 2, 2).is_empty());
    }
}

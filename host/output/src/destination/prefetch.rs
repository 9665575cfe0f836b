//! Fetching layers before their turn, so that a synchronous plugin does not make downloads and
//! decompression wait for each other.
//!
//! For a directory, layers are moved side by side, each to a file of its own, which a splice then
//! takes as it is. For a single file, layers whose sizes are known beforehand get their places when
//! they are spliced and are moved side by side when the file is finished. Others are written one
//! after the other, and only downloads run ahead: the layer whose turn it is keeps two cores busy.
//! For a registry, what goes as it is stored goes straight from the source; the rest is converted
//! one layer after the other, each on all cores, while those before it are on their way. For an
//! engine, which is what all wait for, layers go in turn.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::adopt::adopt_own;
use super::deferred::DeferredLayer;
use super::grant::Grant;
use super::layer_blob::{Form, LayerBlob, Ready, move_layer, temporary};
use super::size_hint::SizeHints;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::destination::Destination;
use occystrap_base::files::unnamed::Unnamed;
use occystrap_base::terminal::progress::LayerProgress;
use occystrap_layer::blob::{Stored, open};
use occystrap_layer::image::{Content, Layer};
use occystrap_net::context::Context;

/// A layer that the plugin takes.
#[derive(Clone)]
pub struct PlannedLayer {
    /// Its index in the image.
    pub index: usize,
    /// The layer.
    pub layer: Layer,
    /// In which form.
    pub form: Form,
    /// It is stored elsewhere, and stays there unless the plugin asks for its bytes.
    pub stays: bool,
    /// Its bar.
    pub progress: LayerProgress,
}

/// Start to fetch, and return a blob for each layer, in order.
pub fn start(
    taken: Vec<PlannedLayer>,
    to: &Grant,
    hints: &SizeHints,
    context: &Context,
) -> Vec<LayerBlob> {
    let (staying, taken): (Vec<PlannedLayer>, Vec<PlannedLayer>) =
        taken.into_iter().partition(|taken| taken.stays);
    let mut blobs = fetching(taken, to, hints, context);
    let staying = staying.into_iter().map(|taken| LayerBlob::untouched(taken, context.clone()));
    blobs.extend(staying);
    blobs.sort_by_key(LayerBlob::index);
    blobs
}

fn fetching(
    taken: Vec<PlannedLayer>,
    to: &Grant,
    hints: &SizeHints,
    context: &Context,
) -> Vec<LayerBlob> {
    match to {
        Grant::Storage(file) if file.file_name().is_some() => match hints.of(&taken, context) {
            Some(sizes) => placed(taken, &sizes, hints, context),
            None => in_turn(taken, context),
        },
        Grant::Storage(directory) => moved(taken, directory, context),
        Grant::Repository(_) | Grant::Web(_) => converted(taken, context),
        Grant::Engine(_) => in_turn(taken, context),
    }
}

/// How many layers are moved at a time: downloads run side by side as the user wants, decompression
/// as there are cores.
pub(super) fn workers(layers: usize, context: &Context) -> usize {
    context.parallel.min(context.cores()).clamp(1, layers.max(1))
}

/// A layer that some worker will move.
struct Job {
    taken: PlannedLayer,
    stored: Stored,
    to: SyncSender<Result<Ready>>,
}

fn moved(taken: Vec<PlannedLayer>, destination: &Destination, context: &Context) -> Vec<LayerBlob> {
    let (senders, receivers): (Vec<_>, Vec<Receiver<Result<Ready>>>) =
        taken.iter().map(|_| sync_channel(1)).unzip();
    // The largest first, so that no core is left alone with it at the end.
    let mut order: Vec<(&PlannedLayer, SyncSender<_>)> = taken.iter().zip(senders).collect();
    order.sort_by_key(|(taken, _)| std::cmp::Reverse(taken.layer.size));
    let stored = open(order.iter().map(|(taken, _)| &taken.layer), context);
    let jobs: VecDeque<Job> = (order.into_iter().zip(stored))
        .map(|((taken, to), stored)| Job { taken: taken.clone(), stored, to })
        .collect();
    let workers = workers(jobs.len(), context);
    let queue = Arc::new(Mutex::new(jobs));
    for _ in 0..workers {
        let (queue, destination, context) =
            (Arc::clone(&queue), destination.clone(), context.clone());
        // Not joined: when the session is given up its `Cancel` ends the loop.
        std::thread::spawn(move || {
            let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            while let Some(Job { taken, stored, to }) = next() {
                let _ = to.send(fetch(&taken, stored, &destination, &context));
                if context.cancel.check().is_err() {
                    break;
                }
            }
        });
    }
    (taken.into_iter().zip(receivers))
        .map(|(taken, ready)| LayerBlob::ahead(taken, ready, context.clone()))
        .collect()
}

fn fetch(
    taken: &PlannedLayer,
    stored: Stored,
    destination: &Destination,
    context: &Context,
) -> Result<Ready> {
    if let Some(ready) = adopt_own(taken, destination.anchor()) {
        return Ok(ready);
    }
    let file = Unnamed::create(destination.anchor()).map_err(|cause| {
        Error::io(Kind::Destination, "create a file in", destination.folder().display(), &cause)
    })?;
    let moved = move_layer(taken, stored, &file, 0, context)?;
    Ok((file, moved))
}

fn placed(
    taken: Vec<PlannedLayer>,
    sizes: &[u64],
    hints: &SizeHints,
    context: &Context,
) -> Vec<LayerBlob> {
    // One that fails ends the others, and nobody else yet.
    let context = &context.child();
    let mut order: Vec<(PlannedLayer, u64, usize)> = taken
        .into_iter()
        .zip(sizes)
        .zip(0..)
        .map(|((taken, size), at)| (taken, *size, at))
        .collect();
    order.sort_by_key(|(taken, ..)| std::cmp::Reverse(taken.layer.size));
    let stored = open(order.iter().map(|(taken, ..)| &taken.layer), context);
    let mut blobs: Vec<(usize, LayerBlob)> = (order.into_iter().zip(stored))
        .map(|((taken, size, at), stored)| {
            let (hints, context) = (hints.clone(), context.clone());
            (at, LayerBlob::promised(DeferredLayer { taken, stored, size, hints, context }))
        })
        .collect();
    blobs.sort_by_key(|(at, _)| *at);
    blobs.into_iter().map(|(_, blob)| blob).collect()
}

fn converted(taken: Vec<PlannedLayer>, context: &Context) -> Vec<LayerBlob> {
    // What comes from a URL has no reader that can go back, which an upload needs.
    let is_elsewhere = |taken: &PlannedLayer| matches!(taken.layer.content, Content::Elsewhere(_));
    let direct = |taken: &PlannedLayer| {
        taken.form == Form::Stored && taken.layer.digest.is_some() && !is_elsewhere(taken)
    };
    let mut converting: Vec<&PlannedLayer> = taken.iter().filter(|taken| !direct(taken)).collect();
    // The largest first: at the end all wait for the upload of the last one.
    converting.sort_by_key(|taken| std::cmp::Reverse(taken.layer.size));
    let stored = open(converting.iter().map(|taken| &taken.layer), context);
    let (mut jobs, mut ready) = (Vec::new(), HashMap::new());
    for (taken, stored) in converting.into_iter().zip(stored) {
        let (to, from) = sync_channel(1);
        jobs.push(Job { taken: taken.clone(), stored, to });
        ready.insert(taken.index, from);
    }
    let own = context.clone();
    // Not joined: when the session is given up its `Cancel` ends the loop.
    std::thread::spawn(move || {
        for Job { taken, stored, to } in jobs {
            let _ = to.send(convert(&taken, stored, &own));
            if own.cancel.check().is_err() {
                break;
            }
        }
    });
    let blob = |taken: PlannedLayer| match ready.remove(&taken.index) {
        Some(ready) => LayerBlob::ahead(taken, ready, context.clone()),
        None => LayerBlob::untouched(taken, context.clone()),
    };
    taken.into_iter().map(blob).collect()
}

fn convert(taken: &PlannedLayer, stored: Stored, context: &Context) -> Result<Ready> {
    let folder = &context.temp_dir;
    let file = temporary(folder).map_err(|cause| {
        Error::io(Kind::Destination, "create a temporary file in", folder.display(), &cause)
            .hint("choose another folder with --temp-dir")
    })?;
    let moved = move_layer(taken, stored, &file, 0, context)?;
    Ok((file, moved))
}

fn in_turn(taken: Vec<PlannedLayer>, context: &Context) -> Vec<LayerBlob> {
    let stored = open(taken.iter().map(|taken| &taken.layer), context);
    (taken.into_iter().zip(stored))
        .map(|(taken, stored)| LayerBlob::waiting(taken, stored, context.clone()))
        .collect()
}

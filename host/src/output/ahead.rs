//! Fetching layers before their turn, so that a synchronous plugin does not make downloads and
//! decompression wait for each other.
//!
//! For a directory, layers are moved side by side, each to a file of its own, which a splice then
//! takes as it is. For a single file, layers are written one after the other, and only downloads
//! run ahead: the layer whose turn it is keeps three threads busy already.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

use tokio::sync::Semaphore;

use super::destination::Destination;
use super::layer_blob::{Form, LayerBlob, Ready, move_layer};
use super::staging::Unnamed;
use crate::blob::Stored;
use crate::blob::feed::{Feed, FeedReader, Turns};
use crate::blob::stored::descriptor;
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::image::{Content, Layer};
use crate::progress::LayerProgress;

/// A layer that the plugin takes.
#[derive(Clone)]
pub struct Taken {
    /// Its index in the image.
    pub index: usize,
    /// The layer.
    pub layer: Layer,
    /// In which form.
    pub form: Form,
    /// Its bar.
    pub progress: LayerProgress,
}

/// Start to fetch, and return a blob for each layer, in order.
pub fn start(taken: Vec<Taken>, destination: &Destination, context: &Context) -> Vec<LayerBlob> {
    if destination.file_name().is_some() {
        in_turn(taken, context)
    } else {
        moved(taken, destination, context)
    }
}

fn moved(taken: Vec<Taken>, destination: &Destination, context: &Context) -> Vec<LayerBlob> {
    let workers = context.parallel.clamp(1, taken.len().max(1));
    let (senders, receivers): (Vec<_>, Vec<Receiver<Result<Ready>>>) =
        taken.iter().map(|_| sync_channel(1)).unzip();
    let jobs = Arc::new((taken.clone(), senders, AtomicUsize::new(0)));
    for _ in 0..workers {
        let (jobs, destination, context) =
            (Arc::clone(&jobs), destination.clone(), context.clone());
        // Not joined: when the session is given up its `Cancel` ends the loop.
        std::thread::spawn(move || {
            let (taken, senders, next) = &*jobs;
            while let Some((taken, to)) = {
                let index = next.fetch_add(1, Ordering::Relaxed);
                taken.get(index).zip(senders.get(index))
            } {
                let ready = fetch(taken, &destination, &context);
                let failed = ready.is_err();
                let _ = to.send(ready);
                if failed {
                    break;
                }
            }
        });
    }
    (taken.into_iter().zip(receivers))
        .map(|(taken, ready)| {
            LayerBlob::ahead(taken.layer, taken.form, ready, context.clone(), taken.progress)
        })
        .collect()
}

fn fetch(taken: &Taken, destination: &Destination, context: &Context) -> Result<Ready> {
    let file = Unnamed::create(destination.dir()).map_err(|cause| {
        Error::io(Kind::Destination, "create a file in", destination.folder().display(), &cause)
    })?;
    let stored = Stored::open(&taken.layer, &context.runtime, &context.cancel);
    let moved = move_layer(&taken.layer, taken.form, stored, &file, 0, context, &taken.progress)?;
    Ok((file, moved))
}

fn in_turn(taken: Vec<Taken>, context: &Context) -> Vec<LayerBlob> {
    let turns = Turns::new(context.temp_dir.clone());
    let mut downloads = Vec::new();
    let mut blobs = Vec::new();
    for Taken { layer, form, progress, .. } in taken {
        let feed = match &layer.content {
            // What is in a file already need not be fetched ahead.
            Content::File(_) => None,
            Content::Registry(repository) => {
                let feed = Feed::new(Some(Arc::clone(&turns)));
                downloads.push((repository.blob(&descriptor(&layer)), Arc::clone(&feed)));
                Some(FeedReader::new(feed))
            }
        };
        blobs.push(LayerBlob::waiting(layer, form, feed, context.clone(), progress));
    }
    let places = Arc::new(Semaphore::new(context.parallel.max(1)));
    context.runtime.spawn(async move {
        // One task gives out the places, in order: a layer that waits for its turn while it holds
        // a place never keeps an earlier one from getting its own.
        for (download, feed) in downloads {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
            tokio::spawn(async move {
                feed.fill(download).await;
                drop(place);
            });
        }
    });
    blobs
}

//! Fetching layers before their turn, so that a synchronous plugin does not make downloads and
//! decompression wait for each other.
//!
//! For a directory, layers are moved side by side, each to a file of its own, which a splice then
//! takes as it is. For a single file, layers are written one after the other, and only downloads
//! run ahead: the layer whose turn it is keeps two cores busy already. For a registry, what goes as
//! it is stored goes straight from the source; the rest is converted one layer after the other,
//! each on all cores, while those before it are on their way. For an engine, layers go in turn: it is what all wait
//! for.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::destination::Destination;
use super::grant::Grant;
use super::layer_blob::{Form, LayerBlob, Ready, adopt_own, move_layer, temporary};
use super::staging::Unnamed;
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
pub fn start(taken: Vec<Taken>, to: &Grant, context: &Context) -> Vec<LayerBlob> {
    match to {
        Grant::Storage(file) if file.file_name().is_some() => in_turn(taken, context),
        Grant::Storage(directory) => moved(taken, directory, context),
        Grant::Repository(_) => converted(taken, context),
        Grant::Engine(_) => in_turn(taken, context),
    }
}

/// A layer that some worker will move.
struct Job {
    taken: Taken,
    feed: Option<FeedReader>,
    to: SyncSender<Result<Ready>>,
}

fn moved(taken: Vec<Taken>, destination: &Destination, context: &Context) -> Vec<LayerBlob> {
    let (senders, receivers): (Vec<_>, Vec<Receiver<Result<Ready>>>) =
        taken.iter().map(|_| sync_channel(1)).unzip();
    let mut jobs: Vec<Job> = (taken.iter().cloned().zip(senders))
        .map(|(taken, to)| Job { taken, feed: None, to })
        .collect();
    // The largest first, so that no core is left alone with it at the end.
    jobs.sort_by_key(|job| std::cmp::Reverse(job.taken.layer.size));
    let feeds = feeds(jobs.iter().map(|job| &job.taken.layer), context);
    for (job, feed) in jobs.iter_mut().zip(feeds) {
        job.feed = feed;
    }
    // Downloads run side by side as the user wants; decompression as there are cores.
    let workers = context.parallel.min(context.cores()).clamp(1, jobs.len().max(1));
    let queue = Arc::new(Mutex::new(VecDeque::from(jobs)));
    for _ in 0..workers {
        let (queue, destination, context) =
            (Arc::clone(&queue), destination.clone(), context.clone());
        // Not joined: when the session is given up its `Cancel` ends the loop.
        std::thread::spawn(move || {
            let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            while let Some(Job { taken, feed, to }) = next() {
                let _ = to.send(fetch(&taken, feed, &destination, &context));
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
    taken: &Taken,
    feed: Option<FeedReader>,
    destination: &Destination,
    context: &Context,
) -> Result<Ready> {
    if let Some(ready) = adopt_own(taken, destination.dir()) {
        return Ok(ready);
    }
    let file = Unnamed::create(destination.dir()).map_err(|cause| {
        Error::io(Kind::Destination, "create a file in", destination.folder().display(), &cause)
    })?;
    let moved = move_layer(taken, feed, &file, 0, context)?;
    Ok((file, moved))
}

fn converted(taken: Vec<Taken>, context: &Context) -> Vec<LayerBlob> {
    let direct = |taken: &Taken| taken.form == Form::Stored && taken.layer.digest.is_some();
    let converting: Vec<&Taken> = taken.iter().filter(|taken| !direct(taken)).collect();
    let feeds = feeds(converting.iter().map(|taken| &taken.layer), context);
    let mut jobs = Vec::new();
    let mut ready = VecDeque::new();
    for (taken, feed) in converting.into_iter().zip(feeds) {
        let (to, from) = sync_channel(1);
        jobs.push(Job { taken: taken.clone(), feed, to });
        ready.push_back(from);
    }
    let own = context.clone();
    // Not joined: when the session is given up its `Cancel` ends the loop.
    std::thread::spawn(move || {
        for Job { taken, feed, to } in jobs {
            let _ = to.send(convert(&taken, feed, &own));
            if own.cancel.check().is_err() {
                break;
            }
        }
    });
    let blob = |taken: Taken| match direct(&taken) {
        true => LayerBlob::waiting(taken, None, context.clone()),
        false => match ready.pop_front() {
            Some(ready) => LayerBlob::ahead(taken, ready, context.clone()),
            None => LayerBlob::waiting(taken, None, context.clone()),
        },
    };
    taken.into_iter().map(blob).collect()
}

fn convert(taken: &Taken, feed: Option<FeedReader>, context: &Context) -> Result<Ready> {
    let folder = &context.temp_dir;
    let file = temporary(folder).map_err(|cause| {
        Error::io(Kind::Destination, "create a temporary file in", folder.display(), &cause)
            .hint("choose another folder with --temp-dir")
    })?;
    let moved = move_layer(taken, feed, &file, 0, context)?;
    Ok((file, moved))
}

fn in_turn(taken: Vec<Taken>, context: &Context) -> Vec<LayerBlob> {
    let feeds = feeds(taken.iter().map(|taken| &taken.layer), context);
    (taken.into_iter().zip(feeds))
        .map(|(taken, feed)| LayerBlob::waiting(taken, feed, context.clone()))
        .collect()
}

/// Start the downloads of layers, in this order, some at a time. What is in a file already needs
/// none.
fn feeds<'a>(
    layers: impl Iterator<Item = &'a Layer>,
    context: &Context,
) -> Vec<Option<FeedReader>> {
    let turns = Turns::new(context.temp_dir.clone());
    let mut downloads = Vec::new();
    let mut feeds = Vec::new();
    for layer in layers {
        feeds.push(match &layer.content {
            Content::File(_) => None,
            Content::Registry(repository) => {
                let feed = Feed::new(Some(Arc::clone(&turns)));
                downloads.push((repository.blob(&descriptor(layer)), Arc::clone(&feed)));
                Some(FeedReader::new(feed))
            }
        });
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
    feeds
}

//! Fetching layers before their turn, so that a synchronous plugin does not make downloads and
//! decompression wait for each other.
//!
//! Every planned layer is ordered, then opened once, and then built into a [`LayerBlob`]. The destination
//! decides on order and build:
//!
//! | destination | order | build |
//! | --- | --- | --- |
//! | directory | largest first | each is moved to a file of its own, side by side; a splice takes that file as it is |
//! | file, all sizes known | largest first | a splice reserves a place; all are moved side by side when the file is finished |
//! | file, some size unknown | as in the image | a splice moves the layer; only downloads run ahead, as the layer whose turn it is keeps two cores busy |
//! | registry, web server | largest first | what goes as it is stored is not opened here and goes straight from the source; the rest is converted one after the other, each on all cores, while those before it are sent |
//! | engine | as in the image | a splice moves the layer: the engine is the slowest part |

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::adopt::{adopt_own, move_layer};
use super::deferred::{DeferredLayer, workers};
use super::layer_blob::LayerBlob;
use super::pending::Pending;
use super::planned_layer::{LayerFile, PlannedLayer, RequestedForm};
use super::size_hint::SizeHints;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::destination::Destination;
use occystrap_base::files::scratch;
use occystrap_base::files::unnamed_file::UnnamedFile;
use occystrap_layer::blob::{Stored, open};
use occystrap_layer::image::Content;
use occystrap_net::context::Context;

/// Where the layers of a session go, as far as it decides when and how they are fetched.
pub enum Route {
    /// Files of their own in a directory.
    Directory(Destination),
    /// One file.
    File,
    /// A registry or a web server.
    Server,
    /// An engine, which takes one layer after the other.
    Engine,
}

impl Route {
    /// Returns where the layers of this session go.
    #[must_use]
    pub fn of(pending: &Pending) -> Self {
        match pending {
            Pending::Files(staging) if staging.destination().file_name().is_some() => Self::File,
            Pending::Files(staging) => Self::Directory(staging.destination().clone()),
            Pending::Push(_) | Pending::Uploads(_) => Self::Server,
            // Nothing is fetched for a plan.
            Pending::Load(..) | Pending::Plan(_) => Self::Engine,
        }
    }
}

/// Starts to fetch, and returns a blob for each layer, in the order of the image.
pub fn start(
    planned: Vec<PlannedLayer>,
    route: Route,
    hints: &SizeHints,
    context: &Context,
) -> Vec<LayerBlob> {
    let (staying, planned): (Vec<PlannedLayer>, Vec<PlannedLayer>) =
        planned.into_iter().partition(|planned| planned.stays);
    let strategy = Strategy::of(&planned, route, hints, context);
    let (mut opening, mut untouched): (Vec<PlannedLayer>, Vec<PlannedLayer>) =
        planned.into_iter().partition(|planned| strategy.opens(planned));
    untouched.extend(staying);
    let mut blobs: Vec<LayerBlob> = untouched
        .into_iter()
        .map(|planned| LayerBlob::untouched(planned, context.clone()))
        .collect();
    if strategy.takes_largest_first() {
        opening.sort_by_key(|planned| Reverse(planned.layer.size));
    }
    let context = &strategy.context(context);
    let stored = open(opening.iter().map(|planned| &planned.layer), context);
    let opened = opening.into_iter().zip(stored).collect();
    blobs.extend(strategy.build(opened, hints, context));
    blobs.sort_by_key(LayerBlob::index);
    blobs
}

/// How the layers of one image come to a destination.
enum Strategy {
    /// Each is moved to a file of its own in this directory.
    Moved(Destination),
    /// Each gets a place in one file. The sizes, in bytes, by the index of the layer.
    Placed(HashMap<usize, u64>),
    /// What does not go as it is stored is converted to temporary files.
    Converted,
    /// Each is moved when the plugin asks for it.
    InTurn,
}

impl Strategy {
    fn of(planned: &[PlannedLayer], route: Route, hints: &SizeHints, context: &Context) -> Self {
        match route {
            Route::File => match hints.of(planned, context) {
                Some(sizes) => {
                    Self::Placed(planned.iter().map(|planned| planned.index).zip(sizes).collect())
                }
                None => Self::InTurn,
            },
            Route::Directory(directory) => Self::Moved(directory),
            Route::Server => Self::Converted,
            Route::Engine => Self::InTurn,
        }
    }

    /// Returns whether a layer is opened here. What goes to a server as it is stored goes there straight from the
    /// source, unless it comes from a URL: such a layer has no reader that can go back, which an upload needs.
    fn opens(&self, planned: &PlannedLayer) -> bool {
        let is_elsewhere = matches!(planned.layer.content, Content::Elsewhere(_));
        let is_direct = planned.form == RequestedForm::Stored
            && planned.layer.digest.is_some()
            && !is_elsewhere;
        !(matches!(self, Self::Converted) && is_direct)
    }

    /// Returns whether the largest layer is opened first, so that the last one does not keep all waiting at the end.
    fn takes_largest_first(&self) -> bool {
        !matches!(self, Self::InTurn)
    }

    /// Returns the context in which layers are opened and built. Of layers that are placed, the first that fails ends
    /// the others, and not yet the session.
    fn context(&self, context: &Context) -> Context {
        match self {
            Self::Placed(_) => context.child(),
            _ => context.clone(),
        }
    }

    fn build(self, opened: Opened, hints: &SizeHints, context: &Context) -> Vec<LayerBlob> {
        match self {
            Self::Moved(directory) => {
                let workers = workers(opened.len(), context);
                fetched(opened, workers, context, move |planned, stored, context| {
                    fetch(planned, stored, &directory, context)
                })
            }
            // One worker: each layer is compressed on all cores.
            Self::Converted => fetched(opened, 1, context, convert),
            Self::Placed(sizes) => {
                let placed = |(planned, stored): (PlannedLayer, Stored)| {
                    let size = sizes.get(&planned.index).copied().unwrap_or_default();
                    let (hints, context) = (hints.clone(), context.clone());
                    LayerBlob::promised(DeferredLayer { planned, stored, size, hints, context })
                };
                opened.into_iter().map(placed).collect()
            }
            Self::InTurn => {
                let waiting =
                    |(planned, stored)| LayerBlob::waiting(planned, stored, context.clone());
                opened.into_iter().map(waiting).collect()
            }
        }
    }
}

/// Layers whose downloads may have begun, in the order in which they are fetched.
type Opened = Vec<(PlannedLayer, Stored)>;

/// A layer that a worker will fetch.
struct Job {
    planned: PlannedLayer,
    stored: Stored,
    to: SyncSender<Result<LayerFile>>,
}

/// Fetches layers on so many threads, in their order, and returns a blob for each.
fn fetched(
    opened: Opened,
    workers: usize,
    context: &Context,
    fetch: impl Fn(&PlannedLayer, Stored, &Context) -> Result<LayerFile> + Send + Sync + 'static,
) -> Vec<LayerBlob> {
    let (mut jobs, mut blobs) = (VecDeque::new(), Vec::new());
    for (planned, stored) in opened {
        let (to, from): (_, Receiver<Result<LayerFile>>) = sync_channel(1);
        jobs.push_back(Job { planned: planned.clone(), stored, to });
        blobs.push(LayerBlob::ahead(planned, from, context.clone()));
    }
    let (queue, fetch) = (Arc::new(Mutex::new(jobs)), Arc::new(fetch));
    for _ in 0..workers {
        let (queue, fetch, context) = (Arc::clone(&queue), Arc::clone(&fetch), context.clone());
        // Not joined: when the session is given up its `Cancel` ends the loop.
        std::thread::spawn(move || {
            let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            while let Some(Job { planned, stored, to }) = next() {
                let _ = to.send(fetch(&planned, stored, &context));
                if context.cancel.check().is_err() {
                    break;
                }
            }
        });
    }
    blobs
}

/// Brings a layer to a file in the file system of the destination: the file that the host has of it, or a new one.
fn fetch(
    planned: &PlannedLayer,
    stored: Stored,
    destination: &Destination,
    context: &Context,
) -> Result<LayerFile> {
    if let Some(adopted) = adopt_own(planned, destination.anchor()) {
        return Ok(adopted);
    }
    let file = UnnamedFile::create(destination.anchor()).map_err(|cause| {
        Error::io(Kind::Destination, "create a file in", destination.folder().display(), &cause)
    })?;
    let moved = move_layer(planned, stored, &file, 0, context)?;
    Ok((file, moved))
}

/// Brings a layer to a temporary file, in the form asked for.
fn convert(planned: &PlannedLayer, stored: Stored, context: &Context) -> Result<LayerFile> {
    let file = scratch::create_unnamed(&context.temp_dir)?;
    let moved = move_layer(planned, stored, &file, 0, context)?;
    Ok((file, moved))
}

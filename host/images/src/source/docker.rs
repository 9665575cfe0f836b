//! `docker://`: an image in a Docker or Podman engine, exported as `docker save` does.
//!
//! The engine is trusted no more than a registry: the config must have the image's ID as its digest, and the layers
//! must have the diff-ids that the config and the engine name. An engine that uses containerd's store has IDs of
//! another kind; there only the diff-ids connect the export with the image.

pub mod engine_reference;
pub mod spool;

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use tokio::runtime::{Builder, Runtime};

pub use engine_reference::EngineReference;
use spool::Spool;

use super::members::ArchiveMembers;
use super::oci_layout;
use super::{Choice, docker_save};
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result, io_reason};
use occystrap_base::oci::config::LARGEST_CONFIG;
use occystrap_base::oci::layout::INDEX;
use occystrap_base::oci::layout::LIST;
use occystrap_base::oci::{Digest, ImageName};
use occystrap_base::terminal::progress::LayerProgress;
use occystrap_layer::blob::into_io;
use occystrap_layer::image::Image;
use occystrap_net::context::Context;
use occystrap_net::docker::{Engine, Export, Inspected};

/// Exports an image and returns it. Its layers are in files in [`Context::import_dir`].
pub fn open(asked: &EngineReference, socket: Option<&str>, context: &Context) -> Result<Image> {
    let engine = Engine::find(socket, &context.cancel)?;
    let (spool, name, found) = export(&engine, asked, context)?;
    let image = image(&spool, &name, &found)?;
    if image.id != found.id && !context.runtime.block_on(engine.about())?.containerd_store {
        return Err(Error::mismatch(
            format!("{}: digest of the exported config", spool.place()),
            format!("{} (the image's ID)", found.id),
            image.id,
        )
        .hint("the image may have been replaced while it was exported; run this again"));
    }
    Ok(image)
}

/// Exports an image. Returns its files, its name, and the engine's description of it.
pub fn exported(
    asked: &EngineReference,
    socket: Option<&str>,
    context: &Context,
) -> Result<(Spool, ImageName, Inspected)> {
    export(&Engine::find(socket, &context.cancel)?, asked, context)
}

fn export(
    engine: &Engine,
    asked: &EngineReference,
    context: &Context,
) -> Result<(Spool, ImageName, Inspected)> {
    let (ask, found) = context.runtime.block_on(asked.find(engine))?;
    let place = format!("'{ask}' of {}", engine.place());
    tracing::info!("{place}: exporting {} layers", found.diff_ids.len());
    let progress = context.progress.stream("export", found.size);
    let mut stream = Stream::start(engine, &ask, progress)?;
    let spool = Spool::read(&mut stream, &place, &context.import_dir, &context.cancel);
    stream.progress.finish();
    let spool = spool.map_err(|error| match (error.kind(), stream.export.failure()) {
        (Kind::Source, Some(failure)) => failure,
        _ => error,
    })?;
    Ok((spool, asked.name(&found), found))
}

/// Exports an image and only hashes it. Returns the digests of its config and of its uncompressed layers, lowest
/// first.
pub fn hash(
    engine: &Engine,
    image: &str,
    progress: LayerProgress,
    cancel: &Cancel,
) -> Result<(Digest, Vec<Digest>)> {
    let place = format!("'{image}' of {}", engine.place());
    let mut stream = Stream::start(engine, image, progress)?;
    let spool = Spool::hash(&mut stream, &place, cancel).map_err(|error| {
        match (error.kind(), stream.export.failure()) {
            (Kind::Source, Some(failure)) => failure,
            _ => error,
        }
    })?;
    let entries = docker_save::read(&spool, LIST)?;
    let [entry] = entries.as_slice() else {
        let what = format!("{place}: number of images in the export");
        return Err(Error::mismatch(what, 1_u64, entries.len()));
    };
    let config = spool.require_bytes(entry.config(), "config", LARGEST_CONFIG)?;
    let layers = entry.layers().iter().map(|name| spool.diff_id(name));
    Ok((Digest::of(&config), layers.collect::<Result<_>>()?))
}

/// Returns the image of an export whose layers are those that the engine names.
fn image(spool: &Spool, name: &ImageName, found: &Inspected) -> Result<Image> {
    let place = spool.place();
    let images = if spool.contains(LIST) {
        let entries = docker_save::read(spool, LIST)?;
        let read = |entry| docker_save::image(spool, &entry, name.clone());
        entries.into_iter().map(read).collect()
    } else if spool.contains(INDEX) {
        let images = oci_layout::images(spool, None, &found.platform, Choice::all(spool.place()))?;
        images.into_iter().map(|image| Ok(Image { name: name.clone(), ..image })).collect()
    } else {
        vec![Err(Error::source(format!("{place}: the export holds no manifest.json")))]
    };
    let mut reason = None;
    for image in images {
        // An export may list images of other platforms that the engine does not have.
        match image.and_then(|image| check_layers(image, found, place)) {
            Ok(image) => return Ok(image),
            Err(error) => reason = reason.or(Some(error)),
        }
    }
    Err(reason.unwrap_or_else(|| Error::source(format!("{place}: the export holds no image"))))
}

pub(super) fn check_layers(image: Image, found: &Inspected, place: &str) -> Result<Image> {
    let (expected, exported) = (&found.diff_ids, &image.layers);
    if expected.len() != exported.len() {
        let what = format!("{place}: number of layers in the export");
        return Err(Error::mismatch(what, expected.len(), exported.len()));
    }
    for (index, (expected, layer)) in expected.iter().zip(exported).enumerate() {
        if *expected != layer.diff_id {
            let what = format!("{place}: diff-id of layer {} in the export", index + 1);
            return Err(Error::mismatch(what, expected, layer.diff_id));
        }
    }
    Ok(image)
}

/// Reader of an export. It blocks, and its connection runs on the thread that reads: when the connection ran on another
/// thread, passing a piece to the reader took as much processor time as hashing the piece.
struct Stream {
    export: Export,
    runtime: Runtime,
    piece: Bytes,
    progress: LayerProgress,
}

impl Stream {
    fn start(engine: &Engine, image: &str, progress: LayerProgress) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|cause| {
            let why = io_reason(&cause);
            Error::new(Kind::Network, format!("cannot wait for {}: {why}", engine.place()))
        })?;
        let export = runtime.block_on(engine.apart()?.export(image))?;
        Ok(Self { export, runtime, piece: Bytes::new(), progress })
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.runtime.block_on(self.export.next()).map_err(into_io)? {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let amount = self.piece.len().min(into.len());
        self.piece.copy_to_slice(&mut into[..amount]);
        self.progress.add(amount as u64);
        Ok(amount)
    }
}

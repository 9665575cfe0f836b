//! Layers of earlier runs that a destination still has. An entry says where to look; the content found there is
//! checked before it stands for a layer.

use std::io;
use std::sync::Arc;

use super::entry::CachedLayer;
use crate::destination::Grant;
use crate::destination::remote::BlockingRepository;
use crate::write::target::Endpoint;
use crate::write::target::Target;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::Section;
use occystrap_base::files::destination::{Destination, check_path};
use occystrap_base::oci::Digest;
use occystrap_images::source::members::compression;
use occystrap_layer::blob::{checked, open_one};
use occystrap_layer::image::{Content, Layer};
use occystrap_net::context::Context;
use occystrap_net::registry::{DELETE_FIRST, Repository};

/// Largest blob, in bytes, that is downloaded and unpacked before it stands for a layer. A registry sends 64
/// KiB as fast as the answer that the blob exists, and most layers are smaller.
const SMALL: u64 = 64 * 1024;

/// A destination at which layers can be found.
pub enum CacheDestination {
    /// Layers are blobs of a repository.
    Blobs(BlockingRepository),
    /// Layers are files, or parts of a file.
    Files(Destination),
}

/// The result of looking for a layer.
pub enum Lookup {
    /// The destination has the layer.
    There(Box<Layer>),
    /// The layer is not there, or the destination cannot be asked.
    Gone,
    /// The layer is there, with another content than the entry says.
    Wrong,
    /// A registry stores other bytes under its digest, so that the layer cannot be pushed again there.
    Damaged(Error),
}

impl CacheDestination {
    /// Returns whether the layers of a destination can be found one by one.
    #[must_use]
    pub fn serves(target: &Target) -> bool {
        match target.endpoint {
            Endpoint::Repository(..)
            | Endpoint::Directory(_)
            | Endpoint::TaggedDirectory(..)
            | Endpoint::File(_) => true,
            // An engine loads and exports an image as a whole. Only its plugin knows how to read a web server.
            Endpoint::Engine(..) | Endpoint::Web(..) => false,
        }
    }

    /// Opens a destination; `None` where nothing is there yet.
    pub fn at(target: &Target, context: &Context) -> Result<Option<Self>> {
        if !Self::serves(target) {
            return Ok(None);
        }
        match (target.open(context), &target.endpoint) {
            (Ok(Grant::Repository(remote)), _) => Ok(Some(Self::Blobs(remote))),
            (Ok(Grant::Storage(destination)), _) => Ok(Some(Self::Files(destination))),
            (Err(error), Endpoint::Repository(..)) => Err(error),
            // Other faults are reported when the image is written.
            _ => Ok(None),
        }
    }

    /// Looks for a layer.
    pub fn find(&self, layer: &Layer, known: &CachedLayer, context: &Context) -> Lookup {
        match self {
            Self::Blobs(remote) => blob(remote, layer, known, context),
            Self::Files(destination) => file(destination, layer, known, context),
        }
    }
}

fn blob(
    remote: &BlockingRepository,
    layer: &Layer,
    known: &CachedLayer,
    context: &Context,
) -> Lookup {
    let Some(holder) = holder(remote, known) else { return Lookup::Gone };
    let content = Content::Registry(holder);
    let found =
        Layer { media_type: known.media_type.clone(), ..at_destination(layer, known, content) };
    if known.size > SMALL {
        return Lookup::There(Box::new(found));
    }
    match check_content(&found, context) {
        Ok(()) => Lookup::There(Box::new(found)),
        Err(error) if error.kind() != Kind::Source => Lookup::Gone,
        Err(error) if promises(&error, known.blob) => Lookup::Damaged(
            error.within(remote.reader().display(&known.blob.to_string())).hint(DELETE_FIRST),
        ),
        Err(_) => Lookup::Wrong,
    }
}

/// Returns the repository that has the blob of an entry: the destination, or another one that got it in this run, from where
/// the registry can mount it.
fn holder(remote: &BlockingRepository, known: &CachedLayer) -> Option<Repository> {
    let here = remote.repository();
    // An unreachable registry is an error when the layer is pushed.
    match remote.reader().stat_blob(known.blob).ok()? {
        Some(size) => (size == known.size).then(|| here.clone()),
        None => {
            let (other, size) = remote.other_holder(known.blob).ok()??;
            (size == known.size).then_some(other)
        }
    }
}

/// Returns whether an error is about bytes that do not match this digest.
fn promises(error: &Error, digest: Digest) -> bool {
    error.difference().is_some_and(|(promised, _)| Digest::of_side(promised) == Some(digest))
}

/// Looks for a layer in a file, which is read as a whole. An archive that another process has replaced is no
/// fault: its layer is made again.
fn file(
    destination: &Destination,
    layer: &Layer,
    known: &CachedLayer,
    context: &Context,
) -> Lookup {
    let Ok(section) = section(destination, known) else { return Lookup::Gone };
    let Ok(form) = compression(&section, &layer.place) else { return Lookup::Gone };
    let media_type = form.layer_media_type().to_owned();
    let found = Layer { media_type, ..at_destination(layer, known, Content::File(section)) };
    match check_content(&found, context) {
        Ok(()) => Lookup::There(Box::new(found)),
        Err(why) => {
            tracing::info!("{}: no longer at the destination: {why}", layer.place);
            Lookup::Gone
        }
    }
}

fn section(destination: &Destination, known: &CachedLayer) -> io::Result<Section> {
    let at = known.at.as_ref().ok_or(io::ErrorKind::NotFound)?;
    check_path(&at.path, destination.file_name()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let file = destination.open(&at.path)?;
    let end = at.offset.checked_add(known.size).ok_or(io::ErrorKind::InvalidInput)?;
    match end <= file.metadata()?.len() {
        true => Ok(Section::new(Arc::new(file), at.offset, known.size)),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Returns the layer of an entry, with its content at the destination.
fn at_destination(layer: &Layer, known: &CachedLayer, content: Content) -> Layer {
    Layer {
        diff_id: known.diff_id,
        digest: Some(known.blob),
        size: known.size,
        content,
        // Errors about this content must not name the source.
        place: format!("{}, as the destination had it", layer.place),
        ..layer.clone()
    }
}

/// Checks the digests of a layer, compressed and unpacked.
fn check_content(found: &Layer, context: &Context) -> Result<()> {
    match open_one(found, context) {
        Some(stored) => checked(found, stored),
        None => context.cancel.check(),
    }
}

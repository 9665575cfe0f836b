//! What a destination still has of earlier runs. An entry says where to look; what lies there is looked
//! at before it stands for a layer.

use std::io;
use std::sync::Arc;

use super::entry::Known;
use crate::destination::Grant;
use crate::destination::remote::BlockingRepository;
use crate::write::target::Endpoint;
use crate::write::target::Target;
use occystrap_base::error::{Error, Kind, Result, Side};
use occystrap_base::files::Section;
use occystrap_base::files::destination::{Destination, check_path};
use occystrap_base::oci::Digest;
use occystrap_images::source::members::compression;
use occystrap_layer::blob::{checked, open_one};
use occystrap_layer::image::{Content, Layer};
use occystrap_net::context::Context;
use occystrap_net::registry::DELETE_FIRST;

/// A blob of a registry that is not larger, in bytes, is read and unpacked before it stands for a
/// layer: 64 KiB come as fast as the answer that it is there. Most layers are smaller.
const SMALL: u64 = 64 * 1024;

/// A destination at which layers can be found.
pub enum Held {
    /// They are blobs of a repository.
    Blobs(BlockingRepository),
    /// They are files, or lie in one.
    Files(Destination),
}

/// What a look found.
pub enum Found {
    /// The layer, where the destination has it.
    There(Box<Layer>),
    /// It is not there, or nobody can say.
    Gone,
    /// It is there, and something else than the entry says.
    Wrong,
    /// A registry keeps other bytes under its digest, so that it cannot be made again there.
    Damaged(Error),
}

impl Held {
    /// Whether a destination has layers that can be found one by one.
    #[must_use]
    pub fn serves(target: &Target) -> bool {
        match target.endpoint {
            Endpoint::Repository(..)
            | Endpoint::Directory(_)
            | Endpoint::TaggedDirectory(..)
            | Endpoint::File(_) => true,
            // An engine takes an image as a whole, and gives it back so; a web server is asked by its
            // plugin alone.
            Endpoint::Engine(..) | Endpoint::Web(..) => false,
        }
    }

    /// A destination as it is now; `None` where there is nothing yet.
    pub fn at(target: &Target, context: &Context) -> Result<Option<Self>> {
        if !Self::serves(target) {
            return Ok(None);
        }
        match (target.open(context), &target.endpoint) {
            (Ok(Grant::Repository(remote)), _) => Ok(Some(Self::Blobs(remote))),
            (Ok(Grant::Storage(destination)), _) => Ok(Some(Self::Files(destination))),
            (Err(error), Endpoint::Repository(..)) => Err(error),
            // What is wrong with it is said when it is written to.
            _ => Ok(None),
        }
    }

    /// What it has of a layer.
    pub fn find(&self, layer: &Layer, known: &Known, context: &Context) -> Found {
        match self {
            Self::Blobs(remote) => blob(remote, layer, known, context),
            Self::Files(destination) => file(destination, layer, known, context),
        }
    }
}

fn blob(remote: &BlockingRepository, layer: &Layer, known: &Known, context: &Context) -> Found {
    // Who cannot be asked now will be asked again, and then it is an error.
    match remote.reader().stat_blob(known.blob) {
        Ok(Some(size)) if size == known.size => {}
        _ => return Found::Gone,
    }
    let content = Content::Registry(remote.repository().clone());
    let found = Layer { media_type: known.media_type.clone(), ..stands(layer, known, content) };
    if known.size > SMALL {
        return Found::There(Box::new(found));
    }
    match look(&found, context) {
        Ok(()) => Found::There(Box::new(found)),
        Err(error) if error.kind() != Kind::Source => Found::Gone,
        Err(error) if promises(&error, known.blob) => Found::Damaged(
            error.within(remote.reader().display(&known.blob.to_string())).hint(DELETE_FIRST),
        ),
        Err(_) => Found::Wrong,
    }
}

/// Whether what was promised under this digest is something else.
fn promises(error: &Error, digest: Digest) -> bool {
    error.difference().is_some_and(|(promised, _)| *promised == Side::from(digest))
}

/// A file is near enough to be read, all of it. What it is not any more is made again: an archive that
/// was written anew, or by somebody else, is no reason to wonder.
fn file(destination: &Destination, layer: &Layer, known: &Known, context: &Context) -> Found {
    let Ok(section) = section(destination, known) else { return Found::Gone };
    let Ok(form) = compression(&section, &layer.place) else { return Found::Gone };
    let media_type = form.layer_media_type().to_owned();
    let found = Layer { media_type, ..stands(layer, known, Content::File(section)) };
    match look(&found, context) {
        Ok(()) => Found::There(Box::new(found)),
        Err(why) => {
            tracing::info!("{}: not at the destination any more: {why}", layer.place);
            Found::Gone
        }
    }
}

fn section(destination: &Destination, known: &Known) -> io::Result<Section> {
    let at = known.at.as_ref().ok_or(io::ErrorKind::NotFound)?;
    check_path(&at.path, destination.file_name()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let file = destination.open(&at.path)?;
    let end = at.offset.checked_add(known.size).ok_or(io::ErrorKind::InvalidInput)?;
    match end <= file.metadata()?.len() {
        true => Ok(Section::new(Arc::new(file), at.offset, known.size)),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A layer as an entry has it, in that place.
fn stands(layer: &Layer, known: &Known, content: Content) -> Layer {
    Layer {
        diff_id: known.diff_id,
        digest: Some(known.blob),
        size: known.size,
        content,
        // What is wrong with it now is not the source's fault.
        place: format!("{}, as the destination had it", layer.place),
        ..layer.clone()
    }
}

/// Errors when it is not what its digests say, unpacked.
fn look(found: &Layer, context: &Context) -> Result<()> {
    match open_one(found, context) {
        Some(stored) => checked(found, stored),
        None => context.cancel.check(),
    }
}

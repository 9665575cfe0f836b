//! A layer in a plugin's hand: fetched ahead, being fetched, or not begun.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt as _};
use rustix::io::Errno;

use super::ahead::Taken;
use super::destination::Destination;
use super::engine::Loading;
use super::sink::{FileSink, SinkError};
use super::staging::Unnamed;
use crate::blob::feed::FeedReader;
use crate::blob::{Moved, Spooled, Stored, as_stored, encoded, uncompressed, write_error};
use crate::cancel::Cancel;
use crate::context::Context;
use crate::error::{Error, Kind, Result, io_reason};
use crate::image::{Compression, Content, Descriptor, Digest, Section};
use crate::progress::LayerProgress;

/// How often a wait for a layer looks whether the user wants to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// How much the kernel copies before it is asked whether the user wants to stop: some tenths of a
/// second on a slow disk.
const COPY: usize = 64 * 1024 * 1024;

/// The form in which the plugin asked for a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As the source has it.
    Stored,
    /// A plain tar.
    Uncompressed,
    /// Compressed by us.
    Compressed(Compression),
}

/// A layer that was moved to a file of its own, with what passed.
pub type Ready = (Unnamed, Moved);

/// One layer handed to a plugin.
pub struct LayerBlob {
    taken: Taken,
    state: State,
    context: Context,
}

enum State {
    /// Nobody reads it yet; its download may have begun.
    Waiting(Option<FeedReader>),
    /// Being moved to a file, in the destination's file system where it has one.
    Ahead(Receiver<Result<Ready>>),
    /// Moved to a file.
    Ready(Box<Ready>),
    /// Its bytes were spliced; a source is read once.
    Spent,
}

impl LayerBlob {
    /// A layer that is read when it is asked for.
    #[must_use]
    pub fn waiting(taken: Taken, feed: Option<FeedReader>, context: Context) -> Self {
        Self { taken, state: State::Waiting(feed), context }
    }

    /// A layer that somebody is moving already.
    #[must_use]
    pub fn ahead(taken: Taken, ready: Receiver<Result<Ready>>, context: Context) -> Self {
        Self { taken, state: State::Ahead(ready), context }
    }

    /// What it is. Moves it to a file when that is what it takes to know.
    /// `near` is where files can take a name later, where the destination has such a place.
    pub fn descriptor(&mut self, near: Option<&Destination>) -> Result<Descriptor> {
        if let Some(section) = self.plain() {
            let media_type = Compression::None.layer_media_type().to_owned();
            let (digest, size) = (self.taken.layer.diff_id, section.size);
            return Ok(Descriptor { media_type, digest, size });
        }
        let (_, moved) = self.ready(near)?;
        let (size, digest) = (moved.size, moved.digest);
        let media_type = match self.taken.form {
            Form::Stored => self.taken.layer.media_type.clone(),
            Form::Uncompressed => Compression::None.layer_media_type().to_owned(),
            Form::Compressed(how) => how.layer_media_type().to_owned(),
        };
        Ok(Descriptor { media_type, digest, size })
    }

    /// Some of its bytes.
    pub fn read(&mut self, offset: u64, len: usize, near: Option<&Destination>) -> Result<Vec<u8>> {
        let (file, moved) = self.ready(near)?;
        let len = moved.size.saturating_sub(offset).min(len as u64) as usize;
        let mut bytes = vec![0; len];
        file.file().read_exact_at(&mut bytes, offset).map_err(|cause| scratch_failed(&cause))?;
        Ok(bytes)
    }

    /// Append it to a sink and return what passed.
    pub fn splice(&mut self, sink: &mut FileSink) -> Result<Moved> {
        let moved = match std::mem::replace(&mut self.state, State::Spent) {
            State::Spent => {
                return Err(Error::new(
                    Kind::Plugin,
                    format!("{}: spliced twice", self.taken.layer.place),
                ));
            }
            State::Waiting(feed) => {
                let at = sink.before_content().map_err(sink_failed)?;
                let moved = match self.copy_own(sink.file(), at)? {
                    Some(moved) => moved,
                    None => self.fetch(feed, sink.file(), at)?,
                };
                sink.after_content(moved).map_err(sink_failed)?;
                moved
            }
            State::Ahead(ready) => {
                let ready = self.wait(&ready)?;
                append(sink, ready, &self.context.cancel)?
            }
            State::Ready(ready) => append(sink, *ready, &self.context.cancel)?,
        };
        self.taken.progress.finish();
        Ok(moved)
    }

    /// What it holds, uncompressed.
    #[must_use]
    pub fn diff_id(&self) -> Digest {
        self.taken.layer.diff_id
    }

    /// Its bar.
    #[must_use]
    pub fn progress(&self) -> LayerProgress {
        self.taken.progress.clone()
    }

    /// Its content, to be read any number of times. What is wanted as it is stored, under a digest,
    /// stays where it is; anything else is moved to a temporary file first.
    pub fn into_content(mut self) -> Result<(Descriptor, Content)> {
        let Taken { layer, form, .. } = &self.taken;
        if let (State::Waiting(None), Form::Stored, Some(digest)) =
            (&self.state, form, layer.digest)
        {
            let media_type = layer.media_type.clone();
            return Ok((
                Descriptor { media_type, digest, size: layer.size },
                layer.content.clone(),
            ));
        }
        self.ready(None)?;
        let blob = self.descriptor(None)?;
        match self.state {
            State::Ready(ready) => {
                let file = ready.0.into_file().map_err(|cause| scratch_failed(&cause))?;
                let section = Section::new(Arc::new(file), 0, blob.size);
                Ok((blob, Content::File(section)))
            }
            _ => Err(Error::interrupted()),
        }
    }

    /// Send it to an engine.
    pub fn send(&mut self, load: &mut Loading, near: Option<&Destination>) -> Result<Moved> {
        let place = self.taken.layer.place.clone();
        let (section, digest) = match self.plain() {
            Some(section) => (section.clone(), self.taken.layer.diff_id),
            None => {
                let (file, moved) = self.ready(near)?;
                let file = file.file().try_clone().map_err(|cause| scratch_failed(&cause))?;
                (Section::new(Arc::new(file), 0, moved.size), moved.digest)
            }
        };
        self.state = State::Spent;
        load.splice(&section, digest, &place)?;
        self.taken.progress.finish();
        Ok(Moved { size: section.size, digest })
    }

    /// The layer as it lies in a file, where that is what is wanted and nobody has begun to move it.
    fn plain(&self) -> Option<&Section> {
        let plain = self.taken.form == Form::Uncompressed
            && self.taken.layer.media_type == Compression::None.layer_media_type();
        match (&self.state, &self.taken.layer.content) {
            (State::Waiting(None), Content::File(section)) if plain => Some(section),
            _ => None,
        }
    }

    fn ready(&mut self, near: Option<&Destination>) -> Result<&Ready> {
        let ready = match std::mem::replace(&mut self.state, State::Spent) {
            State::Waiting(feed) => {
                let file = match near {
                    Some(destination) => Unnamed::create(destination.dir()),
                    None => temporary(&self.context.temp_dir),
                };
                let file = file.map_err(|cause| scratch_failed(&cause))?;
                let moved = self.fetch(feed, &file, 0)?;
                Box::new((file, moved))
            }
            State::Ahead(ready) => Box::new(self.wait(&ready)?),
            State::Ready(ready) => ready,
            State::Spent => {
                let message = format!("{}: read after it was spliced", self.taken.layer.place);
                return Err(Error::new(Kind::Plugin, message));
            }
        };
        self.state = State::Ready(ready);
        match &self.state {
            State::Ready(ready) => Ok(ready),
            _ => Err(Error::interrupted()),
        }
    }

    fn fetch(&self, feed: Option<FeedReader>, file: &Unnamed, at: u64) -> Result<Moved> {
        move_layer(&self.taken, feed, file, at, &self.context)
    }

    /// A layer that the host wrote and hashed already needs no second pass: the kernel copies it.
    /// `None` where it is none, or the kernel cannot, between these two file systems.
    fn copy_own(&self, to: &Unnamed, at: u64) -> Result<Option<Moved>> {
        let Some((section, own)) = own(&self.taken) else { return Ok(None) };
        let moved = own.moved();
        match copy(&section.file, to, at, moved.size, &self.context.cancel) {
            Ok(()) => {
                self.taken.progress.add(moved.size);
                Ok(Some(moved))
            }
            Err(Copy::Cannot) => Ok(None),
            Err(Copy::Failed(error)) => Err(error),
        }
    }

    fn wait(&self, ready: &Receiver<Result<Ready>>) -> Result<Ready> {
        loop {
            match ready.recv_timeout(PATIENCE) {
                Ok(ready) => return ready,
                Err(RecvTimeoutError::Timeout) => self.context.cancel.check()?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::source(format!(
                        "{}: the fetch broke down",
                        self.taken.layer.place
                    )));
                }
            }
        }
    }
}

/// Move a layer, in the form asked for, to a file: from its download where that has begun.
pub(super) fn move_layer(
    taken: &Taken,
    feed: Option<FeedReader>,
    file: &Unnamed,
    at: u64,
    context: &Context,
) -> Result<Moved> {
    let Taken { layer, form, progress, .. } = taken;
    let stored = match feed {
        Some(feed) => Stored::fed(feed, layer.place.clone(), &context.cancel),
        None => Stored::open(layer, &context.runtime, &context.cancel),
    };
    let stored = stored.showing(progress);
    match form {
        Form::Uncompressed => uncompressed(layer, stored, file.file(), at),
        Form::Stored => as_stored(layer, stored, file.file(), at, &context.cancel),
        Form::Compressed(how) => encoded(layer, stored, file.file(), at, *how, context.cores()),
    }
}

/// A file in a temporary folder.
pub(super) fn temporary(folder: &Path) -> std::io::Result<Unnamed> {
    let folder = Dir::open_ambient_dir(folder, ambient_authority())?;
    Unnamed::create(&Arc::new(folder))
}

/// The file of a layer that is, as the host knows from writing it, all of the layer in the form asked
/// for: plain, and with the digest that the config promised.
fn own(taken: &Taken) -> Option<(&Section, &Spooled)> {
    let Content::File(section) = &taken.layer.content else { return None };
    let own = section.own.as_deref()?;
    let layer = &taken.layer;
    let plain = layer.media_type == Compression::None.layer_media_type();
    let promised = layer.digest.unwrap_or(layer.diff_id) == layer.diff_id;
    let kept = own.moved() == Moved { size: section.size, digest: layer.diff_id };
    (plain && promised && kept && section.offset == 0).then_some((section, own))
}

/// Such a file itself, for whoever comes first, to get a name in `directory`: where that is in the
/// same file system.
pub(super) fn adopt_own(taken: &Taken, directory: &Dir) -> Option<Ready> {
    let (section, own) = own(taken)?;
    let there = directory.dir_metadata().ok()?.dev();
    if section.file.metadata().ok()?.dev() != there {
        return None;
    }
    let file = own.take()?;
    taken.progress.add(section.size);
    Some((file, own.moved()))
}

/// Put a moved layer at the sink's end: as its file, or copied by the kernel.
fn append(sink: &mut FileSink, (file, moved): Ready, cancel: &Cancel) -> Result<Moved> {
    if sink.is_empty() {
        sink.adopt(file, moved).map_err(sink_failed)?;
        return Ok(moved);
    }
    let at = sink.before_content().map_err(sink_failed)?;
    copy(file.file(), sink.file(), at, moved.size, cancel).map_err(|why| match why {
        Copy::Failed(error) => error,
        Copy::Cannot => write_error(sink.file().file(), &io::ErrorKind::CrossesDevices.into()),
    })?;
    sink.after_content(moved).map_err(sink_failed)?;
    Ok(moved)
}

/// Why the kernel did not copy.
enum Copy {
    /// Not between these two; nothing was written.
    Cannot,
    Failed(Error),
}

/// Copy a file's first `size` bytes to `at` in another, without bringing them here.
fn copy(from: &File, to: &Unnamed, at: u64, size: u64, cancel: &Cancel) -> Result<(), Copy> {
    let failed = |cause: io::Error| Copy::Failed(write_error(to.file(), &cause));
    let mut done = 0;
    while done < size {
        cancel.check().map_err(Copy::Failed)?;
        let (mut here, mut there) = (done, at + done);
        let wanted = usize::try_from(size - done).unwrap_or(COPY).min(COPY);
        let copied =
            rustix::fs::copy_file_range(from, Some(&mut here), to.file(), Some(&mut there), wanted);
        match copied {
            Ok(0) => return Err(failed(io::ErrorKind::UnexpectedEof.into())),
            Ok(copied) => done += copied as u64,
            Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) if done == 0 => {
                return Err(Copy::Cannot);
            }
            Err(cause) => return Err(failed(cause.into())),
        }
    }
    Ok(())
}

fn scratch_failed(cause: &std::io::Error) -> Error {
    Error::io(Kind::Destination, "use a temporary file at", "the destination", cause)
        .hint("choose another folder with --temp-dir")
}

fn sink_failed(cause: SinkError) -> Error {
    match cause {
        SinkError::Io(cause) => Error::destination(format!("cannot write: {}", io_reason(&cause))),
        SinkError::State => Error::new(Kind::Plugin, "a sink was used out of order"),
        SinkError::Quota => Error::new(Kind::Plugin, "a file was written in too many pieces"),
        SinkError::Unsupported => Error::new(Kind::Plugin, "a sink cannot do that"),
        SinkError::Failed(error) => error,
    }
}

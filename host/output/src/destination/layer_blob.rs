//! A layer in a plugin's hand: fetched ahead, being fetched, or not begun.

use std::io::{self, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::adopt::{CopyError, copy, copy_own};
use super::deferred::DeferredLayer;
use super::engine_image::ArchiveUpload;
use super::prefetch::PlannedLayer;
use super::sink::{FileSink, SinkError};
use super::size_hint::SizeHints;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result, io_reason};
use occystrap_base::files::Hashed;
use occystrap_base::files::Section;
use occystrap_base::files::destination::Destination;
use occystrap_base::files::unnamed::Unnamed;
use occystrap_base::oci::{Compression, Descriptor, Digest};
use occystrap_base::terminal::progress::LayerProgress;
use occystrap_layer::blob::{
    Decoder, Stored, as_stored, checked, encoded, from_io, open_one, uncompressed, write_error,
};
use occystrap_layer::image::Content;
use occystrap_layer::tar::Reader;
use occystrap_net::context::Context;

/// How often a wait for a layer looks whether the user wants to stop.
const PATIENCE: Duration = Duration::from_millis(100);

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

/// The members of a layer's tar.
pub type Members = Reader<BufReader<Decoder<Stored>>>;

/// How much of a tar is decoded at once.
const BUFFER: usize = 64 * 1024;

/// A layer that was moved to a file of its own, with what passed.
pub type Ready = (Unnamed, Hashed);

/// One layer handed to a plugin.
pub struct LayerBlob {
    taken: PlannedLayer,
    state: State,
    context: Context,
}

enum State {
    /// Nobody reads it yet, and nothing was begun.
    Untouched,
    /// Nobody reads it yet; its download may have begun.
    Waiting(Box<Stored>),
    /// As that, and how large it says it is.
    Promised(Box<Stored>, u64, SizeHints),
    /// Being moved to a file, in the destination's file system where it has one.
    Ahead(Receiver<Result<Ready>>),
    /// Hashed to a file.
    Ready(Box<Ready>),
    /// Its bytes were spliced; a source is read once.
    Spent,
}

/// What is known of a layer that was spliced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spliced {
    /// Bytes.
    pub size: u64,
    /// Of the bytes; `None` while they are only promised.
    pub digest: Option<Digest>,
}

impl From<Hashed> for Spliced {
    fn from(moved: Hashed) -> Self {
        Self { size: moved.size, digest: Some(moved.digest) }
    }
}

impl LayerBlob {
    /// A layer that nobody reads unless it is asked for.
    #[must_use]
    pub fn untouched(taken: PlannedLayer, context: Context) -> Self {
        Self { taken, state: State::Untouched, context }
    }

    /// A layer that is read when it is asked for.
    #[must_use]
    pub fn waiting(taken: PlannedLayer, stored: Stored, context: Context) -> Self {
        Self { taken, state: State::Waiting(Box::new(stored)), context }
    }

    /// A layer that gets a place when it is spliced, and is read when the file is finished.
    #[must_use]
    pub fn promised(promise: DeferredLayer) -> Self {
        let DeferredLayer { taken, stored, size, hints, context } = promise;
        Self { taken, state: State::Promised(Box::new(stored), size, hints), context }
    }

    /// A layer that somebody is moving already.
    #[must_use]
    pub fn ahead(taken: PlannedLayer, ready: Receiver<Result<Ready>>, context: Context) -> Self {
        Self { taken, state: State::Ahead(ready), context }
    }

    /// What it is. Moves it to a file when that is what it takes to know.
    /// `near` is where files can take a name later, where the destination has such a place.
    pub fn descriptor(&mut self, near: Option<&Destination>) -> Result<Descriptor> {
        if let (true, Some(digest)) = (self.stays_elsewhere(), self.taken.layer.digest) {
            let (media_type, size) = (self.taken.layer.media_type.clone(), self.taken.layer.size);
            return Ok(Descriptor { media_type, digest, size });
        }
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

    /// Its tar, from the start; what was read stays for a splice. `None` for what is no tar.
    pub fn tar(&mut self, near: Option<&Destination>) -> Result<Option<Members>> {
        if self.taken.layer.opaque {
            return Ok(None);
        }
        let place = self.taken.layer.place.clone();
        let cancel = self.context.cancel.clone();
        let (file, moved) = self.ready(near)?;
        let file = file.file().try_clone().map_err(|cause| scratch_failed(&cause))?;
        let section = Section::new(Arc::new(file), 0, moved.size);
        let mut stored = Stored::section(section, place.clone(), &cancel);
        let compression = stored.detect().map_err(|cause| from_io(cause, &place))?;
        let decoder = Decoder::new(compression, stored).map_err(|cause| from_io(cause, &place))?;
        Ok(Some(Reader::new(BufReader::with_capacity(BUFFER, decoder), place)))
    }

    /// Append it to a sink, or give it a place there.
    pub fn splice(&mut self, sink: &mut FileSink) -> Result<Spliced> {
        let moved = match std::mem::replace(&mut self.state, State::Spent) {
            State::Spent => {
                return Err(Error::new(
                    Kind::Plugin,
                    format!("{}: spliced twice", self.taken.layer.place),
                ));
            }
            State::Untouched => {
                self.state = State::Waiting(Box::new(self.open()?));
                return self.splice(sink);
            }
            State::Waiting(stored) => {
                let at = sink.before_content().map_err(sink_failed)?;
                let moved = self.fetch(*stored, sink.file(), at)?;
                sink.after_content(moved).map_err(sink_failed)?;
                moved
            }
            State::Promised(stored, size, hints) => {
                let (taken, context) = (self.taken.clone(), self.context.clone());
                let promise = DeferredLayer { taken, stored: *stored, size, hints, context };
                sink.promise(promise).map_err(sink_failed)?;
                return Ok(Spliced { size, digest: None });
            }
            State::Ahead(ready) => {
                let ready = self.wait(&ready)?;
                append(sink, ready, &self.context.cancel)?
            }
            State::Ready(ready) => append(sink, *ready, &self.context.cancel)?,
        };
        self.taken.progress.finish();
        Ok(moved.into())
    }

    /// What it holds, uncompressed.
    #[must_use]
    pub fn diff_id(&self) -> Digest {
        self.taken.layer.diff_id
    }

    /// Its index in the image.
    #[must_use]
    pub fn index(&self) -> usize {
        self.taken.index
    }

    /// Whether it is stored elsewhere, stays there, and nothing of it was fetched.
    #[must_use]
    pub fn stays_elsewhere(&self) -> bool {
        self.taken.stays && matches!(self.state, State::Untouched)
    }

    /// Whether it has been moved to a file already.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready(_))
    }

    /// Its bar.
    #[must_use]
    pub fn progress(&self) -> LayerProgress {
        self.taken.progress.clone()
    }

    /// Its content, to be read any number of times. What is wanted as it is stored, under a digest,
    /// stays where it is; anything else is moved to a temporary file first. [`Content::Elsewhere`] is
    /// returned only for a layer that [`Self::stays_elsewhere`].
    pub fn into_content(mut self) -> Result<(Descriptor, Content)> {
        let PlannedLayer { layer, form, .. } = &self.taken;
        let is_elsewhere = matches!(layer.content, Content::Elsewhere(_));
        if let (State::Untouched, Form::Stored, Some(digest)) = (&self.state, form, layer.digest)
            && (!is_elsewhere || self.taken.stays)
        {
            // A download checks itself on its way; nobody else looks at a file.
            if let Content::File(section) = &layer.content {
                checked(layer, Stored::file(layer, section, &self.context.cancel))?;
            }
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
    pub fn send(&mut self, load: &mut ArchiveUpload, near: Option<&Destination>) -> Result<Hashed> {
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
        load.splice(&section, digest, &place, &self.taken.progress)?;
        self.taken.progress.finish();
        Ok(Hashed { size: section.size, digest })
    }

    /// The layer as it lies in a file, where that is what is wanted and nobody has begun to move it.
    fn plain(&self) -> Option<&Section> {
        let plain = self.taken.form == Form::Uncompressed
            && self.taken.layer.media_type == Compression::None.layer_media_type();
        match (&self.state, &self.taken.layer.content) {
            (State::Waiting(_), Content::File(section)) if plain => Some(section),
            _ => None,
        }
    }

    fn ready(&mut self, near: Option<&Destination>) -> Result<&Ready> {
        let ready = match std::mem::replace(&mut self.state, State::Spent) {
            State::Untouched => {
                self.state = State::Waiting(Box::new(self.open()?));
                return self.ready(near);
            }
            State::Waiting(stored) | State::Promised(stored, ..) => {
                let file = match near {
                    Some(destination) => Unnamed::create(destination.anchor()),
                    None => temporary(&self.context.temp_dir),
                };
                let file = file.map_err(|cause| scratch_failed(&cause))?;
                let moved = self.fetch(*stored, &file, 0)?;
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

    fn fetch(&self, stored: Stored, file: &Unnamed, at: u64) -> Result<Hashed> {
        move_layer(&self.taken, stored, file, at, &self.context)
    }

    fn open(&self) -> Result<Stored> {
        open_one(&self.taken.layer, &self.context).ok_or_else(Error::interrupted)
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

/// Move a layer, in the form asked for, to a file.
pub(super) fn move_layer(
    taken: &PlannedLayer,
    stored: Stored,
    file: &Unnamed,
    at: u64,
    context: &Context,
) -> Result<Hashed> {
    let PlannedLayer { layer, form, progress, .. } = taken;
    if let Some(moved) = copy_own(taken, file, at, &context.cancel)? {
        return Ok(moved);
    }
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

/// Put a moved layer at the sink's end: as its file, or copied by the kernel.
fn append(sink: &mut FileSink, (file, moved): Ready, cancel: &Cancel) -> Result<Hashed> {
    if sink.is_empty() {
        sink.adopt(file, moved).map_err(sink_failed)?;
        return Ok(moved);
    }
    let at = sink.before_content().map_err(sink_failed)?;
    copy(file.file(), sink.file(), at, moved.size, cancel).map_err(|why| match why {
        CopyError::Failed(error) => error,
        CopyError::Cannot => write_error(sink.file().file(), &io::ErrorKind::CrossesDevices.into()),
    })?;
    sink.after_content(moved).map_err(sink_failed)?;
    Ok(moved)
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

//! A layer that was passed to a plugin: fetched ahead, being fetched, or not requested yet.

use std::io::{self, BufReader};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::adopt::{CopyError, copy, move_layer};
use super::deferred::DeferredLayer;
use super::engine_image::ArchiveUpload;
use super::file_sink::{FileSink, SinkError};
use super::planned_layer::{LayerFile, PlannedLayer, RequestedForm};
use super::size_hint::SizeHints;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result, io_reason};
use occystrap_base::files::Hashed;
use occystrap_base::files::Section;
use occystrap_base::files::destination::Destination;
use occystrap_base::files::scratch;
use occystrap_base::files::unnamed_file::UnnamedFile;
use occystrap_base::oci::{Compression, Descriptor, Digest};
use occystrap_base::terminal::progress::LayerProgress;
use occystrap_layer::blob::{Decoder, Stored, checked, from_io, open_one, write_error};
use occystrap_layer::image::Content;
use occystrap_layer::tar::TarReader;
use occystrap_net::context::Context;

/// Time between two checks for an interruption while a layer is waited for.
const PATIENCE: Duration = Duration::from_millis(100);

/// The members of a layer's tar.
pub type Members = TarReader<BufReader<Decoder<Stored>>>;

/// Bytes of a tar that are decoded at once.
const BUFFER: usize = 64 * 1024;

/// One layer in the hands of a plugin.
pub struct LayerBlob {
    planned: PlannedLayer,
    state: State,
    context: Context,
}

enum State {
    /// Its download has not begun.
    Untouched,
    /// It is not read yet; its download may have begun.
    Waiting(Box<Stored>),
    /// As `Waiting`, with the size in bytes that is expected of it.
    Promised(Box<Stored>, u64, SizeHints),
    /// A worker moves it to a file, in the destination's file system where the destination has one.
    Ahead(Receiver<Result<LayerFile>>),
    /// It is in a file, and its digest is known.
    Ready(Box<LayerFile>),
    /// Its bytes were spliced; a source is read once.
    Spent,
}

/// What is known of a layer that was spliced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spliced {
    /// Its size in bytes.
    pub size: u64,
    /// The digest of its bytes; `None` while only its place is reserved.
    pub digest: Option<Digest>,
}

impl From<Hashed> for Spliced {
    fn from(moved: Hashed) -> Self {
        Self { size: moved.size, digest: Some(moved.digest) }
    }
}

impl LayerBlob {
    /// Returns a layer whose download begins when the plugin asks for it.
    #[must_use]
    pub fn untouched(planned: PlannedLayer, context: Context) -> Self {
        Self { planned, state: State::Untouched, context }
    }

    /// Returns a layer that is read when the plugin asks for it.
    #[must_use]
    pub fn waiting(planned: PlannedLayer, stored: Stored, context: Context) -> Self {
        Self { planned, state: State::Waiting(Box::new(stored)), context }
    }

    /// Returns a layer that gets a place when it is spliced, and is read when the file is finished.
    #[must_use]
    pub fn promised(promise: DeferredLayer) -> Self {
        let DeferredLayer { planned, stored, size, hints, context } = promise;
        Self { planned, state: State::Promised(Box::new(stored), size, hints), context }
    }

    /// Returns a layer that a worker moves to a file.
    #[must_use]
    pub fn ahead(
        planned: PlannedLayer,
        ready: Receiver<Result<LayerFile>>,
        context: Context,
    ) -> Self {
        Self { planned, state: State::Ahead(ready), context }
    }

    /// Returns its descriptor. Where the digest is not known, the layer is moved to a file first. `near` is where files
    /// can take a name later, where the destination has such a place.
    pub fn descriptor(&mut self, near: Option<&Destination>) -> Result<Descriptor> {
        if let (true, Some(digest)) = (self.stays_elsewhere(), self.planned.layer.digest) {
            let (media_type, size) =
                (self.planned.layer.media_type.clone(), self.planned.layer.size);
            return Ok(Descriptor { media_type, digest, size });
        }
        if let Some(section) = self.plain() {
            let media_type = Compression::None.layer_media_type().to_owned();
            let (digest, size) = (self.planned.layer.diff_id, section.size);
            return Ok(Descriptor { media_type, digest, size });
        }
        let (_, moved) = self.ready(near)?;
        let (size, digest) = (moved.size, moved.digest);
        let media_type = match self.planned.form {
            RequestedForm::Stored => self.planned.layer.media_type.clone(),
            RequestedForm::Uncompressed => Compression::None.layer_media_type().to_owned(),
            RequestedForm::Compressed(how) => how.layer_media_type().to_owned(),
        };
        Ok(Descriptor { media_type, digest, size })
    }

    /// Returns at most `len` of its bytes, from `offset` on.
    pub fn read(&mut self, offset: u64, len: usize, near: Option<&Destination>) -> Result<Vec<u8>> {
        let (file, moved) = self.ready(near)?;
        let len = moved.size.saturating_sub(offset).min(len as u64) as usize;
        let mut bytes = vec![0; len];
        file.file().read_exact_at(&mut bytes, offset).map_err(|cause| scratch_failed(&cause))?;
        Ok(bytes)
    }

    /// Returns its tar, from the start; what was read stays for a splice. `None` for what is no tar.
    pub fn tar(&mut self, near: Option<&Destination>) -> Result<Option<Members>> {
        if self.planned.layer.opaque {
            return Ok(None);
        }
        let place = self.planned.layer.place.clone();
        let cancel = self.context.cancel.clone();
        let (file, moved) = self.ready(near)?;
        let file = file.file().try_clone().map_err(|cause| scratch_failed(&cause))?;
        let section = Section::new(Arc::new(file), 0, moved.size);
        let mut stored = Stored::section(section, place.clone(), &cancel);
        let compression = stored.detect().map_err(|cause| from_io(cause, &place))?;
        let decoder = Decoder::new(compression, stored).map_err(|cause| from_io(cause, &place))?;
        Ok(Some(TarReader::new(BufReader::with_capacity(BUFFER, decoder), place)))
    }

    /// Appends it to a sink, or gives it a place there.
    pub fn splice(&mut self, sink: &mut FileSink) -> Result<Spliced> {
        let moved = match std::mem::replace(&mut self.state, State::Spent) {
            State::Spent => {
                return Err(Error::new(
                    Kind::Plugin,
                    format!("{}: spliced twice", self.planned.layer.place),
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
                let (planned, context) = (self.planned.clone(), self.context.clone());
                let promise = DeferredLayer { planned, stored: *stored, size, hints, context };
                sink.promise(promise).map_err(sink_failed)?;
                return Ok(Spliced { size, digest: None });
            }
            State::Ahead(ready) => {
                let ready = self.wait(&ready)?;
                append(sink, ready, &self.context.cancel)?
            }
            State::Ready(ready) => append(sink, *ready, &self.context.cancel)?,
        };
        self.planned.progress.finish();
        Ok(moved.into())
    }

    /// Returns the digest of what it holds, uncompressed.
    #[must_use]
    pub fn diff_id(&self) -> Digest {
        self.planned.layer.diff_id
    }

    /// Returns its index in the image.
    #[must_use]
    pub fn index(&self) -> usize {
        self.planned.index
    }

    /// Returns whether it is stored elsewhere, stays there, and nothing of it was fetched.
    #[must_use]
    pub fn stays_elsewhere(&self) -> bool {
        self.planned.stays && matches!(self.state, State::Untouched)
    }

    /// Returns whether it has been moved to a file already.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready(_))
    }

    /// Returns its progress bar.
    #[must_use]
    pub fn progress(&self) -> LayerProgress {
        self.planned.progress.clone()
    }

    /// Returns its content, which can be read any number of times. A layer that is wanted as it is stored, and has a
    /// digest, stays where it is; any other is moved to a temporary file first. [`Content::Elsewhere`] is
    /// returned only for a layer that [`Self::stays_elsewhere`].
    pub fn into_content(mut self) -> Result<(Descriptor, Content)> {
        let PlannedLayer { layer, form, .. } = &self.planned;
        let is_elsewhere = matches!(layer.content, Content::Elsewhere(_));
        if let (State::Untouched, RequestedForm::Stored, Some(digest)) =
            (&self.state, form, layer.digest)
            && (!is_elsewhere || self.planned.stays)
        {
            // A download checks itself on its way; a file is checked here.
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

    /// Sends it to an engine.
    pub fn send(&mut self, load: &mut ArchiveUpload, near: Option<&Destination>) -> Result<Hashed> {
        let place = self.planned.layer.place.clone();
        let (section, digest) = match self.plain() {
            Some(section) => (section.clone(), self.planned.layer.diff_id),
            None => {
                let (file, moved) = self.ready(near)?;
                let file = file.file().try_clone().map_err(|cause| scratch_failed(&cause))?;
                (Section::new(Arc::new(file), 0, moved.size), moved.digest)
            }
        };
        self.state = State::Spent;
        load.splice(&section, digest, &place, &self.planned.progress)?;
        self.planned.progress.finish();
        Ok(Hashed { size: section.size, digest })
    }

    /// Returns the section of the file that the layer is in, where it is wanted as it is there and was not moved yet.
    fn plain(&self) -> Option<&Section> {
        let plain = self.planned.form == RequestedForm::Uncompressed
            && self.planned.layer.media_type == Compression::None.layer_media_type();
        match (&self.state, &self.planned.layer.content) {
            (State::Waiting(_), Content::File(section)) if plain => Some(section),
            _ => None,
        }
    }

    fn ready(&mut self, near: Option<&Destination>) -> Result<&LayerFile> {
        let ready = match std::mem::replace(&mut self.state, State::Spent) {
            State::Untouched => {
                self.state = State::Waiting(Box::new(self.open()?));
                return self.ready(near);
            }
            State::Waiting(stored) | State::Promised(stored, ..) => {
                let file = match near {
                    Some(destination) => UnnamedFile::create(destination.anchor()),
                    None => scratch::unnamed(&self.context.temp_dir),
                };
                let file = file.map_err(|cause| scratch_failed(&cause))?;
                let moved = self.fetch(*stored, &file, 0)?;
                Box::new((file, moved))
            }
            State::Ahead(ready) => Box::new(self.wait(&ready)?),
            State::Ready(ready) => ready,
            State::Spent => {
                let message = format!("{}: read after it was spliced", self.planned.layer.place);
                return Err(Error::new(Kind::Plugin, message));
            }
        };
        self.state = State::Ready(ready);
        match &self.state {
            State::Ready(ready) => Ok(ready),
            _ => Err(Error::interrupted()),
        }
    }

    fn fetch(&self, stored: Stored, file: &UnnamedFile, at: u64) -> Result<Hashed> {
        move_layer(&self.planned, stored, file, at, &self.context)
    }

    fn open(&self) -> Result<Stored> {
        open_one(&self.planned.layer, &self.context).ok_or_else(Error::interrupted)
    }

    fn wait(&self, ready: &Receiver<Result<LayerFile>>) -> Result<LayerFile> {
        loop {
            match ready.recv_timeout(PATIENCE) {
                Ok(ready) => return ready,
                Err(RecvTimeoutError::Timeout) => self.context.cancel.check()?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::source(format!(
                        "{}: the fetch broke down",
                        self.planned.layer.place
                    )));
                }
            }
        }
    }
}

/// Puts a moved layer at the end of the sink: as its file, or copied by the kernel.
fn append(sink: &mut FileSink, (file, moved): LayerFile, cancel: &Cancel) -> Result<Hashed> {
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

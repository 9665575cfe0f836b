//! A layer in a plugin's hand: fetched ahead, being fetched, or not begun.

use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::ahead::Taken;
use super::promise::Promise;
use super::sink::{FileSink, SinkError};
use super::size_hint::SizeHints;
use super::staging::Unnamed;
use crate::blob::{Moved, Stored, as_stored, uncompressed, write_error};
use crate::context::Context;
use crate::error::{Error, Kind, Result, io_reason};
use crate::image::{Compression, Descriptor};

/// How often a wait for a layer looks whether the user wants to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// The form in which the plugin asked for a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As the source has it.
    Stored,
    /// A plain tar.
    Uncompressed,
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
    Waiting(Box<Stored>),
    /// As that, and how large it says it is.
    Promised(Box<Stored>, u64, SizeHints),
    /// Being moved to a file in the destination's file system.
    Ahead(Receiver<Result<Ready>>),
    /// Moved to a file in the destination's file system.
    Ready(Box<Ready>),
    /// Its bytes were spliced; a source is read once.
    Spent,
}

impl LayerBlob {
    /// A layer that is read when it is asked for.
    #[must_use]
    pub fn waiting(taken: Taken, stored: Stored, context: Context) -> Self {
        Self { taken, state: State::Waiting(Box::new(stored)), context }
    }

    /// A layer that gets a place when it is spliced, and is read when the file is finished.
    #[must_use]
    pub fn promised(promise: Promise) -> Self {
        let Promise { taken, stored, size, hints, context } = promise;
        Self { taken, state: State::Promised(Box::new(stored), size, hints), context }
    }

    /// A layer that somebody is moving already.
    #[must_use]
    pub fn ahead(taken: Taken, ready: Receiver<Result<Ready>>, context: Context) -> Self {
        Self { taken, state: State::Ahead(ready), context }
    }

    /// What it is. Moves it to a file when that is what it takes to know.
    pub fn descriptor(
        &mut self,
        scratch: impl FnOnce() -> std::io::Result<Unnamed>,
    ) -> Result<Descriptor> {
        let (_, moved) = self.ready(scratch)?;
        let (size, digest) = (moved.size, moved.digest);
        let media_type = match self.taken.form {
            Form::Stored => self.taken.layer.media_type.clone(),
            Form::Uncompressed => Compression::None.layer_media_type().to_owned(),
        };
        Ok(Descriptor { media_type, digest, size })
    }

    /// Some of its bytes.
    pub fn read(
        &mut self,
        offset: u64,
        len: usize,
        scratch: impl FnOnce() -> std::io::Result<Unnamed>,
    ) -> Result<Vec<u8>> {
        let (file, moved) = self.ready(scratch)?;
        let len = moved.size.saturating_sub(offset).min(len as u64) as usize;
        let mut bytes = vec![0; len];
        file.file().read_exact_at(&mut bytes, offset).map_err(|cause| scratch_failed(&cause))?;
        Ok(bytes)
    }

    /// Append it to a sink, or give it a place there, and return its size.
    pub fn splice(&mut self, sink: &mut FileSink) -> Result<u64> {
        let moved = match std::mem::replace(&mut self.state, State::Spent) {
            State::Spent => {
                return Err(Error::new(
                    Kind::Plugin,
                    format!("{}: spliced twice", self.taken.layer.place),
                ));
            }
            State::Waiting(stored) => {
                let at = sink.before_content().map_err(sink_failed)?;
                let moved = self.fetch(*stored, sink.file(), at)?;
                sink.after_content(moved).map_err(sink_failed)?;
                moved
            }
            State::Promised(stored, size, hints) => {
                let (taken, context) = (self.taken.clone(), self.context.clone());
                let promise = Promise { taken, stored: *stored, size, hints, context };
                sink.promise(promise).map_err(sink_failed)?;
                return Ok(size);
            }
            State::Ahead(ready) => {
                let ready = self.wait(&ready)?;
                append(sink, ready)?
            }
            State::Ready(ready) => append(sink, *ready)?,
        };
        self.taken.progress.finish();
        Ok(moved.size)
    }

    fn ready(&mut self, scratch: impl FnOnce() -> std::io::Result<Unnamed>) -> Result<&Ready> {
        let ready = match std::mem::replace(&mut self.state, State::Spent) {
            State::Waiting(stored) | State::Promised(stored, ..) => {
                let file = scratch().map_err(|cause| scratch_failed(&cause))?;
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

    fn fetch(&self, stored: Stored, file: &Unnamed, at: u64) -> Result<Moved> {
        move_layer(&self.taken, stored, file, at, &self.context)
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
    taken: &Taken,
    stored: Stored,
    file: &Unnamed,
    at: u64,
    context: &Context,
) -> Result<Moved> {
    let Taken { layer, form, progress, .. } = taken;
    let stored = stored.showing(progress);
    match form {
        Form::Uncompressed => uncompressed(layer, stored, file.file(), at),
        Form::Stored => as_stored(layer, stored, file.file(), at, &context.cancel),
    }
}

/// Put a moved layer at the sink's end: as its file, or copied by the kernel.
fn append(sink: &mut FileSink, (file, moved): Ready) -> Result<Moved> {
    if sink.is_empty() {
        sink.adopt(file, moved).map_err(sink_failed)?;
        return Ok(moved);
    }
    let at = sink.before_content().map_err(sink_failed)?;
    let mut done = 0;
    while done < moved.size {
        let (mut from, mut to) = (done, at + done);
        let wanted = usize::try_from(moved.size - done).unwrap_or(usize::MAX);
        let copied = rustix::fs::copy_file_range(
            file.file(),
            Some(&mut from),
            sink.file().file(),
            Some(&mut to),
            wanted,
        );
        let failed = |cause| write_error(sink.file().file(), &cause);
        match copied.map_err(|cause| failed(cause.into()))? {
            0 => return Err(failed(std::io::ErrorKind::UnexpectedEof.into())),
            copied => done += copied as u64,
        }
    }
    sink.after_content(moved).map_err(sink_failed)?;
    Ok(moved)
}

fn scratch_failed(cause: &std::io::Error) -> Error {
    Error::io(Kind::Destination, "use a temporary file at", "the destination", cause)
}

fn sink_failed(cause: SinkError) -> Error {
    match cause {
        SinkError::Io(cause) => Error::destination(format!("cannot write: {}", io_reason(&cause))),
        SinkError::State => Error::new(Kind::Plugin, "a sink was used out of order"),
        SinkError::Quota => Error::new(Kind::Plugin, "a file was written in too many pieces"),
    }
}

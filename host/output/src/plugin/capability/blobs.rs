//! `blobs`: the content that a plugin was given, and the sinks that it writes to.

use std::io;

use wasmtime::component::Resource;

use crate::destination::Pending;
use crate::destination::engine_image::ArchiveUpload;
use crate::destination::layer_blob::Spliced;
use crate::destination::sink::{FileSink, MOST_EXTENTS, Sink, SinkError};
use crate::plugin::bindings::blobs::{Host, HostBlob, HostSink, Written};
use crate::plugin::bindings::types::{self, ErrorCode};
use crate::plugin::handle::Blob;
use crate::plugin::state::{GuestState, Writing};
use crate::plugin::violation::violation;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::Hashed;
use occystrap_base::files::destination::Destination;
use occystrap_base::limits;
use occystrap_base::oci::{Descriptor, Digest};
use occystrap_layer::blob::write_error;

impl Host for GuestState {
    fn digest_of(&mut self, bytes: Vec<u8>) -> wasmtime::Result<String> {
        self.count_hashed(bytes.len() as u64)?;
        Ok(Digest::of(&bytes).to_string())
    }
}

impl HostBlob for GuestState {
    fn descriptor(
        &mut self,
        blob: Resource<Blob>,
    ) -> wasmtime::Result<Result<types::Descriptor, ErrorCode>> {
        let found = self.at_layer(&blob, |blob, near| match blob {
            Blob::Config { media_type, bytes, digest } => Ok(Descriptor {
                media_type: (*media_type).to_owned(),
                digest: *digest,
                size: bytes.len() as u64,
            }),
            Blob::Layer(layer) => layer.descriptor(near),
            Blob::Spent => Err(spent()),
        })?;
        Ok(self.or_fail(found).map(|descriptor| types::Descriptor {
            digest: descriptor.digest.to_string(),
            size: descriptor.size,
            media_type: descriptor.media_type,
        }))
    }

    fn read(
        &mut self,
        blob: Resource<Blob>,
        offset: u64,
        len: u32,
    ) -> wasmtime::Result<Result<Vec<u8>, ErrorCode>> {
        let len = (len as usize).min(limits::PIECE);
        let bytes = self.at_layer(&blob, |blob, near| match blob {
            Blob::Config { bytes, .. } => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let end = start.saturating_add(len).min(bytes.len());
                Ok(bytes[start..end].to_vec())
            }
            Blob::Layer(layer) => layer.read(offset, len, near),
            Blob::Spent => Err(spent()),
        })?;
        Ok(self.or_fail(bytes))
    }

    fn stays_elsewhere(&mut self, blob: Resource<Blob>) -> wasmtime::Result<bool> {
        Ok(match self.table.get(&blob)? {
            Blob::Layer(layer) => layer.stays_elsewhere(),
            Blob::Config { .. } | Blob::Spent => false,
        })
    }

    fn drop(&mut self, blob: Resource<Blob>) -> wasmtime::Result<()> {
        self.table.delete(blob)?;
        Ok(())
    }
}

impl HostSink for GuestState {
    fn write(
        &mut self,
        sink: Resource<Sink>,
        bytes: Vec<u8>,
    ) -> wasmtime::Result<Result<(), ErrorCode>> {
        if bytes.len() > limits::PIECE {
            return Ok(Err(self.too_much(limits::PIECE)));
        }
        self.count_own(bytes.len() as u64)?;
        let written = self.at_sink(&sink, |sink| sink.write(bytes))?;
        Ok(self.sink_result(written))
    }

    fn pad(&mut self, sink: Resource<Sink>, len: u32) -> wasmtime::Result<Result<(), ErrorCode>> {
        if len > limits::PAD {
            return Ok(Err(self.too_much(limits::PAD as usize)));
        }
        self.count_own(u64::from(len))?;
        let padded = self.at_sink(&sink, |sink| sink.pad(len))?;
        Ok(self.sink_result(padded))
    }

    fn splice(
        &mut self,
        sink: Resource<Sink>,
        source: Resource<Blob>,
    ) -> wasmtime::Result<Result<u64, ErrorCode>> {
        // The blob is taken out of the table, because the sink is borrowed at the same time.
        let place = self.writable().cloned();
        let mut blob = std::mem::replace(self.table.get_mut(&source)?, Blob::Spent);
        let is_layer = matches!(blob, Blob::Layer(_));
        if let Blob::Config { bytes, .. } = &blob {
            // A config can be spliced any number of times.
            self.count_own(bytes.len() as u64)?;
        }
        let moved = self.transferring(|state| {
            let moved = state.at_sink(&sink, |sink| splice(&mut blob, sink, place.as_ref()));
            (moved, (!is_layer).then_some(0))
        })?;
        if let (true, Ok(Spliced { size, digest: Some(_) })) = (is_layer, &moved) {
            self.count_moved(*size);
        }
        // A deferred layer is written uncompressed or as it is stored, so that its digest is known already.
        if let (Ok(Spliced { digest: Some(digest), .. }), Blob::Layer(layer), Some(writing)) =
            (&moved, &blob, &mut self.writing)
        {
            writing.journal.record_layer(*digest, layer.diff_id());
        }
        *self.table.get_mut(&source)? = blob;
        Ok(self.or_fail(moved.map(|moved| moved.size)))
    }

    fn reserve(
        &mut self,
        sink: Resource<Sink>,
        len: u32,
    ) -> wasmtime::Result<Result<u64, ErrorCode>> {
        if len as usize > limits::PIECE {
            return Ok(Err(self.too_much(limits::PIECE)));
        }
        self.count_own(u64::from(len))?;
        let offset = self.at_sink(&sink, |sink| sink.reserve(len))?;
        Ok(self.sink_result(offset))
    }

    fn fill(
        &mut self,
        sink: Resource<Sink>,
        offset: u64,
        bytes: Vec<u8>,
    ) -> wasmtime::Result<Result<(), ErrorCode>> {
        let filled = self.at_sink(&sink, |sink| sink.fill(offset, &bytes))?;
        Ok(self.sink_result(filled))
    }

    fn finish(&mut self, sink: Resource<Sink>) -> wasmtime::Result<Result<Written, ErrorCode>> {
        match self.take_sink(sink)? {
            Sink::File(file) => self.finish_file(*file),
            Sink::Load(load) => self.finish_load(*load),
            Sink::Put(put) => self.finish_put(*put),
        }
    }

    fn drop(&mut self, sink: Resource<Sink>) -> wasmtime::Result<()> {
        if let Sink::File(file) = self.take_sink(sink)? {
            self.give_up(file.path());
        }
        Ok(())
    }
}

impl GuestState {
    /// Forgets the path of a file that will not be finished.
    fn give_up(&mut self, path: &str) {
        if let Some(Writing { pending: Pending::Files(staging), .. }) = &mut self.writing {
            staging.release(path);
            self.release(limits::REMEMBERED + path.len());
        }
    }

    fn finish_file(&mut self, mut file: FileSink) -> wasmtime::Result<Result<Written, ErrorCode>> {
        match self.transferring(|_| (file.keep_promises(), None)) {
            Ok(moved) => self.count_moved(moved),
            Err(error) => {
                self.give_up(file.path());
                return Ok(Err(self.failed(unwritten(file.path(), error))));
            }
        }
        let path = file.path().to_owned();
        let finished = file.finish();
        let (written, file) = match self.sink_result(finished) {
            Ok(finished) => finished,
            Err(code) => {
                self.give_up(&path);
                return Ok(Err(code));
            }
        };
        let Some(Writing { pending: Pending::Files(staging), .. }) = &mut self.writing else {
            return Ok(Err(ErrorCode::ReadOnly));
        };
        let digest = written.digest().map(|digest| digest.to_string());
        let answer = Written { size: written.size, digest };
        staging.push(written.path.clone(), file);
        self.journal(written)?;
        Ok(Ok(answer))
    }

    fn finish_load(&mut self, load: ArchiveUpload) -> wasmtime::Result<Result<Written, ErrorCode>> {
        let (contents, loadable) = match load.finish() {
            Ok(finished) => finished,
            Err(error) => return Ok(Err(self.failed(error))),
        };
        let Some(Writing { pending: Pending::Load(_, waiting), journal }) = &mut self.writing
        else {
            return Ok(Err(ErrorCode::ReadOnly));
        };
        let size = loadable.size();
        journal.record_loaded(contents);
        // A name has one image: an earlier archive is discarded.
        *waiting = Some(Box::new(loadable));
        Ok(Ok(Written { size, digest: None }))
    }

    /// Calls a function on a blob. The time in which a layer is moved to a file, which happens once, is not
    /// counted.
    pub(super) fn at_layer<T>(
        &mut self,
        blob: &Resource<Blob>,
        call: impl FnOnce(&mut Blob, Option<&Destination>) -> T,
    ) -> wasmtime::Result<T> {
        let near = self.writable().cloned();
        let is_ready = |blob: &Blob| matches!(blob, Blob::Layer(layer) if layer.is_ready());
        self.transferring(|state| match state.table.get_mut(blob) {
            Ok(blob) => {
                let was_ready = is_ready(blob);
                let answer = call(blob, near.as_ref());
                let was_moved = !was_ready && is_ready(blob);
                (Ok(answer), (!was_moved).then_some(0))
            }
            Err(cause) => (Err(cause.into()), Some(0)),
        })
    }

    fn sink_result<T>(&mut self, result: Result<T, SinkError>) -> Result<T, ErrorCode> {
        result.map_err(|cause| self.sink_failed(cause))
    }

    pub(super) fn sink_failed(&mut self, cause: SinkError) -> ErrorCode {
        match cause {
            SinkError::State => {
                let rule = "it did not fill a gap in a file whole and once";
                self.noted = Some(violation(&self.plugin, rule));
                ErrorCode::InvalidState
            }
            SinkError::Quota => {
                let rule = format!("it wrote a file in more than {MOST_EXTENTS} pieces");
                self.noted = Some(violation(&self.plugin, rule));
                ErrorCode::QuotaExceeded
            }
            SinkError::Unsupported => ErrorCode::Unsupported,
            SinkError::Failed(error) => self.failed(error),
            SinkError::Io(cause) => {
                let full = cause.kind() == io::ErrorKind::StorageFull;
                let place = self.destination().map(|at| at.folder().display().to_string());
                let place = place.unwrap_or_default();
                self.fail(Error::io(Kind::Destination, "write to", place, &cause));
                if full { ErrorCode::InsufficientSpace } else { ErrorCode::Other(None) }
            }
        }
    }
}

fn splice(blob: &mut Blob, sink: &mut Sink, near: Option<&Destination>) -> Result<Spliced> {
    match sink {
        Sink::File(file) => splice_file(blob, file),
        Sink::Put(put) => splice_file(blob, &mut put.file),
        Sink::Load(load) => match blob {
            Blob::Config { bytes, digest, .. } => {
                load.splice_bytes(bytes.clone(), *digest)?;
                Ok(Hashed { size: bytes.len() as u64, digest: *digest }.into())
            }
            Blob::Layer(layer) => Ok(layer.send(load, near)?.into()),
            Blob::Spent => Err(spent()),
        },
    }
}

fn splice_file(blob: &mut Blob, sink: &mut FileSink) -> Result<Spliced> {
    let spliced = match blob {
        Blob::Config { bytes, digest, .. } => {
            let moved = Hashed { size: bytes.len() as u64, digest: *digest };
            let mut append = || -> Result<(), SinkError> {
                let at = sink.before_content()?;
                std::os::unix::fs::FileExt::write_all_at(sink.file().file(), bytes, at)?;
                sink.after_content(moved)
            };
            append().map(|()| moved.into()).map_err(|cause| match cause {
                SinkError::Io(cause) => write_error(sink.file().file(), &cause),
                _ => Error::new(Kind::Plugin, "a file was written in too many pieces"),
            })
        }
        Blob::Layer(layer) => layer.splice(sink),
        Blob::Spent => Err(spent()),
    };
    spliced.map_err(|error| unwritten(sink.path(), error))
}

/// Adds the file that could not be written: it has no name yet, so that the system's error names only its
/// folder.
fn unwritten(path: &str, error: Error) -> Error {
    match error.kind() {
        Kind::Destination => error.within(format_args!("'{path}'")),
        _ => error,
    }
}

fn spent() -> Error {
    Error::new(Kind::Plugin, "it used a blob that it had moved")
}

//! `blobs`: the content that a plugin was handed, and the sinks that it moves it to.

use std::io;

use bytes::Bytes;
use wasmtime::component::Resource;

use crate::blob::{Moved, write_error};
use crate::error::{Error, Kind, Result};
use crate::image::{Descriptor, Digest};
use crate::output::layer_blob::LayerBlob;
use crate::output::sink::{FileSink, MOST_EXTENTS, SinkError};
use crate::output::staging::Unnamed;
use crate::plugin::bindings::blobs::{Host, HostBlob, HostSink, Written};
use crate::plugin::bindings::types::{self, ErrorCode};
use crate::plugin::limits;
use crate::plugin::state::{State, violation};

/// A blob in a plugin's hand.
pub enum Blob {
    /// The config: small, and in memory.
    Config {
        /// Its media type.
        media_type: &'static str,
        /// Its bytes.
        bytes: Bytes,
        /// Of the bytes.
        digest: Digest,
    },
    /// A layer.
    Layer(Box<LayerBlob>),
}

/// A write in progress.
pub struct Sink(pub FileSink);

impl Host for State {}

impl HostBlob for State {
    fn descriptor(
        &mut self,
        blob: Resource<Blob>,
    ) -> wasmtime::Result<Result<types::Descriptor, ErrorCode>> {
        let destination = self.destination.clone();
        let found = match self.table.get_mut(&blob)? {
            Blob::Config { media_type, bytes, digest } => Ok(Descriptor {
                media_type: (*media_type).to_owned(),
                digest: *digest,
                size: bytes.len() as u64,
            }),
            Blob::Layer(layer) => layer.descriptor(|| scratch(destination)),
        };
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
        let destination = self.destination.clone();
        let len = (len as usize).min(limits::PIECE);
        let bytes = match self.table.get_mut(&blob)? {
            Blob::Config { bytes, .. } => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let end = start.saturating_add(len).min(bytes.len());
                Ok(bytes[start..end].to_vec())
            }
            Blob::Layer(layer) => layer.read(offset, len, || scratch(destination)),
        };
        Ok(self.or_fail(bytes))
    }

    fn drop(&mut self, blob: Resource<Blob>) -> wasmtime::Result<()> {
        self.table.delete(blob)?;
        Ok(())
    }
}

impl HostSink for State {
    fn write(
        &mut self,
        sink: Resource<Sink>,
        bytes: Vec<u8>,
    ) -> wasmtime::Result<Result<(), ErrorCode>> {
        if bytes.len() > limits::PIECE {
            return Ok(Err(self.too_much(limits::PIECE)));
        }
        let written = self.table.get_mut(&sink)?.0.write(&bytes);
        Ok(self.sink_result(written))
    }

    fn pad(&mut self, sink: Resource<Sink>, len: u32) -> wasmtime::Result<Result<(), ErrorCode>> {
        if len > limits::PAD {
            return Ok(Err(self.too_much(limits::PAD as usize)));
        }
        let padded = self.table.get_mut(&sink)?.0.pad(len);
        Ok(self.sink_result(padded))
    }

    fn splice(
        &mut self,
        sink: Resource<Sink>,
        source: Resource<Blob>,
    ) -> wasmtime::Result<Result<u64, ErrorCode>> {
        // A placeholder stands in while both are needed at once.
        let empty = Blob::Config { media_type: "", bytes: Bytes::new(), digest: Digest::of(b"") };
        let mut blob = std::mem::replace(self.table.get_mut(&source)?, empty);
        let size = match self.table.get_mut(&sink) {
            Ok(sink) => splice(&mut blob, &mut sink.0),
            Err(cause) => return Err(cause.into()),
        };
        *self.table.get_mut(&source)? = blob;
        Ok(self.or_fail(size))
    }

    fn reserve(
        &mut self,
        sink: Resource<Sink>,
        len: u32,
    ) -> wasmtime::Result<Result<u64, ErrorCode>> {
        if len as usize > limits::PIECE {
            return Ok(Err(self.too_much(limits::PIECE)));
        }
        let offset = self.table.get_mut(&sink)?.0.reserve(len);
        Ok(self.sink_result(offset))
    }

    fn fill(
        &mut self,
        sink: Resource<Sink>,
        offset: u64,
        bytes: Vec<u8>,
    ) -> wasmtime::Result<Result<(), ErrorCode>> {
        let filled = self.table.get_mut(&sink)?.0.fill(offset, &bytes);
        Ok(self.sink_result(filled))
    }

    fn finish(&mut self, sink: Resource<Sink>) -> wasmtime::Result<Result<Written, ErrorCode>> {
        let mut sink = self.table.delete(sink)?;
        if let Err(code) = self.or_fail(sink.0.keep_promises()) {
            return Ok(Err(code));
        }
        let finished = sink.0.finish();
        Ok(match self.sink_result(finished) {
            Ok((written, file)) => match &mut self.writing {
                Some(writing) => {
                    let answer = Written {
                        size: written.size,
                        digest: written.digest().map(|digest| digest.to_string()),
                    };
                    writing.staging.push(written.path.clone(), file);
                    writing.journal.record_written(written);
                    Ok(answer)
                }
                None => Err(ErrorCode::ReadOnly),
            },
            Err(code) => Err(code),
        })
    }

    fn drop(&mut self, sink: Resource<Sink>) -> wasmtime::Result<()> {
        self.table.delete(sink)?;
        Ok(())
    }
}

impl State {
    /// The guest sees a code; the user will see the reason.
    fn or_fail<T>(&mut self, result: Result<T>) -> Result<T, ErrorCode> {
        result.map_err(|error| {
            let code = match error.kind() {
                Kind::Source | Kind::Network | Kind::Auth | Kind::NotFound => {
                    ErrorCode::SourceFailed
                }
                Kind::Plugin => ErrorCode::InvalidState,
                _ => ErrorCode::Other(None),
            };
            self.fail(match error.kind() {
                Kind::Plugin => violation(&self.plugin, error),
                _ => error,
            });
            code
        })
    }

    /// A call carried more than it may.
    fn too_much(&mut self, limit: usize) -> ErrorCode {
        let rule = format!("it wrote more than {limit} bytes in one call");
        self.noted = Some(violation(&self.plugin, rule));
        ErrorCode::QuotaExceeded
    }

    fn sink_result<T>(&mut self, result: Result<T, SinkError>) -> Result<T, ErrorCode> {
        result.map_err(|cause| match cause {
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
            SinkError::Io(cause) => {
                let full = cause.kind() == io::ErrorKind::StorageFull;
                let place = self.destination.as_ref().map(|at| at.folder().display().to_string());
                let place = place.unwrap_or_default();
                self.fail(Error::io(Kind::Destination, "write to", place, &cause));
                if full { ErrorCode::InsufficientSpace } else { ErrorCode::Other(None) }
            }
        })
    }
}

fn splice(blob: &mut Blob, sink: &mut FileSink) -> Result<u64> {
    match blob {
        Blob::Config { bytes, digest, .. } => {
            let mut append = || -> Result<(), SinkError> {
                let at = sink.before_content()?;
                std::os::unix::fs::FileExt::write_all_at(sink.file().file(), bytes, at)?;
                sink.after_content(Moved { size: bytes.len() as u64, digest: *digest })
            };
            let size = bytes.len() as u64;
            append().map(|()| size).map_err(|cause| match cause {
                SinkError::Io(cause) => write_error(sink.file().file(), &cause),
                _ => Error::new(Kind::Plugin, "a file was written in too many pieces"),
            })
        }
        Blob::Layer(layer) => layer.splice(sink),
    }
}

/// Where a layer goes whose size or bytes were asked for before it was spliced.
fn scratch(destination: Option<crate::output::Destination>) -> io::Result<Unnamed> {
    match destination {
        Some(destination) => Unnamed::create(destination.anchor()),
        None => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

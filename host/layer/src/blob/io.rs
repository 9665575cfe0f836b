//! Small parts of reading: filling buffers, our errors inside [`io::Error`], and which side of a transfer failed.

use std::io::{self, BufRead, Read};

use crate::image::Layer;
use occystrap_base::error::Error;

/// Wraps one of our errors, so that an [`io::Read`] can return it.
pub fn into_io(error: Error) -> io::Error {
    io::Error::other(error)
}

/// Returns the error that [`into_io`] wrapped, or describes what the decompressor or the system reported.
pub fn from_io(cause: io::Error, place: &str) -> Error {
    match cause.downcast::<Error>() {
        Ok(error) => error,
        Err(cause) => match cause.kind() {
            io::ErrorKind::UnexpectedEof => {
                Error::source(format!("{place}: the compressed data ends too early"))
                    .hint("the source is truncated; fetch or save it again")
            }
            io::ErrorKind::Unsupported => Error::source(format!("{place}: {cause}"))
                .hint("decompress it, or compress it with gzip, zstd, xz or bzip2"),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::Other => {
                Error::source(format!("{place}: the compressed data is damaged: {cause}"))
            }
            _ => Error::source(format!("{place}: {}", occystrap_base::error::io_reason(&cause))),
        },
    }
}

/// Reads from a buffered reader: the [`Read::read`] of every type whose own work is in `fill_buf`.
pub fn read_buffered(from: &mut impl BufRead, into: &mut [u8]) -> io::Result<usize> {
    let available = from.fill_buf()?;
    let amount = available.len().min(into.len());
    into[..amount].copy_from_slice(&available[..amount]);
    from.consume(amount);
    Ok(amount)
}

/// Fills a buffer and returns the number of bytes read, which is smaller than the buffer only at the end.
pub(super) fn fill(from: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(filled)
}

/// The side of a transfer that failed.
pub(super) enum Failure {
    /// The source. The cause may contain one of our errors ([`into_io`]).
    Read(io::Error),
    /// The destination, or code that works for it.
    Write(Error),
}

impl Failure {
    /// Returns the error that the user sees. It names the layer where only the system reported a cause.
    pub(super) fn of(self, layer: &Layer) -> Error {
        match self {
            Self::Read(cause) => from_io(cause, &layer.place),
            Self::Write(error) => error,
        }
    }

    /// Returns the failure for a thread that panicked.
    pub(super) fn broke_down() -> Self {
        Self::Write(Error::destination("the thread that was to write a layer broke down"))
    }
}

impl From<io::Error> for Failure {
    fn from(cause: io::Error) -> Self {
        Self::Read(cause)
    }
}

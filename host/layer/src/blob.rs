//! Moving bytes: from where a layer is stored, through decompression, past the hash, to a file,
//! plain or compressed again.
//!
//! Nothing here holds more than a few buffers of a layer, whatever its size.

mod arriving;
pub mod decoder;
mod encoder;
pub mod feed;
mod layers;
mod open;
mod outflow;
mod pieces;
mod pump;
pub mod size_hint;
pub mod stored;
pub mod transfer;
mod walk;
mod written;

pub use decoder::Decoder;
pub use encoder::ENCODING;
pub use layers::{read_layers, side_by_side};
pub use open::{open, open_one};
pub use outflow::rewrite_with;

pub use stored::Stored;
pub use transfer::write_error;
pub use transfer::{as_stored, checked, encoded, uncompressed, unpacked};
pub use walk::{PlainReader, read_checked, read_lenient};

use std::io;

use occystrap_base::error::Error;

/// Carry one of our errors through an [`io::Read`].
pub fn into_io(error: Error) -> io::Error {
    io::Error::other(error)
}

/// Get back what [`into_io`] carried, or describe what the decompressor or the system said.
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

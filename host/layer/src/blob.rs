//! Moving bytes: from where a layer is stored, through decompression and hashing, to a file, uncompressed or
//! compressed again.
//!
//! What it refuses: to hold more than a few buffers of a layer in memory, whatever the size of the layer.

pub mod decoder;
mod encoder;
pub mod feed;
mod io;
mod layer_download;
mod layers;
mod open;
mod pieces;
mod plain_reader;
mod produce;
mod pump;
mod read;
mod rewrite;
pub mod size_hint;
pub mod stored;
pub mod transfer;
mod written;

pub use decoder::Decoder;
pub use encoder::ENCODING;
pub use io::{from_io, into_io, read_buffered};
pub use layers::{read_layers, side_by_side};
pub use open::{open, open_one};
pub use plain_reader::PlainReader;
pub use produce::produce;
pub use read::{read_checked, read_lenient};
pub use rewrite::rewrite_with;
pub use stored::Stored;
pub use transfer::{as_stored, checked, encoded, uncompressed, unpacked};
pub use written::write_error;

//! Compression of a layer: the same bytes for the same content, on all cores.
//!
//! Registries name blobs by their digest, so that a layer that was pushed before is found again
//! only if it is compressed to the same bytes: nothing here depends on the number of threads, the
//! time, the machine, or on how the source hands out its bytes. A newer occystrap may compress
//! differently.
//!
//! What it refuses: to hold more of a layer than a few blocks a thread.

mod blocks;
mod gzip;
mod skim;
mod zstd;

#[cfg(test)]
mod tests;

use std::io::{self, Read};

use super::pump::pump;
use super::transfer::{Failure, Written};
use occystrap_base::files::Hashed;
use occystrap_base::oci::Compression;

/// Which encoders these are. To be raised when the same bytes are compressed to others: what was
/// made of a layer in earlier runs is then made again.
pub const ENCODING: u32 = 1;

/// Compress a plain stream on `threads` threads and put the result where `to` says. Returns what
/// was read; `to` knows what was written. The caller's thread reads; hashing, checksums and
/// writing have one of their own.
pub(super) fn encode(
    from: &mut dyn Read,
    how: Compression,
    threads: usize,
    to: &mut Written<'_>,
) -> Result<Hashed, Failure> {
    let mut plain = Written::new(None, 0);
    match how {
        Compression::None => pump(from, &mut |piece| {
            plain.put(piece)?;
            to.put(piece)
        })?,
        Compression::Gzip => gzip::encode(from, threads, &mut plain, to)?,
        Compression::Zstd => zstd::encode(from, threads, &mut plain, to)?,
        // No image format has a media type for them.
        Compression::Xz | Compression::Bzip2 | Compression::Unsupported(_) => {
            let message = format!("layers are not compressed with {how}");
            return Err(io::Error::new(io::ErrorKind::Unsupported, message).into());
        }
    }
    Ok(plain.finish())
}

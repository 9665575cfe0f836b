//! Compression of a layer on all cores. The same content always gives the same bytes.
//!
//! Registries name blobs by their digest, so a layer that was pushed before is found again only if it is
//! compressed to the same bytes. The result does not depend on the number of threads, the time, the machine, or
//! the sizes in which the source delivers its bytes. A newer occystrap may compress differently.
//!
//! What it refuses: to hold more of a layer than a few blocks per thread.

mod blocks;
mod gzip;
mod skim;
mod zstd;

#[cfg(test)]
mod tests;

use std::io::{self, Read};

use super::io::Failure;
use super::pump::pump;
use super::written::Written;
use occystrap_base::files::Hashed;
use occystrap_base::oci::Compression;

/// Version of the encoders. It must be raised when the same content gives other bytes, so that layers that earlier
/// runs compressed are compressed again.
pub const ENCODING: u32 = 1;

/// Compresses a plain stream on `threads` threads, and writes the result to `to`. Returns size and digest of what
/// was read; `to` has those of what was written. The caller's thread reads; another thread hashes, computes
/// checksums and writes.
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
        // No image format has a media type for these.
        Compression::Xz | Compression::Bzip2 | Compression::Unsupported(_) => {
            let message = format!("layers are not compressed with {how}");
            return Err(io::Error::new(io::ErrorKind::Unsupported, message).into());
        }
    }
    Ok(plain.finish())
}

//! The uncompressed size of a layer, as its stored form states it.
//!
//! The last four bytes of gzip are the size of what was compressed (RFC 1952, 2.3.1), modulo 2^32 and of the last
//! member only. They are not protected, so they are only a hint. What it refuses: a hint that cannot be true.

use std::os::unix::fs::FileExt;

use crate::image::{Content, Layer};
use occystrap_base::oci::Compression;

/// Compressed size from which a gzip layer may be more than 4 GiB uncompressed, which four bytes cannot express.
const LARGEST_GZIP: u64 = 512 * 1024 * 1024;

/// The best ratio of deflate (zlib's technical details: 1032:1).
const BEST_RATIO: u64 = 1032;

/// The size at the end of a gzip stream.
const TRAILER: u64 = 4;

/// Returns the uncompressed size, in bytes, that the end of a gzip layer states, if that can be true. Never fails.
pub async fn gzip(layer: &Layer) -> Option<u64> {
    if layer.size >= LARGEST_GZIP {
        return None;
    }
    let trailer: [u8; TRAILER as usize] = last_bytes(layer).await?;
    let size = u64::from(u32::from_le_bytes(trailer));
    let possible = layer.size..=layer.size.saturating_mul(BEST_RATIO);
    possible.contains(&size).then_some(size)
}

/// Returns how a layer is compressed: by its first bytes, or by its media type where the bytes are not here.
pub fn compression(layer: &Layer) -> Option<Compression> {
    match &layer.content {
        Content::File(section) => {
            let mut magic = [0; Compression::MAGIC_LENGTH];
            section.file.read_exact_at(&mut magic, section.offset).ok()?;
            Some(Compression::detect(&magic))
        }
        Content::Registry(_) if layer.media_type.ends_with("gzip") => Some(Compression::Gzip),
        Content::Registry(_) if layer.media_type.ends_with("tar") => Some(Compression::None),
        Content::Registry(_) | Content::Elsewhere(_) => None,
    }
}

async fn last_bytes<const N: usize>(layer: &Layer) -> Option<[u8; N]> {
    let start = layer.size.checked_sub(N as u64)?;
    match &layer.content {
        Content::File(section) => {
            let mut bytes = [0; N];
            section.file.read_exact_at(&mut bytes, section.offset + start).ok()?;
            Some(bytes)
        }
        Content::Registry(repository) => {
            let tail = repository.blob_tail(&layer.descriptor(), start).await.ok()?;
            tail.as_ref().try_into().ok()
        }
        // Not worth an extra request: the server may not support ranges.
        Content::Elsewhere(_) => None,
    }
}

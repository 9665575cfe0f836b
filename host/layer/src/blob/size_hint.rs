//! How large a layer is once it is unpacked, as its stored form says.
//!
//! gzip's last four bytes are the size of what was compressed (RFC 1952, 2.3.1), modulo 2^32 and of the last member
//! only, and anyone can have written them: a hint, which may be wrong. What it refuses: a hint that cannot be true.

use std::os::unix::fs::FileExt;

use super::stored::descriptor;
use crate::image::{Content, Layer};
use occystrap_base::oci::Compression;

/// A larger gzip layer may well be more than 4 GiB unpacked, which four bytes cannot say.
const LARGEST_GZIP: u64 = 512 * 1024 * 1024;

/// Deflate cannot do better (zlib's technical details: 1032:1).
const BEST_RATIO: u64 = 1032;

/// The size at the end of a gzip stream.
const TRAILER: u64 = 4;

/// Returns what the end of a gzip layer says of its size unpacked, in bytes, where that can be true. Never fails.
pub async fn gzip(layer: &Layer) -> Option<u64> {
    if layer.size >= LARGEST_GZIP {
        return None;
    }
    let trailer: [u8; TRAILER as usize] = last_bytes(layer).await?;
    let size = u64::from(u32::from_le_bytes(trailer));
    let possible = layer.size..=layer.size.saturating_mul(BEST_RATIO);
    possible.contains(&size).then_some(size)
}

/// Returns how a layer is compressed: as its first bytes say, or its media type where they are not at hand.
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
            let tail = repository.blob_tail(&descriptor(layer), start).await.ok()?;
            tail.as_ref().try_into().ok()
        }
        // Not worth a request of its own to a server that need not know ranges.
        Content::Elsewhere(_) => None,
    }
}

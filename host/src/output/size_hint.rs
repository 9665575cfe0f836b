//! How large layers will be once they are unpacked, as their stored form says: hints, which
//! nothing rests on.
//!
//! A member of an archive begins where the one before it ends. Who knows all sizes beforehand can
//! write all members side by side. gzip's last four bytes are the size of what was compressed
//! (RFC 1952, 2.3.1), modulo 2^32 and of the last member only, and anyone can have written them.
//! So a hint that turns out wrong costs time, the write is begun anew without any, and nothing
//! else depends on it. What it refuses: hints that are wrong on the face of it, and to wait long.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::ahead::Taken;
use super::layer_blob::Form;
use crate::blob::stored::descriptor;
use crate::context::Context;
use crate::image::{Compression, Content, Layer};

/// Below this size of an image (in bytes, as it is stored) there is less to gain than a request a
/// layer costs: it is unpacked in a tenth of a second.
const WORTHWHILE: u64 = 32 * 1024 * 1024;

/// A larger gzip layer may well be more than 4 GiB unpacked, which four bytes cannot say.
const LARGEST_GZIP: u64 = 512 * 1024 * 1024;

/// Deflate cannot do better (zlib's technical details: 1032:1).
const BEST_RATIO: u64 = 1032;

/// The size at the end of a gzip stream.
const TRAILER: u64 = 4;

/// Where a registry takes longer than this to answer, the network is what a pull waits for, and
/// nothing is gained by unpacking faster.
const PATIENCE: Duration = Duration::from_millis(50);

/// Whether hints may be used, and whether one was wrong. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct SizeHints {
    wrong: Arc<AtomicBool>,
    patience: Duration,
}

impl Default for SizeHints {
    fn default() -> Self {
        Self::within(PATIENCE)
    }
}

impl SizeHints {
    /// Hints that come within this time.
    #[must_use]
    pub fn within(patience: Duration) -> Self {
        Self { wrong: Arc::default(), patience }
    }

    /// A layer was of another size.
    pub fn blame(&self) {
        self.wrong.store(true, Ordering::Relaxed);
    }

    /// Whether a layer was of another size: what was written is of no use.
    #[must_use]
    pub fn were_wrong(&self) -> bool {
        self.wrong.load(Ordering::Relaxed)
    }

    /// The size of each layer in the form that was asked for; nothing unless all are known and it
    /// is worth while. Never fails, for it does not matter.
    #[must_use]
    pub fn of(&self, layers: &[Taken], context: &Context) -> Option<Vec<u64>> {
        let stored: u64 = layers.iter().map(|taken| taken.layer.size).fold(0, u64::saturating_add);
        if layers.len() < 2 || stored < WORTHWHILE || self.were_wrong() {
            return None;
        }
        let sizes = stream::iter(layers.iter().map(size)).buffered(context.parallel.max(1));
        let sizes = sizes.map(|size| size.ok_or(())).try_collect::<Vec<u64>>();
        let sizes = async { tokio::time::timeout(self.patience, sizes).await };
        let sizes = context.runtime.block_on(sizes).ok()?.ok();
        tracing::debug!(?sizes, "sizes that layers say they have");
        sizes
    }
}

async fn size(taken: &Taken) -> Option<u64> {
    let layer = &taken.layer;
    match taken.form {
        Form::Stored => return Some(layer.size),
        Form::Uncompressed => {}
        Form::Compressed(_) => return None,
    }
    match compression(layer)? {
        Compression::None => Some(layer.size),
        Compression::Gzip => gzip(layer).await,
        Compression::Zstd | Compression::Xz | Compression::Bzip2 | Compression::Unsupported(_) => {
            None
        }
    }
}

/// What the end of a gzip layer says of its size unpacked, where that makes sense. Never fails.
pub(crate) async fn gzip(layer: &Layer) -> Option<u64> {
    if layer.size >= LARGEST_GZIP {
        return None;
    }
    let trailer: [u8; TRAILER as usize] = last_bytes(layer).await?;
    let size = u64::from(u32::from_le_bytes(trailer));
    let possible = layer.size..=layer.size.saturating_mul(BEST_RATIO);
    possible.contains(&size).then_some(size)
}

/// As its first bytes say, or its media type where they are not at hand.
fn compression(layer: &Layer) -> Option<Compression> {
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

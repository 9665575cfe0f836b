//! Uncompressed sizes of layers, as far as they are known without fetching a layer.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use futures_util::{StreamExt, stream};

use crate::source::view::{View, ViewedLayer};
use occystrap_base::oci::{Compression, Digest};
use occystrap_layer::blob::size_hint;
use occystrap_layer::image::{Content, Layer};
use occystrap_net::context::Context;

/// How long sizes are requested: they are useful, but not worth a longer wait. One request per layer, `-j` in parallel, to
/// a distant registry takes one or two seconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// The largest header of a zstd frame in bytes (RFC 8878, 3.1.1.1).
const FRAME_HEADER: usize = 18;

/// An uncompressed size, and whether it is certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnpackedSize {
    /// Size in bytes.
    pub bytes: u64,
    /// Whether it is certain: `false` if it comes from the compressed form or from an engine.
    pub exact: bool,
}

/// Returns the uncompressed size of each layer; `None` if it is not known. Never fails.
pub fn sizes(view: &View, context: &Context) -> Vec<Option<UnpackedSize>> {
    let found = stream::iter(view.layers.iter().enumerate())
        .map(|(index, kept)| async move { (index, size(kept).await) })
        .buffered(context.parallel.max(1));
    let mut sizes = vec![None; view.layers.len()];
    context.runtime.block_on(async {
        let mut found = std::pin::pin!(found.take_until(tokio::time::sleep(PATIENCE)));
        while context.cancel.check().is_ok()
            && let Some((index, size)) = found.next().await
        {
            sizes[index] = size;
        }
    });
    sizes
}

/// Returns the uncompressed size of one layer.
async fn size(kept: &ViewedLayer) -> Option<UnpackedSize> {
    if let Some(bytes) = kept.counted {
        return Some(UnpackedSize { bytes, exact: false });
    }
    let stored = kept.size.or(kept.promised.size)?;
    match kept.compression? {
        Compression::None => Some(UnpackedSize { bytes: stored, exact: true }),
        Compression::Gzip => {
            let bytes = size_hint::gzip(&as_layer(kept, stored)?).await?;
            Some(UnpackedSize { bytes, exact: false })
        }
        Compression::Zstd => {
            let bytes = frame_size(kept.content.as_ref()?, stored)?;
            Some(UnpackedSize { bytes, exact: false })
        }
        Compression::Xz | Compression::Bzip2 | Compression::Unsupported(_) => None,
    }
}

/// Returns the size in the header of the first zstd frame. The layer may have more frames.
fn frame_size(content: &Content, stored: u64) -> Option<u64> {
    let Content::File(section) = content else { return None };
    let mut header = [0; FRAME_HEADER];
    let length = FRAME_HEADER.min(usize::try_from(stored).unwrap_or(FRAME_HEADER));
    section.file.read_exact_at(&mut header[..length], section.offset).ok()?;
    let size = zstd::zstd_safe::get_frame_content_size(&header[..length]).ok()??;
    // A smaller size is that of a part of the layer.
    (size >= stored).then_some(size)
}

/// Returns a viewed layer in the form in which it can be read.
fn as_layer(kept: &ViewedLayer, size: u64) -> Option<Layer> {
    let digest = kept.promised.digest;
    Some(Layer {
        diff_id: digest.unwrap_or_else(|| Digest::of(b"")),
        opaque: false,
        digest,
        size,
        media_type: kept.promised.media_type.clone().unwrap_or_default(),
        content: kept.content.clone()?,
        place: kept.called.clone(),
    })
}

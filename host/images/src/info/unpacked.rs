//! How large layers are once they are unpacked, as far as that is known without fetching them.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use futures_util::{StreamExt, stream};

use crate::source::view::{View, ViewedLayer};
use occystrap_base::oci::{Compression, Digest};
use occystrap_layer::blob::size_hint;
use occystrap_layer::image::{Content, Layer};
use occystrap_net::context::Context;

/// Nobody waits longer for what is nice to know. A request a layer, `-j` side by side, to a registry
/// at the other end of the world takes a second or two.
const PATIENCE: Duration = Duration::from_secs(5);

/// A zstd frame's header has at most this many bytes (RFC 8878, 3.1.1.1).
const FRAME_HEADER: usize = 18;

/// A size, and whether it is certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpacked {
    /// In bytes.
    pub bytes: u64,
    /// Not what the compressed form, or an engine, says about it.
    pub exact: bool,
}

/// The size of each layer, unpacked; `None` where it is not known. Never fails.
pub fn sizes(view: &View, context: &Context) -> Vec<Option<Unpacked>> {
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

async fn size(kept: &ViewedLayer) -> Option<Unpacked> {
    if let Some(bytes) = kept.counted {
        return Some(Unpacked { bytes, exact: false });
    }
    let stored = kept.size.or(kept.promised.size)?;
    match kept.compression? {
        Compression::None => Some(Unpacked { bytes: stored, exact: true }),
        Compression::Gzip => {
            let bytes = size_hint::gzip(&as_layer(kept, stored)?).await?;
            Some(Unpacked { bytes, exact: false })
        }
        Compression::Zstd => {
            let bytes = frame_size(kept.content.as_ref()?, stored)?;
            Some(Unpacked { bytes, exact: false })
        }
        Compression::Xz | Compression::Bzip2 | Compression::Unsupported(_) => None,
    }
}

/// What the first frame says; there may be more.
fn frame_size(content: &Content, stored: u64) -> Option<u64> {
    let Content::File(section) = content else { return None };
    let mut header = [0; FRAME_HEADER];
    let length = FRAME_HEADER.min(usize::try_from(stored).unwrap_or(FRAME_HEADER));
    section.file.read_exact_at(&mut header[..length], section.offset).ok()?;
    let size = zstd::zstd_safe::get_frame_content_size(&header[..length]).ok()??;
    // A frame of a part says less than the layer has.
    (size >= stored).then_some(size)
}

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

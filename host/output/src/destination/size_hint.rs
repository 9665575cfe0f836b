//! Sizes of all layers of an image in the form that a plugin asked for, known before they are unpacked.
//!
//! A member of an archive begins where the one before it ends: with all sizes known, all members are written side by
//! side. The sizes are hints (`blob/size_hint.rs`): a wrong one costs time, the write is begun anew without any, and
//! nothing else depends on it. What it refuses: to wait long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::planned_layer::{PlannedLayer, RequestedForm};
use occystrap_base::oci::Compression;
use occystrap_layer::blob::size_hint::{compression, gzip};
use occystrap_net::context::Context;

/// Images below this stored size, in bytes, get no hints: unpacking one takes a tenth of a second, and one request per
/// layer takes longer.
const WORTHWHILE: u64 = 32 * 1024 * 1024;

/// If a registry takes longer than this to answer, the network limits the pull, and faster unpacking gains
/// nothing.
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
    /// Returns hints that are used if they come within this time.
    #[must_use]
    pub fn within(patience: Duration) -> Self {
        Self { wrong: Arc::default(), patience }
    }

    /// Notes that a layer was of another size.
    pub fn fail(&self) {
        self.wrong.store(true, Ordering::Relaxed);
    }

    /// Returns whether a layer had another size, so that the written archive is of no use.
    #[must_use]
    pub fn were_wrong(&self) -> bool {
        self.wrong.load(Ordering::Relaxed)
    }

    /// Returns the size of each layer in bytes, in the form that was asked for; `None` unless all are known and it
    /// is worth while. A failure is no error: the sizes only save time.
    #[must_use]
    pub fn of(&self, layers: &[PlannedLayer], context: &Context) -> Option<Vec<u64>> {
        let stored: u64 =
            layers.iter().map(|planned| planned.layer.size).fold(0, u64::saturating_add);
        if layers.len() < 2 || stored < WORTHWHILE || self.were_wrong() {
            return None;
        }
        let sizes = stream::iter(layers.iter().map(size)).buffered(context.parallel.max(1));
        let sizes = sizes.map(|size| size.ok_or(())).try_collect::<Vec<u64>>();
        let sizes = async { tokio::time::timeout(self.patience, sizes).await };
        let sizes = context.runtime.block_on(sizes).ok()?.ok();
        tracing::debug!(?sizes, "sizes of layers, as their sources state them");
        sizes
    }
}

async fn size(planned: &PlannedLayer) -> Option<u64> {
    let layer = &planned.layer;
    match planned.form {
        RequestedForm::Stored => return Some(layer.size),
        RequestedForm::Uncompressed => {}
        RequestedForm::Compressed(_) => return None,
    }
    match compression(layer)? {
        Compression::None => Some(layer.size),
        Compression::Gzip => gzip(layer).await,
        Compression::Zstd | Compression::Xz | Compression::Bzip2 | Compression::Unsupported(_) => {
            None
        }
    }
}

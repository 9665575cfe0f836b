//! An entry of the layer cache, and how many entries are kept.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::key::LayerKey;
use crate::receipt::{Place, Receipt, Role};
use occystrap_base::oci::Digest;

/// Number of entries. One takes some 400 bytes, so that the file stays below 4 MB.
pub const MOST_ENTRIES: usize = 10_000;

/// Seconds after which an unused entry is removed: 90 days.
pub const LONGEST_UNUSED: u64 = 90 * 24 * 60 * 60;

/// A layer as an earlier run wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct CachedLayer {
    /// Diff-id of the layer that came out of the filters.
    pub diff_id: Digest,
    /// Digest of the blob at the destination.
    pub blob: Digest,
    /// Size of the blob in bytes.
    pub size: u64,
    /// Media type of the blob.
    pub media_type: String,
    /// Place of the blob, at a destination that has files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<FilePlace>,
    /// The layer as its source stores it, where the source says that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<StoredLayer>,
    /// Time of the last use, in seconds since 1970.
    pub used: u64,
}

/// A layer as a source stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct StoredLayer {
    /// Digest of the stored bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
}

/// A place in a file of the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct FilePlace {
    /// Relative to the destination.
    pub path: String,
    /// Offset in the file, in bytes.
    pub offset: u64,
}

/// All entries, by key.
pub type Entries = BTreeMap<LayerKey, CachedLayer>;

/// Entries to be added, and keys to be removed (`None`).
pub type Changes = BTreeMap<LayerKey, Option<CachedLayer>>;

/// Removes entries that were not used for [`LONGEST_UNUSED`], and the oldest ones beyond [`MOST_ENTRIES`].
pub fn bound(entries: &mut Entries) {
    let oldest = now().saturating_sub(LONGEST_UNUSED);
    entries.retain(|_, known| known.used >= oldest);
    if entries.len() > MOST_ENTRIES {
        let mut used: Vec<u64> = entries.values().map(|known| known.used).collect();
        used.sort_unstable_by(|one, other| other.cmp(one));
        let last = used[MOST_ENTRIES - 1];
        let mut spare = entries.len() - MOST_ENTRIES;
        entries.retain(|_, known| {
            let goes = known.used <= last && spare > 0;
            spare -= usize::from(goes);
            !goes
        });
    }
}

/// Returns digest and size of a layer as it was written, and its place where it is in a file.
pub fn landed(receipt: &Receipt, index: usize) -> Option<(Digest, u64, Option<FilePlace>)> {
    let index = u32::try_from(index).ok()?;
    let layers = receipt.expectations.iter().filter(|one| one.role == Role::Layer(index));
    layers
        .filter_map(|layer| {
            let at = |path: &String, offset| Some(FilePlace { path: path.clone(), offset });
            let (digest, at) = match &layer.place {
                Place::Blob { digest } => (*digest, None),
                Place::File { path } => (layer.digest?, at(path, 0)),
                Place::Part { path, offset, .. } => (layer.digest?, at(path, *offset)),
                _ => return None,
            };
            Some((digest, layer.size?, at))
        })
        .next()
}

/// Returns the time in seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

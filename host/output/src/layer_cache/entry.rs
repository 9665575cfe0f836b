//! What is known of one layer, and how much of that is kept.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::key::Key;
use crate::receipt::{Place, Receipt, Role};
use occystrap_base::oci::Digest;

/// Layers that are remembered. An entry has some 400 bytes, so that the file stays below 4 MB.
pub const MOST_ENTRIES: usize = 10_000;

/// An entry that was not needed for so long, in seconds, is forgotten: 90 days.
pub const LONGEST_UNUSED: u64 = 90 * 24 * 60 * 60;

/// What became of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Of what came out of the filters.
    pub diff_id: Digest,
    /// Digest of what the destination has.
    pub blob: Digest,
    /// Of that, in bytes.
    pub size: u64,
    /// Of that.
    pub media_type: String,
    /// Where it lies, where the destination has files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<At>,
    /// When that was last of use, in seconds since 1970.
    pub used: u64,
}

/// A place in a file of the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    /// Relative to the destination.
    pub path: String,
    /// In bytes.
    pub offset: u64,
}

/// All that is known.
pub type Entries = BTreeMap<Key, Known>;

/// What was learned; `None` is to be forgotten.
pub type Changes = BTreeMap<Key, Option<Known>>;

/// Forget what was not needed for long, and the oldest of too many.
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

/// As what a layer landed, how large, and where, where that is in a file.
pub fn landed(receipt: &Receipt, index: usize) -> Option<(Digest, u64, Option<At>)> {
    let index = u32::try_from(index).ok()?;
    let layers = receipt.expectations.iter().filter(|one| one.role == Role::Layer(index));
    layers
        .filter_map(|layer| {
            let at = |path: &String, offset| Some(At { path: path.clone(), offset });
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

/// In seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

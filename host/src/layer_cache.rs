//! What became of layers in earlier runs (`--layer-cache FILE`): which one came out of the filters,
//! and as which blob it went to a registry. A layer of which that is known, and whose blob the
//! destination still has, is neither fetched nor compressed again.
//!
//! An entry is about one layer, one chain of filters and one compression. It says what to look for,
//! never that it is there: that is asked for, and a byte of it read. A layer that goes as the source has
//! it is never replaced by another form of it. What it refuses: a file that was damaged, which begins
//! anew. What it trusts: that the blob of an entry is what became of the entry's layer; entries of an
//! image that FAILED are forgotten.

mod file;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use file::takes;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::blob::{ENCODING, checked, open_one};
use crate::context::Context;
use crate::error::{Kind, Result};
use crate::filter::Filters;
use crate::image::{Compression, Content, Digest, Image, Layer};
use crate::layer_tar::writer::SPELLING;
use crate::output::Target;
use crate::output::remote::Remote;
use crate::output::target::Place as TargetPlace;
use crate::parallel::in_parallel;
use crate::receipt::{Place, Receipt, Role};

/// Layers that are remembered. An entry has some 400 bytes, so that the file stays below 4 MB.
pub const MOST_ENTRIES: usize = 10_000;

/// An entry that was not needed for so long, in seconds, is forgotten: 90 days.
pub const LONGEST_UNUSED: u64 = 90 * 24 * 60 * 60;

/// A blob that is not larger, in bytes, is read and unpacked before it stands for a layer: 64 KiB come
/// as fast as the answer that it is there. Most layers are smaller.
const SMALL: u64 = 64 * 1024;

/// A layer, and what is to be done with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Key {
    /// Diff-id at the source.
    layer: Digest,
    /// What it goes through, each filter with its options.
    filters: Vec<String>,
    /// How it is compressed then.
    compression: String,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    diff_id: Digest,
    blob: Digest,
    size: u64,
    media_type: String,
    /// When that was last of use, in seconds since 1970.
    used: u64,
}

type Entries = BTreeMap<Key, Known>;
type Changes = BTreeMap<Key, Option<Known>>;

/// The memory of earlier runs, and of this one.
pub struct LayerCache {
    path: PathBuf,
    /// As the file had them, and what this run added.
    entries: Mutex<Entries>,
    /// What this run added or made use of, and has not yet written; `None` is to be forgotten.
    fresh: Mutex<Changes>,
}

impl LayerCache {
    /// Read a cache; one that is not there yet is empty. Errors when it cannot be read, or when its
    /// folder is not there. What is damaged begins anew.
    pub fn open(path: &Path) -> Result<Self> {
        let entries = file::read(path)?;
        Ok(Self { path: path.to_owned(), entries: Mutex::new(entries), fresh: Mutex::default() })
    }

    /// Whether it is of use for a destination.
    #[must_use]
    pub fn serves(target: &Target) -> bool {
        matches!(target.place, TargetPlace::Repository(..))
    }

    /// Layers of an image as the destination has them already: `None` where that is not known, or
    /// not so any more.
    pub fn known(
        &self,
        image: &Image,
        filters: &Filters,
        target: &Target,
        context: &Context,
    ) -> Result<Vec<Option<Layer>>> {
        let (Some(keys), TargetPlace::Repository(reference, client)) =
            (keys(image, filters, target), &target.place)
        else {
            return Ok(vec![None; image.layers.len()]);
        };
        let repository = client.repository(reference, context.counters.clone())?;
        let remote = Remote::new(repository.clone(), context);
        let jobs: Vec<(&Layer, Key)> = image.layers.iter().zip(keys).collect();
        Ok(in_parallel(&jobs, context.parallel, |(layer, key)| {
            let known = lock(&self.entries).get(key).cloned()?;
            if filters.is_empty() && known.diff_id != layer.diff_id {
                // It only was compressed.
                return self.doubt(layer, key);
            }
            // What the filters leave as it is keeps the form that the source has it in.
            let there = layer.diff_id == known.diff_id
                && (layer.digest == Some(known.blob) || goes_as_it_is(layer, target));
            let found = match there {
                true => (*layer).clone(),
                false => Layer {
                    diff_id: known.diff_id,
                    digest: Some(known.blob),
                    size: known.size,
                    media_type: known.media_type.clone(),
                    content: Content::Registry(repository.clone()),
                    ..(*layer).clone()
                },
            };
            if !there {
                // Who cannot be asked now will be asked again, and then it is an error.
                match remote.stat_blob(known.blob) {
                    Ok(Some(size)) if size == known.size => {}
                    _ => return None,
                }
                if known.size <= SMALL {
                    match checked(&found, open_one(&found, context)?) {
                        Ok(()) => {}
                        Err(error) if error.kind() == Kind::Source => {
                            return self.doubt(layer, key);
                        }
                        Err(_) => return None,
                    }
                }
                tracing::info!("{}: known from an earlier run as {}", layer.place, known.blob);
            }
            let used = Known { used: now(), ..known.clone() };
            lock(&self.fresh).insert(key.clone(), Some(used));
            Some(found)
        }))
    }

    /// An entry that cannot be right.
    fn doubt(&self, layer: &Layer, key: &Key) -> Option<Layer> {
        tracing::warn!("{}: what the layer cache has of it is not so, and made again", layer.place);
        lock(&self.entries).remove(key);
        None
    }

    /// Remember what became of an image. `after` is what came out of the filters.
    pub fn learn(
        &self,
        image: &Image,
        after: &Image,
        filters: &Filters,
        target: &Target,
        receipt: &Receipt,
    ) {
        let Some(keys) = keys(image, filters, target) else { return };
        for (index, (key, after)) in keys.into_iter().zip(&after.layers).enumerate() {
            let before = image.layers.get(index).and_then(|layer| layer.digest);
            let Some((blob, size)) = pushed(receipt, index) else { continue };
            if filters.is_empty() && before == Some(blob) {
                // The source says so itself.
                continue;
            }
            let media_type = match after.digest == Some(blob) {
                true => after.media_type.clone(),
                false => compression(target).layer_media_type().to_owned(),
            };
            let known = Known { diff_id: after.diff_id, blob, size, media_type, used: now() };
            lock(&self.entries).insert(key.clone(), known.clone());
            lock(&self.fresh).insert(key, Some(known));
        }
    }

    /// Forget what was known of an image that is not what it must be.
    pub fn forget(&self, image: &Image, filters: &Filters, target: &Target) {
        let mut entries = lock(&self.entries);
        let known = |key: &Key| entries.remove(key).is_some();
        let keys = keys(image, filters, target).into_iter().flatten();
        let forgotten: Changes = keys.filter(known).map(|key| (key, None)).collect();
        if !forgotten.is_empty() {
            tracing::warn!("the layer cache forgets what it knew of {}", image.name);
            lock(&self.fresh).extend(forgotten);
        }
    }

    /// Add what this run learned to the file, beside what others added meanwhile. Errors when it
    /// cannot be written.
    pub fn save(&self) -> Result<()> {
        let fresh = std::mem::take(&mut *lock(&self.fresh));
        if fresh.is_empty() {
            return Ok(());
        }
        file::update(&self.path, |entries| {
            for (key, known) in fresh {
                match known {
                    Some(known) => entries.insert(key, known),
                    None => entries.remove(&key),
                };
            }
            bound(entries);
        })
    }
}

/// Forget what was not needed for long, and the oldest of too many.
fn bound(entries: &mut Entries) {
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

/// What is to be done with each layer; `None` where a filter wants to see every layer.
fn keys(image: &Image, filters: &Filters, target: &Target) -> Option<Vec<Key>> {
    let filters = filters.keys()?;
    let spelled = filters.into_iter().map(|filter| format!("{filter} (tar {SPELLING})"));
    let spelled: Vec<String> = spelled.collect();
    let compression = format!("{} {ENCODING}", asked(target).unwrap_or("as it is, or gzip"));
    let key = |layer: &Layer| Key {
        layer: layer.diff_id,
        filters: spelled.clone(),
        compression: compression.clone(),
    };
    Some(image.layers.iter().map(key).collect())
}

fn asked(target: &Target) -> Option<&str> {
    let option = target.options.iter().find(|(name, _)| name == "compression");
    option.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
}

/// Whether a layer keeps its stored form on its way, where no filter changes it.
fn goes_as_it_is(layer: &Layer, target: &Target) -> bool {
    // As 'plugins/manifest' decides.
    match asked(target) {
        None => ["gzip", "zstd"].iter().any(|form| layer.media_type.ends_with(form)),
        Some(form) => layer.media_type.ends_with(form),
    }
}

fn compression(target: &Target) -> Compression {
    match asked(target) {
        Some("zstd") => Compression::Zstd,
        _ => Compression::Gzip,
    }
}

/// As which blob a layer landed.
fn pushed(receipt: &Receipt, index: usize) -> Option<(Digest, u64)> {
    let index = u32::try_from(index).ok()?;
    receipt.expectations.iter().find_map(|expectation| match expectation {
        expectation if expectation.role != Role::Layer(index) => None,
        expectation => match (&expectation.place, expectation.size) {
            (Place::Blob { digest }, Some(size)) => Some((*digest, size)),
            _ => None,
        },
    })
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

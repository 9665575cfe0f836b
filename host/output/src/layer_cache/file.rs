//! The file of a layer cache: it is read as a whole, changed under a lock, and replaced in one step.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::entry::{CachedLayer, Entries};
use super::key::LayerKey;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::lock;
use occystrap_base::files::new_file::{NewFile, folder};
use occystrap_base::files::state_file::StateFile;
use occystrap_base::oci::Digest;

/// The version of the JSON.
const VERSION: u32 = 2;

/// The cache as a state file. Its [`MOST_ENTRIES`](super::entry::MOST_ENTRIES) need a tenth of `largest`.
pub const LAYER_CACHE: StateFile =
    StateFile { what: "layer cache", largest: 64 * 1024 * 1024, is_one: is_cache };

/// The first bytes of a cache, also of a damaged one.
const BEGINNING: &[u8] = b"{\"occystrap_layer_cache\":";

/// Longest wait for the lock. Other processes hold it while they read a cache and write it.
const LOCK_WAIT: Duration = Duration::from_secs(10);

#[derive(Serialize, Deserialize)]
#[serde(expecting = "an object")]
#[serde(deny_unknown_fields)]
struct Document {
    occystrap_layer_cache: u32,
    /// Digest of the text of `entries`. Damage there could replace one layer by another.
    sha256: Digest,
    entries: Box<RawValue>,
}

#[derive(Serialize, Deserialize)]
#[serde(expecting = "an object")]
#[serde(deny_unknown_fields)]
struct FileEntry {
    key: LayerKey,
    known: CachedLayer,
}

/// Reads a cache, and warns when it is damaged. Errors when it cannot be read.
pub fn read(path: &Path) -> Result<Entries> {
    Ok(sound(path)?.unwrap_or_else(|| {
        let path = path.display();
        tracing::warn!(
            "the layer cache '{path}' is damaged, or has another version: an empty one replaces it"
        );
        Entries::new()
    }))
}

/// Returns the entries of a cache; `None` where it is damaged. Errors when it cannot be read, or is no cache.
fn sound(path: &Path) -> Result<Option<Entries>> {
    if !folder(path).is_dir() {
        let message = format!("the folder of the layer cache '{}' is not there", path.display());
        return Err(Error::usage(message));
    }
    let real = LAYER_CACHE.resolve(path)?;
    match occystrap_base::files::regular::read(&real, LAYER_CACHE.largest) {
        Ok(bytes) if bytes.is_empty() => Ok(Some(Entries::new())),
        Ok(bytes) => Ok(parse(&bytes)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Some(Entries::new())),
        Err(cause) => Err(Error::io(Kind::Usage, "read the layer cache", path.display(), &cause)),
    }
}

fn is_cache(bytes: &[u8]) -> bool {
    bytes.starts_with(BEGINNING)
}

fn parse(bytes: &[u8]) -> Option<Entries> {
    let document: Document = serde_json::from_slice(bytes).ok()?;
    let entries = document.entries.get();
    let sound = document.occystrap_layer_cache == VERSION
        && Digest::of(entries.as_bytes()) == document.sha256;
    if !sound {
        return None;
    }
    let entries: Vec<FileEntry> = serde_json::from_str(entries).ok()?;
    Some(entries.into_iter().map(|FileEntry { key, known }| (key, known)).collect())
}

/// Returns whether these bytes are read as a cache, either whole or as its entries with the right digest.
/// Fuzzers need the latter: they cannot find a digest by trying.
#[must_use]
pub fn takes(bytes: &[u8]) -> bool {
    let whole = parse(bytes).is_some();
    let Ok(entries) = serde_json::from_slice::<Box<RawValue>>(bytes) else { return whole };
    let sha256 = Digest::of(entries.get().as_bytes());
    let document = Document { occystrap_layer_cache: VERSION, sha256, entries };
    whole || serde_json::to_vec(&document).is_ok_and(|bytes| parse(&bytes).is_some())
}

/// Changes a cache that other processes may change at the same time. Errors when it cannot be written, or when
/// the file is no cache any more.
pub fn update(path: &Path, cancel: &Cancel, change: impl FnOnce(&mut Entries)) -> Result<()> {
    let failed = |cause: &io::Error| LAYER_CACHE.write_failed(path, cause);
    let real = LAYER_CACHE.resolve(path)?;
    // The lock is on the folder: it leaves no lock file behind.
    let _lock = lock::folder(Kind::Destination, folder(&real), LOCK_WAIT, cancel)?;
    // The warning about a damaged cache was shown when it was opened.
    let mut entries = sound(&real)?.unwrap_or_default();
    change(&mut entries);
    let listed: Vec<FileEntry> =
        entries.into_iter().map(|(key, known)| FileEntry { key, known }).collect();
    let damaged = |cause: serde_json::Error| failed(&io::Error::other(cause));
    let entries = serde_json::value::to_raw_value(&listed).map_err(damaged)?;
    let document = Document {
        occystrap_layer_cache: VERSION,
        sha256: Digest::of(entries.get().as_bytes()),
        entries,
    };
    let bytes = serde_json::to_vec(&document).map_err(damaged)?;
    let new = NewFile::at(&real).map_err(|cause| failed(&cause))?;
    let written = new.file().write_all(&bytes).and_then(|()| new.publish());
    written.map_err(|cause| failed(&cause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer_cache::entry;

    fn entries(numbers: std::ops::Range<u64>, used: u64) -> Entries {
        let entry = |number: u64| {
            let digest = Digest::of(&number.to_be_bytes());
            let key = LayerKey {
                layer: digest,
                filters: Vec::new(),
                compression: "gzip 1".into(),
                output: "registry".into(),
            };
            let media_type = "x".to_owned();
            (
                key,
                CachedLayer {
                    diff_id: digest,
                    blob: digest,
                    size: number,
                    media_type,
                    at: None,
                    source: None,
                    used,
                },
            )
        };
        numbers.map(entry).collect()
    }

    #[test]
    fn written_values_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        assert_eq!(read(&path).unwrap(), Entries::new());
        update(&path, &Cancel::default(), |known| known.extend(entries(0..3, 7))).unwrap();
        update(&path, &Cancel::default(), |known| known.extend(entries(3..5, 7))).unwrap();
        assert_eq!(read(&path).unwrap(), entries(0..5, 7));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(read(&folder.path().join("no/cache")).is_err());
        assert!(read(folder.path()).is_err());
    }

    #[test]
    fn any_damage_makes_it_begin_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        update(&path, &Cancel::default(), |known| known.extend(entries(0..1, 7))).unwrap();
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(parse(&bad), None, "{at}: {}", String::from_utf8_lossy(&bad));
            assert_eq!(parse(&good[..at]), None, "{at}");
        }
    }

    #[test]
    fn two_at_once_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        std::thread::scope(|scope| {
            for start in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    for number in start * 10..start * 10 + 10 {
                        update(path, &Cancel::default(), |known| {
                            known.extend(entries(number..number + 1, 7))
                        })
                        .unwrap();
                    }
                });
            }
        });
        assert_eq!(read(&path).unwrap(), entries(0..80, 7));
    }

    #[test]
    fn the_oldest_go_first() {
        let now = entry::now();
        let mut known = entries(0..10, now - entry::LONGEST_UNUSED - 10);
        known.extend(entries(10..20, now - 5));
        let last = 10 + entry::MOST_ENTRIES as u64 + 5;
        known.extend(entries(20..last, now));
        entry::bound(&mut known);
        assert_eq!(known.len(), entry::MOST_ENTRIES);
        let left = known.values().filter(|known| known.used < now).count();
        assert_eq!(left, 5);
    }
}

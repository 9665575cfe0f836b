//! The file of a layer cache: read whole, changed under a lock, replaced in one step.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::entry::{Entries, Known};
use super::key::Key;
use crate::error::{Error, Kind, Result};
use crate::image::Digest;

/// The version of the JSON.
const VERSION: u32 = 2;

/// A file larger than this was not written by us: [`super::entry::MOST_ENTRIES`] need a tenth of it.
const LARGEST: u64 = 64 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    occystrap_layer_cache: u32,
    /// Of the text of `entries`: what says which layer is in which blob must not be damaged.
    sha256: Digest,
    entries: Box<RawValue>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    key: Key,
    known: Known,
}

/// Read a cache, and warn of one that is damaged. Errors when it cannot be read.
pub fn read(path: &Path) -> Result<Entries> {
    Ok(sound(path)?.unwrap_or_else(|| {
        let path = path.display();
        tracing::warn!(
            "the layer cache '{path}' is damaged, or of another version: it begins anew"
        );
        Entries::new()
    }))
}

/// What a cache has in it; `None` where it is damaged. Errors when it cannot be read.
fn sound(path: &Path) -> Result<Option<Entries>> {
    let failed =
        |cause: &io::Error| Error::io(Kind::Usage, "read the layer cache", path.display(), cause);
    let folder = folder(path);
    if !folder.is_dir() {
        let message = format!("the folder of the layer cache '{}' is not there", path.display());
        return Err(Error::usage(message));
    }
    let bytes = match std::fs::metadata(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Some(Entries::new())),
        Err(cause) => return Err(failed(&cause)),
        Ok(metadata) if !metadata.is_file() => {
            let message = format!("the layer cache '{}' is not a file", path.display());
            return Err(Error::usage(message));
        }
        Ok(metadata) if metadata.len() > LARGEST => Vec::new(),
        Ok(_) => crate::regular::read(path, LARGEST).map_err(|cause| failed(&cause))?,
    };
    Ok(parse(&bytes))
}

fn parse(bytes: &[u8]) -> Option<Entries> {
    let document: Document = serde_json::from_slice(bytes).ok()?;
    let entries = document.entries.get();
    let sound = document.occystrap_layer_cache == VERSION
        && Digest::of(entries.as_bytes()) == document.sha256;
    if !sound {
        return None;
    }
    let entries: Vec<Entry> = serde_json::from_str(entries).ok()?;
    Some(entries.into_iter().map(|Entry { key, known }| (key, known)).collect())
}

/// Whether a file is read that has this in it, or this as its entries and the right digest over them:
/// nobody finds a digest by trying, [`crate::fuzzing`] as little.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn takes(bytes: &[u8]) -> bool {
    let whole = parse(bytes).is_some();
    let Ok(entries) = serde_json::from_slice::<Box<RawValue>>(bytes) else { return whole };
    let sha256 = Digest::of(entries.get().as_bytes());
    let document = Document { occystrap_layer_cache: VERSION, sha256, entries };
    whole || serde_json::to_vec(&document).is_ok_and(|bytes| parse(&bytes).is_some())
}

/// Change a cache, which others may be changing at the same time. Errors when it cannot be written.
pub fn update(path: &Path, change: impl FnOnce(&mut Entries)) -> Result<()> {
    let failed = |cause: &io::Error| {
        Error::io(Kind::Destination, "write the layer cache", path.display(), cause)
    };
    let folder = folder(path);
    // Its folder is what everybody can lock, and nothing is left of that.
    let lock = File::open(folder).map_err(|cause| failed(&cause))?;
    lock.lock().map_err(|cause| failed(&cause))?;
    // Of a damaged one the user has heard when it was opened.
    let mut entries = sound(path)?.unwrap_or_default();
    change(&mut entries);
    let listed: Vec<Entry> = entries.into_iter().map(|(key, known)| Entry { key, known }).collect();
    let damaged = |cause: serde_json::Error| failed(&io::Error::other(cause));
    let entries = serde_json::value::to_raw_value(&listed).map_err(damaged)?;
    let document = Document {
        occystrap_layer_cache: VERSION,
        sha256: Digest::of(entries.get().as_bytes()),
        entries,
    };
    let bytes = serde_json::to_vec(&document).map_err(damaged)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|cause| failed(&cause))?;
    file.write_all(&bytes).map_err(|cause| failed(&cause))?;
    file.persist(path).map_err(|cause| failed(&cause.error))?;
    Ok(())
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer_cache::entry;

    fn entries(numbers: std::ops::Range<u64>, used: u64) -> Entries {
        let entry = |number: u64| {
            let digest = Digest::of(&number.to_be_bytes());
            let key = Key {
                layer: digest,
                filters: Vec::new(),
                compression: "gzip 1".into(),
                output: "registry".into(),
            };
            let media_type = "x".to_owned();
            (key, Known { diff_id: digest, blob: digest, size: number, media_type, at: None, used })
        };
        numbers.map(entry).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        assert_eq!(read(&path).unwrap(), Entries::new());
        update(&path, |known| known.extend(entries(0..3, 7))).unwrap();
        update(&path, |known| known.extend(entries(3..5, 7))).unwrap();
        assert_eq!(read(&path).unwrap(), entries(0..5, 7));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(read(&folder.path().join("no/cache")).is_err());
        assert!(read(folder.path()).is_err());
    }

    #[test]
    fn any_damage_makes_it_begin_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        update(&path, |known| known.extend(entries(0..1, 7))).unwrap();
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
                        update(path, |known| known.extend(entries(number..number + 1, 7))).unwrap();
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

//! Blobs that clients sent: files without a name, hashed while they arrive, known by repository.
//!
//! A blob is found only in the repositories to which a client sent or mounted it, so that a request tells nothing about
//! other repositories. The same bytes in two repositories are one file. What it refuses: bytes of another digest than
//! the promised one, and more bytes than there is room for.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use hyper::StatusCode;

use occystrap_base::error::{Error, Kind};
use occystrap_base::files::unnamed_file::UnnamedFile;
use occystrap_base::files::{Hashed, Section, Spooled, scratch};
use occystrap_base::oci::{Digest, Hasher};

use crate::limits::{BLOB_KEPT, LARGEST_BLOB};
use crate::refusal::{Code, Refusal};
use crate::room::{Full, Room, Taken};

/// Time after which a client may try again where there was no room.
const NO_ROOM: Duration = Duration::from_secs(60);

/// A blob that a client sent. Its bytes have the digest under which it is known.
pub struct ReceivedBlob {
    section: Section,
    _room: Taken,
}

impl ReceivedBlob {
    /// Returns the bytes.
    #[must_use]
    pub fn section(&self) -> &Section {
        &self.section
    }

    /// Returns the number of bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.section.size
    }
}

/// All blobs that clients sent.
pub struct ReceivedBlobs {
    folder: PathBuf,
    room: Arc<Room>,
    table: Arc<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    repositories: HashMap<String, HashMap<Digest, Entry>>,
    /// The same blobs by digest alone, so that the same bytes are kept once.
    known: HashMap<Digest, Weak<ReceivedBlob>>,
}

struct Entry {
    blob: Arc<ReceivedBlob>,
    used: Instant,
    /// Whether it is at its destination. It is kept for later images, and goes first where there is no room.
    has_landed: bool,
}

impl Table {
    fn add(&mut self, repository: &str, digest: Digest, blob: Arc<ReceivedBlob>) {
        let entry = Entry { blob, used: Instant::now(), has_landed: false };
        self.repositories.entry(repository.to_owned()).or_default().insert(digest, entry);
    }

    /// Drops the blob that has landed and that no request has used for the longest time. Returns whether there was one.
    fn drop_landed(&mut self) -> bool {
        let all = self.repositories.iter().flat_map(|(name, blobs)| {
            blobs.iter().map(move |(digest, entry)| (name, *digest, entry))
        });
        let oldest = all
            .filter(|(_, _, entry)| entry.has_landed)
            .min_by_key(|(_, _, entry)| entry.used)
            .map(|(name, digest, _)| (name.clone(), digest));
        let Some((name, digest)) = oldest else { return false };
        self.repositories.get_mut(&name).is_some_and(|blobs| blobs.remove(&digest).is_some())
    }
}

/// A blob that arrives.
pub struct ArrivingBlob {
    file: UnnamedFile,
    folder: PathBuf,
    hasher: Hasher,
    size: u64,
    room: Taken,
    table: Arc<Mutex<Table>>,
}

impl ReceivedBlobs {
    /// Returns an empty set of blobs. Their files go to `folder`.
    #[must_use]
    pub fn new(folder: &Path, room: Arc<Room>) -> Self {
        Self { folder: folder.to_owned(), room, table: Arc::default() }
    }

    /// Returns the room for the bytes of all blobs.
    #[must_use]
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to receive a blob. Errors when no file can be created.
    pub fn begin(&self) -> Result<ArrivingBlob, Refusal> {
        let file = scratch::create_unnamed(&self.folder).map_err(|error| unwritten(&error))?;
        let (folder, hasher, room) = (self.folder.clone(), Hasher::default(), self.room.begin());
        let table = Arc::clone(&self.table);
        Ok(ArrivingBlob { file, folder, hasher, size: 0, room, table })
    }

    /// Keeps a blob that has arrived. Errors when its digest is not the promised one: then it is dropped.
    pub fn keep(
        &self,
        arrived: ArrivingBlob,
        repository: &str,
        promised: Digest,
    ) -> Result<(), Refusal> {
        let ArrivingBlob { file, folder, hasher, size, room, .. } = arrived;
        let digest = hasher.finish();
        if digest != promised {
            let message = format!("digest of the blob: expected {promised}, found {digest}");
            return Err(Refusal::bad(Code::DigestInvalid, message));
        }
        let section = Spooled::section(file, Hashed { size, digest })
            .map_err(|cause| unwritten(&scratch::failed("keep", &folder, &cause)))?;
        let mut table = self.table();
        let blob = match table.known.get(&digest).and_then(Weak::upgrade) {
            Some(same) => same,
            None => {
                let blob = Arc::new(ReceivedBlob { section, _room: room });
                table.known.insert(digest, Arc::downgrade(&blob));
                blob
            }
        };
        table.add(repository, digest, blob);
        Ok(())
    }

    /// Returns a blob of a repository, and notes that it was used.
    #[must_use]
    pub fn get(&self, repository: &str, digest: Digest) -> Option<Arc<ReceivedBlob>> {
        let mut table = self.table();
        let entry = table.repositories.get_mut(repository)?.get_mut(&digest)?;
        entry.used = Instant::now();
        Some(Arc::clone(&entry.blob))
    }

    /// Returns all blobs of a repository.
    #[must_use]
    pub fn of_repository(&self, repository: &str) -> HashMap<Digest, Arc<ReceivedBlob>> {
        let table = self.table();
        let blobs = table.repositories.get(repository).into_iter().flatten();
        blobs.map(|(digest, entry)| (*digest, Arc::clone(&entry.blob))).collect()
    }

    /// Notes that blobs are at their destination. They are dropped when there is no room for others.
    pub fn note_landed(&self, repository: &str, digests: impl IntoIterator<Item = Digest>) {
        let mut table = self.table();
        let Some(blobs) = table.repositories.get_mut(repository) else { return };
        for digest in digests {
            if let Some(entry) = blobs.get_mut(&digest) {
                entry.has_landed = true;
            }
        }
    }

    /// Makes a blob of a repository known in another one. Returns whether it was there.
    #[must_use]
    pub fn mount(&self, from: &str, to: &str, digest: Digest) -> bool {
        let Some(blob) = self.get(from, digest) else { return false };
        self.table().add(to, digest, blob);
        true
    }

    /// Forgets a blob of a repository. Returns whether it was there.
    pub fn remove(&self, repository: &str, digest: Digest) -> bool {
        let mut table = self.table();
        table.repositories.get_mut(repository).is_some_and(|blobs| blobs.remove(&digest).is_some())
    }

    /// Drops the blobs that no request has used for [`BLOB_KEPT`].
    pub fn sweep(&self) {
        self.sweep_at(Instant::now());
    }

    fn sweep_at(&self, now: Instant) {
        let mut table = self.table();
        let Table { repositories, known } = &mut *table;
        for blobs in repositories.values_mut() {
            blobs.retain(|_, entry| now.saturating_duration_since(entry.used) < BLOB_KEPT);
        }
        repositories.retain(|_, blobs| !blobs.is_empty());
        known.retain(|_, blob| blob.strong_count() > 0);
    }
}

impl ArrivingBlob {
    /// Returns how many bytes have arrived.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the file, for those who read the bytes that have arrived.
    #[must_use]
    pub fn file(&self) -> Arc<std::fs::File> {
        self.file.shared()
    }

    /// Adds bytes. Errors when the blob is too large, there is no room, or the disk fails.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let grown = self.size + bytes.len() as u64;
        if grown > LARGEST_BLOB {
            let message = format!("a blob has at most {LARGEST_BLOB} bytes here");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, Code::SizeInvalid, message));
        }
        while let Err(full) = self.room.grow(bytes.len() as u64) {
            let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
            if !table.drop_landed() {
                return Err(no_room(full));
            }
        }
        use std::os::unix::fs::FileExt as _;
        self.file.file().write_all_at(bytes, self.size).map_err(|cause| {
            let error = scratch::failed("write", &self.folder, &cause);
            match cause.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                    tracing::warn!("{error}");
                    no_room(Full::FileSystem)
                }
                _ => unwritten(&error),
            }
        })?;
        self.hasher.update(bytes);
        self.size = grown;
        Ok(())
    }
}

/// Returns the refusal for an upload for which there is no room.
fn no_room(full: Full) -> Refusal {
    let message = match full {
        Full::Limit(limit) => {
            format!("blobs that clients sent take {limit} bytes already: the limit is reached")
        }
        Full::FileSystem => "the disk for blobs is nearly full".to_owned(),
    };
    Refusal::later(StatusCode::SERVICE_UNAVAILABLE, message, NO_ROOM)
}

/// Returns the refusal for a disk that fails. The client gets no path of this host.
fn unwritten(error: &Error) -> Refusal {
    tracing::error!("{error}");
    match error.kind() {
        Kind::Interrupted => Refusal::of(error, Code::Unknown, ""),
        _ => Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            Code::Unknown,
            "a temporary file for the blob cannot be written; the log has the reason",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blobs(limit: u64) -> (tempfile::TempDir, ReceivedBlobs) {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::new(folder.path(), limit);
        let blobs = ReceivedBlobs::new(folder.path(), room);
        (folder, blobs)
    }

    fn send(
        blobs: &ReceivedBlobs,
        repository: &str,
        bytes: &[u8],
        promised: Digest,
    ) -> Result<(), Refusal> {
        let mut arriving = blobs.begin()?;
        arriving.write(bytes)?;
        blobs.keep(arriving, repository, promised)
    }

    #[test]
    fn a_blob_is_known_only_where_it_was_sent() {
        let (_folder, blobs) = blobs(100);
        let digest = Digest::of(b"layer");
        send(&blobs, "a", b"layer", digest).unwrap();
        assert_eq!(blobs.get("a", digest).unwrap().size(), 5);
        assert!(blobs.get("b", digest).is_none());
        assert!(!blobs.mount("b", "c", digest));
        assert!(blobs.mount("a", "b", digest));
        assert!(blobs.get("b", digest).is_some());
        assert_eq!(blobs.room.used(), 5, "a mount takes no room");
        send(&blobs, "c", b"layer", digest).unwrap();
        assert_eq!(blobs.room.used(), 5, "the same bytes are kept once");
    }

    #[test]
    fn other_bytes_are_dropped() {
        let (_folder, blobs) = blobs(100);
        let refusal = send(&blobs, "a", b"layer", Digest::of(b"other")).unwrap_err();
        assert_eq!((refusal.status.as_u16(), refusal.code), (400, Code::DigestInvalid));
        assert!(blobs.get("a", Digest::of(b"layer")).is_none());
        assert_eq!(blobs.room.used(), 0);
    }

    #[test]
    fn blobs_that_have_landed_make_room() {
        let (_folder, blobs) = blobs(8);
        send(&blobs, "a", b"layer", Digest::of(b"layer")).unwrap();
        assert!(send(&blobs, "b", b"more", Digest::of(b"more")).is_err());
        assert!(blobs.get("a", Digest::of(b"layer")).is_some(), "it has not landed yet");
        blobs.note_landed("a", [Digest::of(b"layer")]);
        assert!(blobs.get("a", Digest::of(b"layer")).is_some(), "there is room");
        send(&blobs, "b", b"more", Digest::of(b"more")).unwrap();
        assert!(blobs.get("a", Digest::of(b"layer")).is_none());
    }

    #[test]
    fn blobs_that_nothing_uses_make_room() {
        let (_folder, blobs) = blobs(8);
        let digest = Digest::of(b"layer");
        send(&blobs, "a", b"layer", digest).unwrap();
        let refusal = send(&blobs, "a", b"more", Digest::of(b"more")).unwrap_err();
        assert_eq!(refusal.status.as_u16(), 503);
        let in_use = blobs.get("a", digest).unwrap();
        blobs.sweep_at(Instant::now() + BLOB_KEPT);
        assert!(blobs.get("a", digest).is_none());
        assert_eq!(blobs.room.used(), 5, "its user has it still");
        drop(in_use);
        send(&blobs, "a", b"more", Digest::of(b"more")).unwrap();
    }
}

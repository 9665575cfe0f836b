//! How many bytes of received blobs may be on the disk. A full disk makes one upload fail, and no other program of the
//! host.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::ROOM_FOR_OTHERS;

/// Bytes after which the free space of the file system is looked at again.
const STEP: u64 = 16 * 1024 * 1024;

/// Limit on the bytes of all received blobs.
pub struct Room {
    folder: PathBuf,
    limit: u64,
    used: AtomicU64,
    /// All that were ever taken.
    total: AtomicU64,
}

/// Why there is no room for more bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The limit of the user is reached.
    Limit(u64),
    /// The file system is nearly full.
    FileSystem,
}

/// Bytes that one blob takes. They are free again when this is dropped.
pub struct Taken {
    room: Arc<Room>,
    bytes: u64,
    next_look: u64,
}

impl Room {
    /// Returns room for `limit` bytes in the file system of a folder.
    #[must_use]
    pub fn new(folder: &Path, limit: u64) -> Arc<Self> {
        Arc::new(Self {
            folder: folder.to_owned(),
            limit,
            used: AtomicU64::new(0),
            total: AtomicU64::new(0),
        })
    }

    /// Returns how many bytes are taken.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns how many bytes were taken since the start.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Takes no bytes yet.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> Taken {
        Taken { room: Arc::clone(self), bytes: 0, next_look: 0 }
    }

    fn has_free_space(&self) -> bool {
        // A file system that says nothing about itself counts as one with space.
        rustix::fs::statvfs(&self.folder).map_or(true, |now| {
            now.f_bavail.saturating_mul(100) >= now.f_blocks.saturating_mul(ROOM_FOR_OTHERS)
        })
    }
}

impl Taken {
    /// Takes bytes more. After an error it has as many as before.
    pub fn grow(&mut self, bytes: u64) -> Result<(), Full> {
        let grown = self.bytes + bytes;
        if grown > self.next_look {
            if !self.room.has_free_space() {
                return Err(Full::FileSystem);
            }
            self.next_look = grown + STEP;
        }
        let Room { limit, used, total, .. } = &*self.room;
        if used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > *limit {
            used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Full::Limit(*limit));
        }
        self.bytes = grown;
        total.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_makes_room() {
        let room = Room::new(&std::env::temp_dir(), 10);
        let mut first = room.begin();
        first.grow(6).unwrap();
        let mut second = room.begin();
        assert_eq!(second.grow(5), Err(Full::Limit(10)));
        assert_eq!(room.used(), 6);
        second.grow(4).unwrap();
        drop(first);
        assert_eq!(room.used(), 4);
        second.grow(6).unwrap();
    }
}

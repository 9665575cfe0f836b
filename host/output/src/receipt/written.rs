//! Files that the host saw being written, which a receipt keeps beside the plugin's expectations.

use std::fs::File;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use occystrap_base::oci::Digest;

/// A run of bytes in a file and its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "a part of a file")]
pub struct Extent {
    /// Offset of its start, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub size: u64,
    /// Digest of the bytes.
    pub digest: Digest,
}

/// A file that was written completely. Its extents cover it without gaps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "a file")]
pub struct WrittenFile {
    /// Relative to the destination.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its extents, in order of offset.
    pub extents: Vec<Extent>,
}

impl WrittenFile {
    /// Returns the digest of the whole file, if it was written in one piece.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        match self.extents.as_slice() {
            [] => Some(Digest::of(b"")),
            [extent] => Some(extent.digest),
            _ => None,
        }
    }

    /// Returns the digest of exactly these bytes, if they were written in one piece.
    #[must_use]
    pub fn extent(&self, offset: u64, size: u64) -> Option<Digest> {
        if size == 0 && offset <= self.size {
            return Some(Digest::of(b""));
        }
        let exact = |extent: &&Extent| extent.offset == offset && extent.size == size;
        self.extents.iter().find(exact).map(|extent| extent.digest)
    }
}

/// A file to which a commit gave its name.
#[derive(Debug, Clone)]
pub struct Published {
    /// Relative to the destination.
    pub path: String,
    /// The file, open: a file system gives the inode of a removed file to the next new one, and another file
    /// must not be taken for this one.
    pub file: Arc<File>,
}

impl PartialEq for Published {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && Arc::ptr_eq(&self.file, &other.file)
    }
}

impl Eq for Published {}

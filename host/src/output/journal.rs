//! What was really written and read in a session, as the host saw it.
//!
//! The receipt that a plugin returns is believed only where this journal agrees.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::image::Digest;

/// A run of bytes in a file and its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Where it starts, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub size: u64,
    /// Of the bytes.
    pub digest: Digest,
}

/// A file that a sink completed. Its extents cover it without gaps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenFile {
    /// Relative to the destination.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// In order of offset.
    pub extents: Vec<Extent>,
}

impl WrittenFile {
    /// The digest of the whole file, where it was written in one piece.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        match self.extents.as_slice() {
            [] => Some(Digest::of(b"")),
            [extent] => Some(extent.digest),
            _ => None,
        }
    }

    /// The digest of exactly these bytes, where they were written in one piece.
    #[must_use]
    pub fn extent(&self, offset: u64, size: u64) -> Option<Digest> {
        if size == 0 && offset <= self.size {
            return Some(Digest::of(b""));
        }
        let exact = |extent: &&Extent| extent.offset == offset && extent.size == size;
        self.extents.iter().find(exact).map(|extent| extent.digest)
    }
}

/// Everything the host saw in one session.
#[derive(Debug, Default)]
pub struct Journal {
    /// By path. A path written twice is what was written last.
    written: BTreeMap<String, WrittenFile>,
    /// Whole files that the host hashed for the plugin: path to size and digest.
    hashed: BTreeMap<String, (u64, Digest)>,
}

impl Journal {
    /// A sink was completed.
    pub fn record_written(&mut self, file: WrittenFile) {
        self.written.insert(file.path.clone(), file);
    }

    /// A whole file was read and hashed.
    pub fn record_hashed(&mut self, path: &str, size: u64, digest: Digest) {
        self.hashed.insert(path.to_owned(), (size, digest));
    }

    /// A file that was written.
    #[must_use]
    pub fn written(&self, path: &str) -> Option<&WrittenFile> {
        self.written.get(path)
    }

    /// Size and digest of a whole file that is there: written, or found and hashed.
    #[must_use]
    pub fn whole(&self, path: &str) -> Option<(u64, Option<Digest>)> {
        match self.written.get(path) {
            Some(file) => Some((file.size, file.digest())),
            None => self.hashed.get(path).map(|(size, digest)| (*size, Some(*digest))),
        }
    }

    /// All files written, by path.
    pub fn into_written(self) -> Vec<WrittenFile> {
        self.written.into_values().collect()
    }

    /// Bytes written.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.written.values().map(|file| file.size).sum()
    }
}

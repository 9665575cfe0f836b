//! A section of an open file, and a file that the host wrote and hashed itself.
//!
//! A file that the host itself wrote while it hashed it, and that never had a name, cannot have been
//! changed by another process since: its digest holds without reading it again.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::unnamed::Unnamed;
use crate::oci::Digest;

/// What passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashed {
    /// Bytes.
    pub size: u64,
    /// Of the bytes.
    pub digest: Digest,
}

/// Part of an open file, or all of it.
#[derive(Debug, Clone)]
pub struct Section {
    /// Shared by all sections of an archive.
    pub file: Arc<File>,
    /// Where it starts, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub size: u64,
    /// Where this is all of a file that the host wrote itself, and hashed.
    pub own: Option<Arc<Spooled>>,
}

impl Section {
    /// Part of a file of somebody else.
    #[must_use]
    pub fn new(file: Arc<File>, offset: u64, size: u64) -> Self {
        Self { file, offset, size, own: None }
    }
}

/// A file that the host wrote and hashed, with its size and digest.
pub struct Spooled {
    moved: Hashed,
    /// Until somebody takes it to give it a name.
    file: Mutex<Option<Unnamed>>,
}

impl Spooled {
    /// All of a file, as a section that knows its digest. Errors when no second handle can be had.
    pub fn section(file: Unnamed, moved: Hashed) -> io::Result<Section> {
        let handle: File = file.file().try_clone()?;
        let own = Self { moved, file: Mutex::new(Some(file)) };
        Ok(Section {
            file: Arc::new(handle),
            offset: 0,
            size: moved.size,
            own: Some(Arc::new(own)),
        })
    }

    /// Size and digest of the file.
    #[must_use]
    pub fn moved(&self) -> Hashed {
        self.moved
    }

    /// The file, for whoever comes first: two names of one file would change together.
    #[must_use]
    pub fn take(&self) -> Option<Unnamed> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for Spooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spooled({})", self.moved.digest)
    }
}

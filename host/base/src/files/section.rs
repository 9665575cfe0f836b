//! Sections of open files, and files that the host wrote and hashed itself.
//!
//! A file that the host hashed while it wrote it, and that never had a name, cannot have been changed by another
//! process: its digest is known without reading it again.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use super::unnamed_file::UnnamedFile;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::oci::{Digest, Hasher};

/// Bytes that are read and hashed at a time. From the kernel's cache, larger reads gain nothing.
const PIECE: usize = 512 * 1024;

/// Size and digest of bytes that were moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashed {
    /// Number of bytes.
    pub size: u64,
    /// Digest of the bytes.
    pub digest: Digest,
}

/// Part of an open file, or all of it.
#[derive(Debug, Clone)]
pub struct Section {
    /// Open file, which all sections of an archive share.
    pub file: Arc<File>,
    /// Offset of the first byte.
    pub offset: u64,
    /// Size in bytes.
    pub size: u64,
    /// The whole file, where the host wrote and hashed it itself.
    pub own: Option<Arc<Spooled>>,
}

impl Section {
    /// Creates a section of a file that the host did not write.
    #[must_use]
    pub fn new(file: Arc<File>, offset: u64, size: u64) -> Self {
        Self { file, offset, size, own: None }
    }
}

/// A file that the host wrote and hashed, with its size and digest.
pub struct Spooled {
    moved: Hashed,
    /// The file, until [`Self::take`] takes it to give it a name.
    file: Mutex<Option<UnnamedFile>>,
}

impl Spooled {
    /// Returns all of a file as a section that knows its digest. Errors when the file cannot get a second handle.
    pub fn section(file: UnnamedFile, moved: Hashed) -> io::Result<Section> {
        let handle: File = file.file().try_clone()?;
        let own = Self { moved, file: Mutex::new(Some(file)) };
        Ok(Section {
            file: Arc::new(handle),
            offset: 0,
            size: moved.size,
            own: Some(Arc::new(own)),
        })
    }

    /// Returns size and digest of the file.
    #[must_use]
    pub fn moved(&self) -> Hashed {
        self.moved
    }

    /// Returns the file, to its first caller only: two names of one file would change together.
    #[must_use]
    pub fn take(&self) -> Option<UnnamedFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for Spooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spooled({})", self.moved.digest)
    }
}

/// Returns the digest of `size` bytes of a file from `offset`. `progress` gets the size of each piece that was read.
/// Errors with what `failed` makes of the cause when the bytes cannot be read or the file ends before them, and when the
/// user interrupts.
pub fn hash_range(
    file: &File,
    (offset, size): (u64, u64),
    cancel: &Cancel,
    failed: impl Fn(&io::Error) -> Error,
    progress: impl Fn(u64),
) -> Result<Digest> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; PIECE.min(usize::try_from(size).unwrap_or(PIECE))];
    let mut done = 0;
    while done < size {
        cancel.check()?;
        let wanted = (size - done).min(buffer.len() as u64);
        let piece = &mut buffer[..wanted as usize];
        file.read_exact_at(piece, offset + done).map_err(|cause| failed(&cause))?;
        hasher.update(piece);
        done += wanted;
        progress(wanted);
    }
    Ok(hasher.finish())
}

//! The files that a receipt names, as the host saw them in the session: the commit compares them with
//! what stands in the destination before it is valid.

use std::cell::{Cell, OnceCell};
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use cap_std::fs::Dir;

use crate::destination::hash_memo::HashMemo;
use crate::receipt::Published;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::destination::Destination;
use occystrap_base::files::identity::FileIdentity;
use occystrap_base::oci::Digest;

/// The conditions of a commit, and its outcome.
pub struct Terms<'a> {
    /// The files that the receipt names.
    pub expected: &'a [Expected],
    /// Whether the user wants to stop.
    pub cancel: &'a Cancel,
    /// Set where another process has removed or replaced a file that was found: the session can be
    /// repeated.
    pub is_outdated: Cell<bool>,
    /// The files that have got their names, set at the commit point: what comes after it may fail, and the new image
    /// is there.
    pub published: OnceCell<Vec<Published>>,
}

impl Terms<'_> {
    /// Notes that the commit point is reached, and which files have got their names.
    pub fn reached(&self, published: Vec<Published>) {
        let _ = self.published.set(published);
    }
}

impl<'a> Terms<'a> {
    /// Returns the terms of one commit.
    #[must_use]
    pub fn new(expected: &'a [Expected], cancel: &'a Cancel) -> Self {
        Self { expected, cancel, is_outdated: Cell::new(false), published: OnceCell::new() }
    }
}

/// A file that must stand in the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Relative to the destination.
    pub path: String,
    /// The file as it was when the host hashed it; `None` for a file that the session wrote.
    pub hashed: Option<HashedFile>,
}

/// A file that the host found and hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashedFile {
    /// In bytes.
    pub size: u64,
    /// Of all bytes.
    pub digest: Digest,
    /// Which file it was, and when it was last changed. `None` for what is no file of this system.
    pub file: Option<(FileIdentity, SystemTime)>,
}

impl Expected {
    /// Returns whether the file is still the one that was hashed, or has the same bytes: another process may
    /// have written the same layer meanwhile, and some file systems number a file anew each time.
    pub fn is_still(
        &self,
        there: Option<FileIdentity>,
        destination: &Destination,
        root: &Arc<Dir>,
        cancel: &Cancel,
    ) -> Result<bool> {
        let (Some(hashed), Some(there)) = (&self.hashed, there) else { return Ok(false) };
        let opened = match Destination::open_in(root, &self.path) {
            Ok(file) => file,
            Err(cause) if matches!(cause.kind(), io::ErrorKind::NotFound) => return Ok(false),
            Err(cause) => return Err(destination.failure("read", &self.path, &cause)),
        };
        let seen = || -> io::Result<_> { Ok((opened.metadata()?, FileIdentity::of(&opened)?)) };
        let (metadata, identity) = seen().map_err(|cause| {
            Error::io(Kind::Destination, "read", destination.display(&self.path), &cause)
        })?;
        if identity != there || metadata.len() != hashed.size {
            return Ok(false);
        }
        if hashed.file.is_some() && hashed.file == metadata.modified().ok().map(|at| (there, at)) {
            return Ok(true);
        }
        let digest = HashMemo::default().hash(&opened, &self.path, 0, hashed.size, cancel)?;
        Ok(digest == hashed.digest)
    }
}

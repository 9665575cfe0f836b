//! The content of files that a commit replaces, by digest.
//!
//! A file's number says nothing after a copy of the directory, nor after a change in place by another
//! tool. What it refuses: to hash files that are larger than any list of images.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use cap_std::fs::Dir;

use super::record::Recorded;
use crate::destination::hash_memo::HashMemo;
use occystrap_base::cancel::Cancel;
use occystrap_base::files::destination::Destination;
use occystrap_base::files::identity::{FileIdentity, entry_info};
use occystrap_base::oci::Digest;

/// Bytes of a file that is hashed: the largest catalog of `dir://`. Layers above it are known by
/// inode alone.
const LARGEST: u64 = 128 * 1024 * 1024;

/// Returns the digest of an open file. `None` where it is too large or cannot be read.
#[must_use]
pub fn of(file: &File, size: u64) -> Option<Digest> {
    if size > LARGEST {
        return None;
    }
    HashMemo::default().hash(file, "", 0, size, &Cancel::default()).ok()
}

/// Returns the digest of what stands under a name; `None` where that is no regular file, or too large.
pub fn at(folder: &Dir, name: &str) -> io::Result<Option<Digest>> {
    match entry_info(folder.as_fd(), name)? {
        Some(there) if there.is_file => {}
        _ => return Ok(None),
    }
    match Destination::open_in(folder, name) {
        Ok(file) => {
            let size = file.metadata()?.len();
            Ok(of(&file, size))
        }
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(cause),
    }
}

/// Returns whether a file has the content of a recorded one. A record without a digest knows it by inode.
pub fn is(folder: &Dir, name: &str, there: FileIdentity, recorded: &Recorded) -> io::Result<bool> {
    match recorded.digest {
        None => Ok(recorded.is(there)),
        Some(_) if there.size != recorded.size() => Ok(false),
        Some(digest) => Ok(at(folder, name)? == Some(digest)),
    }
}

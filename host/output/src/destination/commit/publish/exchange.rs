//! Gives a new file the name of an old one, in a way that can be undone.

use std::io;
use std::os::fd::AsFd;

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;

use crate::destination::commit::record::ReplacedFile;

/// Renames a file within a folder. A file that had the name `to` is removed.
pub(super) fn rename(folder: &Dir, from: &str, to: &str) -> io::Result<()> {
    Ok(rustix::fs::renameat(folder.as_fd(), from, folder.as_fd(), to)?)
}

/// Gives the new file, which has a temporary name so far, the name of the old file. The old file stays under a
/// temporary name. Without RENAME_EXCHANGE (NFS, some FUSE) the old file first gets a second name. If the file system
/// has no hard links either, no file has the name for a moment.
pub(super) fn exchange(folder: &Dir, replaced: &ReplacedFile, name: &str) -> io::Result<()> {
    let (at, swap, kept) = (folder.as_fd(), replaced.swap.as_str(), replaced.kept.as_str());
    match rustix::fs::renameat_with(at, swap, at, name, RenameFlags::EXCHANGE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        other => return Ok(other?),
    }
    match rustix::fs::linkat(at, name, at, kept, AtFlags::empty()) {
        Err(Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP | Errno::MLINK) => {
            rename(folder, name, kept)?;
        }
        other => other?,
    }
    rename(folder, swap, name)
}

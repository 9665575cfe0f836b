//! Giving a new file the name of an old one, so that this can be taken back.

use std::io;
use std::os::fd::AsFd;

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;

use crate::destination::commit::record::Replaced;

/// Renames within a folder. What had the new name is gone.
pub(super) fn rename(folder: &Dir, from: &str, to: &str) -> io::Result<()> {
    Ok(rustix::fs::renameat(folder.as_fd(), from, folder.as_fd(), to)?)
}

/// Gives the new file, which waits under its temporary name, the name of the old one, and keeps that.
/// Without RENAME_EXCHANGE (NFS, some FUSE) the old file gets a second name first; without hard links
/// either, its name is missing for a moment.
pub(super) fn exchange(folder: &Dir, replaced: &Replaced, name: &str) -> io::Result<()> {
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

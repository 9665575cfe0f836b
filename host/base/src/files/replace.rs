//! A file that replaces another one, in one rename.
//!
//! A file is linked to a temporary name first, because a link does not replace. That name follows from
//! the file's, and its owner holds a lock on the file behind it: the next run for the same destination
//! finds what a killed one left, without searching the folder.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FlockOperation};
use rustix::io::Errno;

use super::identity::entry_info;
use super::temporary;
use super::unnamed_file::UnnamedFile;
use crate::oci::Digest;

/// The ending of the temporary name.
const NEXT: &str = ".next";

/// Time that a live process may take between a link and a rename, on a slow disk.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often the name is looked at meanwhile.
const POLL: Duration = Duration::from_millis(2);

/// Returns the temporary name for a file: of a fixed length, whatever the file is called.
#[must_use]
pub fn temporary_name(name: impl AsRef<OsStr>) -> String {
    let hex = Digest::of(name.as_ref().as_bytes()).hex();
    format!("{}{}{NEXT}", temporary::PREFIX, hex.get(..16).unwrap_or_default())
}

/// Removes the temporary name that a killed process left.
pub fn recover(folder: &Dir, name: impl AsRef<OsStr>) -> io::Result<()> {
    let temporary = temporary_name(name);
    if entry_info(folder.as_fd(), &temporary)?.is_some() {
        temporary::remove_dead(folder, &temporary)?;
    }
    Ok(())
}

/// Gives a file its name, in the place of what has it.
pub fn publish(mut file: UnnamedFile, folder: &Dir, name: impl AsRef<OsStr>) -> io::Result<()> {
    let name = name.as_ref();
    match entry_info(folder.as_fd(), name)? {
        Some(there) if there.is_directory => return Err(Errno::ISDIR.into()),
        Some(_) => {}
        None => match file.appear(folder, name) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other,
        },
    }
    // Where the file system knows no locks, no other process removes the name either.
    let _ = rustix::fs::flock(file.file(), FlockOperation::NonBlockingLockExclusive);
    let temporary = appear_as_temporary(&mut file, folder, name)?;
    let renamed = rustix::fs::renameat(folder.as_fd(), temporary.as_str(), folder.as_fd(), name);
    if renamed.is_err() {
        let _ = rustix::fs::unlinkat(folder.as_fd(), temporary.as_str(), AtFlags::empty());
    }
    Ok(renamed?)
}

/// Links the file to its temporary name. Where another user or a live process has that, to a random one.
fn appear_as_temporary(file: &mut UnnamedFile, folder: &Dir, name: &OsStr) -> io::Result<String> {
    let temporary = temporary_name(name);
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        match file.appear(folder, temporary.as_str()) {
            Ok(()) => return Ok(temporary),
            Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => return Err(cause),
            Err(_) => match temporary::remove_dead(folder, &temporary) {
                Ok(true) => {}
                Ok(false) => sleep(POLL),
                Err(_) => break,
            },
        }
    }
    let temporary = temporary::random_name(NEXT);
    file.appear(folder, temporary.as_str())?;
    Ok(temporary)
}

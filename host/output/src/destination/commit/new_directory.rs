//! A directory that is missing is built beside its final name and renamed when it is complete, so that a
//! reader sees all of it or nothing.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::fs::Dir;
use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::folders::flush;
use super::recover::NEW_DIRECTORY;
use occystrap_base::files::destination::try_lock;
use occystrap_base::files::lock::Locked;
use occystrap_base::files::temporary;

/// The ending of the name that is taken where the fixed one is not free. A later run does not find it.
const NEW: &str = ".new";

/// A directory that is being built, with the folders above it that are missing as well. The process
/// that builds one holds the lock of the folder.
pub struct NewDirectory {
    folder: Arc<Dir>,
    /// The final path, relative to the folder.
    path: PathBuf,
    /// Where it stands now.
    building: PathBuf,
    root: Arc<Dir>,
    /// Other processes that find it wait until its commit record has gone.
    _lock: Option<Locked>,
}

impl NewDirectory {
    /// Creates the empty directory beside its name. The folder's lock is held, and what a dead process
    /// left was removed.
    pub fn create(folder: Arc<Dir>, path: PathBuf) -> io::Result<Self> {
        let mut names = path.components();
        names.next().ok_or(io::ErrorKind::InvalidInput)?;
        // Only a directory that this process has made: another user may have put one there.
        let mut name = NEW_DIRECTORY.to_owned();
        match folder.create_dir(&name) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                name = temporary::random_name(NEW);
                folder.create_dir(&name)?;
            }
            other => other?,
        }
        let mut building = PathBuf::from(name);
        // A slash at its end, which an empty path would add, is more than `rmdir` takes.
        building.extend(names);
        let create = || -> io::Result<(Arc<Dir>, Option<Locked>)> {
            folder.create_dir_all(&building)?;
            let root = Arc::new(folder.open_dir(&building)?);
            let lock = try_lock(&root)?;
            Ok((root, lock))
        };
        match create() {
            Ok((root, lock)) => Ok(Self { folder, path, building, root, _lock: lock }),
            Err(cause) => {
                let _ = remove_empty(&folder, &building);
                Err(cause)
            }
        }
    }

    /// Returns the directory itself.
    #[must_use]
    pub fn root(&self) -> &Arc<Dir> {
        &self.root
    }

    /// Gives it its name, with all that is in it: the commit point.
    pub fn appear(&self, durable: bool) -> io::Result<()> {
        if durable {
            for folder in self.building.ancestors().filter(|path| !path.as_os_str().is_empty()) {
                flush(&self.folder.open_dir(folder)?)?;
            }
        }
        let (now, then) = (first(&self.building), first(&self.path));
        let at = self.folder.as_fd();
        match rustix::fs::renameat_with(at, now, at, then, RenameFlags::NOREPLACE) {
            // The file system does not know the flag (NFS). There it may replace an empty directory.
            Err(Errno::INVAL | Errno::NOSYS) => Ok(rustix::fs::renameat(at, now, at, then)?),
            other => Ok(other?),
        }
    }

    /// Waits until its name is on the disk.
    pub fn flush(&self) -> io::Result<()> {
        flush(&self.folder)
    }

    /// Removes it, empty as it is after a rollback.
    pub fn remove(self) -> io::Result<()> {
        remove_empty(&self.folder, &self.building)
    }
}

fn first(path: &Path) -> &OsStr {
    path.components().next().map_or(OsStr::new(""), |first| first.as_os_str())
}

fn remove_empty(folder: &Dir, building: &Path) -> io::Result<()> {
    for path in building.ancestors().filter(|path| !path.as_os_str().is_empty()) {
        match folder.remove_dir(path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                return Err(cause);
            }
            _ => {}
        }
    }
    Ok(())
}

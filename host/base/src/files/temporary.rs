//! Temporary names, for file systems on which they cannot be avoided, and their removal.
//!
//! Files are written without a name (`unnamed.rs`). On file systems that do not support that (NFS, some FUSE) each file
//! has a name, `.occystrap-*.part`. Three rules keep the directory clean:
//!
//! - The owner holds a lock (`flock`) on its file as long as the name exists.
//! - The process keeps a list of its names, and [`remove_own`] removes them before it exits.
//! - The first file that a process creates in such a directory removes the names of dead processes, which are those
//!   whose file is not locked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::identity::{FileIdentity, entry_info};
use super::lock::Locked;

/// Beginning of all names of this program in a destination. Plugins may not use it.
pub const PREFIX: &str = ".occystrap-";

/// End of the name of a file that is being written.
const PART: &str = ".part";

/// Attempts to create a file that no other process removes at once.
const ATTEMPTS: usize = 16;

/// Names that this process has given, and whether it may give more.
#[derive(Default)]
struct Own {
    next: u64,
    names: BTreeMap<u64, (Arc<Dir>, String)>,
    /// Directories whose dead names were removed, by device and inode.
    swept: BTreeSet<(u64, u64)>,
    closed: bool,
}

static OWN: Mutex<Own> =
    Mutex::new(Own { next: 0, names: BTreeMap::new(), swept: BTreeSet::new(), closed: false });

fn own() -> MutexGuard<'static, Own> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Name of this process in a directory. Dropping it removes the name.
pub struct TemporaryName {
    folder: Arc<Dir>,
    name: String,
    /// Number in the list.
    number: u64,
}

impl TemporaryName {
    /// Returns the directory.
    #[must_use]
    pub fn folder(&self) -> &Dir {
        &self.folder
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Removes the name from the list: it no longer exists, or another owner removes it.
    pub fn forget(self) {
        own().names.remove(&self.number);
        std::mem::forget(self);
    }
}

impl Drop for TemporaryName {
    fn drop(&mut self) {
        if own().names.remove(&self.number).is_some() {
            let _ = self.folder.remove_file(&self.name);
        }
    }
}

/// Creates a file under a temporary name, locked. Errors as interrupted when the process is about to exit.
pub fn create(folder: &Arc<Dir>, mode: u32) -> io::Result<(File, TemporaryName)> {
    sweep_once(folder);
    for _ in 0..ATTEMPTS {
        // The list stays locked until the name is in it: no name exists that the list does not have.
        let mut list = own();
        if list.closed {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let name = random_name(PART);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        let opened =
            rustix::fs::openat(folder.as_fd(), name.as_str(), flags, Mode::from_raw_mode(mode));
        let file = File::from(opened?);
        let number = list.next;
        list.next += 1;
        list.names.insert(number, (Arc::clone(folder), name.clone()));
        drop(list);
        let name = TemporaryName { folder: Arc::clone(folder), name, number };
        // On a file system without locks, no other process removes the name either.
        let _ = rustix::fs::flock(&file, FlockOperation::LockExclusive);
        let identity = FileIdentity::of(&file)?;
        match entry_info(folder.as_fd(), &name.name)? {
            Some(there) if there.identity == identity => return Ok((file, name)),
            // Another process took the name for that of a dead process, between its creation and the lock.
            _ => name.forget(),
        }
    }
    Err(io::Error::other("other processes remove every temporary file"))
}

/// Removes the temporary names of this process, and gives no more. It is called before the process exits: threads that
/// still write then write to files without a name.
pub fn remove_own() {
    let mut list = own();
    list.closed = true;
    for (folder, name) in std::mem::take(&mut list.names).into_values() {
        let _ = folder.remove_file(name);
    }
}

/// Removes the names of dead processes in a directory, on the first call for it.
fn sweep_once(folder: &Dir) {
    let Ok(stat) = rustix::fs::fstat(folder.as_fd()) else { return };
    let place = FileIdentity::from(&stat);
    if own().swept.insert((place.dev, place.ino)) {
        let _ = sweep(folder);
    }
}

/// Removes the names of dead processes in a directory.
pub fn sweep(folder: &Dir) -> io::Result<()> {
    for entry in folder.entries()? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if is_of_form(&name, PART) {
            let _ = remove_dead(folder, &name);
        }
    }
    Ok(())
}

/// Removes a temporary name if it is this user's and its owner is dead. Returns whether it was removed.
pub fn remove_dead(folder: &Dir, name: &str) -> io::Result<bool> {
    // NFS locks only files that are open for writing.
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(folder.as_fd(), name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(true),
        Err(cause) => return Err(cause.into()),
    };
    let of_this_user = file_owner(&file)? == rustix::process::geteuid().as_raw();
    if !of_this_user || !file.metadata()?.is_file() {
        return Ok(false);
    }
    let Some(locked) = Locked::try_new(file)? else { return Ok(false) };
    let identity = FileIdentity::of(locked.file())?;
    match entry_info(folder.as_fd(), name)? {
        None => Ok(true),
        Some(there) if there.identity != identity => Ok(false),
        Some(_) => {
            rustix::fs::unlinkat(folder.as_fd(), name, AtFlags::empty())?;
            Ok(true)
        }
    }
}

fn file_owner(file: &File) -> io::Result<u32> {
    Ok(rustix::fs::fstat(file)?.st_uid)
}

/// Returns a name that no other process has, with this ending.
#[must_use]
pub fn random_name(ending: &str) -> String {
    format!("{PREFIX}{:016x}{ending}", fastrand::u64(..))
}

/// Returns whether a name is of the form that [`random_name`] produces.
#[must_use]
pub fn is_of_form(name: &str, ending: &str) -> bool {
    let middle = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(ending));
    middle.is_some_and(|hex| {
        hex.len() == 16 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Arc<Dir>) {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(folder.path(), cap_std::ambient_authority()).unwrap();
        (folder, Arc::new(dir))
    }

    fn names(folder: &tempfile::TempDir) -> Vec<String> {
        let entries = folder.path().read_dir().unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_name_goes_with_its_owner() {
        let (folder, dir) = folder();
        let (_file, name) = create(&dir, 0o666).unwrap();
        assert_eq!(names(&folder), [name.name()]);
        assert!(is_of_form(name.name(), PART));
        drop(name);
        assert!(names(&folder).is_empty());
    }

    #[test]
    fn the_names_of_dead_processes_are_removed_and_those_of_live_ones_stay() {
        let (folder, dir) = folder();
        std::fs::write(folder.path().join(".occystrap-0123456789abcdef.part"), "dead").unwrap();
        let kept = [
            ".occystrap-0123456789abcdef.tmp",
            ".occystrap-0123456789abcdeX.part",
            ".occystrap-0123456789abcdef.part.bak",
        ];
        for name in kept {
            std::fs::write(folder.path().join(name), "the user's").unwrap();
        }
        std::os::unix::fs::symlink(kept[0], folder.path().join(".occystrap-1123456789abcdef.part"))
            .unwrap();
        let live = ".occystrap-2123456789abcdef.part";
        let held = File::create(folder.path().join(live)).unwrap();
        held.lock().unwrap();
        let (_file, name) = create(&dir, 0o666).unwrap();
        // A directory with this inode may have been swept already, in another test of this process.
        sweep(&dir).unwrap();
        let mut there = names(&folder);
        there.sort();
        let mut wanted = kept.map(str::to_owned).to_vec();
        wanted.extend([live.to_owned(), name.name().to_owned()]);
        wanted.push(".occystrap-1123456789abcdef.part".to_owned());
        wanted.sort();
        assert_eq!(there, wanted);
    }
}

//! Locks on files and directories, which other processes may hold: taking one, a wait and its report to the user, and its
//! end. A lock on a directory leaves no file behind.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::error::{Error, Kind, Result};

/// Time between attempts to take a lock that another process holds. It is short, because the lock is held while a few
/// small files are written.
const POLL: Duration = Duration::from_millis(2);

/// Time after which a warning reports the wait. Writing a few small files takes less.
const REPORTED_AFTER: Duration = Duration::from_secs(1);

/// A file or directory that this process has locked. Dropping it unlocks it.
///
/// The lock belongs to the open file, which a child process shares from its fork to its exec (flock(2)). So `drop` calls
/// `unlock`: if it only closed the file, the lock would stay until the child has closed its copy.
#[derive(Debug)]
pub struct Locked(File);

impl Locked {
    /// Locks an open file or directory. Returns `None` while another process, or another opening, has it.
    pub fn try_new(file: File) -> io::Result<Option<Self>> {
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(cause)) => Err(cause),
        }
    }

    /// Returns what is locked.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.0
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing the file, which follows, is the other way to end the lock.
        let _ = self.0.unlock();
    }
}

/// Tries to take a lock until it is free. Errors, of kind `kind`, when an attempt fails and after `patience`; errors
/// when the user interrupts.
pub fn wait<T>(
    kind: Kind,
    folder: &Path,
    patience: Duration,
    cancel: &Cancel,
    mut attempt: impl FnMut() -> io::Result<Option<T>>,
) -> Result<T> {
    let (started, mut reported) = (Instant::now(), false);
    let place = folder.display();
    loop {
        cancel.check()?;
        let tried = attempt();
        let failed = |cause| Error::io(kind, "lock the directory", folder.display(), &cause);
        if let Some(lock) = tried.map_err(failed)? {
            return Ok(lock);
        }
        if started.elapsed() > patience {
            let seconds = patience.as_secs();
            let message = format!("'{place}' has been locked by another occystrap for {seconds} s");
            return Err(Error::new(kind, message));
        }
        if !reported && started.elapsed() >= REPORTED_AFTER {
            reported = true;
            tracing::warn!("waiting for another occystrap, which has locked '{place}'");
        }
        sleep(POLL);
    }
}

/// Locks a directory that exists.
pub fn folder(kind: Kind, path: &Path, patience: Duration, cancel: &Cancel) -> Result<Locked> {
    wait(kind, path, patience, cancel, || Locked::try_new(File::open(path)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_lock_is_free_although_a_child_process_still_shares_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let open = || File::open(folder.path()).unwrap();
        let lock = Locked::try_new(open()).unwrap().unwrap();
        assert!(Locked::try_new(open()).unwrap().is_none());
        // A fork shares the open file as a duplicate does.
        let of_the_child = lock.file().try_clone().unwrap();
        drop(lock);
        assert!(Locked::try_new(open()).unwrap().is_some());
        drop(of_the_child);
    }
}

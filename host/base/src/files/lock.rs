//! Locks on directories, which other processes may hold: a wait, its report to the user, and its end. They leave no
//! file behind.

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

/// Locks a directory that exists. Dropping the returned file unlocks it.
pub fn folder(kind: Kind, path: &Path, patience: Duration, cancel: &Cancel) -> Result<File> {
    wait(kind, path, patience, cancel, || {
        let folder = File::open(path)?;
        match folder.try_lock() {
            Ok(()) => Ok(Some(folder)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(cause)) => Err(cause),
        }
    })
}

//! Locks on folders, which other processes may hold: waited for, told, and given up. They leave no file
//! behind.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::error::{Error, Kind, Result};

/// How often a lock that somebody else has is tried again: short, for it is held while a few small
/// files are written.
const POLL: Duration = Duration::from_millis(2);

/// After this long, whoever waits for a lock is told so: longer than a few small files take.
const TOLD: Duration = Duration::from_secs(1);

/// Try until it is there. Errors, of this kind, when that fails and after `patience`, and when the user
/// interrupts.
pub fn wait<T>(
    kind: Kind,
    folder: &Path,
    patience: Duration,
    cancel: &Cancel,
    mut attempt: impl FnMut() -> io::Result<Option<T>>,
) -> Result<T> {
    let (started, mut told) = (Instant::now(), false);
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
        if !told && started.elapsed() >= TOLD {
            told = true;
            tracing::warn!("waiting for another occystrap, which has locked '{place}'");
        }
        sleep(POLL);
    }
}

/// Lock a folder that is there, until what is returned is dropped.
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

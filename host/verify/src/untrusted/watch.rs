//! The time limits of a batch and of each file in it, kept by one thread.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::batch_limits::BatchLimits;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};

/// The time between two checks of the clock. Limits are seconds.
const TICK: Duration = Duration::from_millis(20);

/// Cancels files that take too long.
pub(super) struct TimeWatch {
    /// Cancels the batch.
    stop: Cancel,
    end: Instant,
    bounds: BatchLimits,
    running: Mutex<Vec<(Cancel, Instant, u64)>>,
    next: std::sync::atomic::AtomicU64,
}

/// A file of receipts that is being checked.
pub(super) struct Watched {
    id: u64,
    cancel: Cancel,
}

impl Watched {
    /// Returns what cancels this file alone.
    pub(super) fn cancel(&self) -> &Cancel {
        &self.cancel
    }
}

impl TimeWatch {
    pub(super) fn new(stop: Cancel, bounds: &BatchLimits) -> Self {
        let now = Instant::now();
        // For a limit that the clock cannot add: a year.
        let far = now + Duration::from_secs(365 * 24 * 3600);
        let end = now.checked_add(bounds.batch_time).unwrap_or(far);
        Self { stop, end, bounds: *bounds, running: Mutex::default(), next: 0.into() }
    }

    /// Starts the time of a file.
    pub(super) fn begin(&self) -> Watched {
        let id = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let cancel = Cancel::default();
        let end = Instant::now().checked_add(self.bounds.time).unwrap_or(self.end).min(self.end);
        self.running().push((cancel.clone(), end, id));
        Watched { id, cancel }
    }

    /// Errors when the batch has no time left.
    pub(super) fn check(&self) -> Result<()> {
        self.stop.check()?;
        match Instant::now() < self.end {
            true => Ok(()),
            false => Err(Error::interrupted()),
        }
    }

    /// Ends the time of a file, and returns the error for an interruption of it. `None` when the batch was cancelled.
    pub(super) fn why(&self, watched: &Watched) -> Option<Error> {
        self.running().retain(|(_, _, id)| *id != watched.id);
        self.stop.check().ok()?;
        let (whose, time) = match Instant::now() >= self.end {
            true => ("the batch", self.bounds.batch_time),
            false => ("the receipt", self.bounds.time),
        };
        Some(Error::new(Kind::Plugin, format!("stopped: {whose} took more than {time:?}")))
    }

    /// Checks the clock until `wait` is closed.
    pub(super) fn keep(&self, wait: &Receiver<()>) {
        while wait.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            let now = Instant::now();
            let all = self.stop.check().is_err();
            for (cancel, end, _) in self.running().iter() {
                if all || now >= *end {
                    cancel.cancel();
                }
            }
        }
    }

    fn running(&self) -> MutexGuard<'_, Vec<(Cancel, Instant, u64)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

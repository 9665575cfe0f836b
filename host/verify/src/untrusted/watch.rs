//! The time of a batch and of each receipt in it, kept by one thread.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Bounds;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};

/// How often the time is looked at: limits are seconds.
const TICK: Duration = Duration::from_millis(20);

/// Stops what takes too long.
pub(super) struct Watch {
    /// Of the batch.
    stop: Cancel,
    end: Instant,
    bounds: Bounds,
    running: Mutex<Vec<(Cancel, Instant, u64)>>,
    next: std::sync::atomic::AtomicU64,
}

/// One receipt's file that is being looked at.
pub(super) struct Watched {
    id: u64,
    cancel: Cancel,
}

impl Watched {
    /// Its own wish to stop, which waits hear of as well.
    pub(super) fn cancel(&self) -> &Cancel {
        &self.cancel
    }
}

impl Watch {
    pub(super) fn new(stop: Cancel, bounds: &Bounds) -> Self {
        let now = Instant::now();
        // Longer than anybody waits.
        let far = now + Duration::from_secs(365 * 24 * 3600);
        let end = now.checked_add(bounds.batch_time).unwrap_or(far);
        Self { stop, end, bounds: *bounds, running: Mutex::default(), next: 0.into() }
    }

    /// A file is begun.
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

    /// A file is done: what an interruption of it meant. `None` when all of the batch was stopped.
    pub(super) fn why(&self, watched: &Watched) -> Option<Error> {
        self.running().retain(|(_, _, id)| *id != watched.id);
        self.stop.check().ok()?;
        let (whose, time) = match Instant::now() >= self.end {
            true => ("the batch", self.bounds.batch_time),
            false => ("the receipt", self.bounds.time),
        };
        Some(Error::new(Kind::Plugin, format!("stopped: {whose} took more than {time:?}")))
    }

    /// Look at the time until `wait` is closed.
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

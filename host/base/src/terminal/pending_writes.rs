//! Writes of this process that another process can hold up for ever: to a pipe that is full and that its reader does not
//! read, or to a FIFO that no process has opened for reading.
//!
//! Such a write ends neither at a signal nor at a cancellation. The handler of signals therefore asks how long the
//! longest write has been going on, and ends the process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The writes that are going on, by number.
#[derive(Default)]
struct Pending {
    next: u64,
    started: BTreeMap<u64, Instant>,
}

static PENDING: Mutex<Pending> = Mutex::new(Pending { next: 0, started: BTreeMap::new() });

fn pending() -> MutexGuard<'static, Pending> {
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A write that is going on. Dropping it ends the write.
struct PendingWrite(u64);

impl Drop for PendingWrite {
    fn drop(&mut self) {
        pending().started.remove(&self.0);
    }
}

/// Runs a write that another process can hold up, and returns its result.
pub fn during<T>(write: impl FnOnce() -> T) -> T {
    let number = {
        let mut pending = pending();
        pending.next += 1;
        let number = pending.next;
        pending.started.insert(number, Instant::now());
        number
    };
    let _write = PendingWrite(number);
    write()
}

/// Returns how long the longest write has been going on; zero if there is none.
#[must_use]
pub fn longest() -> Duration {
    let started = pending().started.values().min().copied();
    started.map_or(Duration::ZERO, |started| started.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_counts_until_it_ends() {
        let waited = Duration::from_millis(20);
        let seen = during(|| {
            std::thread::sleep(waited);
            longest()
        });
        assert!(seen >= waited, "{seen:?}");
    }
}

//! How much a verification may read, and how long it may take.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::Instant;

use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Result};

/// A budget. An object begins while something of it is left, so that an object that is larger than the whole budget is read
/// as well.
pub struct Budget {
    until: Option<Instant>,
    most: Option<u64>,
    spent: Mutex<(u64, bool)>,
    cancel: Cancel,
}

impl Budget {
    /// Creates one: the time at which nothing more begins, and the bytes that are read at most, besides those of objects in
    /// work.
    pub fn new(until: Option<Instant>, most: Option<u64>, cancel: Cancel) -> Self {
        Self { until, most, spent: Mutex::new((0, false)), cancel }
    }

    /// Returns whether an object of so many bytes may begin, and counts its bytes. Errors when the user interrupts.
    pub fn begin(&self, bytes: u64) -> Result<bool> {
        self.cancel.check()?;
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = self.until.is_some_and(|until| Instant::now() >= until)
            || self.most.is_some_and(|most| spent.0 >= most);
        spent.1 |= is_over;
        if !is_over {
            spent.0 = spent.0.saturating_add(bytes);
        }
        Ok(!is_over)
    }

    /// Returns whether something was not begun because the budget was spent.
    pub fn is_over(&self) -> bool {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

/// Does the work of each object in their order, `at_once` of them at a time. `next` returns `None` after the last one. Ends
/// with the first error, after the objects in work.
pub fn each<T: Send>(
    next: impl FnMut() -> Result<Option<T>> + Send,
    at_once: usize,
    work: impl Fn(T) -> Result<()> + Sync,
) -> Result<()> {
    // The second value says that there is no more.
    let next = Mutex::new((next, false));
    let lock = || next.lock().unwrap_or_else(PoisonError::into_inner);
    let worker = || loop {
        let object = {
            let mut next = lock();
            if next.1 {
                return Ok(());
            }
            let object = (next.0)();
            next.1 = !matches!(object, Ok(Some(_)));
            object?
        };
        let Some(object) = object else { return Ok(()) };
        if let Err(error) = work(object) {
            lock().1 = true;
            return Err(error);
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once.max(1)).map(|_| scope.spawn(worker)).collect();
        // All of them have ended before the outcome of one counts.
        let ended: Vec<Result<()>> = workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| Err(Error::interrupted())))
            .collect();
        ended.into_iter().collect()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_object_begins_while_something_is_left() {
        let budget = Budget::new(None, Some(10), Cancel::default());
        assert!(budget.begin(6).unwrap() && budget.begin(600).unwrap());
        assert!(!budget.is_over());
        assert!(!budget.begin(0).unwrap() && budget.is_over());
        let past = Instant::now() - Duration::from_secs(1);
        assert!(!Budget::new(Some(past), None, Cancel::default()).begin(1).unwrap());
        let cancel = Cancel::default();
        cancel.cancel();
        assert!(Budget::new(None, None, cancel).begin(1).is_err());
    }

    #[test]
    fn an_error_ends_the_work_after_the_objects_in_work() {
        let (mut numbers, done) = (0..1_000_u64, AtomicU64::new(0));
        let work = |number| match number {
            5 => Err(Error::usage("five")),
            _ => {
                done.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        };
        let outcome = each(|| Ok(numbers.next()), 3, work);
        assert_eq!(outcome.unwrap_err().to_string(), "five");
        assert!(done.into_inner() < 1_000);
    }
}

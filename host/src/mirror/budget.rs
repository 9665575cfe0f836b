//! How much a verification may read, and how long it may take.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use occystrap_base::cancel::Cancel;
use occystrap_base::error::Result;

/// The budget of a verification. An object begins while something of it is left, so that an object that is larger than the
/// whole budget is read as well.
pub struct VerifyBudget {
    until: Option<Instant>,
    most: Option<u64>,
    spent: Mutex<(u64, bool)>,
    cancel: Cancel,
}

impl VerifyBudget {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_object_begins_while_something_is_left() {
        let budget = VerifyBudget::new(None, Some(10), Cancel::default());
        assert!(budget.begin(6).unwrap() && budget.begin(600).unwrap());
        assert!(!budget.is_over());
        assert!(!budget.begin(0).unwrap() && budget.is_over());
        let past = Instant::now() - Duration::from_secs(1);
        assert!(!VerifyBudget::new(Some(past), None, Cancel::default()).begin(1).unwrap());
        let cancel = Cancel::default();
        cancel.cancel();
        assert!(VerifyBudget::new(None, None, cancel).begin(1).is_err());
    }
}

//! The two clocks of a ledger: UTC for what is stored, and a monotonic one for leases of this process.
//!
//! UTC may jump, when a machine gets the time from a server. Nothing is lost or done twice then:
//!
//! | what | after a jump forward | after a jump back |
//! | --- | --- | --- |
//! | a lease of this process | keeps its length: the monotonic clock decides | the same |
//! | the wait before a retry, the pause of a host | ends early | ends at once: it began in the future |
//! | a proof, the age of a verification | looks older, and is made again early | counts as new, if it is at most a day in the future; else as never made |
//! | a blob that this verification has read | is not read again: the number of the run decides | the same |
//! | the order of events and runs | by number, not by time | the same |

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Returns the seconds since 1970-01-01 in UTC.
    fn utc(&self) -> i64;

    /// Returns the time since some fixed moment; it never goes back.
    fn monotonic(&self) -> Duration;
}

/// The clocks of the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn utc(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }

    fn monotonic(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }
}

/// Seconds that a stored time may be in the future and still count as now. Clocks that were wrong by hours are set back
/// by less; a time further ahead is wrong and would look new for years.
pub const MOST_FUTURE: i64 = 86_400;

/// Returns the seconds since a stored time: 0 for one that is at most a day in the future, `None` for one further ahead.
#[must_use]
pub fn age(now: i64, at: i64) -> Option<u64> {
    if at > now.saturating_add(MOST_FUTURE) {
        return None;
    }
    Some(u64::try_from(now.saturating_sub(at)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_far_in_the_future_has_no_age() {
        assert_eq!(age(1_000, 400), Some(600));
        assert_eq!(age(1_000, 1_000 + MOST_FUTURE), Some(0));
        assert_eq!(age(1_000, 1_001 + MOST_FUTURE), None);
        assert_eq!(age(i64::MAX, i64::MIN), Some(i64::MAX.unsigned_abs()));
    }

    #[test]
    fn the_monotonic_clock_does_not_go_back() {
        let (one, other) = (SystemClock.monotonic(), SystemClock.monotonic());
        assert!(other >= one && SystemClock.utc() > 1_700_000_000);
    }
}

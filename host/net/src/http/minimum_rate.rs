//! A body that comes, but so slowly that it never ends.

use std::time::Duration;

/// What a server must send at least, in bytes for each second that is spent waiting for it.
const LEAST_RATE: f64 = 1024.0;

/// Watches how fast a body comes, one window after the other. Time in which nobody waits for the
/// server, because whoever takes the bytes is slow, does not count.
#[derive(Default)]
pub(crate) struct MinimumRate {
    waited: Duration,
    bytes: u64,
}

impl MinimumRate {
    /// So many bytes came after that wait. `true` when for a whole window there were too few.
    pub(crate) fn is_one(&mut self, bytes: usize, wait: Duration, window: Duration) -> bool {
        self.waited += wait;
        self.bytes += bytes as u64;
        if self.waited < window {
            return false;
        }
        let past = std::mem::take(self);
        (past.bytes as f64) < LEAST_RATE * past.waited.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_window_counts_for_itself() {
        let second = Duration::from_secs(1);
        let mut body = MinimumRate::default();
        assert!(!body.is_one(1 << 30, second * 10, second * 10));
        for _ in 0..9 {
            assert!(!body.is_one(1, second, second * 10));
        }
        assert!(body.is_one(1, second, second * 10));
        for _ in 0..9 {
            assert!(!body.is_one(1024, second, second * 10));
        }
        assert!(!body.is_one(1024, second, second * 10));
    }
}

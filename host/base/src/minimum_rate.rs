//! Limit on how slowly a body may arrive.

use std::time::Duration;

/// Minimum rate of a sender, in bytes for each second of waiting for it.
pub const LEAST_RATE: u64 = 1024;

/// Meter of a body's rate, one window after the other. Only time spent waiting for the sender counts: a slow reader of
/// the body is not the sender's fault.
#[derive(Default)]
pub struct MinimumRate {
    waited: Duration,
    bytes: u64,
}

impl MinimumRate {
    /// Adds bytes that arrived after a wait. Returns `true` when a whole window was below the minimum rate.
    pub fn is_below(&mut self, bytes: usize, wait: Duration, window: Duration) -> bool {
        self.waited += wait;
        self.bytes += bytes as u64;
        if self.waited < window {
            return false;
        }
        let past = std::mem::take(self);
        (past.bytes as f64) < LEAST_RATE as f64 * past.waited.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_window_counts_for_itself() {
        let second = Duration::from_secs(1);
        let mut body = MinimumRate::default();
        assert!(!body.is_below(1 << 30, second * 10, second * 10));
        for _ in 0..9 {
            assert!(!body.is_below(1, second, second * 10));
        }
        assert!(body.is_below(1, second, second * 10));
        for _ in 0..9 {
            assert!(!body.is_below(1024, second, second * 10));
        }
        assert!(!body.is_below(1024, second, second * 10));
    }
}

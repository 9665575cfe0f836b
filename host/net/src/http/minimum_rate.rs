//! Limit on how slowly a body may arrive.

use std::time::Duration;

/// Minimum rate of a server, in bytes for each second of waiting for it.
const LEAST_RATE: f64 = 1024.0;

/// Meter of a body's rate, one window after the other. Only time spent waiting for the server counts: a slow reader of
/// the body is not the server's fault.
#[derive(Default)]
pub(crate) struct MinimumRate {
    waited: Duration,
    bytes: u64,
}

impl MinimumRate {
    /// Adds bytes that arrived after a wait. Returns `true` when a whole window was below the minimum rate.
    pub(crate) fn is_below(&mut self, bytes: usize, wait: Duration, window: Duration) -> bool {
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

//! What the report says about how rough the way was.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of one image, or of one run. Shared by the tasks that work on it.
#[derive(Debug, Default)]
pub struct Counters {
    retries: AtomicU64,
    rate_limits: AtomicU64,
}

impl Counters {
    /// Requests that were made again after a failure, resumed downloads included.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Answers that said "too many requests" (RFC 6585, 429). Waits for one's own rate limit are
    /// not counted.
    #[must_use]
    pub fn rate_limits(&self) -> u64 {
        self.rate_limits.load(Ordering::Relaxed)
    }

    pub(crate) fn count_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_rate_limit(&self) {
        self.rate_limits.fetch_add(1, Ordering::Relaxed);
    }
}

//! Counters of difficulties on the network, for the report.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::traffic::Traffic;

/// Counters of one image, or of one run. The tasks that work on it share them.
#[derive(Debug, Default)]
pub struct Counters {
    retries: AtomicU64,
    rate_limits: AtomicU64,
    sent: AtomicU64,
    mounted: AtomicU64,
    traffic: Arc<Traffic>,
}

impl Counters {
    /// Returns counters that start at zero and count for the same run.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self { traffic: Arc::clone(&self.traffic), ..Self::default() }
    }

    /// Returns what is counted of the whole run.
    #[must_use]
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// Returns how many requests were made again after a failure, resumed downloads included.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Returns how many answers said "too many requests" (RFC 6585, 429). Waits for the user's own rate limit are not
    /// counted.
    #[must_use]
    pub fn rate_limits(&self) -> u64 {
        self.rate_limits.load(Ordering::Relaxed)
    }

    /// Returns the bytes of blobs that were sent to registries.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Returns the bytes of blobs that registries mounted from another repository, so that they were not sent.
    #[must_use]
    pub fn mounted(&self) -> u64 {
        self.mounted.load(Ordering::Relaxed)
    }

    pub(crate) fn count_sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        self.traffic.count_sent(bytes);
    }

    pub(crate) fn count_mounted(&self, bytes: u64) {
        self.mounted.fetch_add(bytes, Ordering::Relaxed);
        self.traffic.count_mounted(bytes);
    }

    pub(crate) fn count_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_rate_limit(&self) {
        self.rate_limits.fetch_add(1, Ordering::Relaxed);
    }
}

//! Numbers of a run of the proxy.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use occystrap_verify::report::ImageStatus;

/// Numbers of a run.
#[derive(Default)]
pub struct Counts {
    /// Requests by class and status.
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    /// Images by their result.
    images: Mutex<BTreeMap<&'static str, u64>>,
    /// Microseconds in which images were moved and verified.
    work: AtomicU64,
    /// Bytes of blobs that clients got from the downstream registry.
    relayed: AtomicU64,
}

impl Counts {
    /// Counts a request.
    pub fn request(&self, class: &'static str, status: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((class, status)).or_default() += 1;
    }

    /// Counts an image, and the time that it took.
    pub fn image(&self, status: ImageStatus, took: Duration) {
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        *images.entry(verdict(status)).or_default() += 1;
        self.work.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
    }

    /// Counts bytes that a client got.
    pub fn relayed(&self, bytes: usize) {
        self.relayed.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Returns the requests by class and status.
    #[must_use]
    pub fn requests(&self) -> BTreeMap<(&'static str, u16), u64> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the images by their result.
    #[must_use]
    pub fn images(&self) -> BTreeMap<&'static str, u64> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the time in which images were moved and verified.
    #[must_use]
    pub fn work(&self) -> Duration {
        Duration::from_micros(self.work.load(Ordering::Relaxed))
    }

    /// Returns the bytes of blobs that clients got from the downstream registry.
    #[must_use]
    pub fn relayed_bytes(&self) -> u64 {
        self.relayed.load(Ordering::Relaxed)
    }
}

/// Returns the name of a result.
#[must_use]
pub fn verdict(status: ImageStatus) -> &'static str {
    match status {
        ImageStatus::Verified => "verified",
        ImageStatus::Failed => "failed",
        ImageStatus::Unconfirmed => "unconfirmed",
        ImageStatus::NotVerified => "not-verified",
        ImageStatus::Error => "error",
    }
}

//! Numbers of a run of the proxy.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use occystrap_verify::report::{ImageStatus, Run};

/// Numbers of a run.
#[derive(Default)]
pub struct Counts {
    /// Requests by class and status.
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    /// Images by their result.
    images: Mutex<BTreeMap<&'static str, u64>>,
    /// Microseconds in which images were moved and verified.
    work: AtomicU64,
    /// Microseconds of these in which they were verified.
    verification: AtomicU64,
    /// Bytes of blobs that the downstream registry got.
    sent: AtomicU64,
    /// Bytes of blobs that clients got from the downstream registry.
    relayed: AtomicU64,
}

impl Counts {
    /// Counts a request.
    pub fn request(&self, class: &'static str, status: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((class, status)).or_default() += 1;
    }

    /// Counts the images of a move, the time that it took, and the bytes that were sent.
    pub fn moved(&self, run: &Run, took: Duration, sent: u64) {
        self.sent.fetch_add(sent, Ordering::Relaxed);
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        for image in run.images() {
            *images.entry(verdict(image.status)).or_default() += 1;
            let verified_in = image.verified_in.as_micros() as u64;
            self.verification.fetch_add(verified_in, Ordering::Relaxed);
        }
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

    /// Returns the images by their result, with 0 for a result that no image has.
    #[must_use]
    pub fn images(&self) -> BTreeMap<&'static str, u64> {
        let mut all: BTreeMap<&'static str, u64> =
            VERDICTS.into_iter().map(|name| (name, 0)).collect();
        all.extend(self.images.lock().unwrap_or_else(PoisonError::into_inner).iter());
        all
    }

    /// Returns the time in which images were moved and verified.
    #[must_use]
    pub fn work(&self) -> Duration {
        Duration::from_micros(self.work.load(Ordering::Relaxed))
    }

    /// Returns the time in which images were verified.
    #[must_use]
    pub fn verification(&self) -> Duration {
        Duration::from_micros(self.verification.load(Ordering::Relaxed))
    }

    /// Returns the bytes of blobs that the downstream registry got.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Returns the bytes of blobs that clients got from the downstream registry.
    #[must_use]
    pub fn relayed_bytes(&self) -> u64 {
        self.relayed.load(Ordering::Relaxed)
    }
}

/// The names of all results of a proxy, which verifies every image.
const VERDICTS: [&str; 4] = ["verified", "failed", "unconfirmed", "error"];

/// Returns the name of a result.
fn verdict(status: ImageStatus) -> &'static str {
    match status {
        ImageStatus::Verified => "verified",
        ImageStatus::Failed => "failed",
        ImageStatus::Unconfirmed => "unconfirmed",
        ImageStatus::NotVerified => "not-verified",
        ImageStatus::Error => "error",
    }
}

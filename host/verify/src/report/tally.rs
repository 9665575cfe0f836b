//! What is kept of the images of a run for its end: numbers, however many images there are.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::{ImageReport, ImageStatus, UNCONFIRMED, seconds};
use occystrap_base::error::{Error, Kind};
use occystrap_base::terminal::size::size;

/// The images of a run, counted.
#[derive(Debug, Default)]
pub struct Tally {
    summary: Summary,
    not_verified: usize,
    lacks_receipt: bool,
    /// Exit code of an interruption.
    interrupted: Option<u8>,
    /// Exit code of the first error about the command line.
    usage: Option<u8>,
    /// Errors of other kinds.
    other_errors: bool,
}

#[derive(Debug, Default, Serialize)]
struct Summary {
    images: usize,
    succeeded: usize,
    failed: usize,
    layers: usize,
    bytes: u64,
    seconds: f64,
    retries: u64,
    rate_limits: u64,
    verified: usize,
    verify_failed: usize,
    unconfirmed: usize,
}

impl Tally {
    /// Counts one more image.
    pub fn count(&mut self, image: &ImageReport) {
        let sum = &mut self.summary;
        sum.images += 1;
        match image.status {
            ImageStatus::Error => sum.failed += 1,
            ImageStatus::Verified => sum.verified += 1,
            ImageStatus::Failed => sum.verify_failed += 1,
            ImageStatus::Unconfirmed => sum.unconfirmed += 1,
            ImageStatus::NotVerified => self.not_verified += 1,
        }
        sum.succeeded = sum.images - sum.failed;
        sum.layers += image.layers;
        sum.bytes = sum.bytes.saturating_add(image.bytes);
        // Images of one run share a connection, and so its troubles.
        sum.retries = sum.retries.max(image.retries);
        sum.rate_limits = sum.rate_limits.max(image.rate_limits);
        self.lacks_receipt |= image.lacks_receipt;
        match image.error.as_ref().map(|error| (error.kind(), Error::exit_code(error))) {
            Some((Kind::Interrupted, code)) => _ = self.interrupted.get_or_insert(code),
            Some((Kind::Usage, code)) => _ = self.usage.get_or_insert(code),
            Some(_) => self.other_errors = true,
            None => {}
        }
    }

    /// The run has ended.
    pub fn end(&mut self, took: Duration) {
        self.summary.seconds = seconds(took);
    }

    /// The exit code. `strict` is for those who take no doubt for an answer.
    #[must_use]
    pub fn exit_code(&self, strict: bool) -> u8 {
        let sum = &self.summary;
        if let Some(code) = self.interrupted {
            return code;
        }
        // Nothing looked at is nothing done.
        if sum.images == 0 {
            return 1;
        }
        if let Some(code) = self.usage.filter(|_| sum.failed == sum.images && !self.other_errors) {
            return code;
        }
        if self.lacks_receipt {
            return 1;
        }
        match (sum.failed + sum.verify_failed, sum.unconfirmed) {
            (0, 0) => 0,
            (0, _) if strict => UNCONFIRMED,
            (0, _) => 0,
            _ => 1,
        }
    }

    /// The last line, which someone with 200 images reads.
    #[must_use]
    pub fn summary_line(&self) -> String {
        let sum = &self.summary;
        let mut line = format!(
            "Summary: {}/{} images, {} layers, {}, {:.1}s",
            sum.succeeded,
            sum.images,
            sum.layers,
            size(sum.bytes),
            sum.seconds
        );
        if sum.retries > 0 {
            line += &format!(", {}", count(sum.retries, "retry", "retries"));
        }
        if sum.rate_limits > 0 {
            line += &format!(", {}", count(sum.rate_limits, "rate limit", "rate limits"));
        }
        let receipt = if self.lacks_receipt { ", no receipt" } else { "" };
        if sum.succeeded > 0 && self.not_verified == sum.succeeded {
            return line + ", not verified" + receipt;
        }
        line += &format!(", {}/{} verified", sum.verified, sum.images);
        if sum.verify_failed > 0 {
            line += &format!(", {} FAILED", sum.verify_failed);
        }
        if sum.unconfirmed > 0 {
            line += &format!(", {} UNCONFIRMED", sum.unconfirmed);
        }
        line + receipt
    }
}

fn count(number: u64, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

impl Serialize for Tally {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.summary.serialize(to)
    }
}

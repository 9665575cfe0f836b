//! The numbers that are kept of the images of a run: their size does not depend on how many images there are.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::{ImageReport, ImageStatus, UNCONFIRMED, seconds};
use occystrap_base::error::{Error, Kind};
use occystrap_base::terminal::summary::SummaryLine;

/// The counts of the images of a run, and the exit code that follows.
#[derive(Debug, Default)]
pub struct Tally {
    summary: Summary,
    not_verified: usize,
    lacks_receipt: bool,
    /// The exit code of an interruption.
    interrupted: Option<u8>,
    /// The exit code of the first error about the command line.
    usage: Option<u8>,
    /// There were errors of other kinds.
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
        // Images of one run share a connection, and its retries.
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

    /// Ends the run.
    pub fn end(&mut self, took: Duration) {
        self.summary.seconds = seconds(took);
    }

    /// Returns the exit code. With `strict`, an UNCONFIRMED image is no success.
    #[must_use]
    pub fn exit_code(&self, strict: bool) -> u8 {
        let sum = &self.summary;
        if let Some(code) = self.interrupted {
            return code;
        }
        // A run without images did nothing.
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

    /// Returns the last line of the report.
    #[must_use]
    pub fn summary_line(&self) -> String {
        let sum = &self.summary;
        let counted = format!("{}/{} images", sum.succeeded, sum.images);
        let line = SummaryLine::new(&counted, sum.layers, sum.bytes)
            .seconds(sum.seconds)
            .number(sum.retries, "retry", "retries")
            .number(sum.rate_limits, "rate limit", "rate limits");
        let line = match sum.succeeded > 0 && self.not_verified == sum.succeeded {
            true => line.part("not verified"),
            false => line.verdicts(sum.images, sum.verified, sum.verify_failed, sum.unconfirmed),
        };
        match self.lacks_receipt {
            true => line.part("no receipt").to_string(),
            false => line.to_string(),
        }
    }
}

impl Serialize for Tally {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.summary.serialize(to)
    }
}

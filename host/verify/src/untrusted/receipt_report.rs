//! The report of one receipt, which is one line of JSON, and the summary of a batch.

use std::time::Duration;

use serde::Serialize;

use super::batch_limits::Stop;
use crate::report::{ImageStatus, ObjectReport};
use crate::verdict::object::Verification;
use occystrap_base::error::{Error, Kind, printable};
use occystrap_base::limits::UNTRUSTED_PROBLEMS;
use occystrap_base::oci::{Digest, PlatformPart};
use occystrap_base::terminal::summary::SummaryLine;
use occystrap_output::receipt::Receipt;

/// The report of one receipt. Its texts are cut and have no control characters. Names in it are claims of the receipt; the
/// `id` is not, because the config and the layers that it stands for were checked.
#[derive(Debug, Serialize)]
pub struct ReceiptReport {
    /// The file of the receipt.
    pub receipt: String,
    /// `verified`, `failed`, `unconfirmed`, or `error` where it is not a receipt that can be checked.
    pub status: ImageStatus,
    /// The name of the image, as the receipt says.
    pub image: Option<String>,
    /// The tag of the image, as the receipt says.
    pub tag: Option<String>,
    /// `image`, `index` (of images), or `artifact` (which stands beside images in an index).
    pub kind: Option<&'static str>,
    /// Which image of an index it is: its platform as the receipt says, or the start of its digest.
    pub platform: Option<String>,
    /// Digest of the config, or of the index.
    pub id: Option<Digest>,
    /// Where the image must be.
    pub destination: Option<String>,
    /// The plugin that wrote, as the receipt says.
    pub plugin: Option<String>,
    /// A remark that does not change the verdict: another version of the plugin verified.
    pub note: Option<String>,
    /// The number of layers.
    pub layers: usize,
    /// The size of config and layers in bytes.
    pub bytes: u64,
    /// The number of objects that were checked.
    pub objects: usize,
    /// The objects that are not *ok*.
    pub problems: Vec<ObjectReport>,
    /// How many of those are left out, beyond [`UNTRUSTED_PROBLEMS`].
    pub left_out: usize,
    /// The time that it took.
    pub seconds: f64,
    /// Why there is no verdict.
    pub error: Option<Error>,
    #[serde(skip)]
    interrupted: bool,
}

impl ReceiptReport {
    /// Returns the report of a file that cannot be read as receipts.
    pub(super) fn unread(place: &str, why: Stop) -> Self {
        let mut report = Self {
            receipt: printable(place),
            status: ImageStatus::Error,
            image: None,
            tag: None,
            kind: None,
            platform: None,
            id: None,
            destination: None,
            plugin: None,
            note: None,
            layers: 0,
            bytes: 0,
            objects: 0,
            problems: Vec::new(),
            left_out: 0,
            seconds: 0.0,
            error: None,
            interrupted: false,
        };
        report.stop(why);
        report
    }

    /// Returns the report of a receipt: its verification with a remark, or why there is none.
    pub(super) fn of(
        place: &str,
        receipt: &Receipt,
        checked: Result<(Verification, Option<String>), Stop>,
    ) -> Self {
        let kind = match &checked {
            _ if receipt.image.part.is_index() => "index",
            _ if matches!(receipt.image.part, PlatformPart::Referrer(_)) => "referrer",
            Ok((proof, _)) if proof.is_artifact => "artifact",
            _ => "image",
        };
        let platform = match &receipt.image.part {
            PlatformPart::Platform(which) | PlatformPart::Nested(which) => Some(printable(which)),
            PlatformPart::Whole | PlatformPart::Index | PlatformPart::Referrer(_) => None,
        };
        let layers = receipt.expectations.iter().filter(|one| one.role.is_layer());
        let mut report = Self {
            image: Some(printable(&receipt.image.name)),
            tag: receipt.image.tag.as_deref().map(printable),
            kind: Some(kind),
            platform,
            id: Some(receipt.image.id),
            destination: Some(printable(&receipt.destination)),
            plugin: Some(printable(&receipt.plugin.name)),
            layers: layers.count(),
            bytes: receipt.bytes(),
            error: None,
            interrupted: false,
            ..Self::unread(place, Stop::Unchecked(Error::interrupted()))
        };
        match checked {
            Ok((proof, note)) => {
                report.note = note.as_deref().map(printable);
                report.status = proof.outcome().into();
                report.objects = proof.objects.len();
                let shown = proof.problems().take(UNTRUSTED_PROBLEMS);
                report.problems =
                    shown.map(|object| ObjectReport::of(object).printable()).collect();
                report.left_out = proof.problems().count() - report.problems.len();
            }
            Err(why) => report.stop(why),
        }
        report
    }

    fn stop(&mut self, why: Stop) {
        let (status, error) = match why {
            Stop::Refused(error) => (ImageStatus::Error, error),
            Stop::Unchecked(error) => (ImageStatus::Unconfirmed, error),
        };
        self.status = status;
        self.interrupted = error.kind() == Kind::Interrupted;
        self.error = Some(error);
    }

    /// Replaces the error of an interruption with the limit that caused it.
    pub(super) fn explain(&mut self, why: &Error) {
        if self.interrupted {
            self.error = Some(why.clone());
        }
    }

    pub(super) fn after(mut self, took: Duration) -> Self {
        self.seconds = (took.as_secs_f64() * 1e6).round() / 1e6;
        self
    }
}

/// The counts of a batch.
#[derive(Debug, Default, Clone, Serialize)]
pub struct ReceiptSummary {
    /// Receipts, and files that are not receipts.
    pub receipts: usize,
    /// Receipts of which everything was checked and nothing is wrong.
    pub verified: usize,
    /// Receipts with a flaw.
    pub failed: usize,
    /// Receipts of which something could not be checked, or where only the plugin reports a problem.
    pub unconfirmed: usize,
    /// Files that are not receipts, and receipts that cannot be checked.
    pub errors: usize,
    /// The layers of all receipts.
    pub layers: usize,
    /// The size of all configs and layers in bytes.
    pub bytes: u64,
    /// The time from the first to the last.
    pub seconds: f64,
}

impl ReceiptSummary {
    /// Counts one more receipt.
    pub fn count(&mut self, report: &ReceiptReport) {
        self.receipts += 1;
        self.layers += report.layers;
        self.bytes = self.bytes.saturating_add(report.bytes);
        match report.status {
            ImageStatus::Verified => self.verified += 1,
            ImageStatus::Failed => self.failed += 1,
            ImageStatus::Unconfirmed | ImageStatus::NotVerified => self.unconfirmed += 1,
            ImageStatus::Error => self.errors += 1,
        }
    }

    /// Returns the exit code as of `verify`: 0 where all are verified, 1 where something FAILED or is not a receipt, 3 where
    /// something is UNCONFIRMED.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match (self.failed + self.errors, self.unconfirmed) {
            (0, 0) => u8::from(self.receipts == 0),
            (0, _) => 3,
            _ => 1,
        }
    }
}

/// The last line of the report.
impl std::fmt::Display for ReceiptSummary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counted = format!("{}/{} receipts", self.receipts - self.errors, self.receipts);
        let line = SummaryLine::new(&counted, self.layers, self.bytes).seconds(self.seconds);
        line.verdicts(self.receipts, self.verified, self.failed, self.unconfirmed).fmt(f)
    }
}

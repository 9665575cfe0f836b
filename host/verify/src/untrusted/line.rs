//! What is said of one receipt, on one line, and of all of them at the end.

use std::time::Duration;

use serde::Serialize;

use super::Stop;
use super::look::Looked;
use crate::report::ImageStatus;
use crate::verdict::object::CheckedObject;
use occystrap_base::error::{Error, Kind, printable};
use occystrap_base::limits::UNTRUSTED_PROBLEMS;
use occystrap_base::oci::{Digest, Part};
use occystrap_base::terminal::size::size;
use occystrap_output::receipt::Receipt;

/// One receipt. Its text is cut and free of control characters; names in it are the receipt's claims,
/// except for `id`, whose config and layers are what was looked at.
#[derive(Debug, Serialize)]
pub struct Line {
    /// The file that it is in.
    pub receipt: String,
    /// `verified`, `failed`, `unconfirmed`, or `error`: it is no receipt that can be looked at.
    pub status: ImageStatus,
    /// What the receipt calls the image.
    pub image: Option<String>,
    /// And its tag.
    pub tag: Option<String>,
    /// `image`; `index` of images; or `artifact`, which stands beside images in an index and is none.
    pub kind: Option<&'static str>,
    /// Which image of an index it is: its platform by the receipt's word, or its digest, short.
    pub platform: Option<String>,
    /// Digest of the config, or of the index.
    pub id: Option<Digest>,
    /// Where it must be.
    pub destination: Option<String>,
    /// The plugin that wrote, as the receipt says.
    pub plugin: Option<String>,
    /// What is odd, and changes nothing: another version of the plugin has looked.
    pub note: Option<String>,
    /// How many layers.
    pub layers: usize,
    /// Of config and layers.
    pub bytes: u64,
    /// Things that were looked at.
    pub objects: usize,
    /// Those that are not as they must be.
    pub problems: Vec<CheckedObject>,
    /// How many of those were left out, beyond [`UNTRUSTED_PROBLEMS`].
    pub left_out: usize,
    /// How long it took.
    pub seconds: f64,
    /// Why there is no verdict.
    pub error: Option<Told>,
    #[serde(skip)]
    interrupted: bool,
}

/// An error.
#[derive(Debug, Serialize)]
pub struct Told {
    /// One line.
    pub message: String,
    /// What can be done about it.
    pub hint: Option<String>,
}

impl Line {
    /// A file that holds no receipt.
    pub(super) fn unread(place: &str, why: Stop) -> Self {
        let mut line = Self {
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
        line.stop(why);
        line
    }

    /// A receipt, and what came of looking.
    pub(super) fn of(place: &str, receipt: &Receipt, looked: Result<Looked, Stop>) -> Self {
        let kind = match &looked {
            _ if receipt.image.part.is_index() => "index",
            Ok(looked) if looked.proof.is_artifact => "artifact",
            _ => "image",
        };
        let platform = match &receipt.image.part {
            Part::Platform(which) | Part::Nested(which) => Some(printable(which)),
            Part::Whole | Part::Index => None,
        };
        let layers = receipt.expectations.iter().filter(|one| one.role.is_layer());
        let mut line = Self {
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
            ..Self::unread(place, Stop::Doubt(Error::interrupted()))
        };
        match looked {
            Ok(Looked { proof, note, .. }) => {
                line.note = note.as_deref().map(printable);
                line.status = proof.outcome().into();
                line.objects = proof.objects.len();
                let shown = |object: &CheckedObject| CheckedObject {
                    location: printable(&object.location),
                    expected: object.expected.as_deref().map(printable),
                    found: object.found.as_deref().map(printable),
                    message: printable(&object.message),
                    ..object.clone()
                };
                line.problems = proof.problems().take(UNTRUSTED_PROBLEMS).map(shown).collect();
                line.left_out = proof.problems().count() - line.problems.len();
            }
            Err(why) => line.stop(why),
        }
        line
    }

    fn stop(&mut self, why: Stop) {
        let (status, error) = match why {
            Stop::Refused(error) => (ImageStatus::Error, error),
            Stop::Doubt(error) => (ImageStatus::Unconfirmed, error),
        };
        self.status = status;
        self.interrupted = error.kind() == Kind::Interrupted;
        self.error = Some(Told::of(&error));
    }

    /// What an interruption meant.
    pub(super) fn explain(&mut self, why: &Error) {
        if self.interrupted {
            self.error = Some(Told::of(why));
        }
    }

    pub(super) fn after(mut self, took: Duration) -> Self {
        self.seconds = (took.as_secs_f64() * 1e6).round() / 1e6;
        self
    }
}

impl Told {
    fn of(error: &Error) -> Self {
        Self { message: error.to_string(), hint: error.hint_text().map(str::to_owned) }
    }
}

/// A whole batch.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Summary {
    /// Receipts, and files that are none.
    pub receipts: usize,
    /// Everything was looked at and is right.
    pub verified: usize,
    /// Something wrong was seen.
    pub failed: usize,
    /// Something could not be looked at, or is doubted by the plugin.
    pub unconfirmed: usize,
    /// No receipt that can be looked at.
    pub errors: usize,
    /// Of all.
    pub layers: usize,
    /// Of all.
    pub bytes: u64,
    /// From the first to the last.
    pub seconds: f64,
}

impl Summary {
    /// Counts one more receipt.
    pub fn count(&mut self, line: &Line) {
        self.receipts += 1;
        self.layers += line.layers;
        self.bytes = self.bytes.saturating_add(line.bytes);
        match line.status {
            ImageStatus::Verified => self.verified += 1,
            ImageStatus::Failed => self.failed += 1,
            ImageStatus::Unconfirmed | ImageStatus::NotVerified => self.unconfirmed += 1,
            ImageStatus::Error => self.errors += 1,
        }
    }

    /// As for `verify`: 0 all verified, 1 something FAILED or is no receipt, 3 something is
    /// UNCONFIRMED.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match (self.failed + self.errors, self.unconfirmed) {
            (0, 0) => u8::from(self.receipts == 0),
            (0, _) => 3,
            _ => 1,
        }
    }
}

/// The last line.
impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { receipts, layers, verified, seconds, .. } = self;
        let looked_at = receipts - self.errors;
        write!(
            f,
            "Summary: {looked_at}/{receipts} receipts, {layers} layers, {}, {seconds:.1}s, \
             {verified}/{receipts} verified",
            size(self.bytes)
        )?;
        for (count, what) in [(self.failed, "FAILED"), (self.unconfirmed, "UNCONFIRMED")] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

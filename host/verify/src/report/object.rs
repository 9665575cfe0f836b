//! Objects and verifications as programs read them: the texts of the JSON.

use serde::{Serialize, Serializer};

use super::words;
use crate::verdict::flaw::Status;
use crate::verdict::object::{CheckedObject, Verification};
use occystrap_base::error::printable;
use occystrap_base::oci::Digest;
use occystrap_images::level::Level;

/// One object that was checked.
#[derive(Debug, Clone, Serialize)]
pub struct ObjectReport {
    /// `config`, `layer`, `manifest`, `catalog` or `image`.
    pub kind: &'static str,
    /// The index of a layer, from 0.
    pub index: Option<u32>,
    /// Where it is, as the user named the destination.
    pub location: String,
    /// The digest that it must have.
    pub digest: Option<Digest>,
    /// The size that it must have, in bytes.
    pub size: Option<u64>,
    /// The state that was found.
    pub status: Status,
    /// What was expected, where it is about a difference.
    pub expected: Option<String>,
    /// What was found.
    pub found: Option<String>,
    /// What is wrong. Empty where the status is *ok*.
    pub message: String,
    /// The command that repairs it.
    pub repair: Option<String>,
}

impl ObjectReport {
    /// Describes an object.
    #[must_use]
    pub fn of(object: &CheckedObject) -> Self {
        let (expected, found) = words::sides(object);
        Self {
            kind: object.kind,
            index: object.index,
            location: object.location.clone(),
            digest: object.digest,
            size: object.size,
            status: object.status,
            expected,
            found,
            message: words::message(object),
            repair: object.repair.clone(),
        }
    }

    /// Makes texts from a receipt of unknown origin safe for a terminal, and cuts them: [`printable`].
    #[must_use]
    pub fn printable(self) -> Self {
        Self {
            location: printable(&self.location),
            expected: self.expected.as_deref().map(printable),
            found: self.found.as_deref().map(printable),
            message: printable(&self.message),
            ..self
        }
    }
}

/// A verification in the JSON of an image.
#[derive(Serialize)]
struct VerificationReport {
    level: Level,
    objects: Vec<ObjectReport>,
}

/// Serializes the verification of an image, where there is one.
pub(super) fn serialize<S: Serializer>(
    verification: &Option<Verification>,
    to: S,
) -> Result<S::Ok, S::Error> {
    let report = verification.as_ref().map(|verification| VerificationReport {
        level: verification.level,
        objects: verification.objects.iter().map(ObjectReport::of).collect(),
    });
    report.serialize(to)
}

//! Whether the clients of an image can read a document that has the right digest.
//!
//! A digest proves bytes. What it refuses: to verify a config or a manifest that Docker, Podman and skopeo
//! reject, or that other parsers reject.

use crate::verdict::object::{CheckedObject, Status};
use occystrap_base::error::Error;
use occystrap_base::oci::config_type::{Engines, engines};
use occystrap_base::oci::document::ManifestDocument;
use occystrap_base::oci::json::{self, DEEPEST, Unreadable};
use occystrap_base::oci::manifest::type_or_not;
use occystrap_base::oci::types::{self, Mistyped};

/// The message for a document that is not UTF-8.
pub const OTHER_BYTES: &str =
    "is not UTF-8: Docker, Podman and skopeo replace such bytes, other readers refuse them";

/// What to do about a document that clients reject, and whose bytes are those of its digest.
pub const AS_AT_SOURCE: &str = "the image is like this at its source, so that moving it again does not help; 'occystrap check' says more; build the image again";

/// What is wrong with a document, or with anything else that is known before it is looked at.
#[derive(Debug, Clone)]
pub struct Flaw {
    status: Status,
    expected: Option<String>,
    found: Option<String>,
    message: String,
    /// What to do about it, where the command that wrote it does not help.
    hint: Option<&'static str>,
}

impl Flaw {
    /// A flaw without two sides.
    #[must_use]
    pub fn new(status: Status, message: &str) -> Self {
        Self { status, expected: None, found: None, message: message.to_owned(), hint: None }
    }

    /// Looks at the bytes of a document. `None` where every client reads it.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match json::check(bytes) {
            Ok(()) if json::is_utf8(bytes) => None,
            Ok(()) => Some(Self::new(Status::Unchecked, OTHER_BYTES)),
            Err(Unreadable::Malformed(_)) => {
                Some(Self::new(Status::Unreadable, "is not valid JSON"))
            }
            Err(Unreadable::TooDeep(found)) => Some(Self {
                expected: Some(format!("at most {DEEPEST} levels")),
                found: Some(format!("{found} levels")),
                ..Self::new(
                    Status::Unreadable,
                    "is nested deeper than Docker, Podman and skopeo take",
                )
            }),
        }
    }

    /// Looks at the media type that the manifest of an image gives its config. `None` where Docker and Podman pull the
    /// image.
    #[must_use]
    pub fn of_config_type(manifest: &ManifestDocument) -> Option<Self> {
        let said = manifest.config_type();
        let (status, who) = match engines(said, manifest.media_type()) {
            Engines { docker: true, podman: true } => return None,
            Engines { docker: true, podman: false } => (Status::Unchecked, "Podman rejects"),
            Engines { docker: false, podman: true } => (Status::Unchecked, "Docker rejects"),
            Engines { docker: false, podman: false } => {
                (Status::Unreadable, "Docker and Podman reject")
            }
        };
        let found = if said.is_empty() { "none" } else { type_or_not(said) };
        let message = format!("gives its config a media type that {who}");
        let (found, hint) = (Some(found.to_owned()), Some(AS_AT_SOURCE));
        Some(Self { found, hint, ..Self::new(status, &message) })
    }

    /// Looks at the bytes of a config that cannot be parsed as that of an image.
    #[must_use]
    pub fn of_config(bytes: &[u8], error: &Error) -> Self {
        let sides =
            error.difference().map(|(expected, found)| (expected.to_string(), found.to_string()));
        let (expected, found) = sides.unzip();
        let foreign = Self::new(Status::Unreadable, "is not the config of an image");
        let document = Self::of(bytes).filter(|flaw| flaw.status.is_bad());
        let document = document.or_else(|| types::config(bytes).err().map(Self::of_type));
        document.unwrap_or(Self { expected, found, ..foreign })
    }

    /// Describes a field of a document for which clients reject it.
    fn of_type(wrong: Mistyped) -> Self {
        let message = format!("has a field '{}' of a type that clients reject", wrong.field);
        Self {
            expected: Some(wrong.expected.to_owned()),
            found: Some(wrong.found.into_owned()),
            hint: Some(AS_AT_SOURCE),
            ..Self::new(Status::Unreadable, &message)
        }
    }

    /// Whether it says that a thing is not there.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        self.status == Status::Missing
    }

    /// Says so of an object, whatever else was said of it.
    pub fn blame(self, object: &mut CheckedObject) {
        object.blame(self.status, self.expected, self.found, &self.message);
        object.hint = self.hint.map(str::to_owned);
    }

    /// Says so of an object with which nothing is wrong so far, and which a plugin need not have parsed.
    pub fn blame_sound(&self, object: &mut CheckedObject) {
        if object.status == Status::Ok {
            self.clone().blame(object);
            object.host_only = true;
        }
    }
}

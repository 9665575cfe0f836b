//! Whether the clients of an image can read a document that has the right digest.
//!
//! A digest only proves which bytes a document has. This module refuses configs and manifests that Docker, Podman and
//! skopeo reject, or that other parsers reject.

use super::flaw::{Difference, Flaw, Hint, Reason, Rejecting, Status};
use occystrap_base::error::Error;
use occystrap_base::oci::config_type::{Engines, engines};
use occystrap_base::oci::document::ManifestDocument;
use occystrap_base::oci::json::{self, DEEPEST, Unreadable};
use occystrap_base::oci::manifest::type_or_not;
use occystrap_base::oci::types::{self, Mistyped};

/// Checks the bytes of a document. Returns `None` where every client reads it.
#[must_use]
pub fn check(bytes: &[u8]) -> Option<Flaw> {
    match json::check(bytes) {
        Ok(()) if json::is_utf8(bytes) => None,
        Ok(()) => Some(Flaw::new(Status::Unchecked, Reason::NotUtf8)),
        Err(Unreadable::Malformed(_)) => Some(Flaw::new(Status::Unreadable, Reason::NotJson)),
        Err(Unreadable::TooDeep(found)) => Some(
            Flaw::new(Status::Unreadable, Reason::TooDeep)
                .between(Difference::Depth { most: DEEPEST, found }),
        ),
    }
}

/// Checks the media type that the manifest of an image gives its config. Returns `None` where Docker and Podman pull
/// the image.
#[must_use]
pub fn check_config_type(manifest: &ManifestDocument) -> Option<Flaw> {
    let said = manifest.config_type();
    let (status, rejecting) = match engines(said, manifest.media_type()) {
        Engines { docker: true, podman: true } => return None,
        Engines { docker: true, podman: false } => (Status::Unchecked, Rejecting::Podman),
        Engines { docker: false, podman: true } => (Status::Unchecked, Rejecting::Docker),
        Engines { docker: false, podman: false } => (Status::Unreadable, Rejecting::Both),
    };
    let found = (!said.is_empty()).then(|| type_or_not(said).to_owned());
    let flaw = Flaw::new(status, Reason::ConfigType(rejecting));
    Some(flaw.between(Difference::MediaType { found }).hint(Hint::AsAtSource))
}

/// Checks the bytes of a config that cannot be parsed as that of an image; `error` says why.
#[must_use]
pub fn check_config(bytes: &[u8], error: &Error) -> Flaw {
    let foreign = Flaw::new(Status::Unreadable, Reason::NotImageConfig);
    let document = check(bytes).filter(|flaw| flaw.status.is_bad());
    let document = document.or_else(|| types::config(bytes).err().map(of_type));
    document.unwrap_or(Flaw { difference: Difference::of(error), ..foreign })
}

/// Describes a field of a document for which clients reject it.
fn of_type(wrong: Mistyped) -> Flaw {
    let sides = Difference::Value {
        expected: Some(wrong.expected.to_owned()),
        found: Some(wrong.found.into_owned()),
    };
    let reason = Reason::FieldType { field: wrong.field.to_string() };
    Flaw::new(Status::Unreadable, reason).between(sides).hint(Hint::AsAtSource)
}

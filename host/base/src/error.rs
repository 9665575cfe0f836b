//! Errors, for users and for scripts.
//!
//! The message of an error is one line that names the thing, its place, and both sides of a difference (expected,
//! found). A second line is a hint, where one helps. What it refuses: control characters from hostile names, secrets
//! ([`crate::secret::mask`]), and messages of several lines.

mod difference;
mod text;

use std::time::Duration;

pub use self::difference::{Side, with_sides};
pub use self::text::{io_reason, is_unprintable, one_line, printable};

/// Result of a fallible function, with [`Error`] as its error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Kind of an [`Error`]. It decides the exit code, whether a request is made again, and whether a verification is
/// FAILED or UNCONFIRMED.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The command line or a URI is wrong; nothing was changed. Exit code 2.
    Usage,
    /// The source is not what it promised: it is malformed or truncated, or its bytes do not match a digest.
    Source,
    /// The source or the destination does not exist, or has no such part.
    NotFound,
    /// The destination could not be written or read.
    Destination,
    /// A server could not be reached, or it failed, after all retries.
    Network,
    /// Credentials are missing, wrong, or expired.
    Auth,
    /// Another process has changed the source or the destination each time it was read.
    Changed,
    /// A plugin broke a rule or failed.
    Plugin,
    /// The user asked to stop.
    Interrupted,
}

/// Cause of an error, in more detail than its [`Kind`]. Code decides by it which hint the user gets, and whether
/// another attempt can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultOrigin {
    /// A registry, or a proxy in front of it, gives different answers to the same question.
    ChangedAnswer,
    /// The store of a container engine is damaged.
    DamagedEngineStore,
    /// Another attempt would fail in the same way: a server refuses the request as it is, or cannot be found.
    Lasting,
    /// A registry lacks a blob that it had before.
    LostBlob,
    /// All attempts failed for temporary reasons: a later attempt may succeed.
    Passing,
    /// A source has no image for a platform.
    NoSuchPlatform,
    /// An image has more layers than Docker mounts.
    TooManyLayers,
    /// A destination stored other bytes than those that were written: the verification before the tag FAILED.
    WrongAtDestination,
    /// The stored bytes could not be read, because the destination or the network failed: the verification before the
    /// tag was not completed.
    UnreadAtDestination,
}

/// Error with its kind, its message and, where one helps, a hint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    kind: Kind,
    message: String,
    hint: Option<String>,
    /// Expected and found value.
    difference: Option<(Side, Side)>,
    origin: Option<FaultOrigin>,
    /// Whether this is an interruption whose effect is not known.
    is_bare: bool,
    /// How long the server asked to wait.
    asked_wait: Option<Duration>,
}

/// Message of an interruption whose effect is not known.
const INTERRUPTED: &str = "interrupted";

impl Error {
    /// Creates an error of a kind, with its one-line message. Control characters are replaced, so that names from a
    /// source cannot drive a terminal.
    pub fn new(kind: Kind, message: impl AsRef<str>) -> Self {
        let message = printable(message.as_ref());
        let (hint, difference, origin, is_bare, asked_wait) = (None, None, None, false, None);
        Self(Box::new(Inner { kind, message, hint, difference, origin, is_bare, asked_wait }))
    }

    /// Creates an error about the command line.
    pub fn usage(message: impl AsRef<str>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Creates an error about a source that is not what it promised.
    pub fn source(message: impl AsRef<str>) -> Self {
        Self::new(Kind::Source, message)
    }

    /// Creates an error about a destination that could not be written or read.
    pub fn destination(message: impl AsRef<str>) -> Self {
        Self::new(Kind::Destination, message)
    }

    /// Creates an error for a source that has another value than the one expected. The message is `WHAT: expected
    /// EXPECTED, found FOUND`; [`Self::difference`] returns both sides.
    pub fn mismatch(
        what: impl std::fmt::Display,
        expected: impl Into<Side>,
        found: impl Into<Side>,
    ) -> Self {
        let (expected, found) = (expected.into(), found.into());
        let mut error = Self::source(format!("{what}: expected {expected}, found {found}"));
        error.0.difference = Some((expected, found));
        error
    }

    /// Creates the error of a failed operation on a file: `cannot ACTION 'PLACE': REASON`, with the system's reason.
    pub fn io(
        kind: Kind,
        action: &str,
        place: impl std::fmt::Display,
        cause: &std::io::Error,
    ) -> Self {
        let hint = match cause.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Some("free some space there, or choose another place")
            }
            // cap-std reports a link that leads out of a directory in this way, without an error number of the system.
            std::io::ErrorKind::PermissionDenied if cause.raw_os_error().is_none() => Some(
                "a symbolic link there points out of its directory: replace the link with the file that it points to",
            ),
            std::io::ErrorKind::PermissionDenied => Some("check the permissions of that path"),
            std::io::ErrorKind::ReadOnlyFilesystem => Some("that file system is mounted read-only"),
            _ => None,
        };
        let kind = match cause.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            _ => kind,
        };
        let error = Self::new(kind, format!("cannot {action} '{place}': {}", io_reason(cause)));
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    /// Creates the error for an interruption by the user. The caller adds its effect with [`Self::with_effect`].
    pub fn interrupted() -> Self {
        let mut error = Self::new(Kind::Interrupted, INTERRUPTED);
        error.0.is_bare = true;
        error
    }

    /// Adds the effect of an interruption: `interrupted; EFFECT`. Other errors, and interruptions whose effect is
    /// known, are returned unchanged.
    #[must_use]
    pub fn with_effect(mut self, effect: &str) -> Self {
        if self.is_bare_interruption() {
            self.0.message = format!("{INTERRUPTED}; {effect}");
            self.0.is_bare = false;
        }
        self
    }

    /// Returns whether this is an interruption whose effect is not known.
    #[must_use]
    pub fn is_bare_interruption(&self) -> bool {
        self.0.is_bare
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl AsRef<str>) -> Self {
        self.0.hint = Some(printable(hint.as_ref()));
        self
    }

    /// Adds how long the server asked to wait before the next request (RFC 9110, 10.2.3).
    #[must_use]
    pub fn with_asked_wait(mut self, wait: Option<Duration>) -> Self {
        self.0.asked_wait = wait;
        self
    }

    /// Returns how long the server asked to wait before the next request.
    #[must_use]
    pub fn asked_wait(&self) -> Option<Duration> {
        self.0.asked_wait
    }

    /// Puts the place in front of the message: `PLACE: MESSAGE`.
    #[must_use]
    pub fn within(mut self, place: impl std::fmt::Display) -> Self {
        self.0.message = printable(&format!("{place}: {}", self.0.message));
        self.0.is_bare = false;
        self
    }

    /// Returns whether the error means that an object could not be checked. Other errors mean that the object is wrong
    /// or missing.
    #[must_use]
    pub fn is_unconfirmed(&self) -> bool {
        matches!(self.kind(), Kind::Network | Kind::Auth | Kind::Changed)
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Returns what the user can do about it.
    #[must_use]
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Returns the expected and the found value, where the error is about a difference.
    #[must_use]
    pub fn difference(&self) -> Option<(&Side, &Side)> {
        self.0.difference.as_ref().map(|(expected, found)| (expected, found))
    }

    /// Returns the message without the two values of a difference at its end.
    #[must_use]
    pub fn without_sides(&self) -> &str {
        let message = self.0.message.as_str();
        let ending = |(expected, found)| format!(": expected {expected}, found {found}");
        self.difference().and_then(|sides| message.strip_suffix(&ending(sides))).unwrap_or(message)
    }

    /// Records what is at fault.
    #[must_use]
    pub fn with_origin(mut self, origin: FaultOrigin) -> Self {
        self.0.origin = Some(origin);
        self
    }

    /// Returns what is at fault, where that is known.
    #[must_use]
    pub fn origin(&self) -> Option<FaultOrigin> {
        self.0.origin
    }

    /// Returns the process's exit code for this error (docs/verification.md): 2 for usage, 130 for an interruption, as
    /// shells do for SIGINT, and 1 for all others.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.kind() {
            Kind::Usage => 2,
            Kind::Interrupted => 130,
            _ => 1,
        }
    }
}

/// Serialises an error as the field `error` of a JSON document.
impl serde::Serialize for Error {
    fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut to = to.serialize_struct("Error", 2)?;
        to.serialize_field("message", &self.0.message)?;
        to.serialize_field("hint", &self.0.hint)?;
        to.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_cannot_drive_the_terminal() {
        let error = Error::source("member '\u{1b}[2J\nfoo\u{202e}' is odd");
        assert_eq!(error.to_string(), "member '?[2J?foo?' is odd");
    }

    #[test]
    fn io_errors_read_as_one_line_with_a_hint() {
        let full = std::io::Error::from_raw_os_error(28);
        let error = Error::io(Kind::Destination, "write", "/x", &full);
        assert_eq!(error.to_string(), "cannot write '/x': no space left on device");
        assert!(error.hint_text().is_some());
    }
}

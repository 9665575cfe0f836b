//! What went wrong, for a person and for a script.
//!
//! An error is one line that names the thing, where it was and both sides (expected, found), and a
//! hint where one helps. What it refuses: control characters from hostile names, secrets ([`crate::secret::mask`]), and multi-line dumps.

use crate::secret::mask;

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of trouble an [`Error`] is. Decides the exit code, whether a request is tried again
/// and whether a verification is FAILED or UNCONFIRMED.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The command line or a URI is wrong; nothing was touched. Exit code 2.
    Usage,
    /// The source is not what it promised: malformed, truncated, or its bytes do not match.
    Source,
    /// The source or destination names something that is not there.
    NotFound,
    /// The destination could not be written or read.
    Destination,
    /// A remote end could not be reached or failed, after all retries.
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

/// One side of a difference: what was expected, or what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// The bytes of a SHA-256 digest, which `oci::Digest` converts from and to.
    Sha256([u8; 32]),
    /// A size in bytes.
    Bytes(u64),
    /// Any other number.
    Number(u64),
    /// A value of another form.
    Text(String),
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sha256(bytes) => {
                f.write_str("sha256:")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::Bytes(size) => write!(f, "{size} bytes"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl From<&Side> for Side {
    fn from(side: &Side) -> Self {
        side.clone()
    }
}

impl From<u64> for Side {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Side {
    fn from(number: usize) -> Self {
        Self::Number(number as u64)
    }
}

impl From<u32> for Side {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<&str> for Side {
    fn from(text: &str) -> Self {
        Self::Text(printable(text))
    }
}

impl From<&String> for Side {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<String> for Side {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<std::fmt::Arguments<'_>> for Side {
    fn from(text: std::fmt::Arguments<'_>) -> Self {
        text.to_string().into()
    }
}

/// What is at fault where moving an image again does not help, for code that chooses what to advise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A registry, or a proxy in front of it, gives different answers to the same question.
    ChangedAnswer,
    /// The store of a container engine is damaged.
    DamagedEngineStore,
    /// An image has more layers than Docker mounts.
    TooManyLayers,
}

/// One thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    kind: Kind,
    message: String,
    hint: Option<String>,
    /// What was expected, and what was found.
    sides: Option<(String, String)>,
    /// The same, as data.
    difference: Option<(Side, Side)>,
    origin: Option<Origin>,
    /// An interruption of which the effect is not known.
    is_bare: bool,
}

/// All that is known where work is given up.
const INTERRUPTED: &str = "interrupted";

impl Error {
    /// An error of a kind, with its one-line message. Control characters are replaced, so that
    /// names from a source cannot drive a terminal.
    pub fn new(kind: Kind, message: impl AsRef<str>) -> Self {
        let message = printable(message.as_ref());
        let (hint, sides, difference, origin) = (None, None, None, None);
        let is_bare = false;
        Self(Box::new(Inner { kind, message, hint, sides, difference, origin, is_bare }))
    }

    /// A mistake on the command line.
    pub fn usage(message: impl AsRef<str>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// A source that is not what it promised.
    pub fn source(message: impl AsRef<str>) -> Self {
        Self::new(Kind::Source, message)
    }

    /// A destination that could not be written or read.
    pub fn destination(message: impl AsRef<str>) -> Self {
        Self::new(Kind::Destination, message)
    }

    /// Bytes of a source that are not what was promised: both sides are named.
    pub fn mismatch(
        what: impl std::fmt::Display,
        expected: impl Into<Side>,
        found: impl Into<Side>,
    ) -> Self {
        let (expected, found): (Side, Side) = (expected.into(), found.into());
        let mut error = Self::source(format!("{what}: expected {expected}, found {found}"));
        error.0.sides = Some((expected.to_string(), found.to_string()));
        error.0.difference = Some((expected, found));
        error
    }

    /// A failed operation on a file: what was tried, where, and the system's reason.
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
            // cap-std reports so, without a number of the system, that a link leads out of a folder.
            std::io::ErrorKind::PermissionDenied if cause.raw_os_error().is_none() => Some(
                "a symbolic link there leads out of its directory: put what it leads to in its place",
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

    /// The user pressed Ctrl-C. What that left behind only its caller knows.
    pub fn interrupted() -> Self {
        let mut error = Self::new(Kind::Interrupted, INTERRUPTED);
        error.0.is_bare = true;
        error
    }

    /// For an interruption, what it came too late or early enough for: `interrupted; EFFECT`. Other
    /// errors, and interruptions of which this is known, stay as they are.
    #[must_use]
    pub fn with_effect(mut self, effect: &str) -> Self {
        if self.is_bare_interruption() {
            self.0.message = format!("{INTERRUPTED}; {effect}");
            self.0.is_bare = false;
        }
        self
    }

    /// Whether this is an interruption that nobody has said more about.
    #[must_use]
    pub fn is_bare_interruption(&self) -> bool {
        self.0.is_bare
    }

    /// Add what the user can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl AsRef<str>) -> Self {
        self.0.hint = Some(printable(hint.as_ref()));
        self
    }

    /// Put the place in front of the message: `place: message`.
    #[must_use]
    pub fn within(mut self, place: impl std::fmt::Display) -> Self {
        self.0.message = printable(&format!("{place}: {}", self.0.message));
        self.0.is_bare = false;
        self
    }

    /// Returns whether something could not be looked at, rather than that it is wrong.
    #[must_use]
    pub fn is_unconfirmed(&self) -> bool {
        matches!(self.kind(), Kind::Network | Kind::Auth | Kind::Changed)
    }

    /// What kind of trouble this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// What was expected and what was found, where it is about a difference.
    #[must_use]
    pub fn sides(&self) -> Option<(&str, &str)> {
        self.0.sides.as_ref().map(|(expected, found)| (expected.as_str(), found.as_str()))
    }

    /// Returns what was expected and what was found, as data.
    #[must_use]
    pub fn difference(&self) -> Option<(&Side, &Side)> {
        self.0.difference.as_ref().map(|(expected, found)| (expected, found))
    }

    /// Returns the message without the two sides of a difference at its end.
    #[must_use]
    pub fn without_sides(&self) -> &str {
        let message = self.0.message.as_str();
        let ending = |(expected, found)| format!(": expected {expected}, found {found}");
        self.sides().and_then(|sides| message.strip_suffix(&ending(sides))).unwrap_or(message)
    }

    /// Says what is at fault.
    #[must_use]
    pub fn with_origin(mut self, origin: Origin) -> Self {
        self.0.origin = Some(origin);
        self
    }

    /// Returns what is at fault, where that is known.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        self.0.origin
    }

    /// The process exit code for this error (docs/verification.md): 2 usage, 1 the rest, 130 as
    /// shells do for SIGINT.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.kind() {
            Kind::Usage => 2,
            Kind::Interrupted => 130,
            _ => 1,
        }
    }
}

/// For programs: what stands in a document's `error`.
impl serde::Serialize for Error {
    fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut to = to.serialize_struct("Error", 2)?;
        to.serialize_field("message", &self.0.message)?;
        to.serialize_field("hint", &self.0.hint)?;
        to.end()
    }
}

/// The reason of an I/O error, without Rust's `(os error 28)` tail.
#[must_use]
pub fn io_reason(cause: &std::io::Error) -> String {
    let text = cause.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => "unknown cause".to_owned(),
    }
}

/// Text from a hostile place, made safe for one line of a terminal or a log: control characters
/// (C0, C1, bidirectional overrides) become `?`, secrets `***`, and it is cut at 2,000 characters.
#[must_use]
pub fn printable(text: &str) -> String {
    /// Longer lines help nobody and could hide what follows them.
    const LONGEST: usize = 2_000;
    // Before it is cut: a part of a secret is not recognised.
    mask(text).chars().take(LONGEST).map(shown).collect()
}

/// A line about a mismatch, and its sides, unless it ends with them: an error's message names them itself.
#[must_use]
pub fn with_sides(line: String, expected: Option<&str>, found: Option<&str>) -> String {
    match (expected, found) {
        (Some(expected), Some(found)) => {
            let sides = format!("expected {expected}, found {found}");
            if line.ends_with(&sides) { line } else { format!("{line}: {sides}") }
        }
        (Some(expected), None) => format!("{line}: expected {expected}"),
        (None, Some(found)) => format!("{line}: found {found}"),
        (None, None) => line,
    }
}

/// Text of any length as one line that drives no terminal and shows no secret: control characters become `?`.
#[must_use]
pub fn one_line(text: &str) -> String {
    mask(text).chars().map(shown).collect()
}

fn shown(c: char) -> char {
    if is_unprintable(c) { '?' } else { c }
}

/// Whether a character could drive a terminal or turn a line around.
#[must_use]
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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

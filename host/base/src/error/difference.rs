//! Differences as data: what was expected and what was found.
//!
//! Code that reacts to a difference compares [`Side`]s, and never the text of a message.

use std::borrow::Cow;
use std::fmt;

use super::text::printable;

/// Value on one side of a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// SHA-256 digest, shown as `sha256:` and 64 hexadecimal digits. `Digest::of_side` returns the digest.
    Sha256([u8; 32]),
    /// Size, shown with its unit: `300 bytes`.
    Bytes(u64),
    /// Number without a unit: a count, a version, or a size whose unit the message names.
    Number(u64),
    /// Other value: a media type, a type of JSON, a limit.
    Text(String),
}

impl Side {
    /// Returns whether the value is a digest.
    #[must_use]
    pub fn is_digest(&self) -> bool {
        matches!(self, Self::Sha256(_))
    }

    /// Returns the value where it is a number without a unit.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Sha256(bytes) => {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("sha256:{hex}")
            }
            Self::Bytes(size) => format!("{size} bytes"),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        };
        f.write_str(&printable(&text))
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

impl From<u32> for Side {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<usize> for Side {
    fn from(number: usize) -> Self {
        Self::Number(number as u64)
    }
}

impl From<i64> for Side {
    /// Returns a number, and text for one that is negative: only a malformed document has such a one.
    fn from(number: i64) -> Self {
        u64::try_from(number).map_or_else(|_| Self::Text(number.to_string()), Self::Number)
    }
}

impl From<i32> for Side {
    fn from(number: i32) -> Self {
        Self::from(i64::from(number))
    }
}

impl From<&str> for Side {
    fn from(text: &str) -> Self {
        Self::Text(printable(text))
    }
}

impl From<String> for Side {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&String> for Side {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<fmt::Arguments<'_>> for Side {
    fn from(text: fmt::Arguments<'_>) -> Self {
        Self::from(text.to_string())
    }
}

impl From<&Cow<'_, str>> for Side {
    fn from(text: &Cow<'_, str>) -> Self {
        Self::from(text.as_ref())
    }
}

/// Returns a line about a difference with both sides, unless it ends with them: the message of an error names them
/// itself.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_shown_with_their_unit_and_cannot_drive_the_terminal() {
        for (side, text) in [
            (Side::Sha256([0xab; 32]), format!("sha256:{}", "ab".repeat(32))),
            (Side::Bytes(7), "7 bytes".to_owned()),
            (Side::from(7_usize), "7".to_owned()),
            (Side::from("a\u{1b}[2J"), "a?[2J".to_owned()),
        ] {
            assert_eq!(side.to_string(), text);
        }
    }
}

//! The level of a verification: how much of an image is read.

/// The level of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Checks that everything exists with the recorded size, and that JSON can be parsed.
    Fast,
    /// In addition, reads every byte and compares the digests.
    Full,
}

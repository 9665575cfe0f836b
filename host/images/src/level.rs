//! How much of an image is read where it is looked at.

/// How far a verification goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Everything exists, with the recorded size; JSON parses.
    Fast,
    /// Also, every byte is read back and hashed.
    Full,
}

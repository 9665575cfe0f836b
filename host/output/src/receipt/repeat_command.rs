//! The parts of the command that writes an image once more, as a receipt keeps them.
//!
//! What the user typed is not enough: a relative path has another meaning in another folder, a tag can name
//! another image tomorrow, and options and the environment decide on platform and compression. So the receipt
//! keeps both ends as complete URIs. What it refuses: options other than those of `KNOWN`.
//! `write/repair_command.rs` makes the command.

use serde::{Deserialize, Serialize};

/// Options of the command line without which the command would not work: those that name files and
/// servers, what becomes of layers that are stored elsewhere, and what is moved with an image.
/// A receipt may come from anywhere: no other option of it is shown as part of a command.
const KNOWN: [&str; 8] = [
    "plugin",
    "plugin-dir",
    "authfile",
    "ca-bundle",
    "netrc-file",
    "allow-net",
    "foreign-layers",
    "referrers",
];

/// Returns one of these options as one word.
#[must_use]
pub fn option(name: &'static str, value: impl std::fmt::Display) -> String {
    debug_assert!(KNOWN.contains(&name), "--{name} would be left out of the command");
    format!("--{name}={value}")
}

/// Returns whether a word is one of these options.
pub(crate) fn is_known(word: &str) -> bool {
    let name = word.strip_prefix("--").and_then(|word| word.split_once('='));
    name.is_some_and(|(name, _)| KNOWN.contains(&name))
}

/// The parts of the command that writes an image once more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(expecting = "a command")]
pub struct RepeatCommand {
    /// URI of the source, valid in any folder: digest, platform and plain HTTP included.
    pub source: String,
    /// URI of the destination, valid in any folder: compression and plain HTTP included.
    pub destination: String,
    /// Options that name files and servers, each one word.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

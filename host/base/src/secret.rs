//! Secrets that are in use, and the function that keeps them out of all text ([`mask`]).
//!
//! A secret becomes known when a [`Secret`] is made of it, or when it is given to [`keep`]: a password of the command
//! line, of a URI or of a file, a token of a service, the login of a proxy. From then on [`mask`] replaces it by `***`
//! in any spelling: any case, percent-encoded in part or twice, as a form, as JSON, HTML, hexadecimal, Base64 (alone,
//! or with a user's name before it), or broken over lines. Errors, log lines, plugins' lines, JSON, receipts and panics
//! all pass through it.
//!
//! The table belongs to the process, not to a context: an error is made far from any context, and a program that embeds
//! this library wants no secret in any of them. The table is bounded, so that a program that runs for months can use
//! it.
//!
//! What it refuses: to mask text that is too short or too common to be distinguished from other text ([`SHORTEST`],
//! [`SHORTEST_ANYWHERE`], [`OWN_WORDS`], [`show`]).

mod json;
mod panics;
mod spelling;
mod table;
mod view;
mod writer;

use std::borrow::Cow;
use std::fmt;

pub use self::json::mask_json;
pub use self::panics::hide_in_panics;
use self::table::Among;
pub use self::table::{MOST_LOGINS, MOST_SIGNATURES, MOST_TOKENS, OWN_WORDS, is_own_word};
pub use self::writer::MaskedLines;

/// Text in the place of a secret.
pub const MASK: &str = "***";

/// Bytes of the shortest secret that is masked. Shorter ones are in most words and numbers; masking them would leave no
/// text.
pub const SHORTEST: usize = 4;

/// Bytes of the shortest secret that is masked within a word as well. Shorter ones are parts of digests and names by
/// chance, and are masked where they stand alone.
pub const SHORTEST_ANYWHERE: usize = 6;

/// Secret, which all text that this program prints shows as `***`. Only [`Secret::expose`] returns it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Makes a text a secret.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        keep(&text);
        Self(text)
    }

    /// Returns the secret itself, to be sent.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Remembers a secret of the command line that started this process. It is never forgotten.
pub fn keep_own(secret: &str) {
    table::keep(table::SecretKind::Own, secret);
}

/// Remembers a password, or another text that a user logs in with. The [`MOST_LOGINS`] used last are known.
pub fn keep(login: &str) {
    table::keep(table::SecretKind::Login, login);
}

/// Remembers a token of a service. The [`MOST_TOKENS`] used last are known.
pub fn keep_token(token: &str) {
    table::keep(table::SecretKind::Token, token);
}

/// Remembers the signature of a URL that a server chose, or a login in a receipt.
/// The [`MOST_SIGNATURES`] seen last are known.
pub fn keep_signature(signature: &str) {
    table::keep(table::SecretKind::Signature, signature);
}

/// Notes that the user has shown this text openly, such as a repository's name in a URI. A weak password that is a word
/// of it (`admin` for `admin/app`) is no longer masked: the output has to name the repository.
pub fn show(text: &str) {
    table::show(text);
}

/// Replaces every secret in a text.
#[must_use]
pub fn mask(text: &str) -> Cow<'_, str> {
    match table::find(text.as_bytes(), Among::All) {
        None => Cow::Borrowed(text),
        Some(places) => Cow::Owned(replaced(text, &places)),
    }
}

/// Returns whether a text has a secret in it.
#[must_use]
pub fn is_in(text: &[u8]) -> bool {
    table::find(text, Among::All).is_some()
}

/// Returns whether a text has a secret in it that this program sent or was given: a login or a token. Signatures of
/// URLs do not count: the servers of a chain of redirects repeat them to each other.
#[must_use]
pub fn is_sent_in(text: &[u8]) -> bool {
    table::find(text, Among::Sent).is_some()
}

/// Returns the text with [`MASK`] in some places, which are in order and do not touch.
fn replaced(text: &str, places: &[std::ops::Range<usize>]) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut from = 0;
    for place in places {
        // A match of bytes can end within a character that shares bytes with the secret.
        let (start, end) = (text.floor_char_boundary(place.start), ceil(text, place.end));
        masked.push_str(text.get(from..start).unwrap_or_default());
        masked.push_str(MASK);
        from = end;
    }
    masked.push_str(text.get(from..).unwrap_or_default());
    masked
}

fn ceil(text: &str, at: usize) -> usize {
    (at..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests;

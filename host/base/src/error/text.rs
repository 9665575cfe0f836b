//! Text of errors and log lines, safe for a terminal.
//!
//! What it refuses: control characters from hostile names, and secrets ([`mask`]).

use crate::secret::mask;

/// Returns text from a hostile place as one line of a terminal or a log: control characters (C0, C1, bidirectional
/// overrides) become `?`, secrets become `***`, and the line is cut at 2,000 characters.
#[must_use]
pub fn printable(text: &str) -> String {
    /// Longer lines are not read to their end, and could hide what follows them.
    const LONGEST: usize = 2_000;
    // Secrets are masked before the line is cut: a part of a secret is not recognised.
    mask(text).chars().take(LONGEST).map(shown).collect()
}

/// Returns text of any length as one line that cannot drive a terminal and shows no secret: control characters become
/// `?`.
#[must_use]
pub fn one_line(text: &str) -> String {
    mask(text).chars().map(shown).collect()
}

fn shown(c: char) -> char {
    if is_unprintable(c) { '?' } else { c }
}

/// Returns whether a character could drive a terminal, or reverse the direction of a line.
#[must_use]
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns the reason of an I/O error, without Rust's `(os error 28)` at its end.
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

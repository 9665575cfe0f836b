//! Text of an image inside a page.
//!
//! What it refuses: markup, control characters and secrets from an image, and text of any length.

use std::fmt::Write as _;

use occystrap_base::error::printable;

/// Longest path in a page, in characters. A layer may have names of a megabyte.
pub const LONGEST_PATH: usize = 240;

/// Longest command or message in a page, in characters.
pub const LONGEST_TEXT: usize = 1_500;

/// Returns text of an image as content of an element or of an attribute in quotes.
#[must_use]
pub fn escaped(raw: &str, longest: usize) -> String {
    let mut escaped = String::with_capacity(raw.len().min(longest));
    for c in shortened(&printable(raw), longest).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Returns a path as content of an element.
#[must_use]
pub fn path(raw: &str) -> String {
    escaped(raw, LONGEST_PATH)
}

/// Returns text with its middle left out, where it is longer than `longest` characters: a path is known by its end, a
/// command by its beginning.
fn shortened(text: &str, longest: usize) -> String {
    let length = text.chars().count();
    if length <= longest {
        return text.to_owned();
    }
    let half = longest / 2;
    let (start, end) = (text.chars().take(half), text.chars().skip(length - half));
    start.chain(['…']).chain(end).collect()
}

/// Adds formatted text to a page. Writing to a string does not fail.
pub fn add(to: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = to.write_fmt(text);
}

/// Returns a number with its noun, in the plural if needed.
#[must_use]
pub fn count(number: usize, one: &str, more: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {more}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_text_and_nothing_else() {
        let hostile = "</title><script>alert('1')</script>&amp;\" onload=\"x\u{1b}[2J\u{202e}";
        assert_eq!(
            path(hostile),
            "&lt;/title&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;amp;&quot; onload=&quot;x?[2J?"
        );
    }

    #[test]
    fn a_long_path_keeps_both_ends() {
        let shown = path(&format!("usr/{}/last", "x".repeat(100_000)));
        assert_eq!(shown.chars().count(), LONGEST_PATH + 1);
        assert!(shown.starts_with("usr/x") && shown.contains('…'), "{shown}");
        assert_eq!(escaped("日本語", 2), "日…語");
    }
}

//! Text for a terminal: lines that fit its width, and nothing from a source that could drive it.
//!
//! On other outputs nothing is cut: a script sees all of a line.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::error::{is_unprintable, printable};
use crate::secret::{mask, mask_json};

/// Narrowest terminal for which lines are cut, in columns. Narrower terminals break the lines themselves.
const NARROWEST: usize = 40;

/// Width and style of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paper {
    /// Columns; `None` for no limit.
    pub width: Option<usize>,
    /// Whether headings may be bold.
    pub bold: bool,
}

impl Paper {
    /// Returns the paper for standard output. `COLUMNS` counts where it is not a terminal; `NO_COLOR` (no-color.org)
    /// turns bold text off.
    #[must_use]
    pub fn stdout() -> Self {
        let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
        let own = || terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| width.0.into());
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            width: own().or_else(columns).map(|width: usize| width.max(NARROWEST)),
            bold: io::stdout().is_terminal() && !plain,
        }
    }

    /// Returns a heading.
    #[must_use]
    pub fn heading(&self, text: &str) -> String {
        match self.bold {
            true => format!("\u{1b}[1m{text}\u{1b}[0m"),
            false => text.to_owned(),
        }
    }

    /// Returns a line, cut at the width.
    #[must_use]
    pub fn line(&self, text: &str) -> String {
        match self.width {
            Some(width) => cut(text, width),
            None => text.to_owned(),
        }
    }

    /// Writes a label and its text, which goes on below itself at the width. Text of a source is made printable here.
    pub fn field(&self, to: &mut dyn Write, label: &str, text: &str) -> io::Result<()> {
        self.labelled(to, label, FIELD, text)
    }

    /// Writes a field as [`Self::field`] does, for labels that are names of rules.
    pub fn item(&self, to: &mut dyn Write, label: &str, text: &str) -> io::Result<()> {
        self.labelled(to, label, ITEM, text)
    }

    /// Writes text below a heading.
    pub fn text(&self, to: &mut dyn Write, text: &str) -> io::Result<()> {
        self.labelled(to, "", 2, text)
    }

    fn labelled(&self, to: &mut dyn Write, label: &str, at: usize, text: &str) -> io::Result<()> {
        let text = printable(text);
        let room = self.width.map_or(usize::MAX, |width| width.saturating_sub(at).max(1));
        let mut label = label;
        for piece in pieces(&text, room) {
            writeln!(to, "{}", format!("  {label:<width$}{piece}", width = at - 2).trim_end())?;
            label = "";
        }
        Ok(())
    }
}

/// Column where the text of a field begins.
const FIELD: usize = 15;

/// Column where the text of a finding begins: after the longest name of a rule.
const ITEM: usize = 22;

/// Returns text as lines of at most `room` columns, without secrets.
#[must_use]
pub fn wrapped(text: &str, room: usize) -> Vec<String> {
    pieces(&mask(text), room).into_iter().map(str::to_owned).collect()
}

/// Splits text into lines of at most `room` columns, at a space where there is one in the second half.
fn pieces(text: &str, room: usize) -> Vec<&str> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while rest.width() > room {
        let end = end_within(rest, room).max(rest.chars().next().map_or(1, char::len_utf8));
        let space = rest[..end].rfind(' ').filter(|space| *space > end / 2);
        let (piece, next) = match space {
            Some(space) => (&rest[..space], &rest[space + 1..]),
            None => rest.split_at(end),
        };
        pieces.push(piece);
        rest = next;
    }
    if !rest.is_empty() || pieces.is_empty() {
        pieces.push(rest);
    }
    pieces
}

/// Returns the length of the longest start of a text that fits, in bytes.
fn end_within(text: &str, room: usize) -> usize {
    let mut columns = 0;
    let fits = |(_, c): &(usize, char)| {
        columns += c.width().unwrap_or_default();
        columns <= room
    };
    text.char_indices().take_while(fits).last().map_or(0, |(at, c)| at + c.len_utf8())
}

/// Returns as much of a text as fits, with an ellipsis where something is missing. Secrets are masked before the cut: a
/// part of a secret is not recognised.
#[must_use]
pub fn cut(text: &str, room: usize) -> String {
    let text = &*mask(text);
    match text.width() <= room {
        true => text.to_owned(),
        false => format!("{}…", text[..end_within(text, room.saturating_sub(1))].trim_end()),
    }
}

/// Writes a document as JSON with a newline at its end, without secrets. Characters that could drive a terminal are
/// escaped, which every reader undoes: serde leaves DEL, C1 and bidirectional controls as they are.
pub fn write_json(to: &mut dyn Write, document: &impl Serialize) -> io::Result<()> {
    writeln!(to, "{}", escaped(&mask_json(serde_json::to_string_pretty(document)?)))
}

/// Returns a part of such a document, whose lines after the first are indented by this many spaces more.
pub fn json_within(part: &impl Serialize, indent: usize) -> io::Result<String> {
    let lines = format!("\n{}", " ".repeat(indent));
    // A newline in a string is escaped.
    Ok(escaped(&mask_json(serde_json::to_string_pretty(part)?)).replace('\n', &lines))
}

/// Writes a document on one line, for output with a document on each line.
pub fn write_json_line(to: &mut dyn Write, document: &impl Serialize) -> io::Result<()> {
    writeln!(to, "{}", escaped(&mask_json(serde_json::to_string(document)?)))
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match is_unprintable(c) && c != '\n' {
            // All of them are in the first plane, and in JSON they can only be in a string.
            true => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => escaped.push(c),
        }
    }
    escaped
}

/// Columns of a table, each as wide as its content. All but the last are never cut.
pub struct Table {
    /// Whether a column is aligned to the right.
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Creates a table with a heading for each column. A heading that begins with `>` aligns the column to the right.
    #[must_use]
    pub fn new(headings: &[&str]) -> Self {
        let right = headings.iter().map(|heading| heading.starts_with('>')).collect();
        let row = headings.iter().map(|heading| heading.trim_start_matches('>').to_owned());
        Self { right, rows: vec![row.collect()] }
    }

    /// Adds a row, with a cell for each column. Text of a source is made printable here.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| printable(cell)).collect());
    }

    /// Writes all rows, on lines that fit.
    pub fn write(&self, to: &mut dyn Write, paper: &Paper) -> io::Result<()> {
        let widest = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.width()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.right.len()).map(widest).collect();
        // An empty column is left out.
        let empty = |column: usize| {
            self.rows[1..].iter().all(|row| row.get(column).is_none_or(String::is_empty))
        };
        let shown: Vec<usize> = (0..self.right.len()).filter(|column| !empty(*column)).collect();
        for row in &self.rows {
            let mut line = String::from(" ");
            for column in &shown {
                let cell = row.get(*column).map_or("", String::as_str);
                let gap = " ".repeat(widths[*column] - cell.width());
                line += " ";
                match self.right[*column] {
                    true => line += &format!("{gap}{cell} "),
                    false => line += &format!("{cell}{gap} "),
                }
            }
            writeln!(to, "{}", paper.line(line.trim_end()))?;
        }
        Ok(())
    }
}

/// Returns a bar of `cells` columns that shows a part of a whole.
#[must_use]
pub fn bar(part: u64, whole: u64, cells: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if whole == 0 {
        return String::new();
    }
    let eighths = (part as f64 / whole as f64 * (cells * 8) as f64).round() as usize;
    // A part that is not zero is never shown as zero.
    let eighths = eighths.clamp(usize::from(part > 0), cells * 8);
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("", 0), "");
        assert_eq!(pieces("one two three", 8), ["one two", "three"]);
        assert_eq!(pieces("aaaaaaaaaa", 4), ["aaaa", "aaaa", "aa"]);
        assert_eq!(pieces("日本", 1), ["日", "本"]);
        assert_eq!(pieces("", 4), [""]);
    }

    #[test]
    fn json_cannot_drive_a_terminal() {
        let mut text = Vec::new();
        let hostile = "\u{1b}[2J\u{9b}31m\u{7f}\u{202e}ä";
        write_json(&mut text, &[hostile]).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text, "[\n  \"\\u001b[2J\\u009b31m\\u007f\\u202eä\"\n]\n");
        assert_eq!(serde_json::from_str::<[String; 1]>(&text).unwrap(), [hostile]);
    }

    #[test]
    fn a_bar_is_as_long_as_its_part() {
        assert_eq!(bar(0, 10, 4), "");
        assert_eq!(bar(1, 1_000_000, 4), "▏");
        assert_eq!(bar(5, 10, 4), "██");
        assert_eq!(bar(10, 10, 4), "████");
        assert_eq!(bar(1, 0, 4), "");
    }
}

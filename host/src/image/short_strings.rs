//! A JSON text whose strings are short: what a parser keeps of it at once has a limit.
//!
//! `serde_json` reads a text as a stream, and each string of it as a whole. What it refuses: a string
//! above the limit, whatever the size of the file.

use std::io::{self, Read};

/// Hands on a JSON text, and fails at a string that is too long.
pub struct ShortStrings<R> {
    text: R,
    longest: usize,
    /// Bytes of the string that is being read; `None` outside of strings.
    string: Option<usize>,
    /// Whether the last byte was a backslash that escapes the next one.
    escaped: bool,
}

impl<R> ShortStrings<R> {
    /// For strings of at most `longest` bytes as they are spelled, without quotes.
    pub fn new(text: R, longest: usize) -> Self {
        Self { text, longest, string: None, escaped: false }
    }

    fn count(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some(length) = self.string else {
                let Some(quote) = rest.iter().position(|byte| *byte == b'"') else { break };
                self.string = Some(0);
                rest = &rest[quote + 1..];
                continue;
            };
            if std::mem::take(&mut self.escaped) {
                self.string = Some(length + 1);
                rest = &rest[1..];
                continue;
            }
            let mark = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'));
            let length = length + mark.unwrap_or(rest.len());
            if length > self.longest {
                let why = format!("a string has more than {} bytes", self.longest);
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            self.string = Some(length);
            let Some(mark) = mark else { break };
            match rest[mark] {
                b'"' => self.string = None,
                _ => (self.string, self.escaped) = (Some(length + 1), true),
            }
            rest = &rest[mark + 1..];
        }
        Ok(())
    }
}

impl<R: Read> Read for ShortStrings<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.text.read(buffer)?;
        self.count(&buffer[..length])?;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, piece: usize) -> bool {
        let mut pieces = text.as_bytes().chunks(piece);
        let mut strings = ShortStrings::new(io::empty(), 8);
        pieces.all(|piece| strings.count(piece).is_ok())
    }

    #[test]
    fn a_string_above_the_limit_is_refused_wherever_pieces_end() {
        for piece in [1, 2, 3, 100] {
            for fine in [r#"{"12345678":["123456\"", "", "\\"], "1": 123456789012}"#, "", "\"1"] {
                assert!(read(fine, piece), "{fine}");
            }
            for long in ["\"1234567890", r#"["a","1234567890"]"#, r#""\"\"\"\"\"\"""#] {
                assert!(!read(long, piece), "{long} {piece}");
            }
        }
    }
}

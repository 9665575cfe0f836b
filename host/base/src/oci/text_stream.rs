//! Reader of a JSON text as a stream, which limits what a parser keeps in memory.
//!
//! `serde_json` keeps each string as a whole. Of a value that it skips, it keeps one byte for each level of nesting,
//! and does not check that strings are UTF-8. What it refuses: a string above the limit, nesting above [`DEEPEST`], and
//! bytes that are not UTF-8, whatever the size of the file.

use std::io::{self, Read};

use super::json::DEEPEST;

/// Reader that passes on a JSON text, and fails at the first byte that it refuses.
pub struct TextStream<R> {
    text: R,
    longest: usize,
    /// Bytes of the string that is being read; `None` outside of strings.
    string: Option<usize>,
    /// Whether the last byte was a backslash that escapes the next one.
    escaped: bool,
    /// Objects and lists that are open.
    depth: usize,
    /// The first bytes of a character whose others have not been read yet.
    character: Vec<u8>,
}

fn refused(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl<R> TextStream<R> {
    /// Creates a reader that accepts strings of at most `longest` bytes, as they are spelled, without quotes.
    pub fn new(text: R, longest: usize) -> Self {
        Self { text, longest, string: None, escaped: false, depth: 0, character: Vec::new() }
    }

    fn check_at(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.decode(bytes)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some(length) = self.string else {
                rest = self.pass_marks(rest)?;
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
                return Err(refused(format!("a string has more than {} bytes", self.longest)));
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

    /// Passes on the bytes before the next string, and the quote that starts it.
    fn pass_marks<'a>(&mut self, bytes: &'a [u8]) -> io::Result<&'a [u8]> {
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'"' => {
                    self.string = Some(0);
                    return Ok(&bytes[at + 1..]);
                }
                b'{' | b'[' if self.depth == DEEPEST => {
                    return Err(refused(format!("it is nested deeper than {DEEPEST} levels")));
                }
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        Ok(&[])
    }

    /// Errors at bytes that are not UTF-8. A piece may end within a character.
    fn decode(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut begun = std::mem::take(&mut self.character);
        let bytes = match begun.is_empty() {
            true => bytes,
            false => {
                begun.extend_from_slice(bytes);
                &begun
            }
        };
        match std::str::from_utf8(bytes) {
            Ok(_) => Ok(()),
            Err(why) if why.error_len().is_none() => {
                self.character = bytes[why.valid_up_to()..].to_vec();
                Ok(())
            }
            Err(_) => Err(refused("it is not UTF-8".to_owned())),
        }
    }
}

impl<R: Read> Read for TextStream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.text.read(buffer)?;
        self.check_at(&buffer[..length])?;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: impl AsRef<[u8]>, piece: usize) -> bool {
        let mut pieces = text.as_ref().chunks(piece);
        let mut stream = TextStream::new(io::empty(), 8);
        pieces.all(|piece| stream.check_at(piece).is_ok())
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

    #[test]
    fn nesting_above_the_limit_is_refused_and_brackets_in_strings_are_none() {
        let nested = |levels: usize| "[".repeat(levels) + "\"[[[{\"" + &"]".repeat(levels);
        for piece in [1, 7, 100_000] {
            assert!(read(nested(DEEPEST), piece));
            assert!(read("[[]],".repeat(DEEPEST), piece));
            assert!(!read(nested(DEEPEST + 1), piece));
        }
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_refused_wherever_pieces_end() {
        for piece in [1, 2, 3, 100] {
            assert!(read("[\"ä😀\"]", piece));
            for bad in [&b"[\"\xff\"]"[..], b"[\"\xe2\x82\"]", b"\"\xf0\x9f\x98x\"", b"\"\x80\""] {
                assert!(!read(bad, piece), "{bad:?} {piece}");
            }
        }
    }
}

//! A reader for JSON as a stream: only a few kilobytes of a catalog are in memory at a time, whatever its
//! size.
//!
//! This module refuses text that is not JSON, strings above [`LONGEST_STRING`], nesting above [`DEEPEST`],
//! and more than [`MOST_VALUES`] keys and values. All limits are far above what any catalog needs, and below
//! what readers of the catalog accept.

use occystrap_plugin::storage::Directory;
use occystrap_plugin::types::ErrorCode;
use occystrap_plugin::writer::Error;
use serde_core::de::IgnoredAny;

/// The largest number of bytes that one call of `read` returns.
const PIECE: usize = 64 * 1024;

/// The longest string in bytes, quotes and escapes included. An image's name has at most about 400 bytes,
/// each of which can be escaped as six.
pub const LONGEST_STRING: usize = 64 * 1024;

/// The largest number of objects and lists within each other, counted from the root of the text. Go's parser
/// and the host have the same limit.
pub const DEEPEST: usize = 10_000;

/// The largest number of keys and values: a million images need three each. More would take longer than the
/// host lets a plugin compute.
pub const MOST_VALUES: u32 = 4_000_000;

/// The longest number, `true`, `false` or `null`, in bytes.
const LONGEST_LITERAL: usize = LONGEST_STRING;

/// A text that is read in pieces, in order.
pub trait Source {
    /// Returns some bytes from `offset` on; none at the end.
    fn read_at(&mut self, offset: u64) -> Result<Vec<u8>, Error>;
}

/// A file of the destination.
pub struct StoredFile<'a> {
    pub directory: &'a Directory,
    pub path: &'a str,
}

impl Source for StoredFile<'_> {
    fn read_at(&mut self, offset: u64) -> Result<Vec<u8>, Error> {
        Ok(self.directory.read(self.path, offset, PIECE as u32)?)
    }
}

/// A destination of bytes.
pub trait Output {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error>;
}

/// An output that discards its bytes.
pub struct Discard;

impl Output for Discard {
    fn write(&mut self, _bytes: &[u8]) -> Result<(), Error> {
        Ok(())
    }
}

/// A string of a JSON text.
pub struct JsonString {
    /// The string as the text has it, with quotes and escapes.
    pub raw: String,
    /// The value without escapes; `None` if the string has no escapes. A string with an unpaired surrogate is
    /// kept as the text has it: no name of an image contains one.
    unescaped: Option<String>,
}

impl JsonString {
    /// Returns the value of the string, without quotes and escapes.
    pub fn value(&self) -> &str {
        match &self.unescaped {
            Some(text) => text,
            None => &self.raw[1..self.raw.len() - 1],
        }
    }
}

/// Returns how many bytes of a string precede its end, an escape, or a byte that is invalid in a string.
/// Eight bytes are compared at a time, because a catalog consists mostly of strings.
fn unescaped_length(bytes: &[u8]) -> usize {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = EACH << 7;
    // Sets the high bit of each byte that is below `limit`. It may also set it for bytes after the first
    // of these.
    let below = |word: u64, limit: u8| word.wrapping_sub(EACH * u64::from(limit)) & !word & HIGH;
    let (chunks, _) = bytes.as_chunks::<8>();
    let is_plain = |chunk: &&[u8; 8]| {
        let word = u64::from_le_bytes(**chunk);
        let same = |mark: u8| below(word ^ (EACH * u64::from(mark)), 1);
        same(b'"') | same(b'\\') | below(word, b' ') == 0
    };
    let plain = 8 * chunks.iter().take_while(is_plain).count();
    let is_inner = |byte: &&u8| **byte >= b' ' && **byte != b'"' && **byte != b'\\';
    plain + bytes[plain..].iter().take_while(is_inner).count()
}

/// A reader for a JSON text. It keeps its position in the text.
pub struct JsonReader<'a> {
    source: Box<dyn Source + 'a>,
    piece: Vec<u8>,
    at: usize,
    /// The offset of the piece after the current one.
    next: u64,
    /// The number of keys and values so far.
    values: u32,
}

impl<'a> JsonReader<'a> {
    pub fn new(source: impl Source + 'a) -> Self {
        Self { source: Box::new(source), piece: Vec::new(), at: 0, next: 0, values: 0 }
    }

    /// Returns an error that names the problem and the current position.
    pub fn error<T>(&self, what: &str) -> Result<T, Error> {
        let at = self.next - self.piece.len() as u64 + self.at as u64;
        Err(Error::Other(format!("cannot be read: {what} at byte {at}")))
    }

    /// Returns the rest of the current piece. It is empty only at the end of the text.
    fn buffered(&mut self) -> Result<&[u8], Error> {
        if self.at == self.piece.len() {
            self.piece = self.source.read_at(self.next)?;
            self.at = 0;
            self.next += self.piece.len() as u64;
        }
        Ok(&self.piece[self.at..])
    }

    fn peek_byte(&mut self) -> Result<Option<u8>, Error> {
        Ok(self.buffered()?.first().copied())
    }

    /// Skips white space, and returns the next byte without consuming it; `None` at the end.
    pub fn peek_token(&mut self) -> Result<Option<u8>, Error> {
        loop {
            let rest = self.buffered()?;
            let space = rest.iter().take_while(|byte| b" \t\n\r".contains(byte)).count();
            match rest.get(space) {
                Some(mark) => {
                    let mark = *mark;
                    self.at += space;
                    return Ok(Some(mark));
                }
                None if rest.is_empty() => return Ok(None),
                None => self.at += space,
            }
        }
    }

    /// Consumes a punctuation mark. Fails if something else comes next.
    pub fn expect(&mut self, mark: u8) -> Result<(), Error> {
        if self.peek_token()? != Some(mark) {
            return self.error(&format!("'{}' was expected", char::from(mark)));
        }
        self.at += 1;
        Ok(())
    }

    /// Consumes a punctuation mark if it comes next, and returns whether it did.
    pub fn accept(&mut self, mark: u8) -> Result<bool, Error> {
        let comes = self.peek_token()? == Some(mark);
        self.at += usize::from(comes);
        Ok(comes)
    }

    fn count_value(&mut self) -> Result<(), Error> {
        self.values += 1;
        match self.values > MOST_VALUES {
            true => self.error(&format!("it has more than {MOST_VALUES} keys and values")),
            false => Ok(()),
        }
    }

    /// Reads a string.
    pub fn string(&mut self) -> Result<JsonString, Error> {
        self.count_value()?;
        self.expect(b'"')?;
        let mut raw = vec![b'"'];
        let mut escapes = false;
        loop {
            let rest = self.buffered()?;
            let plain = unescaped_length(rest);
            raw.extend_from_slice(&rest[..plain]);
            let (mark, ended) = (rest.get(plain).copied(), rest.is_empty());
            self.at += plain;
            if ended {
                return self.error("a string has no end");
            }
            if raw.len() > LONGEST_STRING {
                return self.error(&format!("a string has more than {LONGEST_STRING} bytes"));
            }
            let Some(mark) = mark else { continue };
            raw.push(mark);
            self.at += 1;
            match mark {
                b'"' => break,
                b'\\' => escapes = true,
                _ => return self.error("a string is not JSON"),
            }
            // The byte after the backslash does not end the string.
            let Some(escaped) = self.peek_byte()? else { return self.error("a string has no end") };
            raw.push(escaped);
            self.at += 1;
        }
        let Ok(raw) = String::from_utf8(raw) else {
            return self.error("a string is not UTF-8");
        };
        let unescaped = match escapes.then(|| serde_json::from_str(&raw)) {
            None => None,
            Some(Ok(text)) => Some(text),
            Some(Err(_)) if serde_json::from_str::<IgnoredAny>(&raw).is_ok() => Some(raw.clone()),
            Some(Err(_)) => return self.error("a string is not JSON"),
        };
        Ok(JsonString { raw, unescaped })
    }

    /// Copies a value of any type exactly as the text has it, except for white space. `within` is the number of
    /// objects and lists that enclose the value.
    pub fn copy_value(&mut self, within: usize, to: &mut dyn Output) -> Result<(), Error> {
        // The closing marks of the objects and lists that are open.
        let mut open: Vec<u8> = Vec::new();
        loop {
            match self.peek_token()? {
                Some(mark @ (b'{' | b'[')) => {
                    if within + open.len() == DEEPEST {
                        return self.error(&format!("it is nested deeper than {DEEPEST}"));
                    }
                    self.count_value()?;
                    self.at += 1;
                    to.write(&[mark])?;
                    let end = mark + 2;
                    open.push(end);
                    if !self.accept(end)? {
                        self.copy_key(end, to)?;
                        continue;
                    }
                    open.pop();
                    to.write(&[end])?;
                }
                Some(b'"') => to.write(self.string()?.raw.as_bytes())?,
                _ => to.write(&self.literal()?)?,
            }
            // A value has ended. The objects and lists around it may end here as well.
            loop {
                let Some(end) = open.last().copied() else { return Ok(()) };
                if self.accept(end)? {
                    open.pop();
                    to.write(&[end])?;
                    continue;
                }
                self.expect(b',')?;
                to.write(b",")?;
                self.copy_key(end, to)?;
                break;
            }
        }
    }

    /// Copies the key of the next member of an object. Does nothing in a list.
    fn copy_key(&mut self, end: u8, to: &mut dyn Output) -> Result<(), Error> {
        if end == b'}' {
            to.write(self.string()?.raw.as_bytes())?;
            self.expect(b':')?;
            to.write(b":")?;
        }
        Ok(())
    }

    /// Reads a number, `true`, `false` or `null`.
    fn literal(&mut self) -> Result<Vec<u8>, Error> {
        self.count_value()?;
        let mut word = Vec::new();
        while let Some(byte) = self.peek_byte()? {
            let part = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
            if !part || word.len() == LONGEST_LITERAL {
                break;
            }
            word.push(byte);
            self.at += 1;
        }
        // A number may have any size: it is only copied, not computed with.
        match serde_json::from_slice::<IgnoredAny>(&word) {
            Ok(_) => Ok(word),
            Err(_) => self.error("a value was expected"),
        }
    }
}

/// Returns whether a call of the host failed because the file does not exist.
pub fn is_absent(error: &Error) -> bool {
    matches!(error, Error::Host(ErrorCode::NotFound))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A text that is read in pieces of a given number of bytes.
    pub struct Pieces<'a>(pub &'a [u8], pub usize);

    impl Source for Pieces<'_> {
        fn read_at(&mut self, offset: u64) -> Result<Vec<u8>, Error> {
            let rest = self.0.get(offset as usize..).unwrap_or_default();
            Ok(rest[..rest.len().min(self.1)].to_vec())
        }
    }

    impl Output for Vec<u8> {
        fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
            self.extend_from_slice(bytes);
            Ok(())
        }
    }

    fn copied(text: &str, piece: usize) -> Result<String, String> {
        let (mut text, mut copy) = (JsonReader::new(Pieces(text.as_bytes(), piece)), Vec::new());
        match text.copy_value(0, &mut copy) {
            Ok(()) => Ok(String::from_utf8(copy).unwrap()),
            Err(Error::Other(why)) => Err(why),
            Err(_) => unreachable!(),
        }
    }

    #[test]
    fn values_are_copied_without_white_space() {
        let digits = "9".repeat(400);
        let text = r#" { "a\u0062\"" : [ 1.50e1, -0, true ,null, {}, [ ] ], "ä" : "\\" , "\ud800":[1e400,N]} "#;
        let plain = r#"{"a\u0062\"":[1.50e1,-0,true,null,{},[]],"ä":"\\","\ud800":[1e400,N]}"#;
        let [text, plain] = [text, plain].map(|text| text.replace('N', &digits));
        for piece in [1, 2, 3, 7, 1000] {
            assert_eq!(copied(&text, piece).as_deref(), Ok(&*plain));
        }
    }

    #[test]
    fn invalid_json_is_refused_with_its_position() {
        for (text, why) in [
            ("", "a value was expected at byte 0"),
            ("[1,]", "a value was expected at byte 3"),
            ("[1 2]", "',' was expected at byte 3"),
            ("{\"a\" 1}", "':' was expected at byte 5"),
            ("{1:2}", "'\"' was expected at byte 1"),
            ("[nul]", "a value was expected at byte 4"),
            ("[01]", "a value was expected at byte 3"),
            ("\"a", "a string has no end at byte 2"),
            ("\"a\\", "a string has no end at byte 3"),
            ("\"a\nb\"", "a string is not JSON at byte 3"),
            ("\"\\x\"", "a string is not JSON at byte 4"),
            ("\"\\ud80\"", "a string is not JSON at byte 7"),
            ("{]", "'\"' was expected at byte 1"),
        ] {
            for piece in [1, 1000] {
                let why = format!("cannot be read: {why}");
                assert_eq!(copied(text, piece), Err(why), "{text}");
            }
        }
        let bytes = b"\"\xff\"";
        assert!(JsonReader::new(Pieces(bytes, 9)).copy_value(0, &mut Discard).is_err());
    }

    #[test]
    fn the_length_without_escapes_ends_at_the_right_byte() {
        for mark in 0..=255 {
            for at in 0..20 {
                let mut bytes = vec![b'a'; 30];
                bytes[at] = mark;
                let ends = mark < b' ' || matches!(mark, b'"' | b'\\');
                assert_eq!(unescaped_length(&bytes), if ends { at } else { 30 }, "{mark} {at}");
            }
        }
    }

    #[test]
    fn depth_and_length_have_limits() {
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(copied(&deep(DEEPEST), 9).is_ok());
        assert!(copied(&deep(DEEPEST + 1), 9).unwrap_err().contains("it is nested deeper"));
        assert!(copied(&deep(1_000_000), 9_000).unwrap_err().contains("it is nested deeper"));
        let long = |length: usize| format!("\"{}\"", "x".repeat(length));
        assert!(copied(&long(LONGEST_STRING - 2), 999).is_ok());
        let many = |values: usize| format!("[{}1]", "1,".repeat(values - 2));
        assert!(
            copied(&many(MOST_VALUES as usize + 1), 60_000).unwrap_err().contains("4000000 keys")
        );
        assert!(copied(&long(LONGEST_STRING + 2), 999).unwrap_err().contains("more than 65536"));
    }
}

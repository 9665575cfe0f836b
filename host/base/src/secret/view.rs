//! Readings of a text, as it is and as decoders read it. Each byte has its place in the text.

use std::ops::Range;

/// Levels of escapes that are undone: a URL in a URL, in a JSON document.
const MOST_LEVELS: usize = 3;

/// One reading of a text.
pub(super) struct MaskedView {
    pub(super) bytes: Vec<u8>,
    /// Range of the text that each byte stands for. `None` where the reading is the text itself.
    at: Option<Vec<Range<usize>>>,
}

impl MaskedView {
    /// Returns all readings of a text: as it is, and with its escapes undone until that changes nothing.
    pub(super) fn all(text: &[u8]) -> Vec<Self> {
        let mut views = vec![Self { bytes: text.to_vec(), at: None }];
        while views.len() <= MOST_LEVELS
            && let Some(next) = views.last().and_then(Self::decoded)
        {
            views.push(next);
        }
        views
    }

    /// Returns the reading without white space and control characters; `None` where there are none.
    pub(super) fn squeezed(&self) -> Option<Self> {
        let keep = |byte: &u8| !byte.is_ascii_whitespace() && !byte.is_ascii_control();
        if self.bytes.iter().all(keep) {
            return None;
        }
        let kept = self.bytes.iter().enumerate().filter(|(_, byte)| keep(byte));
        let (bytes, at) = kept.map(|(index, byte)| (*byte, self.place(index))).unzip();
        Some(Self { bytes, at: Some(at) })
    }

    /// Returns the range of a part of the reading in the text. The part is not empty.
    pub(super) fn range(&self, part: &Range<usize>) -> Range<usize> {
        let last = part.end.saturating_sub(1);
        self.place(part.start).start..self.place(last).end
    }

    fn place(&self, index: usize) -> Range<usize> {
        let own = index..index + 1;
        self.at.as_ref().map_or(own, |at| at.get(index).cloned().unwrap_or_default())
    }

    /// Returns the reading with its escapes undone once; `None` where it has none.
    fn decoded(&self) -> Option<Self> {
        if !self.bytes.iter().any(|byte| matches!(byte, b'%' | b'\\' | b'&')) {
            return None;
        }
        let (mut bytes, mut at) = (Vec::with_capacity(self.bytes.len()), Vec::new());
        let mut index = 0;
        let mut changed = false;
        while let Some(rest) = self.bytes.get(index..).filter(|rest| !rest.is_empty()) {
            let (c, length) = match escape(rest) {
                Some(found) => {
                    changed = true;
                    found
                }
                None => (Decoded::Byte(rest[0]), 1),
            };
            match c {
                Decoded::Byte(byte) => bytes.push(byte),
                Decoded::Char(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
            at.resize(bytes.len(), self.range(&(index..index + length)));
            index += length;
        }
        changed.then_some(Self { bytes, at: Some(at) })
    }
}

enum Decoded {
    Byte(u8),
    Char(char),
}

/// Returns the byte or character of an escape at the start of a text, and the length of the escape.
fn escape(text: &[u8]) -> Option<(Decoded, usize)> {
    let hex = |digits: &[u8]| {
        let digits = std::str::from_utf8(digits).ok()?;
        let all = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        u32::from_str_radix(digits, 16).ok().filter(|_| all)
    };
    let of_code = |code: u32, length| Some((Decoded::Char(char::from_u32(code)?), length));
    match text {
        [b'%', high, low, ..] => Some((Decoded::Byte(hex(&[*high, *low])? as u8), 3)),
        // JSON (RFC 8259, 7), and the forms in which Rust, Go and Python print a string.
        [b'\\', b'u', rest @ ..] => match (hex(rest.get(..4)?)?, rest.get(4..10)) {
            // A character outside of the first plane has two escapes.
            (high @ 0xd800..=0xdbff, Some([b'\\', b'u', low @ ..])) => {
                let low = hex(low)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                of_code(0x10000 + ((high - 0xd800) << 10 | low), 12)
            }
            (code, _) => of_code(code, 6),
        },
        [b'\\', b'x', high, low, ..] => Some((Decoded::Byte(hex(&[*high, *low])? as u8), 4)),
        [b'\\', c @ (b'"' | b'\'' | b'\\' | b'/'), ..] => Some((Decoded::Byte(*c), 2)),
        [b'\\', b'n', ..] => Some((Decoded::Byte(b'\n'), 2)),
        [b'\\', b'r', ..] => Some((Decoded::Byte(b'\r'), 2)),
        [b'\\', b't', ..] => Some((Decoded::Byte(b'\t'), 2)),
        [b'&', ..] => {
            /// `&#x0010ffff;` has twelve characters.
            const LONGEST: usize = 12;
            let end = text.iter().take(LONGEST).position(|byte| *byte == b';')?;
            let length = end + 1;
            match text.get(1..end)? {
                b"amp" => Some((Decoded::Byte(b'&'), length)),
                b"lt" => Some((Decoded::Byte(b'<'), length)),
                b"gt" => Some((Decoded::Byte(b'>'), length)),
                b"quot" => Some((Decoded::Byte(b'"'), length)),
                b"apos" => Some((Decoded::Byte(b'\''), length)),
                [b'#', b'x' | b'X', digits @ ..] => of_code(hex(digits)?, length),
                [b'#', digits @ ..] => {
                    of_code(std::str::from_utf8(digits).ok()?.parse().ok()?, length)
                }
                _ => None,
            }
        }
        _ => None,
    }
}

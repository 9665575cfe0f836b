//! JSON documents of an image, as its clients read them.
//!
//! Docker, Podman, skopeo and containerd share one parser, Go's `encoding/json`. serde_json differs from it
//! in four points: Go takes 10,000 levels of nesting, replaces bytes that are not UTF-8 and lone surrogates
//! with U+FFFD, and skips numbers of any size where it needs none. This module checks a document as Go
//! does, and rewrites those four so that serde_json reads what Go reads. What it refuses: documents that
//! are not JSON, and documents that are nested deeper than Go takes.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;

/// The deepest nesting that Go's parser takes (`maxNestingDepth` in `encoding/json/scanner.go`). The
/// document itself is the first level.
pub const DEEPEST: usize = 10_000;

/// Levels of nesting that are kept for serde_json, which takes 127. All fields that readers use are within ten levels;
/// deeper values become `null`.
const KEPT: usize = 120;

/// The largest number that serde_json reads, in place of a larger one.
const LARGEST_NUMBER: &str = "1.7976931348623157e308";

/// U+FFFD, as an escape.
const REPLACEMENT: &[u8] = br"\ufffd";

/// Reason why no client can read a document.
#[derive(Debug)]
pub enum Unreadable {
    /// It is not JSON, or not of the expected form.
    Malformed(serde_json::Error),
    /// It is nested deeper than [`DEEPEST`]; the number of its levels.
    TooDeep(usize),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Malformed(cause) => cause.fmt(f),
            Self::TooDeep(found) => write!(
                f,
                "nested deeper than Docker, Podman and skopeo accept: expected at most {DEEPEST} levels, \
                 found {found}"
            ),
        }
    }
}

/// Checks whether Go's parser reads a document.
pub fn check(bytes: &[u8]) -> Result<(), Unreadable> {
    simplified(bytes).map(|_| ())
}

/// Returns the text of a JSON string. A string with a surrogate without its partner is returned as it is spelled.
#[must_use]
pub fn string_text(string: &RawValue) -> Cow<'_, str> {
    serde_json::from_str(string.get()).map_or(Cow::Borrowed(string.get()), Cow::<str>::Owned)
}

/// Returns whether a document is UTF-8, as RFC 8259, 8.1 demands. Go's parser accepts other bytes, other parsers reject
/// them.
#[must_use]
pub fn is_utf8(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
}

/// Parses a document. Errors when Go's parser rejects it, or when it has not the form of a `T`.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    match simplified(bytes) {
        Ok(simple) => serde_json::from_slice(&simple).map_err(Unreadable::Malformed),
        // An error about the form of a `T` takes precedence over one in the grammar further on.
        Err(Unreadable::Malformed(cause)) => {
            Err(Unreadable::Malformed(serde_json::from_slice::<T>(bytes).err().unwrap_or(cause)))
        }
        Err(deep) => Err(deep),
    }
}

/// Returns a document that means the same to readers of images, and that serde_json takes. Errors when Go's parser
/// rejects the original.
pub fn simplified(bytes: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let text = String::from_utf8_lossy(bytes);
    // This follows the grammar as Go does: without a limit on nesting, and without reading values.
    serde_json::from_str::<IgnoredAny>(&text).map_err(Unreadable::Malformed)?;
    let mut copy = Copy { from: text.as_bytes(), at: 0, to: Vec::with_capacity(text.len()) };
    match copy.all() {
        deepest if deepest > DEEPEST => Err(Unreadable::TooDeep(deepest)),
        _ => Ok(copy.to),
    }
}

/// Copy of a document whose grammar was checked, being made.
struct Copy<'a> {
    from: &'a [u8],
    at: usize,
    to: Vec<u8>,
}

impl Copy<'_> {
    /// Copies everything, and returns the number of levels that the document has.
    fn all(&mut self) -> usize {
        let (mut depth, mut deepest) = (0_usize, 0);
        while let Some(byte) = self.peek(0) {
            match byte {
                b'{' | b'[' => {
                    depth += 1;
                    deepest = deepest.max(depth);
                    if depth == KEPT + 1 {
                        self.to.extend_from_slice(b"null");
                    }
                    self.token(1, depth <= KEPT);
                }
                b'}' | b']' => {
                    self.token(1, depth <= KEPT);
                    depth = depth.saturating_sub(1);
                }
                b'"' => self.string(depth <= KEPT),
                b'-' | b'0'..=b'9' => self.number(depth <= KEPT),
                _ => self.token(1, depth <= KEPT),
            }
        }
        deepest
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.from.get(self.at + ahead).copied()
    }

    /// Takes a number of bytes, and copies them where they are kept.
    fn token(&mut self, length: usize, kept: bool) {
        let end = self.from.len().min(self.at + length);
        if kept {
            self.to.extend_from_slice(&self.from[self.at..end]);
        }
        self.at = end;
    }

    fn number(&mut self, kept: bool) {
        let rest = &self.from[self.at..];
        let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
        let length = rest.iter().take_while(|byte| is_part(byte)).count();
        let text = std::str::from_utf8(&rest[..length]).unwrap_or_default();
        let is_infinite = text.parse::<f64>().is_ok_and(f64::is_infinite);
        if kept && is_infinite {
            let sign = if text.starts_with('-') { "-" } else { "" };
            self.to.extend_from_slice(format!("{sign}{LARGEST_NUMBER}").as_bytes());
        }
        self.token(length, kept && !is_infinite);
    }

    fn string(&mut self, kept: bool) {
        self.token(1, kept);
        while let Some(byte) = self.peek(0) {
            match (byte, self.peek(1)) {
                (b'"', _) => return self.token(1, kept),
                (b'\\', Some(b'u')) => self.escape(kept),
                (b'\\', _) => self.token(2, kept),
                _ => self.token(1, kept),
            }
        }
    }

    /// Copies `\uXXXX`. A surrogate without its partner becomes U+FFFD, as in Go.
    fn escape(&mut self, kept: bool) {
        const LENGTH: usize = 6;
        let unit = |copy: &Self, ahead: usize| {
            let escape = copy.from.get(copy.at + ahead..copy.at + ahead + LENGTH)?;
            let digits = std::str::from_utf8(escape.strip_prefix(br"\u")?).ok()?;
            u16::from_str_radix(digits, 16).ok()
        };
        match unit(self, 0) {
            Some(0xd800..=0xdbff) if matches!(unit(self, LENGTH), Some(0xdc00..=0xdfff)) => {
                self.token(2 * LENGTH, kept);
            }
            Some(0xd800..=0xdfff) => {
                self.to.extend_from_slice(if kept { REPLACEMENT } else { &[] });
                self.token(LENGTH, false);
            }
            _ => self.token(LENGTH, kept),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    // Each of these was given to `docker load` 20.10, `podman load` 4.3 and `skopeo copy` 1.9, in a config.
    #[test]
    fn json_that_go_reads_is_read() {
        for (text, value) in [
            (
                &br#"{"a":"x","b":[1,-2.5e3,true,null]}"#[..],
                json!({"a":"x","b":[1,-2500.0,true,null]}),
            ),
            (b" {\"a\":1} \n\t\r", json!({"a":1})),
            (b"{\"a\":\"\xff\xfe\"}", json!({"a":"\u{fffd}\u{fffd}"})),
            (br#"{"a":"\ud800"}"#, json!({"a":"\u{fffd}"})),
            (br#"{"a":"\udc00\ud83d\ude00\ud800x"}"#, json!({"a":"\u{fffd}😀\u{fffd}x"})),
            (br#"{"a":"\\ud800 \"[["}"#, json!({"a":"\\ud800 \"[["})),
            (br#"{"a":[1e400,-1e400]}"#, json!({"a":[f64::MAX, -f64::MAX]})),
            (br#"{"a":1,"a":2}"#, json!({"a":2})),
        ] {
            assert_eq!(parse::<Value>(text).unwrap(), value, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn json_that_go_refuses_is_refused() {
        for text in [
            &b""[..],
            b"hello",
            b"{} x",
            b"{}{}",
            b"{}\0",
            b"\xef\xbb\xbf{}",
            b"{\"a\":1\xff}",
            b"{\"a\":\"x\0\"}",
            b"{\"a\":\"x\n\"}",
            b"{\"a\":01}",
            b"{\"a\":1.}",
            b"{'a':1}",
            b"{\"a\":1,}",
            br#"{"a":"\x"}"#,
        ] {
            assert!(matches!(check(text), Err(Unreadable::Malformed(_))), "{text:?}");
        }
    }

    #[test]
    fn nesting_is_limited_where_go_limits_it() {
        for levels in [1, KEPT, KEPT + 1, 200, DEEPEST] {
            assert!(check(nested(levels).as_bytes()).is_ok(), "{levels}");
        }
        let deep = format!(r#"{{"x":{},"y":1,"z":"[[[{{"}}"#, nested(DEEPEST - 1));
        let read = parse::<Value>(deep.as_bytes()).unwrap();
        assert_eq!((read["y"].as_u64(), read["z"].as_str()), (Some(1), Some("[[[{")));
        for levels in [DEEPEST + 1, 2 * DEEPEST] {
            let error = check(nested(levels).as_bytes()).unwrap_err();
            assert!(matches!(error, Unreadable::TooDeep(found) if found == levels), "{levels}");
            let said = error.to_string();
            assert!(
                said.ends_with(&format!("expected at most 10000 levels, found {levels}")),
                "{said}"
            );
        }
    }

    #[test]
    fn deep_values_are_dropped_and_what_stands_beside_them_is_kept() {
        let deep = format!(r#"[{{"a":{},"b":[2,{{"c":3}}]}}]"#, nested(500));
        let read = parse::<Value>(deep.as_bytes()).unwrap();
        assert_eq!(read[0]["b"], json!([2, { "c": 3 }]));
    }
}

//! JSON documents without secrets. Values are masked without their escapes: a
//! mask in the text of a document could cut an escape in two.
//!
//! What it refuses: to change keys that are this program's own, and digests, which are numbers.

use super::table::is_any_known;
use super::{is_in, mask};
use crate::image::Digest;

/// A document's text with its string values masked.
#[must_use]
pub fn mask_json(document: String) -> String {
    if !is_any_known() {
        return document;
    }
    let mut masked = String::with_capacity(document.len());
    let mut rest = document.as_str();
    while let Some(start) = rest.find('"') {
        masked.push_str(&rest[..start]);
        let length = literal(&rest[start..]);
        let (text, after) = rest[start..].split_at(length);
        let is_own = after.trim_start().starts_with(':') && is_own_key(text);
        match serde_json::from_str::<String>(text) {
            Ok(value) if !is_own && value.parse::<Digest>().is_err() && is_in(value.as_bytes()) => {
                // A string is always written.
                masked.push_str(&serde_json::to_string(&mask(&value)).unwrap_or_default());
            }
            _ => masked.push_str(text),
        }
        rest = after;
    }
    masked.push_str(rest);
    masked
}

/// Whether a key, in its quotes, may be this program's own, as labels and annotations of images are not.
fn is_own_key(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_lowercase() || b"\"_".contains(&byte))
}

/// Bytes of the string that a text begins with, its quotes included.
fn literal(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_masked_and_documents_stay_documents() {
        super::super::keep("n\"Json\\Hunter2");
        super::super::keep("json-key-1");
        super::super::keep("json_own_key");
        let digest = Digest::of(b"x").to_string();
        let value = serde_json::json!({
            "json-key-1": "a n\"Json\\Hunter2 b",
            "json_own_key": "json_own_key",
            "line": "\nJson-key-1",
            "list": ["json-key-1", 5, null, digest, "\\"],
        });
        let masked = mask_json(serde_json::to_string_pretty(&value).unwrap());
        let expected = serde_json::json!({
            "***": "a *** b",
            "json_own_key": "***",
            "line": "\n***",
            "list": ["***", 5, null, digest, "\\"],
        });
        assert_eq!(serde_json::from_str::<serde_json::Value>(&masked).unwrap(), expected);
        let other = serde_json::json!({"a": ["b", "\"", {}]}).to_string();
        assert_eq!(mask_json(other.clone()), other);
    }
}

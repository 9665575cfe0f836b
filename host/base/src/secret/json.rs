//! JSON documents without secrets. Values are masked without their escapes: a mask in the text of a document could cut
//! an escape in two.
//!
//! What it refuses: to change keys that are this program's own, and words that are values of such keys.

use super::table::{is_any_known, is_own_word};
use super::{is_in, mask};

/// Returns a document's text with its string values masked.
#[must_use]
pub fn mask_json(document: String) -> String {
    if !is_any_known() {
        return document;
    }
    let mut masked = String::with_capacity(document.len());
    let mut rest = document.as_str();
    // Whether the previous string was a key of this program's own.
    let mut is_after_own = false;
    while let Some(start) = rest.find('"') {
        masked.push_str(&rest[..start]);
        let length = literal(&rest[start..]);
        let (text, after) = rest[start..].split_at(length);
        let is_value = is_after_own && rest[..start].trim() == ":";
        is_after_own = after.trim_start().starts_with(':') && is_own_key(text);
        let is_own = is_after_own || (is_value && is_own_word(text.trim_matches('"')));
        match serde_json::from_str::<String>(text) {
            Ok(value) if !is_own && is_in(value.as_bytes()) => {
                // A string can always be written as JSON.
                masked.push_str(&serde_json::to_string(&mask(&value)).unwrap_or_default());
            }
            _ => masked.push_str(text),
        }
        rest = after;
    }
    masked.push_str(rest);
    masked
}

/// Returns whether a key, in its quotes, may be this program's own. Labels and annotations of images are not.
fn is_own_key(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_lowercase() || b"\"_".contains(&byte))
}

/// Returns the length of the string at the start of a text, in bytes, with its quotes.
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
        super::super::keep("ize-misma");
        super::super::keep("d0c1e5");
        super::super::keep("Hex+Of-A1");
        let hex: String = "Hex+Of-A1".bytes().map(|byte| format!("{byte:02x}")).collect();
        let digest = format!("sha256:d0c1e5{}", "0".repeat(58));
        let taken = format!("sha256:{hex}{}", "0".repeat(64 - hex.len()));
        let value = serde_json::json!({
            "json-key-1": "a n\"Json\\Hunter2 b",
            "json_own_key": "json_own_key",
            "line": "\nJson-key-1",
            "list": ["json-key-1", 5, null, digest, "\\", taken],
            "status": "size-mismatch",
            "Status": "size-mismatch",
            "words": ["size-mismatch"],
        });
        let masked = mask_json(serde_json::to_string_pretty(&value).unwrap());
        let expected = serde_json::json!({
            "***": "a *** b",
            "json_own_key": "***",
            "line": "\n***",
            "list": ["***", 5, null, digest, "\\", "sha256:***"],
            "status": "size-mismatch",
            "Status": "s***tch",
            "words": ["s***tch"],
        });
        // Text and documents are masked alike.
        assert_eq!(mask(&digest), digest);
        assert_eq!(mask(&taken), "sha256:***");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&masked).unwrap(), expected);
        let other = serde_json::json!({"a": ["b", "\"", {}]}).to_string();
        assert_eq!(mask_json(other.clone()), other);
    }
}

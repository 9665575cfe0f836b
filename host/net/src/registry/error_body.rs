//! The errors in the body of a registry's answer (distribution specification, "Error Codes").
//!
//! What this module refuses: to repeat secrets that were sent to the registry, and long texts.

use serde::Deserialize;

use crate::http::wire::Answer;
use occystrap_base::secret::mask;

/// The largest body that is read, in bytes. Real bodies have some hundred bytes.
const LARGEST_ANSWER: usize = 64 * 1024;

/// The longest text of a registry in an error, in characters.
const LONGEST_TEXT: usize = 300;

/// The most errors of one answer that are shown.
const MOST_ERRORS: usize = 3;

/// The errors in a body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ErrorBody {
    /// The code of the first error, such as `MANIFEST_INVALID`.
    pub(super) code: String,
    /// The errors as text for the user; empty when there is none.
    pub(super) text: String,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Body {
    errors: Vec<CodedError>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct CodedError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: Option<String>,
}

impl ErrorBody {
    /// Reads the body of an answer. A body that cannot be read has no errors.
    pub(super) async fn read(answer: &mut Answer) -> Self {
        match answer.read(LARGEST_ANSWER, "an error").await {
            Ok(body) => Self::parse(&body),
            Err(_) => Self::default(),
        }
    }

    fn parse(body: &[u8]) -> Self {
        let Ok(body) = serde_json::from_slice::<Body>(body) else { return Self::default() };
        let texts: Vec<_> = body
            .errors
            .iter()
            .take(MOST_ERRORS)
            .map(|one| match one.message.as_deref().map(str::trim) {
                None | Some("") => one.code.clone(),
                Some(message) => format!("{}: {message}", one.code),
            })
            .collect();
        let code = body.errors.first().map(|one| one.code.clone()).unwrap_or_default();
        Self { code, text: discreet(&texts.join("; ")) }
    }

    /// Returns the text as the end of a message, such as `: DENIED: access is denied`.
    pub(super) fn tail(&self) -> String {
        match self.text.is_empty() {
            true => String::new(),
            false => format!(": {}", self.text),
        }
    }
}

/// Removes secrets and the queries of URLs, which may contain signatures, and then limits the length. Secrets are
/// masked first, because a secret that is cut would not be recognised.
fn discreet(text: &str) -> String {
    let text = mask(text);
    let words = text.split_whitespace().map(|word| match word.split_once('?') {
        Some((place, query)) if !query.is_empty() && place.contains('/') => format!("{place}?..."),
        _ => word.to_owned(),
    });
    let text = words.collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(body: &str) -> String {
        ErrorBody::parse(body.as_bytes()).text
    }

    #[test]
    fn registries_as_they_are() {
        for (body, expected) in [
            (
                r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied","detail":[{"Type":"x"}]}]}"#,
                "DENIED: requested access to the resource is denied",
            ),
            (r#"{"errors":[{"code":"A"},{"code":"B","message":"b"}]}"#, "A; B: b"),
            (r#"{"errors":[{"message":"m"}]}"#, ": m"),
            (r#"{"errors":[]}"#, ""),
            (r#"{"errors":"no"}"#, ""),
            ("<html>413</html>", ""),
            ("", ""),
        ] {
            assert_eq!(words(body), expected, "{body}");
        }
    }

    #[test]
    fn the_words_of_a_registry_are_cut_and_masked() {
        occystrap_base::secret::keep_token("t0ken-of-this-test");
        let body = r#"{"errors":[{"code":"X","message":"bad t0ken-of-this-test\nat https://h/p?sig=abc. why?"}]}"#;
        assert_eq!(words(body), "X: bad *** at https://h/p?... why?");
        let long = format!(r#"{{"errors":[{{"code":"X","message":"{}"}}]}}"#, "é".repeat(5_000));
        assert_eq!(words(&long).chars().count(), LONGEST_TEXT + 3);
    }

    #[test]
    fn a_token_at_the_limit_is_masked_before_it_is_cut() {
        let token = "token-that-stands-at-the-limit";
        occystrap_base::secret::keep_token(token);
        let before = "é ".repeat(LONGEST_TEXT / 2 - 5);
        let body = format!(r#"{{"errors":[{{"code":"X","message":"{before}{token}"}}]}}"#);
        assert!(!words(&body).contains("token"), "{}", words(&body));
    }
}

//! What a registry says when it refuses (distribution specification, "Error Codes").
//!
//! What it refuses: to repeat what we told the registry in confidence, and long stories.

use serde::Deserialize;

use crate::http::wire::Answer;
use occystrap_base::secret::mask;

/// Largest answer that is looked at: real ones have some hundred bytes.
const LARGEST_ANSWER: usize = 64 * 1024;

/// Longest text of a registry in an error, in characters.
const LONGEST_WORDS: usize = 300;

/// Errors of one answer that are shown.
const MOST_ERRORS: usize = 3;

/// What was said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Of the first error, as the specification names them.
    pub(super) code: String,
    /// For a person; empty when nothing was said.
    pub(super) words: String,
}

#[derive(Deserialize)]
struct Said {
    errors: Vec<One>,
}

#[derive(Deserialize)]
struct One {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: Option<String>,
}

impl Refusal {
    /// Reads an answer's body. What cannot be read was not said.
    pub(super) async fn read(answer: &mut Answer) -> Self {
        match answer.read(LARGEST_ANSWER, "an error").await {
            Ok(body) => Self::parse(&body),
            Err(_) => Self::default(),
        }
    }

    fn parse(body: &[u8]) -> Self {
        let Ok(said) = serde_json::from_slice::<Said>(body) else { return Self::default() };
        let texts: Vec<_> = said
            .errors
            .iter()
            .take(MOST_ERRORS)
            .map(|one| match one.message.as_deref().map(str::trim) {
                None | Some("") => one.code.clone(),
                Some(message) => format!("{}: {message}", one.code),
            })
            .collect();
        let code = said.errors.first().map(|one| one.code.clone()).unwrap_or_default();
        Self { code, words: discreet(&texts.join("; ")) }
    }

    /// As the end of a message: `: CODE: what was said`.
    pub(super) fn tail(&self) -> String {
        match self.words.is_empty() {
            true => String::new(),
            false => format!(": {}", self.words),
        }
    }
}

/// Without secrets, which are masked before anything is cut, and without the queries of URLs, which may
/// carry signatures.
fn discreet(text: &str) -> String {
    let text = mask(text);
    let words = text.split_whitespace().map(|word| match word.split_once('?') {
        Some((place, query)) if !query.is_empty() && place.contains('/') => format!("{place}?..."),
        _ => word.to_owned(),
    });
    let text = words.collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(LONGEST_WORDS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(body: &str) -> String {
        Refusal::parse(body.as_bytes()).words
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
    fn what_is_said_is_short_and_discreet() {
        occystrap_base::secret::keep_token("t0ken-of-this-test");
        let body = r#"{"errors":[{"code":"X","message":"bad t0ken-of-this-test\nat https://h/p?sig=abc. why?"}]}"#;
        assert_eq!(words(body), "X: bad *** at https://h/p?... why?");
        let long = format!(r#"{{"errors":[{{"code":"X","message":"{}"}}]}}"#, "é".repeat(5_000));
        assert_eq!(words(&long).chars().count(), LONGEST_WORDS + 3);
    }

    #[test]
    fn a_token_at_the_limit_is_masked_before_it_is_cut() {
        let token = "token-that-stands-at-the-limit";
        occystrap_base::secret::keep_token(token);
        let before = "é ".repeat(LONGEST_WORDS / 2 - 5);
        let body = format!(r#"{{"errors":[{{"code":"X","message":"{before}{token}"}}]}}"#);
        assert!(!words(&body).contains("token"), "{}", words(&body));
    }
}

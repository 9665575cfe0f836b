//! Replaces some values of a config and keeps every other byte: the builder may have written fields that occystrap does
//! not know.

use serde::Deserialize;
use serde_json::value::RawValue;

use occystrap_base::error::{Error, Result};
use occystrap_base::oci::Digest;

/// The values of a config that a filter may replace, with their positions.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Replaceable<'a> {
    #[serde(borrow)]
    rootfs: Rootfs<'a>,
    #[serde(borrow)]
    created: Option<&'a RawValue>,
    #[serde(borrow, default)]
    history: Option<Vec<HistoryEntry<'a>>>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Rootfs<'a> {
    #[serde(borrow)]
    diff_ids: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct HistoryEntry<'a> {
    #[serde(borrow)]
    created: Option<&'a RawValue>,
}

/// The replacements in a config.
pub struct Edits<'a> {
    text: &'a str,
    values: Replaceable<'a>,
    replacements: Vec<(&'a RawValue, String)>,
}

impl<'a> Edits<'a> {
    /// Parses a config. Errors, which name `place`, when it has a key twice or is not a config.
    pub fn new(config: &'a [u8], place: &str) -> Result<Self> {
        let wrong = |cause: &dyn std::fmt::Display| {
            Error::source(format!("{place}: the image config cannot be changed: {cause}"))
        };
        let text = std::str::from_utf8(config).map_err(|cause| wrong(&cause))?;
        let values = serde_json::from_str(text).map_err(|cause| wrong(&cause))?;
        Ok(Self { text, values, replacements: Vec::new() })
    }

    /// Replaces the diff-ids, lowest layer first.
    pub fn diff_ids(&mut self, digests: impl Iterator<Item = Digest>) {
        let digests: Vec<String> = digests.map(|digest| format!("\"{digest}\"")).collect();
        self.replacements.push((self.values.rootfs.diff_ids, format!("[{}]", digests.join(","))));
    }

    /// Replaces the time of the image and of each step of its history that has one. `time` has the form of RFC 3339.
    pub fn created(&mut self, time: &str) {
        let steps = self.values.history.iter().flatten().map(|step| step.created);
        for known in steps.chain([self.values.created]).flatten() {
            self.replacements.push((known, format!("\"{time}\"")));
        }
    }

    /// Returns the config with all replacements.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        // A raw value points into the text, which gives its position.
        let start = |raw: &RawValue| raw.get().as_ptr() as usize - self.text.as_ptr() as usize;
        // Two filters may replace the same value: the last one counts, because the sort is stable.
        self.replacements.reverse();
        self.replacements.sort_by_key(|(raw, _)| start(raw));
        let mut config = String::with_capacity(self.text.len());
        let mut at = 0;
        for (raw, replacement) in &self.replacements {
            let begin = start(raw);
            if begin < at {
                continue;
            }
            config.push_str(&self.text[at..begin]);
            config.push_str(replacement);
            at = begin + raw.get().len();
        }
        config.push_str(&self.text[at..]);
        config.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{ "created":"2020-01-01T00:00:00Z",
 "rootfs" : {"type":"layers","diff_ids": [ "sha256:1" , "sha256:2"]}, "x": 1e5,
 "history":[{"created":"2019-01-01T00:00:00Z"},{"created_by":"\u00e9"}] }"#;

    #[test]
    fn all_else_stays_as_it_was() {
        let mut edits = Edits::new(CONFIG.as_bytes(), "'x'").unwrap();
        edits.created("1999-01-01T00:00:00Z");
        edits.created("1970-01-01T00:00:00Z");
        let digest = Digest::of(b"");
        edits.diff_ids([digest].into_iter());
        let expected = CONFIG
            .replace("2020-01-01", "1970-01-01")
            .replace("2019-01-01", "1970-01-01")
            .replace(r#"[ "sha256:1" , "sha256:2"]"#, &format!("[\"{digest}\"]"));
        assert_eq!(String::from_utf8(edits.finish()).unwrap(), expected);
        let edits = Edits::new(CONFIG.as_bytes(), "'x'").unwrap();
        assert_eq!(edits.finish(), CONFIG.as_bytes());
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        let twice = CONFIG.replace("\"x\": 1e5", "\"rootfs\":{\"diff_ids\":[]}");
        assert!(Edits::new(twice.as_bytes(), "'x'").is_err());
    }
}

//! A config with some values replaced, and every other byte as it was: whoever wrote it may have
//! put things there that nobody here knows.

use serde::Deserialize;
use serde_json::value::RawValue;

use occystrap_base::error::{Error, Result};
use occystrap_base::oci::Digest;

/// Where the values stand that a filter may replace.
#[derive(Deserialize)]
struct Shape<'a> {
    #[serde(borrow)]
    rootfs: Rootfs<'a>,
    #[serde(borrow)]
    created: Option<&'a RawValue>,
    #[serde(borrow, default)]
    history: Option<Vec<Step<'a>>>,
}

#[derive(Deserialize)]
struct Rootfs<'a> {
    #[serde(borrow)]
    diff_ids: &'a RawValue,
}

#[derive(Deserialize)]
struct Step<'a> {
    #[serde(borrow)]
    created: Option<&'a RawValue>,
}

/// Replacements in a config.
pub struct Edits<'a> {
    text: &'a str,
    shape: Shape<'a>,
    replacements: Vec<(&'a RawValue, String)>,
}

impl<'a> Edits<'a> {
    /// No replacements yet. `place` is named in errors.
    pub fn new(config: &'a [u8], place: &str) -> Result<Self> {
        let wrong = |cause: &dyn std::fmt::Display| {
            Error::source(format!("{place}: the image config cannot be changed: {cause}"))
        };
        let text = std::str::from_utf8(config).map_err(|cause| wrong(&cause))?;
        let shape = serde_json::from_str(text).map_err(|cause| wrong(&cause))?;
        Ok(Self { text, shape, replacements: Vec::new() })
    }

    /// The layers' digests, lowest first.
    pub fn diff_ids(&mut self, digests: impl Iterator<Item = Digest>) {
        let digests: Vec<String> = digests.map(|digest| format!("\"{digest}\"")).collect();
        self.replacements.push((self.shape.rootfs.diff_ids, format!("[{}]", digests.join(","))));
    }

    /// The time of the image and of every step of its history, where they have one. `time` as RFC
    /// 3339 has it.
    pub fn created(&mut self, time: &str) {
        let steps = self.shape.history.iter().flatten().map(|step| step.created);
        for known in steps.chain([self.shape.created]).flatten() {
            self.replacements.push((known, format!("\"{time}\"")));
        }
    }

    /// The config as it is now.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        // Raw values point into the text.
        let start = |raw: &RawValue| raw.get().as_ptr() as usize - self.text.as_ptr() as usize;
        // Two filters may replace the same: the last one counts, and the sort is stable.
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

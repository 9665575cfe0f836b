//! Replaces some values of a config and keeps every other byte: the builder may have written fields that occystrap does
//! not know.

use serde::Deserialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use occystrap_base::error::{Error, Result};
use occystrap_base::oci::Digest;

/// The annotation of a manifest that has the time of the image (OCI image specification, "Annotations").
pub const CREATED: &str = "org.opencontainers.image.created";

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
    #[serde(borrow)]
    container: Option<&'a RawValue>,
    #[serde(borrow)]
    container_config: Option<&'a RawValue>,
    #[serde(borrow, default)]
    config: Option<RunConfig<'a>>,
}

/// What Docker's classic builder writes of its containers into the config of a container.
#[derive(Deserialize)]
struct RunConfig<'a> {
    #[serde(borrow, rename = "Hostname")]
    hostname: Option<&'a RawValue>,
    #[serde(borrow, rename = "Image")]
    image: Option<&'a RawValue>,
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
    #[serde(borrow)]
    comment: Option<&'a RawValue>,
}

/// The time that an image gets.
struct NewTime {
    text: String,
    /// Only later times are replaced by it.
    only_later_than: Option<OffsetDateTime>,
}

/// The replacements in a config.
pub struct Edits<'a> {
    text: &'a str,
    values: Replaceable<'a>,
    replacements: Vec<(&'a RawValue, String)>,
    time: Option<NewTime>,
}

impl<'a> Edits<'a> {
    /// Parses a config. Errors, which name `place`, when it has a key twice or is not a config.
    pub fn new(config: &'a [u8], place: &str) -> Result<Self> {
        let wrong = |cause: &dyn std::fmt::Display| {
            Error::source(format!("{place}: the image config cannot be changed: {cause}"))
        };
        let text = std::str::from_utf8(config).map_err(|cause| wrong(&cause))?;
        let values = serde_json::from_str(text).map_err(|cause| wrong(&cause))?;
        Ok(Self { text, values, replacements: Vec::new(), time: None })
    }

    /// Replaces the diff-ids, lowest layer first.
    pub fn diff_ids(&mut self, digests: impl Iterator<Item = Digest>) {
        let digests: Vec<String> = digests.map(|digest| format!("\"{digest}\"")).collect();
        self.replacements.push((self.values.rootfs.diff_ids, format!("[{}]", digests.join(","))));
    }

    /// Replaces the time of the image and of each step of its history that has one. `time` has the form of RFC 3339.
    /// With `only_later_than`, earlier times stay, as do those that are no times.
    pub fn created(&mut self, time: &str, only_later_than: Option<OffsetDateTime>) {
        self.time = Some(NewTime { text: time.to_owned(), only_later_than });
        let steps = self.values.history.iter().flatten().map(|step| step.created);
        for known in steps.chain([self.values.created]).flatten() {
            let text: Option<String> = serde_json::from_str(known.get()).ok();
            let new = match &text {
                Some(text) => self.time_instead_of(text),
                None => only_later_than.is_none().then_some(time),
            };
            if let Some(new) = new {
                self.replacements.push((known, format!("\"{new}\"")));
            }
        }
    }

    /// Returns the time that replaces a known one; `None` where it stays.
    #[must_use]
    pub fn time_instead_of(&self, known: &str) -> Option<&str> {
        let NewTime { text, only_later_than } = self.time.as_ref()?;
        let Some(latest) = only_later_than else { return Some(text) };
        let known = OffsetDateTime::parse(known, &Rfc3339).ok()?;
        (known > *latest).then_some(text)
    }

    /// Empties what differs between two builds of one Dockerfile besides times: the container in which Docker's classic
    /// builder ran the last step, its host name and image, and comments `FROM ID` of podman.
    pub fn forget_the_build(&mut self) {
        let empty = |known: &RawValue, new: &str| known.get() != "null" && known.get() != new;
        let run = self.values.config.as_ref();
        let comments = self.values.history.iter().flatten().filter_map(|step| step.comment);
        let values = [
            (self.values.container, "\"\""),
            (self.values.container_config, "{}"),
            (run.and_then(|run| run.hostname), "\"\""),
            (run.and_then(|run| run.image), "\"\""),
        ];
        let values = values.into_iter().filter_map(|(value, new)| Some((value?, new)));
        let comments = comments.filter(|comment| names_an_id(comment.get()));
        let values = values.chain(comments.map(|comment| (comment, "\"\"")));
        let values = values.filter(|(known, new)| empty(known, new));
        self.replacements.extend(values.map(|(known, new)| (known, new.to_owned())));
    }

    /// Returns the config with all replacements.
    #[must_use]
    pub fn finish(&mut self) -> Vec<u8> {
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

/// Returns whether a comment in a history, as JSON, is `FROM` and the ID of an image, which each build has anew. A comment
/// with a name stays.
fn names_an_id(comment: &str) -> bool {
    let id = comment.trim_matches('"').strip_prefix("FROM ");
    let id = id.map(|id| id.strip_prefix("sha256:").unwrap_or(id));
    id.is_some_and(|id| {
        (12..=64).contains(&id.len()) && id.bytes().all(|digit| digit.is_ascii_hexdigit())
    })
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
        edits.created("1999-01-01T00:00:00Z", None);
        edits.created("1970-01-01T00:00:00Z", None);
        let digest = Digest::of(b"");
        edits.diff_ids([digest].into_iter());
        let expected = CONFIG
            .replace("2020-01-01", "1970-01-01")
            .replace("2019-01-01", "1970-01-01")
            .replace(r#"[ "sha256:1" , "sha256:2"]"#, &format!("[\"{digest}\"]"));
        assert_eq!(String::from_utf8(edits.finish()).unwrap(), expected);
        let mut edits = Edits::new(CONFIG.as_bytes(), "'x'").unwrap();
        assert_eq!(edits.finish(), CONFIG.as_bytes());
    }

    #[test]
    fn only_later_times_are_replaced_if_so_asked() {
        let mut edits = Edits::new(CONFIG.as_bytes(), "'x'").unwrap();
        let latest = OffsetDateTime::parse("2019-06-01T00:00:00Z", &Rfc3339).unwrap();
        edits.created("2019-06-01T00:00:00Z", Some(latest));
        assert_eq!(edits.time_instead_of("2019-05-31T23:59:59Z"), None);
        assert_eq!(edits.time_instead_of("2019-06-01T00:00:00+01:00"), None);
        assert_eq!(edits.time_instead_of("no time"), None);
        let later = edits.time_instead_of("2019-06-01T00:00:00.1Z").map(str::to_owned);
        assert_eq!(later.as_deref(), Some("2019-06-01T00:00:00Z"));
        let expected = CONFIG.replace("2020-01-01", "2019-06-01");
        assert_eq!(String::from_utf8(edits.finish()).unwrap(), expected);
    }

    #[test]
    fn fields_that_differ_between_two_builds_are_emptied() {
        let config = r#"{"rootfs":{"diff_ids":[]},"container":"c0ffee","container_config":{"Hostname":"c0ff","Cmd":["x"]},
 "config":{"Hostname":"c0ff","Image":"sha256:12","Env":["A=b"]},"history":[{"comment":"FROM 3f2c8a1b4d5e"},
 {"comment":"FROM docker.io/library/x:1"},{"comment":"buildkit.dockerfile.v0"},{"comment":"FROM cafe"}]}"#;
        let mut edits = Edits::new(config.as_bytes(), "'x'").unwrap();
        edits.forget_the_build();
        let expected = config
            .replace("\"c0ffee\"", "\"\"")
            .replace(r#"{"Hostname":"c0ff","Cmd":["x"]}"#, "{}")
            .replace("\"c0ff\"", "\"\"")
            .replace("sha256:12", "")
            .replace("FROM 3f2c8a1b4d5e", "");
        assert_eq!(String::from_utf8(edits.finish()).unwrap(), expected);
        let bare = r#"{"rootfs":{"diff_ids":[]},"config":null,"container":null}"#;
        let mut edits = Edits::new(bare.as_bytes(), "'x'").unwrap();
        edits.forget_the_build();
        assert_eq!(edits.finish(), bare.as_bytes());
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        let twice = CONFIG.replace("\"x\": 1e5", "\"rootfs\":{\"diff_ids\":[]}");
        assert!(Edits::new(twice.as_bytes(), "'x'").is_err());
    }
}

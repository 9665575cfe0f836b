//! Writing the file of a mirror: entries, comments, and what was left out.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use occystrap_base::error::{Error, one_line};

use super::{Converted, Document, FilePosition, NotConverted};
use crate::document::{Mark, shortened};

/// Entry that is written. Keys without a value are left out.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    pub comments: Vec<String>,
    pub from: String,
    pub to: Option<String>,
    /// Key and values of each rule.
    pub rules: Vec<(&'static str, Vec<String>)>,
    pub platforms: Vec<String>,
    /// `true`, or artifact types.
    pub referrers: Vec<String>,
}

/// Limits of a host.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    pub requests_per_second: Option<String>,
    pub connections: Option<String>,
    pub pulls_left: Option<u32>,
}

/// Writer of one file.
pub struct MirrorFileWriter {
    name: Arc<str>,
    /// Lines of the comment at the top.
    pub notes: Vec<String>,
    pub hosts: BTreeMap<String, Limits>,
    pub default_to: Option<String>,
    entries: String,
    count: usize,
    /// What was left out, by its name: the first place, how often, and the advice.
    left_out: Vec<(Mark, String, usize, String)>,
    known: HashMap<(String, String), usize>,
}

impl MirrorFileWriter {
    /// Creates a writer for what comes from a file of this name.
    pub fn new(name: &str) -> Self {
        let (notes, hosts, entries, left_out) = Default::default();
        let (name, known) = (name.into(), HashMap::new());
        Self { name, notes, hosts, default_to: None, entries, count: 0, left_out, known }
    }

    /// Returns a place in the other file.
    pub fn place(&self, mark: Mark) -> FilePosition {
        FilePosition::new(self.name.clone(), mark)
    }

    /// Returns whether an entry was written.
    pub fn has_entries(&self) -> bool {
        self.count > 0
    }

    /// Records what is not converted. The same thing with the same advice is counted, and reported once.
    pub fn leave_out(&mut self, mark: Mark, what: impl Into<String>, advice: impl Into<String>) {
        let (what, advice) = (what.into(), advice.into());
        let next = self.left_out.len();
        let index = *self.known.entry((what.clone(), advice.clone())).or_insert(next);
        match self.left_out.get_mut(index) {
            Some((_, _, count, _)) => *count += 1,
            None => self.left_out.push((mark, what, 1, advice)),
        }
    }

    /// Writes an entry, if the parser accepts it; else it is left out, with the reason.
    pub fn entry(&mut self, mark: Mark, what: &str, draft: &Draft) {
        let mut text = String::new();
        for comment in &draft.comments {
            let _ = writeln!(text, "# {}", one_line(comment));
        }
        let _ = writeln!(text, "- from: {}", quoted(&draft.from));
        if let Some(to) = &draft.to {
            let _ = writeln!(text, "  to: {}", quoted(to));
        }
        if !draft.rules.is_empty() {
            let rule = |(key, values): &(&str, Vec<String>)| match &values[..] {
                [value] if *key != "also" => format!("{key}: {}", quoted(value)),
                values => format!("{key}: {}", sequence(values)),
            };
            let rules = draft.rules.iter().map(rule).collect::<Vec<_>>().join(", ");
            let _ = writeln!(text, "  tags: {{{rules}}}");
        }
        if !draft.platforms.is_empty() {
            let _ = writeln!(text, "  platforms: {}", sequence(&draft.platforms));
        }
        match &draft.referrers[..] {
            [] => {}
            [word] if word == "true" => text.push_str("  referrers: true\n"),
            types => {
                let _ = writeln!(text, "  referrers: {}", sequence(types));
            }
        }
        let mut alone = String::from("version: 1\n");
        if let Some(to) = &self.default_to {
            let _ = writeln!(alone, "defaults: {{to: {}}}", quoted(to));
        }
        let _ = write!(alone, "images:\n{text}");
        match Document::first_fault(&alone) {
            None => {
                self.entries.push_str(&text);
                self.count += 1;
            }
            Some(error) => self.leave_out(mark, what, error.to_string()),
        }
    }

    /// Returns the file. Errors where no entry was written, or where the whole is not accepted.
    pub fn finish(mut self) -> Result<Converted, Vec<Error>> {
        self.left_out.sort_by_key(|(mark, ..)| *mark);
        let left_out = std::mem::take(&mut self.left_out);
        let not_converted: Vec<NotConverted> = left_out
            .into_iter()
            .map(|(mark, what, count, advice)| NotConverted {
                place: self.place(mark),
                what: if count > 1 { format!("{what} ({count} times)") } else { what },
                advice,
            })
            .collect();
        if self.count == 0 {
            let mut errors: Vec<Error> =
                not_converted.iter().take(50).map(|part| Error::usage(part.to_string())).collect();
            errors.push(Error::usage(format!("{}: nothing can be converted", self.name)));
            return Err(errors);
        }
        let mut file =
            format!("# Converted from {} by `occystrap mirror from`.\n", one_line(&self.name));
        for note in &self.notes {
            let _ = writeln!(file, "# {}", one_line(note));
        }
        if !not_converted.is_empty() {
            file.push_str("# Not converted:\n");
            for part in &not_converted {
                let _ = writeln!(
                    file,
                    "# - line {}: {}: {}",
                    part.place.line(),
                    one_line(&part.what),
                    one_line(&part.advice)
                );
            }
        }
        file.push_str("version: 1\n");
        self.write_hosts(&mut file);
        if let Some(to) = &self.default_to {
            let _ = writeln!(file, "defaults: {{to: {}}}", quoted(to));
        }
        let _ = write!(file, "images:\n{}", self.entries);
        match Document::parse(&format!("{} (converted)", self.name), &file) {
            Ok(_) => Ok(Converted { file, not_converted }),
            Err(errors) => Err(errors),
        }
    }

    fn write_hosts(&self, file: &mut String) {
        let limits = |limits: &Limits| {
            let pulls = limits.pulls_left.map(|pulls| pulls.to_string());
            let all = [
                ("requests-per-second", &limits.requests_per_second),
                ("connections", &limits.connections),
                ("pulls-left", &pulls),
            ];
            let given =
                all.iter().filter_map(|(key, value)| Some(format!("{key}: {}", value.as_ref()?)));
            given.collect::<Vec<_>>().join(", ")
        };
        let hosts: Vec<(&String, String)> =
            self.hosts.iter().map(|(host, of)| (host, limits(of))).collect();
        let given: Vec<_> = hosts.iter().filter(|(_, limits)| !limits.is_empty()).collect();
        if !given.is_empty() {
            file.push_str("hosts:\n");
        }
        for (host, limits) in given {
            let _ = writeln!(file, "  {}: {{{limits}}}", quoted(host));
        }
    }
}

fn sequence(values: &[String]) -> String {
    let values = values.iter().map(|value| quoted(value)).collect::<Vec<_>>();
    format!("[{}]", values.join(", "))
}

/// Returns a text as YAML: as it is where every parser reads it as that text, else in quotes.
pub fn quoted(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-/@:{}+".contains(c))
        && !text.contains(['{', '}'])
        && !text.ends_with(':')
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null" | "nan" | "inf"
        );
    if is_plain {
        return text.to_owned();
    }
    if text.chars().any(|c| c.is_control() || c == '\u{feff}') {
        // JSON is YAML.
        return serde_json::Value::from(text).to_string();
    }
    format!("'{}'", text.replace('\'', "''"))
}

/// Returns what an entry is called in a report. A text that may have a login in it is not repeated.
pub fn named(kind: &str, text: &str) -> String {
    match text.split_once('@') {
        Some((_, digest)) if !digest.starts_with("sha256:") => kind.to_owned(),
        _ => format!("{kind} '{}'", shortened(text)),
    }
}

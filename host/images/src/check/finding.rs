//! Findings of a check, and how many of them are kept.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::steady::CHANGED;
use occystrap_base::error::{Error, Kind, printable, with_sides};
use occystrap_base::oci::types::Mistyped;

/// How many findings of one rule and severity are kept for an image; the others are only counted. A user does not read
/// more, and an image with a million problems must not exhaust memory.
pub const MOST_KEPT: usize = 1_000;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The image is wrong: a client refuses it, or it is not what it promises.
    Error,
    /// Something could not be checked.
    Unchecked,
    /// The image does not work everywhere, or something is probably not intended.
    Warning,
    /// Nothing is wrong; a fact that may be useful.
    Info,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its severity.
    pub severity: Severity,
    /// Name of the rule (docs/inspecting.md).
    pub check: &'static str,
    /// Number of the layer, from 0 for the lowest; `None` for the image as a whole.
    pub layer: Option<usize>,
    /// Path of the member of the layer.
    pub path: Option<String>,
    /// Text, without layer and path.
    pub message: String,
    /// The expected side of a difference.
    pub expected: Option<String>,
    /// The side that was found.
    pub found: Option<String>,
}

impl Finding {
    /// Creates a finding about the image as a whole.
    #[must_use]
    pub fn new(severity: Severity, check: &'static str, message: impl AsRef<str>) -> Self {
        let message = printable(message.as_ref());
        Self { severity, check, layer: None, path: None, message, expected: None, found: None }
    }

    /// Creates an error.
    #[must_use]
    pub fn error(check: &'static str, message: impl AsRef<str>) -> Self {
        Self::new(Severity::Error, check, message)
    }

    /// Creates a warning.
    #[must_use]
    pub fn warning(check: &'static str, message: impl AsRef<str>) -> Self {
        Self::new(Severity::Warning, check, message)
    }

    /// Creates a note.
    #[must_use]
    pub fn info(check: &'static str, message: impl AsRef<str>) -> Self {
        Self::new(Severity::Info, check, message)
    }

    /// Creates a finding about something that could not be read. It is *unchecked* if the network, a login, our own
    /// disk or a change by another process is the cause, because then nothing is known of the image; else an error.
    #[must_use]
    pub fn unread(check: &'static str, error: &Error) -> Self {
        let severity = match error.kind() {
            Kind::Network | Kind::Auth | Kind::Destination | Kind::Changed => Severity::Unchecked,
            _ => Severity::Error,
        };
        let finding = Self::new(severity, check, error.to_string());
        match error.difference() {
            Some((expected, found)) => finding.sides(expected, found),
            None => finding,
        }
    }

    /// Creates an error about a field for which clients reject a document.
    #[must_use]
    pub fn mistyped(check: &'static str, wrong: &Mistyped) -> Self {
        let message = format!("has a field '{}' of a type that clients reject", wrong.field);
        Self::error(check, message).sides(wrong.expected, wrong.found.as_ref())
    }

    /// Adds both sides of a difference.
    #[must_use]
    pub fn sides(mut self, expected: impl ToString, found: impl ToString) -> Self {
        self.expected = Some(printable(&expected.to_string()));
        self.found = Some(printable(&found.to_string()));
        self
    }

    /// Adds the number of the layer, from 0.
    #[must_use]
    pub fn layer(mut self, index: usize) -> Self {
        self.layer = Some(index);
        self
    }

    /// Adds the path of a member.
    #[must_use]
    pub fn path(mut self, path: &[u8]) -> Self {
        self.path = Some(printable(&String::from_utf8_lossy(path)));
        self
    }
}

/// A rule that was checked and holds.
#[derive(Debug, Clone, Serialize)]
pub struct Passed {
    /// Name of the rule.
    pub check: &'static str,
    /// Text.
    pub message: String,
}

/// Findings in order, at most [`MOST_KEPT`] of each rule and severity.
#[derive(Debug, Default)]
pub struct Findings {
    kept: BTreeMap<(Severity, &'static str), Group>,
    passed: Vec<Passed>,
    /// Number of findings by the rule that the user ignores.
    ignored: BTreeMap<&'static str, usize>,
}

/// The findings of one rule and severity: those that are kept, and the number of all.
#[derive(Debug, Default)]
struct Group {
    kept: Vec<Finding>,
    count: usize,
}

impl Findings {
    /// Adds a finding.
    pub fn push(&mut self, finding: Finding) {
        let group = self.kept.entry((finding.severity, finding.check)).or_default();
        group.count += 1;
        if group.kept.len() < MOST_KEPT {
            group.kept.push(finding);
        }
    }

    /// Adds a rule that holds.
    pub fn pass(&mut self, check: &'static str, message: impl AsRef<str>) {
        let message = printable(message.as_ref());
        self.passed.push(Passed { check, message });
    }

    /// Adds all findings of another collection after those that are here.
    pub fn append(&mut self, other: Self) {
        for (key, mut more) in other.kept {
            let group = self.kept.entry(key).or_default();
            group.count += more.count;
            let free = MOST_KEPT - group.kept.len();
            group.kept.extend(more.kept.drain(..).take(free));
        }
        self.passed.extend(other.passed);
    }

    /// Adds the findings of one layer to `to`, with `index` as the number of the layer: an image may list a layer
    /// twice, which is read once.
    pub fn copy_to_layer(&self, index: usize, to: &mut Self) {
        for (key, group) in &self.kept {
            let known = to.kept.entry(*key).or_default();
            known.count += group.count;
            let free = MOST_KEPT - known.kept.len();
            let copies = group.kept.iter().take(free).cloned().map(|one| one.layer(index));
            known.kept.extend(copies);
        }
    }

    /// Takes the findings of rules out, which are only counted from now on. What could not be checked stays.
    pub fn ignore(&mut self, rules: &BTreeSet<String>) {
        let ignored = &mut self.ignored;
        self.kept.retain(|(severity, check), group| {
            let is_kept = *severity == Severity::Unchecked || !rules.contains(*check);
            if !is_kept {
                *ignored.entry(check).or_default() += group.count;
            }
            is_kept
        });
    }

    /// Returns, by rule, how many findings the user ignores.
    #[must_use]
    pub fn ignored(&self) -> &BTreeMap<&'static str, usize> {
        &self.ignored
    }

    /// Makes each error for which `counts` is false *unchecked*, and each error that was not kept.
    pub fn mark_unchecked(&mut self, counts: &dyn Fn(&Finding) -> bool) {
        let is_error = |(severity, _): &(Severity, &str)| *severity == Severity::Error;
        let errors: Vec<_> = self.kept.keys().copied().filter(is_error).collect();
        for key in errors {
            let Some(group) = self.kept.remove(&key) else { continue };
            let left_out = group.count - group.kept.len();
            for finding in group.kept {
                match counts(&finding) {
                    true => self.push(finding),
                    false => {
                        let message = format!("{CHANGED}: {}", finding.message);
                        let (severity, expected, found) = (Severity::Unchecked, None, None);
                        self.push(Finding { severity, message, expected, found, ..finding });
                    }
                }
            }
            self.kept.entry((Severity::Unchecked, key.1)).or_default().count += left_out;
        }
    }

    /// Returns the number of findings of a severity, including those that are not kept.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        let of = self.kept.iter().filter(|((of, _), _)| *of == severity);
        of.map(|(_, group)| group.count).sum()
    }

    /// Returns the number of errors and of unchecked findings of a rule.
    #[must_use]
    pub fn failed(&self, check: &str) -> usize {
        let of = self.kept.iter().filter(|((severity, of), _)| {
            *of == check && matches!(severity, Severity::Error | Severity::Unchecked)
        });
        of.map(|(_, group)| group.count).sum()
    }

    /// Returns, for each rule of a severity, its name, the findings that are kept, and the number of all.
    pub fn of(
        &self,
        severity: Severity,
    ) -> impl Iterator<Item = (&'static str, &[Finding], usize)> {
        let of = self.kept.iter().filter(move |((of, _), _)| *of == severity);
        of.map(|((_, check), group)| (*check, group.kept.as_slice(), group.count))
    }

    /// Returns all findings that are kept, the worst first.
    pub fn all(&self) -> impl Iterator<Item = &Finding> {
        self.kept.values().flat_map(|group| &group.kept)
    }

    /// Returns, by rule, how many findings are not kept.
    #[must_use]
    pub fn left_out(&self) -> BTreeMap<&'static str, usize> {
        let mut left_out = BTreeMap::new();
        for ((_, check), group) in &self.kept {
            let more = group.count - group.kept.len();
            if more > 0 {
                *left_out.entry(*check).or_default() += more;
            }
        }
        left_out
    }

    /// Returns the rules that hold.
    #[must_use]
    pub fn passed(&self) -> &[Passed] {
        &self.passed
    }
}

/// Returns a finding as one line, without its rule. It may have control characters of an image.
#[must_use]
pub fn finding_line(finding: &Finding) -> String {
    let mut line = String::new();
    if let Some(layer) = finding.layer {
        line += &format!("layer {}: ", layer + 1);
    }
    if let Some(path) = &finding.path {
        line += &format!("{path}: ");
    }
    line += &finding.message;
    with_sides(line, finding.expected.as_deref(), finding.found.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_the_lowest_layers_are_kept() {
        let (mut all, mut upper) = (Findings::default(), Findings::default());
        for index in 0..MOST_KEPT {
            upper.push(Finding::error("x", "y").layer(index));
        }
        all.push(Finding::error("x", "first"));
        all.append(upper);
        assert_eq!((all.count(Severity::Error), all.all().count()), (MOST_KEPT + 1, MOST_KEPT));
        assert_eq!(all.all().next().unwrap().message, "first");
        assert_eq!(all.left_out(), BTreeMap::from([("x", 1)]));
        assert_eq!((all.failed("x"), all.failed("y")), (MOST_KEPT + 1, 0));
    }

    #[test]
    fn findings_of_an_ignored_rule_are_only_counted() {
        let mut all = Findings::default();
        for finding in [Finding::error("x", ""), Finding::warning("x", ""), Finding::info("y", "")]
        {
            all.push(finding);
        }
        all.ignore(&BTreeSet::from(["x".to_owned(), "z".to_owned()]));
        assert_eq!((all.count(Severity::Error), all.all().count()), (0, 1));
        assert_eq!(*all.ignored(), BTreeMap::from([("x", 2)]));
    }

    #[test]
    fn nothing_from_an_image_drives_the_terminal() {
        let finding = Finding::error("x", "\u{1b}[2J").path(b"a\x1b\xffb").sides("\r", "\n");
        assert_eq!(finding.message, "?[2J");
        assert_eq!(finding.path.as_deref(), Some("a?\u{fffd}b"));
        assert_eq!((finding.expected.as_deref(), finding.found.as_deref()), (Some("?"), Some("?")));
    }
}

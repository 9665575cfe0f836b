//! What a check finds, and how much of it is kept.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::steady::CHANGED;
use occystrap_base::error::{Error, Kind, printable};
use occystrap_base::oci::types::Mistyped;

/// Findings of one kind that are kept for an image; more are counted. Nobody reads them all, and an
/// image that has a million must not take our memory.
pub const MOST_KEPT: usize = 1_000;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The image is wrong: some reader refuses it, or it is not what it promises.
    Error,
    /// Something could not be looked at.
    Unchecked,
    /// It works somewhere, and not everywhere; or it is hardly meant so.
    Warning,
    /// Nothing is wrong with it; somebody may want to know.
    Info,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Which rule it is about (docs/inspecting.md).
    pub check: &'static str,
    /// From 0, lowest first.
    pub layer: Option<usize>,
    /// Of a member of the layer.
    pub path: Option<String>,
    /// In words; neither layer nor path.
    pub message: String,
    /// One side of a difference.
    pub expected: Option<String>,
    /// The other side.
    pub found: Option<String>,
}

impl Finding {
    /// Something of the image as a whole.
    #[must_use]
    pub fn new(severity: Severity, check: &'static str, message: impl AsRef<str>) -> Self {
        let message = printable(message.as_ref());
        Self { severity, check, layer: None, path: None, message, expected: None, found: None }
    }

    /// An error.
    #[must_use]
    pub fn error(check: &'static str, message: impl AsRef<str>) -> Self {
        Self::new(Severity::Error, check, message)
    }

    /// A warning.
    #[must_use]
    pub fn warning(check: &'static str, message: impl AsRef<str>) -> Self {
        Self::new(Severity::Warning, check, message)
    }

    /// Something to know.
    #[must_use]
    pub fn info(check: &'static str, message: impl AsRef<str>) -> Self {
        Self::new(Severity::Info, check, message)
    }

    /// Something that could not be read: an error, or, where the network, a login or our own disk is
    /// to blame, nothing that is known of the image.
    #[must_use]
    pub fn unread(check: &'static str, error: &Error) -> Self {
        let severity = match error.kind() {
            Kind::Network | Kind::Auth | Kind::Destination | Kind::Changed => Severity::Unchecked,
            _ => Severity::Error,
        };
        let finding = Self::new(severity, check, error.to_string());
        match error.sides() {
            Some((expected, found)) => finding.sides(expected, found),
            None => finding,
        }
    }

    /// A field for which clients reject a document.
    #[must_use]
    pub fn mistyped(check: &'static str, wrong: &Mistyped) -> Self {
        let message = format!("has a field '{}' of a type that clients reject", wrong.field);
        Self::error(check, message).sides(wrong.expected, wrong.found.as_ref())
    }

    /// Both sides of a difference.
    #[must_use]
    pub fn sides(mut self, expected: impl ToString, found: impl ToString) -> Self {
        self.expected = Some(printable(&expected.to_string()));
        self.found = Some(printable(&found.to_string()));
        self
    }

    /// In a layer, counted from 0.
    #[must_use]
    pub fn layer(mut self, index: usize) -> Self {
        self.layer = Some(index);
        self
    }

    /// About a member.
    #[must_use]
    pub fn path(mut self, path: &[u8]) -> Self {
        self.path = Some(printable(&String::from_utf8_lossy(path)));
        self
    }
}

/// A rule that was looked at and holds.
#[derive(Debug, Clone, Serialize)]
pub struct Passed {
    /// Which rule.
    pub check: &'static str,
    /// In words.
    pub message: String,
}

/// What was found, in order; of each kind no more than [`MOST_KEPT`].
#[derive(Debug, Default)]
pub struct Findings {
    kept: BTreeMap<(Severity, &'static str), Kinds>,
    passed: Vec<Passed>,
}

#[derive(Debug, Default)]
struct Kinds {
    kept: Vec<Finding>,
    count: usize,
}

impl Findings {
    /// Add one.
    pub fn push(&mut self, finding: Finding) {
        let kind = self.kept.entry((finding.severity, finding.check)).or_default();
        kind.count += 1;
        if kind.kept.len() < MOST_KEPT {
            kind.kept.push(finding);
        }
    }

    /// A rule holds.
    pub fn pass(&mut self, check: &'static str, message: impl AsRef<str>) {
        let message = printable(message.as_ref());
        self.passed.push(Passed { check, message });
    }

    /// Add what somebody else found, after what is here.
    pub fn append(&mut self, other: Self) {
        for (key, mut more) in other.kept {
            let kind = self.kept.entry(key).or_default();
            kind.count += more.count;
            let room = MOST_KEPT - kind.kept.len();
            kind.kept.extend(more.kept.drain(..).take(room));
        }
        self.passed.extend(other.passed);
    }

    /// Add what was found in one layer, as found in layer `index`: an image may have it twice.
    pub fn copy(&self, index: usize, to: &mut Self) {
        for (key, kind) in &self.kept {
            let known = to.kept.entry(*key).or_default();
            known.count += kind.count;
            let room = MOST_KEPT - known.kept.len();
            let copies = kind.kept.iter().take(room).cloned().map(|one| one.layer(index));
            known.kept.extend(copies);
        }
    }

    /// Makes errors that do not count things that could not be looked at. Of those that are not kept, none
    /// counts.
    pub fn doubt(&mut self, counts: &dyn Fn(&Finding) -> bool) {
        let is_error = |(severity, _): &(Severity, &str)| *severity == Severity::Error;
        let errors: Vec<_> = self.kept.keys().copied().filter(is_error).collect();
        for key in errors {
            let Some(kind) = self.kept.remove(&key) else { continue };
            let left_out = kind.count - kind.kept.len();
            for finding in kind.kept {
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

    /// How many there are of a severity, those that are not kept included.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        let of = self.kept.iter().filter(|((of, _), _)| *of == severity);
        of.map(|(_, kind)| kind.count).sum()
    }

    /// How many errors and unlooked-at things there are of a rule.
    #[must_use]
    pub fn failed(&self, check: &str) -> usize {
        let of = self.kept.iter().filter(|((severity, of), _)| {
            *of == check && matches!(severity, Severity::Error | Severity::Unchecked)
        });
        of.map(|(_, kind)| kind.count).sum()
    }

    /// Kinds of a severity: what is kept, and how many there are.
    pub fn of(
        &self,
        severity: Severity,
    ) -> impl Iterator<Item = (&'static str, &[Finding], usize)> {
        let of = self.kept.iter().filter(move |((of, _), _)| *of == severity);
        of.map(|((_, check), kind)| (*check, kind.kept.as_slice(), kind.count))
    }

    /// All that is kept, the worst first.
    pub fn all(&self) -> impl Iterator<Item = &Finding> {
        self.kept.values().flat_map(|kind| &kind.kept)
    }

    /// By rule, how many are not kept.
    #[must_use]
    pub fn left_out(&self) -> BTreeMap<&'static str, usize> {
        let mut left_out = BTreeMap::new();
        for ((_, check), kind) in &self.kept {
            let more = kind.count - kind.kept.len();
            if more > 0 {
                *left_out.entry(*check).or_default() += more;
            }
        }
        left_out
    }

    /// Rules that hold.
    #[must_use]
    pub fn passed(&self) -> &[Passed] {
        &self.passed
    }
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
    fn nothing_from_an_image_drives_the_terminal() {
        let finding = Finding::error("x", "\u{1b}[2J").path(b"a\x1b\xffb").sides("\r", "\n");
        assert_eq!(finding.message, "?[2J");
        assert_eq!(finding.path.as_deref(), Some("a?\u{fffd}b"));
        assert_eq!((finding.expected.as_deref(), finding.found.as_deref()), (Some("?"), Some("?")));
    }
}

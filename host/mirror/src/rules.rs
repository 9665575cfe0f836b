//! Rules that select tags of a repository.
//!
//! They are applied in one order, however the file lists them: `semver` and `regex`, `not`, `newer-than`, `latest`,
//! `also`. What this module refuses: to ask a registry. The tags and their dates are given to it.

pub mod range;
pub mod version;

use std::time::Duration;

use regex::{Regex, RegexBuilder};
use time::OffsetDateTime;

use self::range::Range;
use self::version::Ranked;

/// Most memory of a compiled expression, in bytes. The expressions of users need kilobytes; a repetition such as
/// `(a{1000}){1000}` needs more than this.
const LARGEST_EXPRESSION: usize = 1024 * 1024;

/// Expression that must match a whole tag. Only its text is kept: the files of large mirrors have thousands of them, and a
/// compiled one has up to a megabyte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression(String);

impl Expression {
    /// Compiles an expression once, to see that it is one. Errors with the reason.
    pub fn parse(text: &str) -> Result<Self, String> {
        // What is added around it must not close its groups: `a)(b` is wrong by itself.
        let alone = RegexBuilder::new(text).size_limit(LARGEST_EXPRESSION).build();
        let expression = Self(text.to_owned());
        alone.and_then(|_| expression.compile()).map_err(|cause| reason(&cause))?;
        Ok(expression)
    }

    /// Creates an expression whose text was parsed before.
    pub(crate) fn known(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Returns the expression as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    fn compile(&self) -> Result<Regex, regex::Error> {
        RegexBuilder::new(&format!("^(?:{})$", self.0)).size_limit(LARGEST_EXPRESSION).build()
    }
}

/// Compiles expressions that were compiled before.
fn compiled(expressions: &[Expression]) -> Vec<Regex> {
    expressions.iter().filter_map(|expression| expression.compile().ok()).collect()
}

/// Returns the reason of an error in one line: the library draws the expression above it.
fn reason(cause: &regex::Error) -> String {
    match cause {
        regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
        regex::Error::Syntax(drawn) => {
            let last = drawn.lines().last().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
        _ => "it cannot be compiled".to_owned(),
    }
}

/// Rules of one entry. At least one of them is set.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Ranges of versions, of which a tag must be in one.
    pub semver: Vec<Range>,
    /// Expressions of which one must match the whole tag.
    pub regex: Vec<Expression>,
    /// Expressions of which none may match the whole tag.
    pub not: Vec<Expression>,
    /// Largest age of an image, by the date in its config.
    pub newer_than: Option<Duration>,
    /// How many of the highest tags are kept, by the order of [`Ranked`]; at least 1.
    pub latest: Option<usize>,
    /// Tags that are selected whatever the other rules say.
    pub also: Vec<String>,
}

/// How many tags each rule left. [`std::fmt::Display`] makes a sentence of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RuleCounts {
    /// Tags of the repository, without those of signatures ([`is_of_signature`]).
    pub listed: usize,
    /// Tags that `semver` and `regex` accept.
    pub matched: usize,
    /// Those of them that `not` leaves.
    pub not_refused: usize,
    /// Those of them that `newer-than` leaves.
    pub new_enough: usize,
    /// Those of them that `latest` leaves.
    pub latest: usize,
}

/// Tags that rules select.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selected {
    /// Selected tags, the lowest first; those of `also` at the end.
    pub tags: Vec<String>,
    /// Tags of `also` that the repository does not list. They are among [`Self::tags`] as well: a list may be old.
    pub not_listed: Vec<String>,
    /// How many tags each rule left: why so few are selected.
    pub counts: RuleCounts,
}

impl Rules {
    /// Returns whether no rule is set.
    #[must_use]
    pub fn are_empty(&self) -> bool {
        !self.need_list() && self.also.is_empty()
    }

    /// Returns whether the tags of the repository must be known. With `also` alone they need not.
    #[must_use]
    pub fn need_list(&self) -> bool {
        !self.semver.is_empty()
            || !self.regex.is_empty()
            || !self.not.is_empty()
            || self.newer_than.is_some()
            || self.latest.is_some()
    }

    /// Returns whether dates of images must be known.
    #[must_use]
    pub fn need_dates(&self) -> bool {
        self.newer_than.is_some()
    }

    /// Returns the tags that `semver`, `regex` and `not` leave: those whose dates [`Self::select`] asks for.
    #[must_use]
    pub fn candidates<'t>(&self, tags: &'t [String]) -> Vec<&'t str> {
        self.before_dates(tags).0
    }

    fn before_dates<'t>(&self, tags: &'t [String]) -> (Vec<&'t str>, RuleCounts) {
        let mut counts = RuleCounts::default();
        let mut kept: Vec<&str> = Vec::new();
        if self.need_list() {
            kept = tags.iter().map(String::as_str).filter(|tag| !is_of_signature(tag)).collect();
            counts.listed = kept.len();
            let (regex, not) = (compiled(&self.regex), compiled(&self.not));
            kept.retain(|tag| self.matches(tag, &regex));
            counts.matched = kept.len();
            kept.retain(|tag| !not.iter().any(|not| not.is_match(tag)));
            counts.not_refused = kept.len();
        }
        (kept, counts)
    }

    /// Returns whether `semver` and `regex` accept a tag. Where both are set, both must; then the range ignores the
    /// suffix of the tag, which is what the expression is for.
    fn matches(&self, tag: &str, regex: &[Regex]) -> bool {
        let contains = |range: &Range| range.contains(tag, !regex.is_empty());
        (regex.is_empty() || regex.iter().any(|regex| regex.is_match(tag)))
            && (self.semver.is_empty() || self.semver.iter().any(contains))
    }

    /// Selects tags. `date_of` returns when the image of a tag was created; `None` where it does not say, which counts
    /// as old. It is called for [`Self::candidates`] alone, and only if [`Self::need_dates`]. Errors are those of
    /// `date_of`.
    pub fn select<E>(
        &self,
        tags: &[String],
        now: OffsetDateTime,
        date_of: &mut dyn FnMut(&str) -> Result<Option<OffsetDateTime>, E>,
    ) -> Result<Selected, E> {
        let (mut kept, mut counts) = self.before_dates(tags);
        if let Some(age) = self.newer_than {
            // An age beyond the range of dates is older than every image.
            let oldest = time::Duration::try_from(age).ok().and_then(|age| now.checked_sub(age));
            let mut young = Vec::new();
            for tag in kept {
                let date = date_of(tag)?;
                if date.is_some_and(|date| oldest.is_none_or(|oldest| date >= oldest)) {
                    young.push(tag);
                }
            }
            kept = young;
        }
        counts.new_enough = kept.len();
        let mut ranked: Vec<Ranked<'_>> = kept.into_iter().map(Ranked::new).collect();
        ranked.sort_unstable();
        ranked.dedup();
        let mut kept: Vec<&str> = ranked.into_iter().map(|ranked| ranked.tag).collect();
        if let Some(latest) = self.latest {
            kept.drain(..kept.len().saturating_sub(latest));
        }
        counts.latest = kept.len();
        let mut also: Vec<&str> = Vec::new();
        for tag in &self.also {
            if !also.contains(&tag.as_str()) && !kept.contains(&tag.as_str()) {
                also.push(tag);
            }
        }
        // Without a list, no tag is known to be missing.
        let is_missing = |tag: &&str| self.need_list() && !tags.iter().any(|known| known == tag);
        let not_listed = also.iter().copied().filter(is_missing).map(str::to_owned).collect();
        let tags = kept.into_iter().chain(also).map(str::to_owned).collect();
        Ok(Selected { tags, not_listed, counts })
    }
}

impl RuleCounts {
    /// Returns the rules that left nothing, as the file spells them; `None` where something is left.
    #[must_use]
    pub fn emptied_by(&self) -> Option<&'static str> {
        match self {
            Self { latest: 1.., .. } => None,
            Self { listed: 0, .. } => Some("the repository, which lists no tags"),
            Self { matched: 0, .. } => Some("'semver' or 'regex'"),
            Self { not_refused: 0, .. } => Some("'not'"),
            _ => Some("'newer-than'"),
        }
    }
}

impl std::fmt::Display for RuleCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { listed, matched, not_refused, new_enough, latest } = self;
        write!(
            f,
            "{listed} tags, {matched} matched, {not_refused} after 'not', {new_enough} after 'newer-than', {latest} after 'latest'"
        )
    }
}

/// Returns whether a tag belongs to another image: `sha256-` and 64 hexadecimal digits, alone (the tag scheme for
/// referrers, OCI distribution specification 1.1, "Referrers Tag Schema") or with a suffix (`.sig`, `.att` and `.sbom` of
/// cosign). Rules never select such tags: `referrers` decides on what belongs to an image.
#[must_use]
pub fn is_of_signature(tag: &str) -> bool {
    let hex = tag.strip_prefix("sha256-").and_then(|rest| rest.split('.').next());
    hex.is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests;

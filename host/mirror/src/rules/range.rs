//! Ranges of versions, as regsync, skopeo, Renovate and npm write them: `>=1.2 <2`, `^1.4 || 2.x`, `1.2 - 1.4`.
//!
//! The `semver` crate has Cargo's ranges: a bare `1.2` means `^1.2` there, and `||`, `!=` and ` - ` do not exist. Here,
//! as in Masterminds/semver (regsync, skopeo, Helm), a bare `1.2` is every 1.2.x. What this module refuses: versions
//! with more than four numbers, unknown operators, a range without a version.

use std::cmp::Ordering;

use super::version::{MOST_NUMBERS, TagVersion, is_pre_release, natural, rank};

/// Longest text of a range, in bytes, and so the largest number of its comparisons. Ranges have one or two.
const LONGEST: usize = 1_000;

/// Which tags with a suffix a range accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
enum SuffixRule {
    /// None: the range names no suffix.
    Without,
    /// Tags with exactly this suffix: the range names a variant (`>=1.36-alpine`).
    Exactly(String),
    /// All: the range names a pre-release (`>=1.2-0`, `>=2.0.0-rc.1`).
    Any,
}

/// End of an interval of versions.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bound {
    numbers: [u64; MOST_NUMBERS],
    suffix: Option<String>,
    is_inside: bool,
}

/// Interval of versions, or everything outside of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Interval {
    lower: Option<Bound>,
    upper: Option<Bound>,
    is_outside: bool,
}

/// Intervals that a version must all be in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Alternative {
    intervals: Vec<Interval>,
    suffix: SuffixRule,
}

/// Range of versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    text: String,
    alternatives: Vec<Alternative>,
}

impl Range {
    /// Parses a range. Errors with the reason, which names the part.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("it has {} characters: at most {LONGEST} are read", text.len()));
        }
        let alternatives = text.split("||").map(alternative).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), alternatives })
    }

    /// Returns the range as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns whether a tag is a version in this range. With `any_suffix`, a suffix of the tag has no meaning.
    #[must_use]
    pub fn contains(&self, tag: &str, any_suffix: bool) -> bool {
        let Some(version) = TagVersion::read(tag) else { return false };
        self.alternatives.iter().any(|alternative| {
            let by_suffix = match &alternative.suffix {
                _ if any_suffix => false,
                SuffixRule::Without if version.suffix.is_some() => return false,
                SuffixRule::Exactly(suffix) if version.suffix != Some(suffix) => return false,
                SuffixRule::Without | SuffixRule::Exactly(_) => false,
                SuffixRule::Any => true,
            };
            alternative.intervals.iter().all(|interval| interval.contains(&version, by_suffix))
        })
    }
}

impl Interval {
    fn contains(&self, version: &TagVersion<'_>, by_suffix: bool) -> bool {
        let above = self.lower.as_ref().is_none_or(|bound| {
            let order = bound.order(version, by_suffix);
            order.is_gt() || (bound.is_inside && order.is_eq())
        });
        let below = self.upper.as_ref().is_none_or(|bound| {
            let order = bound.order(version, by_suffix);
            order.is_lt() || (bound.is_inside && order.is_eq())
        });
        (above && below) != self.is_outside
    }
}

impl Bound {
    /// Returns the order of a version relative to this bound.
    fn order(&self, version: &TagVersion<'_>, by_suffix: bool) -> Ordering {
        let numbers = version.numbers.cmp(&self.numbers);
        if !by_suffix {
            return numbers;
        }
        // `-0` is below every suffix: it is how ranges ask for pre-releases.
        let key = |suffix: Option<&str>| (suffix != Some("0"), rank(suffix));
        let mine = self.suffix.as_deref();
        numbers
            .then_with(|| key(version.suffix).cmp(&key(mine)))
            .then_with(|| natural(version.suffix.unwrap_or_default(), mine.unwrap_or_default()))
    }
}

/// Parses what stands between two `||`.
fn alternative(text: &str) -> Result<Alternative, String> {
    let mut suffix = SuffixRule::Without;
    let mut intervals = Vec::new();
    if let Some((from, to)) = text.split_once(" - ") {
        intervals.push(interval(">=", from.trim(), &mut suffix)?);
        intervals.push(interval("<=", to.trim(), &mut suffix)?);
        return Ok(Alternative { intervals, suffix });
    }
    let is_between = |c: char| c == ',' || c.is_whitespace();
    let mut rest = text.trim_start_matches(is_between);
    while !rest.is_empty() {
        let end = rest.find(|c| !"<>=!~^".contains(c)).unwrap_or(rest.len());
        let (operator, after) = (&rest[..end], rest[end..].trim_start());
        let end = after.find(|c| is_between(c) || "<>=!~^".contains(c)).unwrap_or(after.len());
        intervals.push(interval(operator, &after[..end], &mut suffix)?);
        rest = after[end..].trim_start_matches(is_between);
    }
    if intervals.is_empty() {
        return Err("a version is missing".to_owned());
    }
    Ok(Alternative { intervals, suffix })
}

/// Returns the interval of one comparison, and adds what its suffix says.
fn interval(operator: &str, text: &str, suffixes: &mut SuffixRule) -> Result<Interval, String> {
    let (given, suffix) = partial(text)?;
    match &suffix {
        Some(named) if named == "0" || is_pre_release(named) => *suffixes = SuffixRule::Any,
        Some(named) => match suffixes {
            SuffixRule::Exactly(known) if known != named => {
                return Err(format!("it names two variants, '{known}' and '{named}'"));
            }
            SuffixRule::Any => {}
            _ => *suffixes = SuffixRule::Exactly(named.clone()),
        },
        None => {}
    }
    let mut low = [0; MOST_NUMBERS];
    low[..given.len()].copy_from_slice(&given);
    let at = |is_inside| Some(Bound { numbers: low, suffix: suffix.clone(), is_inside });
    // The first version after all that begin with the same numbers up to an index. It has the lowest suffix, so that
    // 2.0.0-rc.1 is not in ^1.2.
    let after = |index: usize, is_inside| {
        let mut numbers = [0; MOST_NUMBERS];
        numbers[..index].copy_from_slice(&low[..index]);
        numbers[index] = low[index].saturating_add(1);
        Some(Bound { numbers, suffix: Some("0".to_owned()), is_inside })
    };
    let last = given.len().saturating_sub(1);
    let is_whole = given.len() >= 3;
    let between = |lower, upper| Interval { lower, upper, is_outside: false };
    let same = || match (given.len(), is_whole) {
        (0, _) => between(None, None),
        (_, true) => between(at(true), at(true)),
        (_, false) => between(at(true), after(last, false)),
    };
    Ok(match operator {
        "" | "=" | "==" => same(),
        ">=" | "=>" => between(at(true), None),
        "<" if !given.is_empty() => between(None, at(false)),
        "!=" if !given.is_empty() => Interval { is_outside: true, ..same() },
        ">" if is_whole => between(at(false), None),
        ">" if !given.is_empty() => between(after(last, true), None),
        "<=" | "=<" if is_whole => between(None, at(true)),
        "<=" | "=<" => between(None, after(last, false).filter(|_| !given.is_empty())),
        "~" | "~>" | "^" if given.is_empty() => same(),
        "~" | "~>" => between(at(true), after(last.min(1), false)),
        "^" => {
            let zeros = given.iter().take_while(|number| **number == 0).count();
            between(at(true), after(zeros.min(last).min(2), false))
        }
        "<" | ">" | "!=" => return Err(format!("'{operator}{text}' contains no version")),
        _ => return Err(format!("'{operator}' is not an operator")),
    })
}

/// Parses a version of a range, of which the last numbers may be absent or `x`.
fn partial(text: &str) -> Result<(Vec<u64>, Option<String>), String> {
    let malformed = || match text {
        "" => "a version is missing".to_owned(),
        _ => format!("'{text}' is not a version"),
    };
    let numbers = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let (numbers, suffix) = match numbers.split_once('-') {
        Some((_, "")) => return Err(malformed()),
        Some((numbers, suffix)) => (numbers, Some(suffix.to_owned())),
        // Build metadata has no meaning in an order.
        None => (numbers.split('+').next().unwrap_or_default(), None),
    };
    let mut given = Vec::new();
    let mut is_open = false;
    for part in numbers.split('.') {
        if matches!(part, "x" | "X" | "*") {
            is_open = true;
        } else if is_open
            || given.len() == MOST_NUMBERS
            || !part.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(malformed());
        } else {
            given.push(part.parse().map_err(|_| malformed())?);
        }
    }
    Ok((given, suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns those of the tags that a range contains.
    fn within(range: &str, tags: &[&'static str]) -> Vec<&'static str> {
        let range = Range::parse(range).unwrap();
        tags.iter().copied().filter(|tag| range.contains(tag, false)).collect()
    }

    #[test]
    fn ranges_mean_what_users_of_regsync_and_npm_expect() {
        let tags = ["1.1.9", "1.2", "v1.2.3", "1.2.4", "1.3.0", "1.4.1", "2.0.0", "2.1", "latest"];
        for (range, expected) in [
            ("1.2", vec!["1.2", "v1.2.3", "1.2.4"]),
            ("=1.2.3", vec!["v1.2.3"]),
            ("1.2.x", vec!["1.2", "v1.2.3", "1.2.4"]),
            ("1.*", vec!["1.1.9", "1.2", "v1.2.3", "1.2.4", "1.3.0", "1.4.1"]),
            ("2", vec!["2.0.0", "2.1"]),
            (">=1.3", vec!["1.3.0", "1.4.1", "2.0.0", "2.1"]),
            (">= v1.3", vec!["1.3.0", "1.4.1", "2.0.0", "2.1"]),
            (">1.2", vec!["1.3.0", "1.4.1", "2.0.0", "2.1"]),
            (">1.2.3 <2", vec!["1.2.4", "1.3.0", "1.4.1"]),
            (">1.2.3, <=1.3", vec!["1.2.4", "1.3.0"]),
            ("<1.2", vec!["1.1.9"]),
            ("<=1.2.3", vec!["1.1.9", "1.2", "v1.2.3"]),
            ("~1.2.3", vec!["v1.2.3", "1.2.4"]),
            ("~1", vec!["1.1.9", "1.2", "v1.2.3", "1.2.4", "1.3.0", "1.4.1"]),
            ("^1.2.4", vec!["1.2.4", "1.3.0", "1.4.1"]),
            ("1.2 - 1.3", vec!["1.2", "v1.2.3", "1.2.4", "1.3.0"]),
            ("1.1 || >=2.1", vec!["1.1.9", "2.1"]),
            (">=1.2 !=1.2.3 <1.3", vec!["1.2", "1.2.4"]),
            (">=1.2 != 1.2.x <2", vec!["1.3.0", "1.4.1"]),
            ("*", vec!["1.1.9", "1.2", "v1.2.3", "1.2.4", "1.3.0", "1.4.1", "2.0.0", "2.1"]),
        ] {
            assert_eq!(within(range, &tags), expected, "{range}");
        }
        assert_eq!(within("^0.2.3", &["0.2.2", "0.2.3", "0.2.9", "0.3.0"]), ["0.2.3", "0.2.9"]);
        assert_eq!(within("^0.0.3", &["0.0.3", "0.0.4"]), ["0.0.3"]);
        assert_eq!(within("^0.0", &["0.0.3", "0.0.4", "0.1.0"]), ["0.0.3", "0.0.4"]);
        assert_eq!(within("^0", &["0.9", "1.0"]), ["0.9"]);
        assert_eq!(within("~1.2.3.4", &["1.2.3.3", "1.2.3.5", "1.3.0"]), ["1.2.3.5"]);
    }

    #[test]
    fn a_suffix_is_accepted_where_the_range_names_one() {
        let tags = [
            "1.36-alpine",
            "1.36",
            "1.37-alpine",
            "1.37-alpine3.20",
            "1.37-rc1",
            "1.37.0",
            "1.38.0-beta.2",
        ];
        for (range, expected) in [
            (">=1.36", vec!["1.36", "1.37.0"]),
            (">=1.36-alpine", vec!["1.36-alpine", "1.37-alpine"]),
            (">=1.36-alpine <1.37", vec!["1.36-alpine"]),
            (">=1.36-0", tags.to_vec()),
            (
                ">=1.37.0-rc1 <1.38",
                vec!["1.37-alpine", "1.37-alpine3.20", "1.37-rc1", "1.37.0", "1.38.0-beta.2"],
            ),
            (">=1.37.0-rc1 <1.38-0", vec!["1.37-alpine", "1.37-alpine3.20", "1.37-rc1", "1.37.0"]),
            (
                "^1.37-0",
                vec!["1.37-alpine", "1.37-alpine3.20", "1.37-rc1", "1.37.0", "1.38.0-beta.2"],
            ),
            ("~1.37-0", vec!["1.37-alpine", "1.37-alpine3.20", "1.37-rc1", "1.37.0"]),
        ] {
            assert_eq!(within(range, &tags), expected, "{range}");
        }
        let range = Range::parse(">=1.37").unwrap();
        assert!(range.contains("1.37-alpine3.20", true) && !range.contains("1.36-alpine", true));
    }

    #[test]
    fn what_is_no_range_is_said() {
        for (range, reason) in [
            ("", "a version is missing"),
            (">=", "a version is missing"),
            ("1.2 ||", "a version is missing"),
            ("latest", "'latest' is not a version"),
            (">=1.2.3.4.5", "'1.2.3.4.5' is not a version"),
            ("1.x.3", "'1.x.3' is not a version"),
            (">=1.2-", "'1.2-' is not a version"),
            ("<*", "'<*' contains no version"),
            ("><1", "'><' is not an operator"),
            (">=1-alpine <2-slim", "it names two variants, 'alpine' and 'slim'"),
        ] {
            assert_eq!(Range::parse(range).unwrap_err(), reason, "{range}");
        }
        assert!(Range::parse(&"1||".repeat(1000)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn nothing_typed_makes_it_panic(range in "[v0-9.<>=!~^|x*, a-]{0,20}", tag in "[v0-9.a-]{0,10}") {
            if let Ok(range) = Range::parse(&range) {
                let _ = range.contains(&tag, false);
            }
        }
    }
}

//! Tags that are read as versions, and the order of tags.
//!
//! A tag is a version when it has this form: an optional `v`, one to four numbers with dots between them, then
//! nothing, `-SUFFIX`, `_BUILD`, or the mark of a pre-release without a hyphen (`3.13.0rc1`). Absent numbers count as 0.
//! A number may have leading zeros (`2026.01.15`). What this module refuses: numbers above 64 bits, other letters
//! directly after a number (they are often a commit: `1a2b3c4`).

use std::cmp::Ordering;

/// Words that begin the suffix of a pre-release. All other suffixes name a variant (`-alpine`) or a revision (`-r3`).
const PRE_RELEASES: [&str; 18] = [
    "alpha",
    "beta",
    "rc",
    "pre",
    "preview",
    "prerelease",
    "dev",
    "snapshot",
    "nightly",
    "canary",
    "unstable",
    "experimental",
    "milestone",
    "next",
    "cr",
    "a",
    "b",
    "m",
];

/// Largest number of numbers in a version: image versions with four exist (`10.11.6.1`), longer ones are addresses and
/// dates.
pub const MOST_NUMBERS: usize = 4;

/// Version that a tag is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TagVersion<'t> {
    /// Numbers; absent ones are 0.
    pub numbers: [u64; MOST_NUMBERS],
    /// How many numbers the tag has, 1 to 4.
    pub count: usize,
    /// Text after the numbers, without its hyphen; `None` where there is none.
    pub suffix: Option<&'t str>,
}

impl<'t> TagVersion<'t> {
    /// Reads a tag as a version; `None` where it has another form.
    #[must_use]
    pub fn read(tag: &'t str) -> Option<Self> {
        let mut rest = tag.strip_prefix(['v', 'V']).unwrap_or(tag);
        let mut numbers = [0; MOST_NUMBERS];
        let mut count = 0;
        loop {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            *numbers.get_mut(count)? = rest.get(..digits)?.parse().ok()?;
            (count, rest) = (count + 1, &rest[digits..]);
            match rest.strip_prefix('.') {
                Some(after) => rest = after,
                None => break,
            }
        }
        // Helm writes the `+` of build metadata as `_`, because no tag has a `+`.
        let rest = rest.split('_').next().unwrap_or_default();
        let suffix = match rest.strip_prefix('-') {
            Some("") => return None,
            Some(suffix) => Some(suffix),
            None if rest.is_empty() => None,
            None if is_pre_release(rest) && !rest.contains(['.', '-']) => Some(rest),
            None => return None,
        };
        Some(Self { numbers, count, suffix })
    }

    /// Compares two versions: by their numbers; then a pre-release is below a variant, and a variant below a version
    /// without a suffix; then the suffixes are compared as [`natural`] does.
    #[must_use]
    pub fn order(&self, other: &Self) -> Ordering {
        let key = |version: &Self| (version.numbers, rank(version.suffix));
        let suffixes =
            || natural(self.suffix.unwrap_or_default(), other.suffix.unwrap_or_default());
        key(self).cmp(&key(other)).then_with(suffixes)
    }
}

/// Returns 0 for a pre-release, 1 for a variant or revision, 2 for a version without a suffix.
#[must_use]
pub fn rank(suffix: Option<&str>) -> u8 {
    match suffix {
        Some(suffix) if is_pre_release(suffix) => 0,
        Some(_) => 1,
        None => 2,
    }
}

/// Returns whether a suffix marks a pre-release: one of the known words, then digits or nothing, then `.`, `-` or the end.
#[must_use]
pub fn is_pre_release(suffix: &str) -> bool {
    let word = suffix.split(['.', '-']).next().unwrap_or_default();
    let word = word.trim_end_matches(|c: char| c.is_ascii_digit());
    PRE_RELEASES.iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// Tag with the version that it is read as. Its order is that of tags: those that are versions are above all others, and
/// in the order of versions; of two equal versions, the one with more numbers is above (`1.36.0`, `1.36`). All others are
/// compared as [`natural`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranked<'t> {
    version: Option<TagVersion<'t>>,
    /// The tag.
    pub tag: &'t str,
}

impl<'t> Ranked<'t> {
    /// Reads a tag.
    #[must_use]
    pub fn new(tag: &'t str) -> Self {
        Self { version: TagVersion::read(tag), tag }
    }
}

impl Ord for Ranked<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_version = match (&self.version, &other.version) {
            (Some(one), Some(other)) => one.order(other).then(one.count.cmp(&other.count)),
            (one, other) => one.is_some().cmp(&other.is_some()),
        };
        by_version.then_with(|| natural(self.tag, other.tag)).then_with(|| self.tag.cmp(other.tag))
    }
}

impl PartialOrd for Ranked<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Compares two texts as people do: digits as numbers (`rc10` is above `rc9`), everything else byte by byte.
#[must_use]
pub fn natural(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    loop {
        let (Some(a), Some(b)) = (one.first(), other.first()) else {
            return one.len().cmp(&other.len());
        };
        if a.is_ascii_digit() && b.is_ascii_digit() {
            let (mine, my_rest) = number(one);
            let (theirs, their_rest) = number(other);
            match mine.len().cmp(&theirs.len()).then_with(|| mine.cmp(theirs)) {
                Ordering::Equal => (one, other) = (my_rest, their_rest),
                different => return different,
            }
        } else {
            match a.cmp(b) {
                Ordering::Equal => (one, other) = (&one[1..], &other[1..]),
                different => return different,
            }
        }
    }
}

/// Splits the digits at the start of a text, without leading zeros, from what follows them.
fn number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let zeros = text[..end].iter().take_while(|byte| **byte == b'0').count();
    (&text[zeros..end], &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_version_and_what_is_not() {
        for (tag, numbers, count, suffix) in [
            ("1", [1, 0, 0, 0], 1, None),
            ("v1.2", [1, 2, 0, 0], 2, None),
            ("V1.2.3", [1, 2, 3, 0], 3, None),
            ("1.2.3.4", [1, 2, 3, 4], 4, None),
            ("2026.01.05", [2026, 1, 5, 0], 3, None),
            ("1.36-alpine", [1, 36, 0, 0], 2, Some("alpine")),
            ("1.2.3-rc.1", [1, 2, 3, 0], 3, Some("rc.1")),
            ("3.13.0rc1", [3, 13, 0, 0], 3, Some("rc1")),
            ("1.2.3_4f1", [1, 2, 3, 0], 3, None),
            ("1.2-r3_x", [1, 2, 0, 0], 2, Some("r3")),
        ] {
            assert_eq!(TagVersion::read(tag), Some(TagVersion { numbers, count, suffix }), "{tag}");
        }
        for tag in [
            "",
            "latest",
            "v",
            "1.",
            ".1",
            "1.2.3.4.5",
            "1a2b3c4",
            "1.x",
            "1-",
            "vv1",
            "v-1",
            "1alpine",
            "1.2rc.1",
            "99999999999999999999",
        ] {
            assert_eq!(TagVersion::read(tag), None, "{tag}");
        }
    }

    #[test]
    fn the_order_of_tags_is_that_of_people() {
        let ordered = [
            "edge",
            "latest",
            "main-2",
            "main-10",
            "0.9",
            "1.2.3-alpha",
            "1.2.3-rc9",
            "1.2.3-rc10",
            "1.2.3-alpine",
            "1.2.3-r2",
            "1.2.3-r10",
            "1.2.3",
            "1.2.10",
            "1.3-alpine",
            "1.3",
            "1.3.0",
            "v1.3.1",
            "2",
            "2.0",
            "10",
        ];
        let mut shuffled = ordered;
        shuffled.reverse();
        shuffled.sort_by_key(|tag| Ranked::new(tag));
        assert_eq!(shuffled, ordered);
    }

    proptest::proptest! {
        #[test]
        fn the_order_is_total(a in "[v0-9.a-c_-]{0,8}", b in "[v0-9.a-c_-]{0,8}", c in "[v0-9.a-c_-]{0,8}") {
            let [a, b, c] = [&a, &b, &c].map(|tag| Ranked::new(tag));
            assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            assert!(!(a <= b && b <= c) || a <= c, "{a:?} {b:?} {c:?}");
            assert_eq!(a.cmp(&b).is_eq(), a.tag == b.tag);
        }
    }
}

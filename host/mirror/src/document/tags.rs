//! `tags`: rules.

use std::time::Duration;

use occystrap_base::oci::name::is_tag;

use super::read::{Reader, shortened};
use super::yaml::{Mark, Node};
use crate::rules::range::Range;
use crate::rules::{Expression, Rules};

/// Keys of `tags`, in the order in which they are applied.
const KEYS: [&str; 6] = ["semver", "regex", "not", "newer-than", "latest", "also"];

/// Units of an age, in seconds. Months and years have no fixed length.
const UNITS: [(char, u64); 5] = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 604_800)];

const RANGE_HINT: &str = "ranges are such as '>=1.36', '>=1.2 <2', '^1.4', '1.36.x', '1.2 || 2.x'; without tags that have a suffix";
const REGEX_HINT: &str = "an expression must match the whole tag, such as 'v[0-9.]+'; in YAML, write it in single quotes";

/// Reads `tags`; `None` where it is wrong.
pub fn read(reader: &mut Reader, node: &Node) -> Option<Rules> {
    if node.items().is_some() || node.text().is_some() {
        let hint = "for single tags, write 'tags: {also: [1.36, latest]}'";
        reader.unexpected(node, "'tags'", "a map of rules", hint);
        return None;
    }
    if !reader.keys(node, "'tags'", &KEYS) {
        return None;
    }
    let rules = Rules {
        semver: texts(reader, node, "semver")
            .into_iter()
            .filter_map(|(mark, text)| range(reader, mark, text))
            .collect(),
        regex: expressions(reader, node, "regex"),
        not: expressions(reader, node, "not"),
        newer_than: node.get("newer-than").and_then(|node| age(reader, node)),
        latest: node
            .get("latest")
            .and_then(|node| reader.number(node, "'latest'", 1..=u32::MAX))
            .and_then(|number| usize::try_from(number).ok()),
        also: texts(reader, node, "also")
            .into_iter()
            .filter_map(|(mark, text)| tag(reader, mark, text))
            .collect(),
    };
    if node.pairs().is_some_and(<[_]>::is_empty) {
        let hint = "for all tags, write \"tags: {regex: '.*'}\"; for one, put it in 'from': HOST/REPOSITORY:TAG";
        reader.report(node.mark, "'tags' has no rule", hint);
    }
    Some(rules).filter(|rules| !rules.are_empty())
}

/// Returns the texts of a key that holds one or several.
fn texts<'n>(reader: &mut Reader, node: &'n Node, key: &str) -> Vec<(Mark, &'n str)> {
    node.get(key).map(|node| reader.texts(node, &format!("'{key}'"))).unwrap_or_default()
}

fn range(reader: &mut Reader, mark: Mark, text: &str) -> Option<Range> {
    Range::parse(text)
        .map_err(|fault| {
            reader.report(
                mark,
                format!("'semver': '{}' is not a range: {fault}", shortened(text)),
                RANGE_HINT,
            );
        })
        .ok()
}

fn expressions(reader: &mut Reader, node: &Node, key: &str) -> Vec<Expression> {
    let mut found = Vec::new();
    for (mark, text) in texts(reader, node, key) {
        let mut compiled = None;
        let compile =
            |text: &str| Expression::parse(text).map(|expression| compiled = Some(expression));
        if reader.compiles(mark, (&format!("'{key}'"), text), compile, REGEX_HINT) {
            found.push(compiled.unwrap_or_else(|| Expression::known(text)));
        }
    }
    found
}

fn tag(reader: &mut Reader, mark: Mark, text: &str) -> Option<String> {
    if is_tag(text) {
        return Some(text.to_owned());
    }
    let hint = "'also' has tags, letter by letter; for patterns use 'regex', and a digest belongs in 'from' or in a list";
    reader.report(mark, format!("'also': '{}' is not a tag", shortened(text)), hint);
    None
}

/// Reads a number with a unit.
fn age(reader: &mut Reader, node: &Node) -> Option<Duration> {
    let text = reader.text(node, "'newer-than'")?;
    let found = UNITS.iter().find_map(|(unit, seconds)| {
        let number = text.strip_suffix(*unit)?;
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        let number: u64 = number.parse().ok().filter(|number| digits && *number > 0)?;
        number.checked_mul(*seconds)
    });
    if found.is_none() {
        reader.unexpected(
            node,
            "'newer-than'",
            "an age",
            "write a whole number and a unit: 90d; the units are s, m (minutes), h, d, w",
        );
    }
    found.map(Duration::from_secs)
}

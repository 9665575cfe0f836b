//! The rules of a `.dive-ci` file, with the names, the defaults and the meaning that they have in dive
//! (wagoodman/dive, `cmd/dive/cli/internal/command/ci/rules.go`).
//!
//! The file is YAML of one shape: `rules:` and indented lines `NAME: VALUE`, with comments and quotes. Only this shape is
//! read. What it refuses: everything else, because a rule that is not understood would not be applied.

use std::path::Path;

use super::rules::{Comparison, Metric, Rule, bytes, share};
use occystrap_base::error::{Error, Result, io_reason};
use occystrap_base::files::regular;

/// Bytes of the largest file that is read. A file with all rules and comments has less than a kilobyte.
const LARGEST: u64 = 64 * 1024;

/// A rule of dive: its names, its default, and what fails.
struct Known {
    /// The name in `.dive-ci`, and the one in the configuration of dive 0.13.
    names: [&'static str; 2],
    /// The value that dive takes if the file has none.
    default: &'static str,
    /// A value for errors.
    example: &'static str,
    metric: Metric,
    comparison: Comparison,
}

const KNOWN: [Known; 3] = [
    Known {
        names: ["lowestEfficiency", "lowest-efficiency-threshold"],
        default: "0.9",
        example: "0.95",
        metric: Metric::Efficiency,
        comparison: Comparison::Less,
    },
    Known {
        names: ["highestWastedBytes", "highest-wasted-bytes"],
        default: "disabled",
        example: "20MB",
        metric: Metric::DiveWasted,
        comparison: Comparison::More,
    },
    Known {
        names: ["highestUserWastedPercent", "highest-user-wasted-percent"],
        default: "0.1",
        example: "0.20",
        metric: Metric::DiveUserWasted,
        comparison: Comparison::More,
    },
];

/// Reads the rules of a file. Errors name the line that is wrong.
pub fn read(path: &Path) -> Result<Vec<Rule>> {
    let place = path.display().to_string();
    let text = regular::read(path, LARGEST).map_err(|cause| {
        Error::usage(format!("--dive-ci: cannot read '{place}': {}", io_reason(&cause)))
    })?;
    let text = String::from_utf8(text).map_err(|_| {
        Error::usage(format!("'{place}' is not UTF-8, so it is not a .dive-ci file"))
    })?;
    parse(&text, &place)
}

/// Returns the rules of a text. `place` is named in errors.
pub fn parse(text: &str, place: &str) -> Result<Vec<Rule>> {
    let (mut found, mut is_inside): ([Option<String>; 3], bool) = Default::default();
    for (index, line) in text.lines().enumerate() {
        let wrong = |why: String| {
            Error::usage(format!("'{place}', line {}: {why}", index + 1)).hint(
                "a .dive-ci file has 'rules:', and below it indented lines such as 'lowestEfficiency: 0.95'",
            )
        };
        let content = without_comment(line);
        if content.trim().is_empty() || content == "---" {
            continue;
        }
        let (key, value) = content
            .split_once(':')
            .ok_or_else(|| wrong(format!("'{}' has no ':'", content.trim())))?;
        let (name, value) = (unquoted(key.trim()), unquoted(value.trim()));
        if !content.starts_with([' ', '\t']) {
            if name != "rules" || !value.is_empty() {
                return Err(wrong(format!("expected 'rules:', found '{}'", content.trim())));
            }
            is_inside = true;
            continue;
        }
        if !is_inside {
            return Err(wrong("is indented, but 'rules:' is not above it".to_owned()));
        }
        let is_named = |known: &Known| known.names.iter().any(|one| one.eq_ignore_ascii_case(name));
        let known = KNOWN.iter().position(is_named).ok_or_else(|| {
            let names: Vec<&str> = KNOWN.iter().map(|known| known.names[0]).collect();
            wrong(format!("'{name}' is none of {}", names.join(", ")))
        })?;
        if found[known].replace(value.to_owned()).is_some() {
            return Err(wrong(format!("'{name}' is there twice")));
        }
        if value.is_empty() {
            let why =
                format!("'{name}' has no value, such as {} or disabled", KNOWN[known].example);
            return Err(wrong(why));
        }
        rule(&KNOWN[known], value).map_err(wrong)?;
    }
    let with_default = |(known, value): (&Known, Option<String>)| {
        let value = value.unwrap_or_else(|| known.default.to_owned());
        rule(known, &value).ok().flatten()
    };
    Ok(KNOWN.iter().zip(found).filter_map(with_default).collect())
}

/// Returns a rule with this limit; `None` if the limit turns it off.
fn rule(known: &Known, value: &str) -> std::result::Result<Option<Rule>, String> {
    let name = known.names[0];
    if matches!(value.to_ascii_lowercase().as_str(), "disabled" | "off" | "false") {
        return Ok(None);
    }
    let limit = match known.metric.is_bytes() {
        true => bytes(value).ok_or(format!("'{value}' is not a number of bytes such as 20MB"))?,
        false => share(value)
            .filter(|share| *share <= 1.0 && !value.ends_with('%'))
            .ok_or(format!("'{value}' is not a number from 0 to 1"))?,
    };
    let Known { metric, comparison, .. } = *known;
    Ok(Some(Rule { text: format!("{name}: {value}"), metric, comparison, limit }))
}

/// Returns a line without its comment, and without spaces at its end.
fn without_comment(line: &str) -> &str {
    let (mut quote, mut before) = (None, ' ');
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '#') if before.is_whitespace() => return line[..at].trim_end(),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
        before = c;
    }
    line.trim_end()
}

fn unquoted(text: &str) -> &str {
    ['"', '\'']
        .into_iter()
        .find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        parse(text, "x").unwrap().into_iter().map(|rule| rule.text).collect()
    }

    #[test]
    fn the_file_of_dives_documentation_is_read() {
        let text = "rules:\n  # If the efficiency is below, mark as failed.\n  lowestEfficiency: 0.95\n\n  \
                    highestWastedBytes: 20MB   # a comment\n  highestUserWastedPercent: \"0.20\"\n";
        assert_eq!(
            texts(text),
            [
                "lowestEfficiency: 0.95",
                "highestWastedBytes: 20MB",
                "highestUserWastedPercent: 0.20"
            ]
        );
        let rules = parse(text, "x").unwrap();
        assert_eq!(rules.iter().map(|rule| rule.limit).collect::<Vec<_>>(), [0.95, 20e6, 0.2]);
    }

    #[test]
    fn missing_rules_have_the_defaults_of_dive() {
        let defaults = ["lowestEfficiency: 0.9", "highestUserWastedPercent: 0.1"];
        assert_eq!(texts(""), defaults);
        assert_eq!(texts("---\nrules:\n"), defaults);
        let off = "rules:\n  lowestEfficiency: disabled\n  highestUserWastedPercent: off\n";
        assert_eq!(texts(off), [""; 0]);
        assert_eq!(texts("rules:\n  lowest-efficiency-threshold: 1\n")[0], "lowestEfficiency: 1");
    }

    #[test]
    fn lines_that_are_not_understood_are_refused() {
        for (text, why) in [
            ("rules:\n  lowestEfficiency: 95%\n", "line 2: '95%' is not a number from 0 to 1"),
            ("rules:\n  lowestEfficency: 0.9\n", "line 2: 'lowestEfficency' is none of"),
            ("rules: {lowestEfficiency: 0.9}\n", "line 1: expected 'rules:', found"),
            ("log:\n  level: x\n", "line 1: expected 'rules:', found 'log:'"),
            ("  lowestEfficiency: 0.9\n", "line 1: is indented"),
            (
                "rules:\n  lowestEfficiency: 1\n  lowestEfficiency: 0\n",
                "line 3: 'lowestEfficiency' is there twice",
            ),
            ("rules:\n  - x\n", "line 2: '- x' has no ':'"),
            (
                "rules:\n  lowestEfficiency:\n",
                "line 2: 'lowestEfficiency' has no value, such as 0.95",
            ),
            (
                "rules:\n  highestWastedBytes: \"\" # none\n",
                "line 2: 'highestWastedBytes' has no value",
            ),
        ] {
            let error = parse(text, "x").unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(rules:\n)?[ a-zA-Z0-9:#'\"\n.%-]{0,60}") {
            let _ = parse(&text, "x");
        }
    }
}

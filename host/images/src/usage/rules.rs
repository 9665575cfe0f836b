//! Rules about the usage of an image, for builds that must fail if an image wastes too much: `--fail-if`, and the rules of
//! a `.dive-ci` file.

use serde::Serialize;
use serde_json::{Value, json};

use super::survey::Survey;
use occystrap_base::error::{Error, Result};

/// A number of an image that a rule limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// [`super::Efficiency::score`].
    Efficiency,
    /// [`Survey::wasted`], in bytes.
    Wasted,
    /// [`Survey::wasted`] divided by [`Survey::size`].
    WastedShare,
    /// [`Survey::size`], in bytes.
    Size,
    /// [`super::Efficiency::wasted_bytes`], in bytes.
    DiveWasted,
    /// [`super::Efficiency::user_wasted_share`].
    DiveUserWasted,
}

/// The names of the metrics in a rule.
const METRICS: [(&str, Metric); 6] = [
    ("efficiency", Metric::Efficiency),
    ("wasted", Metric::Wasted),
    ("wasted-share", Metric::WastedShare),
    ("size", Metric::Size),
    ("dive-wasted", Metric::DiveWasted),
    ("dive-user-wasted", Metric::DiveUserWasted),
];

/// A comparison of a number with a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
}

/// A rule: the image fails if the comparison holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The rule as the user wrote it.
    pub text: String,
    /// The number that is compared.
    pub metric: Metric,
    /// How it is compared.
    pub comparison: Comparison,
    /// The limit: bytes, or a share.
    pub limit: f64,
}

/// The result of a rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleResult {
    /// The rule as the user wrote it.
    pub rule: String,
    /// Whether the image fails.
    pub failed: bool,
    /// The number of the image: bytes, or a share.
    pub found: Value,
    /// The limit: bytes, or a share.
    pub limit: Value,
}

impl Metric {
    /// Returns whether the number is one of bytes. The others are shares.
    #[must_use]
    pub fn is_bytes(self) -> bool {
        matches!(self, Self::Wasted | Self::Size | Self::DiveWasted)
    }

    fn of(self, survey: &Survey) -> f64 {
        match self {
            Self::Efficiency => survey.efficiency.score,
            Self::Wasted => survey.wasted as f64,
            Self::WastedShare if survey.size == 0 => 0.0,
            Self::WastedShare => survey.wasted as f64 / survey.size as f64,
            Self::Size => survey.size as f64,
            Self::DiveWasted => survey.efficiency.wasted_bytes as f64,
            Self::DiveUserWasted => survey.efficiency.user_wasted_share,
        }
    }

    fn shown(self, number: f64) -> Value {
        if self.is_bytes() { json!(number as u64) } else { json!(number) }
    }
}

impl Rule {
    /// Parses a rule such as `efficiency<0.9` or `wasted>50MB`. Errors for other texts.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: String| {
            Error::usage(format!("--fail-if '{text}': {why}"))
                .hint("type a rule such as 'efficiency<0.9', 'wasted>50MB' or 'wasted-share>10%'")
        };
        let at =
            text.find(['<', '>']).ok_or_else(|| wrong("has neither '<' nor '>'".to_owned()))?;
        let (name, rest) = (text[..at].trim(), &text[at + 1..]);
        let (or_equal, value) = match rest.strip_prefix('=') {
            Some(value) => (true, value.trim()),
            None => (false, rest.trim()),
        };
        let known = METRICS.iter().find(|(known, _)| *known == name).map(|(_, metric)| *metric);
        let metric = known.ok_or_else(|| {
            let names: Vec<&str> = METRICS.iter().map(|(known, _)| *known).collect();
            wrong(format!("'{name}' is none of {}", names.join(", ")))
        })?;
        let comparison = match (&text[at..=at], or_equal) {
            ("<", false) => Comparison::Less,
            ("<", true) => Comparison::AtMost,
            (_, false) => Comparison::More,
            (_, true) => Comparison::AtLeast,
        };
        let limit = match metric.is_bytes() {
            true => bytes(value).ok_or_else(|| {
                wrong(format!("'{value}' is not a number of bytes such as 50MB or 1.5GiB"))
            })?,
            false => share(value).ok_or_else(|| {
                wrong(format!("'{value}' is not a share from 0 to 1 such as 0.1 or 10%"))
            })?,
        };
        Ok(Self { text: text.to_owned(), metric, comparison, limit })
    }

    /// Applies the rule to an image.
    #[must_use]
    pub fn apply(&self, survey: &Survey) -> RuleResult {
        let found = self.metric.of(survey);
        RuleResult {
            rule: self.text.clone(),
            failed: match self.comparison {
                Comparison::Less => found < self.limit,
                Comparison::AtMost => found <= self.limit,
                Comparison::More => found > self.limit,
                Comparison::AtLeast => found >= self.limit,
            },
            found: self.metric.shown(found),
            limit: self.metric.shown(self.limit),
        }
    }
}

/// Parses a number of bytes with a unit as dive does (`ParseBytes` of dustin/go-humanize): `20MB` has powers of 1,000,
/// `20MiB` powers of 1,024, and case does not matter.
#[must_use]
pub fn bytes(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ','));
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let number: f64 = number.replace(',', "").parse().ok()?;
    let unit = unit.trim().to_ascii_lowercase();
    let prefix = unit.strip_suffix('b').unwrap_or(&unit);
    let (base, letter): (f64, &str) = match prefix.strip_suffix('i') {
        Some(letter) => (1024.0, letter),
        None => (1000.0, prefix),
    };
    let power = match letter {
        "" if base == 1000.0 => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        "e" => 6,
        _ => return None,
    };
    Some((number * base.powi(power)).trunc())
}

/// Parses a share from 0 to 1: `0.1` or `10%`.
#[must_use]
pub fn share(text: &str) -> Option<f64> {
    let share: f64 = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().ok()? / 100.0,
        None => text.parse().ok()?,
    };
    (0.0..=1.0).contains(&share).then_some(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read() {
        for (text, metric, comparison, limit) in [
            ("efficiency<0.9", Metric::Efficiency, Comparison::Less, 0.9),
            ("efficiency <= 90%", Metric::Efficiency, Comparison::AtMost, 0.9),
            ("wasted>50MB", Metric::Wasted, Comparison::More, 50e6),
            ("wasted-share >= 10 %", Metric::WastedShare, Comparison::AtLeast, 0.1),
            ("size>1.5GiB", Metric::Size, Comparison::More, 1_610_612_736.0),
            ("dive-wasted>20480", Metric::DiveWasted, Comparison::More, 20_480.0),
            ("dive-user-wasted>0.1", Metric::DiveUserWasted, Comparison::More, 0.1),
        ] {
            let rule = Rule::parse(text).unwrap();
            assert_eq!(
                (rule.metric, rule.comparison, rule.limit),
                (metric, comparison, limit),
                "{text}"
            );
        }
        for (text, why) in [
            ("efficiency", "has neither '<' nor '>'"),
            ("waste>5", "'waste' is none of efficiency, wasted, wasted-share, size"),
            ("wasted>10%", "'10%' is not a number of bytes"),
            ("efficiency<nan", "'nan' is not a share"),
            ("efficiency<-1", "'-1' is not a share"),
            ("wasted>", "'' is not a number of bytes"),
        ] {
            let error = Rule::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    /// The cases of go-humanize's own tests.
    #[test]
    fn bytes_are_read_as_dive_reads_them() {
        for (text, number) in [
            ("42", 42.0),
            ("42MB", 42e6),
            ("42MiB", 44_040_192.0),
            ("42mb", 42e6),
            ("42mib", 44_040_192.0),
            ("42 MB", 42e6),
            ("42 m", 42e6),
            ("42 mi", 44_040_192.0),
            ("42.5MB", 42_500_000.0),
            ("1,234.03 kb", 1_234_030.0),
            ("42M", 42e6),
            ("42b", 42.0),
        ] {
            assert_eq!(bytes(text), Some(number), "{text}");
        }
        for text in ["", "MB", "84 JB", "42ib", "1.2.3", "-4kb"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}

//! The syntax of a filter, as users type it: `name:option=value,option=value`.
//!
//! A comma within quotes, brackets or braces belongs to the value. What it refuses: a filter without a name, an option
//! without a value, quotes that do not end.

use occystrap_base::error::{Error, Result};
use occystrap_base::terminal::shell::quote as quote_word;

/// A parsed filter. Names are in lower case, with hyphens.
pub struct Spec {
    text: String,
    name: String,
    options: Vec<(String, String)>,
}

impl Spec {
    /// Parses a filter as the user typed it. `default_option` returns, by filter, the option to suggest for a value
    /// without an option name.
    pub fn parse(
        text: &str,
        default_option: &dyn Fn(&str) -> Option<&'static str>,
    ) -> Result<Self> {
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        let name = canonical(name);
        if name.is_empty() {
            return Err(Error::usage(format!("'{text}' names no filter"))
                .hint("a filter is name or name:option=value,option=value"));
        }
        let mut options: Vec<(String, String)> = Vec::new();
        for part in split(rest).ok_or_else(|| {
            Error::usage(format!("filter '{text}': a quote, bracket or brace does not end"))
        })? {
            match part.split_once('=') {
                Some((option, value)) => {
                    options.push((canonical(option), unquoted(value.trim()).to_owned()));
                }
                None => {
                    let error = Error::usage(format!("filter '{text}': '{part}' has no value"));
                    let last = options.last();
                    return Err(match last {
                        // The comma was probably part of the last value.
                        Some((option, value)) => error.hint(with_comma(
                            &name,
                            &options[..options.len() - 1],
                            (option, &format!("{value},{part}")),
                        )),
                        None => error.hint(match default_option(&name) {
                            Some(option) => format!("did you mean {name}:{option}={part}?"),
                            None => "options are option=value,option=value".to_owned(),
                        }),
                    });
                }
            }
        }
        Ok(Self { text: text.to_owned(), name, options })
    }

    /// Returns the name of the filter.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns a usage error about this filter.
    #[must_use]
    pub fn error(&self, message: impl std::fmt::Display) -> Error {
        Error::usage(format!("filter '{}': {message}", self.text))
    }

    /// Returns all values of an option that may be repeated.
    #[must_use]
    pub fn all(&self, option: &str) -> Vec<&str> {
        let values = self.options.iter().filter(|(name, _)| name == option);
        values.map(|(_, value)| value.as_str()).collect()
    }

    /// Returns the value of an option. Errors when it is given twice.
    pub fn one(&self, option: &str) -> Result<Option<&str>> {
        match self.all(option).as_slice() {
            [] => Ok(None),
            [value] => Ok(Some(value)),
            _ => Err(self.error(format!("'{option}' is given twice"))),
        }
    }

    /// Returns the value of a switch, which is off by default.
    pub fn switch(&self, option: &str) -> Result<bool> {
        match self.one(option)?.map(str::to_ascii_lowercase).as_deref() {
            None | Some("false" | "no" | "0") => Ok(false),
            Some("true" | "yes" | "1") => Ok(true),
            Some(other) => Err(self.error(format!("{option}={other}: expected true or false"))),
        }
    }

    /// Checks that all options are known. Errors with the list of known options.
    pub fn only(&self, known: &[&str]) -> Result<()> {
        match self.options.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => Err(self
                .error(format!("there is no option '{name}'"))
                .hint(format!("{} takes: {}", self.name, known.join(", ")))),
        }
    }
}

/// Returns a name in lower case with hyphens: 0.4.17 accepted any case, and hyphens or underscores.
fn canonical(name: &str) -> String {
    name.trim().to_ascii_lowercase().replace('_', "-")
}

/// Splits a text at commas outside of quotes, brackets and braces; `None` if one of these does not end.
fn split(text: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let mut awaited = Vec::new();
    let mut start = 0;
    for (at, letter) in text.char_indices() {
        match (awaited.last(), letter) {
            (Some(last), letter) if *last == letter => {
                awaited.pop();
            }
            // Within quotes, brackets and commas have no meaning.
            (Some('"' | '\''), _) => {}
            (_, '{') => awaited.push('}'),
            (Some(']'), '[') => {}
            (_, '[') => awaited.push(']'),
            // A quote counts only around a whole value; within a word it is a letter.
            (_, '"' | '\'') if text[..at].ends_with('=') => awaited.push(letter),
            (None, ',') => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts.retain(|part| !part.is_empty());
    awaited.is_empty().then_some(parts)
}

/// Returns the hint for a value with a comma: what to type in a shell, which would remove the quotes of the filter.
fn with_comma(name: &str, before: &[(String, String)], (option, value): (&str, &str)) -> String {
    let quote = if value.contains('"') { '\'' } else { '"' };
    let quoted_if_needed = |value: &str| match value.contains([',', '[', '{']) {
        true => format!("\"{value}\""),
        false => value.to_owned(),
    };
    let before: String = before
        .iter()
        .map(|(option, value)| format!("{option}={},", quoted_if_needed(value)))
        .collect();
    let filter = format!("{name}:{before}{option}={quote}{value}{quote}");
    format!(
        "if the comma is part of the value, quote it, also for the shell: -f {}",
        quote_word(&filter)
    )
}

/// Removes the quotes around a value.
pub fn unquoted(value: &str) -> &str {
    let quoted = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    quoted('"').or_else(|| quoted('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_that_count() {
        for (text, values) in [
            ("exclude:pattern=a", vec!["a"]),
            ("Exclude : pattern = a , pattern=b,", vec!["a", "b"]),
            ("exclude:pattern={a,b}", vec!["{a,b}"]),
            ("exclude:pattern=\"a,b\",pattern='c,d'", vec!["a,b", "c,d"]),
            ("exclude:pattern=x[,]y", vec!["x[,]y"]),
            ("exclude:pattern=it's,pattern=b", vec!["it's", "b"]),
            ("exclude:pattern=a=b:c", vec!["a=b:c"]),
            ("exclude:", vec![]),
        ] {
            let spec = Spec::parse(text, &|_| None).unwrap();
            assert_eq!((spec.name(), spec.all("pattern")), ("exclude", values), "{text}");
        }
        assert_eq!(
            Spec::parse("Normalize_Timestamps", &|_| None).unwrap().name(),
            "normalize-timestamps"
        );
    }

    #[test]
    fn meaningless_options_are_named() {
        for (text, message) in [
            ("", "names no filter"),
            (":a=b", "names no filter"),
            ("exclude:pattern", "'pattern' has no value"),
            ("exclude:pattern=a,b", "'b' has no value"),
            ("exclude:pattern={a,b", "does not end"),
            ("exclude:pattern='a", "does not end"),
        ] {
            let error = Spec::parse(text, &|_| None).err().unwrap().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
        let spec = Spec::parse("x:a=1,a=2,b=maybe", &|_| None).unwrap();
        assert!(spec.one("a").is_err() && spec.switch("b").is_err() && spec.only(&["a"]).is_err());
    }

    #[test]
    fn the_hint_about_a_comma_can_be_typed() {
        for (text, typed, value) in [
            ("set-config:env=A=b,c", "'set-config:env=\"A=b,c\"'", "A=b,c"),
            (
                "exclude:pattern={a,b},pattern=c,d",
                "'exclude:pattern=\"{a,b}\",pattern=\"c,d\"'",
                "c,d",
            ),
            ("set-config:env=A=\"x,y\"z,w", "'set-config:env=\"A=\"x,y\"'", "A=\"x,y"),
        ] {
            let error = Spec::parse(text, &|_| None).err().unwrap();
            let hint = error.hint_text().unwrap().to_owned();
            let Some((_, word)) = hint.split_once("-f ") else { panic!("{hint}") };
            let unquoted = word.trim_matches('\'').replace("'\\''", "'");
            let spec = Spec::parse(&unquoted, &|_| None).unwrap();
            let last = spec.options.last().map(|(_, value)| value.as_str());
            if !text.contains('"') {
                assert_eq!((word, last), (typed, Some(value)), "{text}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_typed_makes_it_panic(text in "\\PC*") {
            let _ = Spec::parse(&text, &|_| None);
        }
    }
}

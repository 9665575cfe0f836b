//! The pattern of a search: a glob or a regular expression, with the meaning that they had in 0.4.17.

use std::borrow::Cow;

use regex::Regex;

use occystrap_base::error::{Error, Result};
use occystrap_layer::glob::{Globs, letters};
use occystrap_layer::tar::member::plain;

/// A pattern for names of members.
pub struct Pattern(Matcher);

/// The two forms of a pattern. A rooted glob must match the whole name.
enum Matcher {
    Glob { globs: Globs, rooted: bool },
    Regex(Regex),
}

impl Pattern {
    /// Parses a shell pattern. A pattern that begins with `/` or `./` must match the whole name. Errors when it is
    /// malformed.
    pub fn glob(text: &str) -> Result<Self> {
        let globs = Globs::new([text]).map_err(|why| {
            Error::usage(why).hint("write [[] for a literal bracket, [{] for a literal brace")
        })?;
        let rooted = text.starts_with('/') || text.starts_with("./");
        Ok(Self(Matcher::Glob { globs, rooted }))
    }

    /// Parses a regular expression in the syntax of the crate `regex`. Errors when it is malformed, or uses look-around or
    /// back-references, which would make a search slow without bound.
    pub fn regex(text: &str) -> Result<Self> {
        let regex = Regex::new(&from_the_root(text)).map_err(|cause| {
            // The message has several lines, with the pattern and an arrow; the last line has the reason.
            let cause = cause.to_string();
            let reason = cause.lines().last().unwrap_or_default();
            let reason = reason.strip_prefix("error: ").unwrap_or(reason);
            Error::usage(format!("'{text}' is not a regular expression: {reason}"))
        })?;
        Ok(Self(Matcher::Regex(regex)))
    }

    /// Parses a regular expression if `regex` is set, else a glob.
    pub fn parse(text: &str, regex: bool) -> Result<Self> {
        if regex { Self::regex(text) } else { Self::glob(text) }
    }

    /// Returns whether a member of this name matches. The name counts from the root: the spelling in the layer (`./`, `/`)
    /// does not matter. A glob matches the whole name, or the file name alone; a regular expression may match any part.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        let plain = plain(name);
        match &self.0 {
            Matcher::Glob { globs, rooted } => {
                let fits = |name: &[u8]| !globs.matches(name).is_empty();
                let file = plain.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
                fits(&plain) || (!rooted && fits(file))
            }
            Matcher::Regex(regex) => regex.is_match(&letters(&plain)),
        }
    }
}

/// Returns a regular expression for names without a leading `/` or `./`, from one that expects such a prefix.
fn from_the_root(text: &str) -> Cow<'_, str> {
    let rest = [r"^\./", r"^[.]/", "^/", r"^\/"].iter().find_map(|front| text.strip_prefix(front));
    match rest {
        // An optional or repeated leading slash is removed.
        Some(rest) if rest.starts_with(['?', '*']) => format!("^{}", &rest[1..]).into(),
        Some(rest) if !rest.starts_with(['+', '{']) => format!("^{rest}").into(),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(pattern: &str, name: &str) -> bool {
        Pattern::glob(pattern).unwrap().matches(name.as_bytes())
    }

    #[test]
    fn globs_fit_the_path_or_the_file_name() {
        for pattern in ["passwd", "*wd", "etc/passwd", "etc/*", "/etc/passwd", "p[a-c]s???", "*"] {
            for name in ["etc/passwd", "./etc/passwd", "/etc/passwd"] {
                assert!(glob(pattern, name), "{pattern} {name}");
            }
        }
        for pattern in ["etc", "assw", "PASSWD", "/passwd", "./passwd", "tc/passwd", "[!pe]*"] {
            assert!(!glob(pattern, "etc/passwd"), "{pattern}");
        }
        for name in [".", "./etc", "./etc/passwd", "/etc"] {
            assert!(!glob("**/.*", name), "{name}");
        }
        assert!(glob("**/.*", "./.env") && glob(".*", "./etc/.env"));
    }

    #[test]
    fn regular_expressions_fit_any_part_of_the_path() {
        let fits = |pattern, name: &str| Pattern::regex(pattern).unwrap().matches(name.as_bytes());
        assert!(fits("^etc/h", "etc/hosts") && fits("^etc/h", "./etc/hosts"));
        assert!(fits(r"\.py$", "usr/lib/x.py") && fits("sr/l", "usr/lib/x.py"));
        assert!(!fits("^x", "usr/lib/x.py"));
        for pattern in [r"^\./etc/h", "^[.]/etc/h", "^/etc/h", r"^\/etc/h", "^/?etc/h", "^/*etc"] {
            for name in ["etc/hosts", "./etc/hosts", "/etc/hosts"] {
                assert!(fits(pattern, name), "{pattern} {name}");
            }
        }
        // The dot of './etc' is not a hidden file.
        for pattern in [r"^\.", r"(^|/)\.[^/]*$"] {
            assert!(!fits(pattern, "./etc/hosts") && !fits(pattern, "."), "{pattern}");
            assert!(fits(pattern, "./.env"), "{pattern}");
        }
        let latin = Pattern::regex("^names/.*n.$").unwrap();
        assert!(latin.matches(b"names/latin\xe9"), "a byte that is no text is one character");
    }

    #[test]
    fn a_malformed_pattern_is_named_with_its_reason() {
        for (pattern, reason) in [
            ("[", "unclosed character class"),
            ("a(b", "unclosed group"),
            ("*x", "repetition operator missing expression"),
            ("(?=x)", "look-around, including look-ahead and look-behind, is not supported"),
            (r"(a)\1", "backreferences are not supported"),
        ] {
            let error = Pattern::regex(pattern).err().unwrap().to_string();
            assert_eq!(error, format!("'{pattern}' is not a regular expression: {reason}"));
        }
    }
}

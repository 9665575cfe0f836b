//! What is searched for: a glob or a regular expression, with their meaning in 0.4.17.

use std::borrow::Cow;

use regex::Regex;

use occystrap_base::error::{Error, Result};
use occystrap_layer::glob::{Globs, letters};
use occystrap_layer::tar::member::plain;

/// A pattern for names of members.
pub struct Pattern(How);

enum How {
    Glob { globs: Globs, rooted: bool },
    Regex(Regex),
}

impl Pattern {
    /// A shell pattern. One that begins with `/` or `./` is about the whole name. Errors when it is
    /// malformed.
    pub fn glob(text: &str) -> Result<Self> {
        let globs = Globs::new([text]).map_err(|why| {
            Error::usage(why).hint("a bracket that stands for itself is written [[], a brace [{]")
        })?;
        let rooted = text.starts_with('/') || text.starts_with("./");
        Ok(Self(How::Glob { globs, rooted }))
    }

    /// A regular expression in the syntax of the crate `regex`. Errors when it is malformed, or
    /// asks for what would make a search slow without bounds: look-around and back-references.
    pub fn regex(text: &str) -> Result<Self> {
        let regex = Regex::new(&from_the_root(text)).map_err(|cause| {
            // Several lines, with the pattern and an arrow; the last says why.
            let cause = cause.to_string();
            let reason = cause.lines().last().unwrap_or_default();
            let reason = reason.strip_prefix("error: ").unwrap_or(reason);
            Error::usage(format!("'{text}' is not a regular expression: {reason}"))
        })?;
        Ok(Self(How::Regex(regex)))
    }

    /// A glob, or a regular expression where that is asked for.
    pub fn parse(text: &str, regex: bool) -> Result<Self> {
        if regex { Self::regex(text) } else { Self::glob(text) }
    }

    /// Whether a member of that name is searched for. A name is what it is from the root: how the layer
    /// spells it (`./`, `/`) does not count. A glob fits the whole of it, or the file name alone; a
    /// regular expression may fit any part of it.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        let plain = plain(name);
        match &self.0 {
            How::Glob { globs, rooted } => {
                let fits = |name: &[u8]| !globs.matches(name).is_empty();
                let file = plain.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
                fits(&plain) || (!rooted && fits(file))
            }
            How::Regex(regex) => regex.is_match(&letters(&plain)),
        }
    }
}

/// A regular expression for names that have no `/` or `./` in front, of one that was written for such.
fn from_the_root(text: &str) -> Cow<'_, str> {
    let rest = [r"^\./", r"^[.]/", "^/", r"^\/"].iter().find_map(|front| text.strip_prefix(front));
    match rest {
        // A slash that may be there, or be several, is not there.
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
        // The dot of './etc' is no hidden file.
        for pattern in [r"^\.", r"(^|/)\.[^/]*$"] {
            assert!(!fits(pattern, "./etc/hosts") && !fits(pattern, "."), "{pattern}");
            assert!(fits(pattern, "./.env"), "{pattern}");
        }
        let latin = Pattern::regex("^names/.*n.$").unwrap();
        assert!(latin.matches(b"names/latin\xe9"), "a byte that is no text is one character");
    }

    #[test]
    fn what_is_malformed_is_named_with_its_reason() {
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

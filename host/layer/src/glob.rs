//! Patterns for names in a layer. They have the meaning of 0.4.17, which is that of Python's `fnmatch`: a pattern must
//! match the whole name, and `*` crosses slashes. New are `{a,b}`, and that `**/x` also matches an `x` at the root.
//!
//! A pattern is compared with the name from the root, however the layer spells it (`./x`, `/x`): the dot of `./x` does
//! not make it a hidden file. A leading `./` or `/` of a pattern is ignored.
//!
//! Patterns are translated to regular expressions. `globset` does not fit: its `?` matches a byte, and here it matches
//! a character. What it refuses: a pattern with an unclosed bracket or brace, or an empty range.

use std::borrow::Cow;
use std::iter::Peekable;
use std::str::Chars;

use regex::RegexSet;

/// Several patterns that are matched together.
pub struct Globs {
    set: RegexSet,
    patterns: Vec<String>,
}

impl Globs {
    /// Compiles patterns. Errors with the reason for the first invalid one.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut expressions = Vec::new();
        let mut known = Vec::new();
        for pattern in patterns {
            let translated =
                translate(pattern).map_err(|why| format!("the pattern '{pattern}': {why}"))?;
            expressions.push(translated);
            known.push(pattern.to_owned());
        }
        let set = RegexSet::new(expressions).map_err(|_| "the patterns are too large")?;
        Ok(Self { set, patterns: known })
    }

    /// Returns the patterns.
    #[must_use]
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// Returns the indexes of the patterns that match a name. The name is plain, as [`crate::tar::member::plain`]
    /// returns it; that of the root is empty.
    #[must_use]
    pub fn matches(&self, plain: &[u8]) -> Vec<usize> {
        self.set.matches(&letters(plain)).iter().collect()
    }
}

/// Returns a name as characters. A byte that is not UTF-8 becomes one replacement character.
#[must_use]
pub fn letters(path: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(path) {
        return text.into();
    }
    let mut letters = String::new();
    for chunk in path.utf8_chunks() {
        letters.push_str(chunk.valid());
        letters.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    letters.into()
}

/// An open brace of a pattern.
struct Brace {
    /// Whether no part of a name is before it.
    root: bool,
    /// Whether one of its alternatives is empty.
    empty: bool,
}

fn translate(pattern: &str) -> Result<String, String> {
    let mut expression = String::from(r"(?s)\A(?:");
    let mut letters = pattern.chars().peekable();
    let mut braces: Vec<Brace> = Vec::new();
    // Whether a component of the name starts here, and whether it may be the first.
    let (mut starts, mut root) = (true, true);
    while let Some(letter) = letters.next() {
        let started = std::mem::replace(&mut starts, matches!(letter, '/' | '{' | ','));
        let first = std::mem::replace(&mut root, false);
        match letter {
            // No plain name begins with these. After a brace that may be empty, they match themselves.
            '/' if first => {
                expression.push_str(r"(?:\A|/)");
                root = true;
            }
            '.' if first && letters.next_if_eq(&'/').is_some() => {
                expression.push_str(r"(?:\A|\./)");
                (starts, root) = (true, true);
            }
            '*' => {
                let mut stars = 1;
                while letters.next_if_eq(&'*').is_some() {
                    stars += 1;
                }
                if stars == 2 && started && letters.next_if_eq(&'/').is_some() {
                    expression.push_str("(?:.*/)?");
                    starts = true;
                } else {
                    expression.push_str(".*");
                }
            }
            '?' => expression.push('.'),
            '[' => class(&mut letters, &mut expression)?,
            '{' => {
                root = first;
                braces.push(Brace { root, empty: false });
                expression.push_str("(?:");
            }
            letter => match (letter, braces.last_mut()) {
                (',', Some(brace)) => {
                    brace.empty |= first;
                    root = brace.root;
                    expression.push('|');
                }
                ('}', Some(brace)) => {
                    root = brace.empty || first;
                    braces.pop();
                    expression.push(')');
                }
                _ => expression.push_str(&regex::escape(letter.encode_utf8(&mut [0; 4]))),
            },
        }
    }
    if !braces.is_empty() {
        return Err("a '{' without its '}'".to_owned());
    }
    expression.push_str(r")\z");
    Ok(expression)
}

/// Translates a class: what follows a `[`, up to its `]`.
fn class(letters: &mut Peekable<Chars<'_>>, expression: &mut String) -> Result<(), String> {
    let unclosed = || "a '[' without its ']'".to_owned();
    expression.push('[');
    if letters.next_if_eq(&'!').is_some() {
        expression.push('^');
    }
    let mut first = true;
    loop {
        let letter = letters.next().ok_or_else(unclosed)?;
        if letter == ']' && !first {
            expression.push(']');
            return Ok(());
        }
        first = false;
        push(expression, letter);
        // A hyphen at the end matches itself.
        let mut ahead = letters.clone();
        if ahead.next() == Some('-')
            && let Some(last) = ahead.next().filter(|last| *last != ']')
        {
            if last < letter {
                return Err(format!("the range '{letter}-{last}' is empty"));
            }
            *letters = ahead;
            expression.push('-');
            push(expression, last);
        }
    }
}

/// Appends a character of a class, escaped where the regular expression needs it.
fn push(expression: &mut String, letter: char) {
    if matches!(letter, '\\' | '[' | ']' | '^' | '-' | '&' | '~') {
        expression.push('\\');
    }
    expression.push(letter);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar::member::plain;

    fn matches(pattern: &str, path: impl AsRef<[u8]>) -> bool {
        !Globs::new([pattern]).unwrap().matches(&plain(path.as_ref())).is_empty()
    }

    #[test]
    fn globs_match_as_fnmatch_does() {
        for (pattern, path, expected) in [
            ("etc/plain", "etc/plain", true),
            ("plain", "etc/plain", false),
            ("*plain", "etc/plain", true),
            ("etc*", "etc/a/b", true),
            ("etc/*", "etc/a/b", true),
            ("etc/*", "etc", false),
            ("*.pyc", "usr/lib/x.pyc", true),
            ("*", "a/b", true),
            ("a?b", "a/b", true),
            ("a?b", "aüb", true),
            ("[ab]c", "bc", true),
            ("[!ab]c", "bc", false),
            ("[]x]c", "]c", true),
            ("[^b]", "^", true),
            ("[a-c]", "b", true),
            ("[a-]", "-", true),
            ("[\\d]", "d", true),
            ("[[:x]", ":", true),
            ("[&&~~]", "&", true),
            ("[<>#]", ">", true),
            ("a.b", "axb", false),
            ("a??b", "aüb", false),
            ("a[!b]c", "a/c", true),
            ("a\\b", "a\\b", true),
            ("A", "a", false),
            ("a*", "a\nb", true),
            ("*.d", ".d", true),
            ("*", ".hidden", true),
            // New.
            ("**/x", "x", true),
            ("**/x", "a/b/x", true),
            ("**/x", "ax", false),
            ("a/**/x", "a/x", true),
            ("a/**", "a/b/c", true),
            ("{a,b}/c", "b/c", true),
            ("{a,b{c,}}", "b", true),
            ("{a,**/b}", "x/b", true),
            ("a}", "a}", true),
            ("a,b", "a,b", true),
            ("etc/*", "./etc/a", true),
            ("./etc/*", "./etc/a", true),
            ("/etc/*", "/etc/a", true),
            ("etc/*", "/etc/a", true),
            // A leading `./` or `/` of the name or of the pattern is ignored.
            (".*", "./a", false),
            ("**/.*", "./etc/a", false),
            ("**/.*", "./etc/.a", true),
            ("**/.?*", "./etc", false),
            ("{**/,}.*", "./etc/a", false),
            ("{**/,}.*", "./.a", true),
            ("?a", "/a", false),
            ("[!b]a", "/a", false),
            ("//./etc/a", "etc/a", true),
            ("{/etc,./usr}/a", "usr/a", true),
            ("{/etc,{a,/usr}}/a", "usr/a", true),
            ("{,/usr}/a", "a", true),
            ("{,/usr}/a", "usr/a", true),
            ("{,/usr}/a", "usra", false),
            ("{,usr}./a", "a", true),
            ("x{,/usr}/a", "xa", false),
            ("x{,/usr}/a", "x/usr/a", true),
            ("*/a", "a", false),
            ("*/a", "./a", false),
            (".", "a", false),
            ("./", "a", false),
            (".a", ".a", true),
            ("./.a", ".a", true),
            ("../a", "../a", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
        assert!(matches("a?b", b"a\xffb"));
        assert!(matches("*x", b"\xff\xfex"));
    }

    #[test]
    fn an_unclosed_pattern_is_named() {
        for (pattern, message) in [
            ("[a", "the pattern '[a': a '[' without its ']'"),
            ("[]", "the pattern '[]': a '[' without its ']'"),
            ("{a,{b}", "the pattern '{a,{b}': a '{' without its '}'"),
            ("[z-a]", "the pattern '[z-a]': the range 'z-a' is empty"),
        ] {
            assert_eq!(Globs::new([pattern]).err().unwrap(), message);
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_typed_makes_it_panic(pattern in "\\PC*", path in proptest::collection::vec(proptest::num::u8::ANY, 0..20)) {
            if let Ok(globs) = Globs::new([pattern.as_str()]) {
                let _ = globs.matches(&path);
            }
        }
    }
}

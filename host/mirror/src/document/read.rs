//! Reading values of a tree, with an error for each that is not as expected.
//!
//! A value that is wrong is reported and left out, so that the errors after it are found as well.

use std::collections::HashMap;
use std::sync::Arc;

use occystrap_base::error::Error;

use super::position::FilePosition;
use super::yaml::{FileFault, Mark, Node, Value};

/// Largest number of errors that are reported together. The rest of a long list is rarely read.
const MOST_ERRORS: usize = 50;

/// Reader of one file, which collects errors.
pub struct Reader {
    file: Arc<str>,
    errors: Vec<(Mark, Error)>,
    left_out: usize,
    /// Expressions and patterns that were compiled, each with its fault.
    compiled: HashMap<String, Option<String>>,
}

/// Largest number of different expressions and patterns in a file. Compiling one takes up to some milliseconds.
const MOST_EXPRESSIONS: usize = 2_000;

impl Reader {
    /// Creates a reader of a file, which is named as errors shall name it.
    pub fn new(file: &str) -> Self {
        Self { file: file.into(), errors: Vec::new(), left_out: 0, compiled: HashMap::new() }
    }

    /// Returns the place of a mark.
    pub fn place(&self, mark: Mark) -> FilePosition {
        FilePosition::new(self.file.clone(), mark)
    }

    /// Reports an error.
    pub fn report(&mut self, mark: Mark, message: impl std::fmt::Display, hint: &str) {
        let error = Error::usage(message.to_string());
        self.keep(mark, if hint.is_empty() { error } else { error.hint(hint) });
    }

    /// Reports an error that another parser returned, with its hint.
    pub fn report_error(&mut self, mark: Mark, error: &Error) {
        self.keep(mark, error.clone());
    }

    /// Reports a fault of the YAML itself.
    pub fn report_fault(&mut self, fault: &FileFault) {
        self.report(fault.mark, &fault.message, fault.hint.unwrap_or_default());
    }

    fn keep(&mut self, mark: Mark, error: Error) {
        if self.errors.len() < MOST_ERRORS {
            self.errors.push((mark, error));
        } else {
            self.left_out += 1;
        }
    }

    /// Returns whether an error was reported.
    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Returns all errors in the order of the file, each with its place.
    pub fn into_errors(self) -> Vec<Error> {
        let (file, left_out) = (self.file.clone(), self.left_out);
        let placed =
            |(mark, error): (Mark, Error)| error.within(FilePosition::new(file.clone(), mark));
        let mut errors: Vec<Error> = self.into_faults().into_iter().map(placed).collect();
        if left_out > 0 {
            errors.push(Error::usage(format!("{file}: {left_out} more errors are not shown")));
        }
        errors
    }

    /// Returns the errors in the order of the file, without their places in the text.
    pub fn into_faults(mut self) -> Vec<(Mark, Error)> {
        self.errors.sort_by_key(|(mark, _)| *mark);
        self.errors
    }

    /// Returns the text of a scalar. `what` names the value in errors, such as `'from'`.
    pub fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        match &node.value {
            Value::Scalar { text, .. } if !text.is_empty() => Some(text),
            _ => {
                self.unexpected(node, what, "text", "");
                None
            }
        }
    }

    /// Returns the items of a list that has at least one.
    pub fn items<'n>(&mut self, node: &'n Node, what: &str, hint: &str) -> Option<&'n [Node]> {
        match &node.value {
            Value::List(items) if !items.is_empty() => Some(items),
            _ => {
                self.unexpected(node, what, "a list of at least one", hint);
                None
            }
        }
    }

    /// Returns the texts of a list of at least one, or one text alone.
    pub fn texts<'n>(&mut self, node: &'n Node, what: &str) -> Vec<(Mark, &'n str)> {
        let items = match &node.value {
            Value::Scalar { .. } => std::slice::from_ref(node),
            _ => self.items(node, what, "").unwrap_or_default(),
        };
        items.iter().filter_map(|item| Some((item.mark, self.text(item, what)?))).collect()
    }

    /// Returns a truth value; `None` for another value, without an error.
    pub fn truth(node: &Node) -> Option<bool> {
        match &node.value {
            Value::Scalar { text, is_plain: true } => match text.as_str() {
                "true" | "True" | "TRUE" => Some(true),
                "false" | "False" | "FALSE" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns a whole number from a range.
    pub fn number(
        &mut self,
        node: &Node,
        what: &str,
        range: std::ops::RangeInclusive<u32>,
    ) -> Option<u32> {
        let number = match &node.value {
            Value::Scalar { text, is_plain: true }
                if text.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                text.parse().ok()
            }
            _ => None,
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let expected = format!("a whole number from {} to {}", range.start(), range.end());
            self.unexpected(node, what, &expected, "");
        }
        number
    }

    /// Returns one of several words.
    pub fn word<T: Copy>(&mut self, node: &Node, what: &str, words: &[(&str, T)]) -> Option<T> {
        let text = node.text().unwrap_or_default();
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let names = words.iter().map(|(word, _)| *word).collect::<Vec<_>>();
            let hint = nearest(text, &names).map(|word| format!("did you mean '{word}'?"));
            self.unexpected(node, what, &names.join(" or "), hint.as_deref().unwrap_or_default());
        }
        found
    }

    /// Checks that a node is a map with known keys, and reports each unknown one. Returns whether it is a map.
    pub fn keys(&mut self, node: &Node, what: &str, known: &[&str]) -> bool {
        self.known_keys(node, what, known, |_| false)
    }

    /// As [`Self::keys`]; keys that `is_ignored` accepts are not reported.
    pub fn known_keys(
        &mut self,
        node: &Node,
        what: &str,
        known: &[&str],
        is_ignored: impl Fn(&str) -> bool,
    ) -> bool {
        let Some(pairs) = node.pairs() else {
            self.unexpected(node, what, "a map", &format!("its keys are {}", known.join(", ")));
            return false;
        };
        let is_known = |key: &str| known.contains(&key) || is_ignored(key);
        for (key, _) in pairs.iter().filter(|(key, _)| !is_known(&key.text)) {
            let keys = known.join(", ");
            let hint = match nearest(&key.text, known) {
                Some(near) => format!("did you mean '{near}'? The keys are {keys}"),
                None => format!("the keys are {keys}"),
            };
            self.report(key.mark, format!("{what} has no key '{}'", key.text), &hint);
        }
        true
    }

    /// Reports that a value is of another kind than expected.
    pub fn unexpected(&mut self, node: &Node, what: &str, expected: &str, hint: &str) {
        let found = match &node.value {
            Value::Null => "nothing".to_owned(),
            Value::Scalar { text, .. } if text.is_empty() => "an empty text".to_owned(),
            Value::Scalar { text, .. } => format!("'{}'", shortened(text)),
            Value::List(items) if items.is_empty() => "an empty list".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Map(pairs) if pairs.is_empty() => "an empty map".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        };
        self.report(node.mark, format!("{what}: expected {expected}, found {found}"), hint);
    }

    /// Compiles an expression or a pattern once for the whole file. Returns whether it is valid, and reports where not.
    pub fn compiles(
        &mut self,
        mark: Mark,
        (what, text): (&str, &str),
        compile: impl FnOnce(&str) -> Result<(), String>,
        hint: &str,
    ) -> bool {
        let key = format!("{what} {text}");
        if !self.compiled.contains_key(&key) {
            if self.compiled.len() >= MOST_EXPRESSIONS {
                let message = format!(
                    "{what}: the file has more than {MOST_EXPRESSIONS} different expressions"
                );
                self.report(
                    mark,
                    message,
                    "name the tags in 'also', or write one expression for several entries",
                );
                return false;
            }
            self.compiled.insert(key.clone(), compile(text).err());
        }
        match self.compiled.get(&key).cloned().flatten() {
            None => true,
            Some(fault) => {
                self.report(
                    mark,
                    format!("{what}: '{}' is not valid: {fault}", shortened(text)),
                    hint,
                );
                false
            }
        }
    }
}

/// Returns a text for a message: its first line, of at most 200 characters.
pub fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(200) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None if line.len() < text.trim_end().len() => format!("{line}..."),
        None => line.to_owned(),
    }
}

/// Returns the word that the user most likely wanted to write: one that differs by at most a third of its letters.
fn nearest<'w>(text: &str, words: &[&'w str]) -> Option<&'w str> {
    if text.len() > 40 {
        return None;
    }
    let plain = |text: &str| text.to_ascii_lowercase().replace('_', "-");
    let text = plain(text);
    let scored = words.iter().map(|word| (distance(&text, word), *word));
    let (distance, word) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= (word.len() / 3).max(1)).then_some(word)
}

/// Returns how many letters must be changed, added or removed to make one word of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.bytes().enumerate() {
            let cost = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

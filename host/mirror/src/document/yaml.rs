//! YAML as a tree whose nodes know their line and column.
//!
//! Scalars keep their text: `1.10` is not a number here. Duplicate keys are errors; aliases and the merge key `<<` work,
//! because users repeat parts of files by them. What this module refuses: several documents, tags of types other than
//! YAML's own, keys that are not text, and trees beyond the limits.

use std::collections::HashMap;

use granit_parser::{Event, Marker, Options, Parser, ScalarStyle, ScanError, Tag};

/// Largest number of values in a file, those that aliases repeat included. An entry has about ten, so a file of this size
/// has 200,000 entries; a value takes about 100 bytes of memory.
const MOST_VALUES: usize = 2_000_000;

/// Most text that aliases may repeat, in bytes: the size of the largest file. A few aliases of one long text would
/// otherwise fill the memory.
const MOST_REPEATED: usize = 16 * 1024 * 1024;

/// Deepest nesting. The file of a mirror needs five levels; each level of a tree takes stack.
const DEEPEST: usize = 32;

/// Position in a file. Both numbers begin at 1; a column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

impl From<&Marker> for Mark {
    fn from(marker: &Marker) -> Self {
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Self { line: number(marker.line()).max(1), column: number(marker.col().saturating_add(1)) }
    }
}

/// Value with its position.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it begins.
    pub mark: Mark,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing, `~` or `null`, without quotes.
    Null,
    /// Text as it was written, escapes resolved.
    Scalar {
        /// The text.
        text: String,
        /// Whether it has neither quotes nor a block style: only then is `true` a truth value.
        is_plain: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file. Keys are distinct.
    Map(Vec<(Key, Node)>),
}

/// Key of a map.
#[derive(Debug, Clone)]
pub struct Key {
    /// Where it begins.
    pub mark: Mark,
    /// Its text.
    pub text: String,
}

/// Fault of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFault {
    /// Where it is.
    pub mark: Mark,
    /// What is wrong.
    pub message: String,
    /// What the user can do.
    pub hint: Option<&'static str>,
}

impl Node {
    /// Returns the value of a key of a map; `None` where this is no map, or has no such key.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Node> {
        let Value::Map(pairs) = &self.value else { return None };
        pairs.iter().find(|(key, _)| key.text == name).map(|(_, node)| node)
    }

    /// Returns the text of a scalar.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Returns the items of a list.
    #[must_use]
    pub fn items(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// Returns the pairs of a map.
    #[must_use]
    pub fn pairs(&self) -> Option<&[(Key, Node)]> {
        match &self.value {
            Value::Map(pairs) => Some(pairs),
            _ => None,
        }
    }
}

/// Reads a file. `None` for one without a value: empty, or with comments alone. Errors with all duplicate keys up to the
/// first fault after which the rest cannot be read.
pub fn parse(text: &str) -> Result<Option<Node>, Vec<FileFault>> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    (options.flow_nesting_limit, options.block_nesting_limit) = (DEEPEST, DEEPEST);
    let mut builder = Builder::default();
    for next in Parser::new_from_str_with_options(text, options) {
        let read = next.map_err(|cause| syntax(&cause));
        if let Err(fault) =
            read.and_then(|(event, span)| builder.take(event, Mark::from(&span.start)))
        {
            builder.faults.push(fault);
            return Err(builder.faults);
        }
    }
    if builder.faults.is_empty() { Ok(builder.root) } else { Err(builder.faults) }
}

fn syntax(cause: &ScanError) -> FileFault {
    let kind = cause.kind().to_string();
    FileFault {
        mark: Mark::from(cause.marker()),
        message: format!("this is not YAML: {}", kind.lines().next().unwrap_or_default()),
        hint: Some(
            "lists and maps need one indentation; quote text with ': ', ' #' or that begins with one of *&!%@`{}[]",
        ),
    }
}

/// A list or a map that has not ended.
struct Open {
    mark: Mark,
    anchor: usize,
    /// Levels below it.
    depth: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        pairs: Vec<(Key, Node)>,
        key: Option<Key>,
        seen: HashMap<String, Mark>,
        merged: Vec<Node>,
    },
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    /// Values with an anchor, and the levels below each.
    anchors: HashMap<usize, (Node, usize)>,
    root: Option<Node>,
    documents: usize,
    values: usize,
    repeated: usize,
    faults: Vec<FileFault>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, mark: Mark) -> Result<(), FileFault> {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    let hint = Some("remove the line '---', or make two files");
                    return Err(fault(mark, "a second document begins here", hint));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = typed(tag.as_deref(), mark)?;
                let is_plain = style == ScalarStyle::Plain && !is_text;
                let value = match text.as_ref() {
                    "" | "~" | "null" | "Null" | "NULL" if is_plain => Value::Null,
                    _ => Value::Scalar { text: text.into_owned(), is_plain },
                };
                self.put(Node { mark, value }, 0, anchor)?;
            }
            Event::Alias(anchor) => {
                let Some((node, depth)) = self.anchors.get(&anchor) else {
                    return Err(fault(mark, "an alias within its own anchor", None));
                };
                let depth = *depth;
                if self.open.len() + depth > DEEPEST {
                    return Err(too_deep(mark));
                }
                let node = copy(node, &mut self.values, &mut self.repeated)
                    .ok_or_else(|| too_much(mark))?;
                self.put(node, depth, 0)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                typed(tag.as_deref(), mark)?;
                self.begin(mark, anchor, Content::List(Vec::new()))?;
            }
            Event::MappingStart(_, anchor, tag) => {
                typed(tag.as_deref(), mark)?;
                let (pairs, seen, merged) = (Vec::new(), HashMap::new(), Vec::new());
                self.begin(mark, anchor, Content::Map { pairs, key: None, seen, merged })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end()?,
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, mark: Mark, anchor: usize, content: Content) -> Result<(), FileFault> {
        if let Some(Open { content: Content::Map { key: None, .. }, .. }) = self.open.last() {
            return Err(fault(
                mark,
                "a key must be text",
                Some("quote a key that begins with '[' or '{'"),
            ));
        }
        if self.open.len() >= DEEPEST {
            return Err(too_deep(mark));
        }
        self.open.push(Open { mark, anchor, depth: 0, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), FileFault> {
        let Some(Open { mark, anchor, depth, content }) = self.open.pop() else { return Ok(()) };
        let value = match content {
            Content::List(items) => Value::List(items),
            Content::Map { mut pairs, mut seen, merged, .. } => {
                // An earlier map takes precedence over a later one, and the map's own keys over all.
                for (key, node) in merged.into_iter().flat_map(|map| match map.value {
                    Value::Map(pairs) => pairs,
                    _ => Vec::new(),
                }) {
                    if seen.insert(key.text.clone(), key.mark).is_none() {
                        pairs.push((key, node));
                    }
                }
                Value::Map(pairs)
            }
        };
        self.put(Node { mark, value }, depth + 1, anchor)
    }

    /// Puts a whole value, with `depth` levels in it, where it belongs.
    fn put(&mut self, node: Node, depth: usize, anchor: usize) -> Result<(), FileFault> {
        self.values += 1;
        if self.values > MOST_VALUES {
            return Err(too_much(node.mark));
        }
        if anchor > 0 {
            let mark = node.mark;
            let copy =
                copy(&node, &mut self.values, &mut self.repeated).ok_or_else(|| too_much(mark))?;
            self.anchors.insert(anchor, (copy, depth));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node).filter(|node| !matches!(node.value, Value::Null));
            return Ok(());
        };
        open.depth = open.depth.max(depth);
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Map { pairs, key, seen, merged } => match key.take() {
                None => {
                    let Value::Scalar { text, .. } = node.value else {
                        let hint = Some("quote a key that is no plain text");
                        return Err(fault(node.mark, "a key must be text", hint));
                    };
                    if let Some(first) = seen.get(&text) {
                        let message = format!(
                            "the key '{text}' is given twice, first in line {}",
                            first.line
                        );
                        self.faults.push(fault(node.mark, message, Some("remove one of the two")));
                    } else {
                        seen.insert(text.clone(), node.mark);
                    }
                    *key = Some(Key { mark: node.mark, text });
                }
                Some(key) if key.text == "<<" => {
                    let maps = match node.value {
                        Value::List(maps) => maps,
                        _ => vec![node],
                    };
                    if let Some(other) = maps.iter().find(|map| map.pairs().is_none()) {
                        let message = "'<<' merges maps, and this is none";
                        return Err(fault(
                            other.mark,
                            message,
                            Some("write <<: *NAME, with &NAME before a map"),
                        ));
                    }
                    merged.extend(maps);
                }
                Some(key) => pairs.push((key, node)),
            },
        }
        Ok(())
    }
}

/// Returns whether a tag says that a scalar is text. Errors for tags that are not YAML's own.
fn typed(tag: Option<&Tag>, mark: Mark) -> Result<bool, FileFault> {
    match tag.map(|tag| (tag.core_suffix(), tag)) {
        None => Ok(false),
        Some((Some(core), _)) => Ok(core == "str"),
        Some((None, tag)) if tag.original() == "!" => Ok(true),
        Some((None, tag)) => {
            let message = format!("the tag '{}' means nothing here", tag.original());
            Err(fault(mark, message, Some("quote text that begins with '!'")))
        }
    }
}

/// Copies a value for an alias, and counts what it takes; `None` where that is too much.
fn copy(node: &Node, values: &mut usize, repeated: &mut usize) -> Option<Node> {
    let mut count = |text: &str| {
        *values += 1;
        *repeated += text.len();
        (*values <= MOST_VALUES && *repeated <= MOST_REPEATED).then_some(())
    };
    let value = match &node.value {
        Value::Null => Value::Null,
        Value::Scalar { text, is_plain } => {
            count(text)?;
            Value::Scalar { text: text.clone(), is_plain: *is_plain }
        }
        Value::List(items) => {
            count("")?;
            Value::List(
                items.iter().map(|item| copy(item, values, repeated)).collect::<Option<_>>()?,
            )
        }
        Value::Map(pairs) => {
            pairs.iter().try_for_each(|(key, _)| count(&key.text))?;
            let pair =
                |(key, node): &(Key, Node)| Some((key.clone(), copy(node, values, repeated)?));
            Value::Map(pairs.iter().map(pair).collect::<Option<_>>()?)
        }
    };
    Some(Node { mark: node.mark, value })
}

fn fault(mark: Mark, message: impl Into<String>, hint: Option<&'static str>) -> FileFault {
    FileFault { mark, message: message.into(), hint }
}

fn too_deep(mark: Mark) -> FileFault {
    fault(mark, format!("more than {DEEPEST} levels"), None)
}

fn too_much(mark: Mark) -> FileFault {
    let message =
        format!("more than {MOST_VALUES} values, or {MOST_REPEATED} bytes of text in aliases");
    fault(mark, message, Some("put references in a text file, one a line, and name it with 'list'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(node: &Node) -> String {
        match &node.value {
            Value::Null => "null".to_owned(),
            Value::Scalar { text, is_plain: true } => text.clone(),
            Value::Scalar { text, .. } => format!("{text:?}"),
            Value::List(items) => {
                format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", "))
            }
            Value::Map(pairs) => {
                let pair = |(key, node): &(Key, Node)| format!("{}: {}", key.text, shown(node));
                format!("{{{}}}", pairs.iter().map(pair).collect::<Vec<_>>().join(", "))
            }
        }
    }

    fn read(text: &str) -> String {
        match parse(text) {
            Ok(root) => root.as_ref().map_or_else(String::new, shown),
            Err(faults) => {
                let fault = |fault: &FileFault| {
                    format!("{}:{} {}", fault.mark.line, fault.mark.column, fault.message)
                };
                faults.iter().map(fault).collect::<Vec<_>>().join("; ")
            }
        }
    }

    #[test]
    fn text_stays_as_it_is() {
        for (text, expected) in [
            (
                "a: 1.10\nb: '1.10'\nc: 1e3\nd: 0x10\ne: yes",
                "{a: 1.10, b: \"1.10\", c: 1e3, d: 0x10, e: yes}",
            ),
            (
                "[a, ~, null, 'null', !!str null, \"\\u0041\"]",
                "[a, null, null, \"null\", \"null\", \"A\"]",
            ),
            ("a: |\n  x\n  y\nb: >-\n  x\n  y", "{a: \"x\\ny\\n\", b: \"x y\"}"),
            ("# nothing\n", ""),
            ("", ""),
            ("---\n~\n", ""),
            ("\u{feff}a: b", "{a: b}"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn aliases_and_merges_repeat_parts() {
        let text = "x: &a {k: 1, l: 2}\ny: {<<: *a, l: 3}\nz:\n- <<: [*a, {l: 4, m: 5}]\nw: *a";
        let expected =
            "{x: {k: 1, l: 2}, y: {l: 3, k: 1}, z: [{k: 1, l: 2, m: 5}], w: {k: 1, l: 2}}";
        assert_eq!(read(text), expected);
    }

    #[test]
    fn faults_have_their_place() {
        for (text, expected) in [
            (
                "a: 1\nb: 2\na: 3\nb: 4",
                "3:1 the key 'a' is given twice, first in line 1; 4:1 the key 'b' is given twice, first in line 2",
            ),
            ("a: 1\n---\nb: 2", "2:1 a second document begins here"),
            ("a: !include x", "1:13 the tag '!include' means nothing here"),
            ("? [a]\n: b", "1:3 a key must be text"),
            ("<<: 3", "1:5 '<<' merges maps, and this is none"),
            ("a: &x [*x]", "1:8 an alias within its own anchor"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        assert!(read("a: [1, 2").contains("this is not YAML: "), "{}", read("a: [1, 2"));
        assert!(read("a: *none").starts_with("1:4 this is not YAML"), "{}", read("a: *none"));
    }

    #[test]
    fn hostile_files_end_soon() {
        let mut laughs = String::from("a0: &a0 [lol, lol]\n");
        for level in 1..40 {
            let before = level - 1;
            laughs.push_str(&format!(
                "a{level}: &a{level} [*a{before}, *a{before}, *a{before}, *a{before}]\n"
            ));
        }
        assert!(read(&laughs).contains("more than 2000000 values"), "{}", read(&laughs));
        let mut chain = String::from("a0: &a0 [x]\n");
        for level in 1..100 {
            chain.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
        }
        assert!(read(&chain).contains("more than 32 levels"));
        let long = format!("a: &a {}\nb: [{}]", "x".repeat(1024 * 1024), "*a, ".repeat(20));
        assert!(read(&long).contains("bytes of text in aliases"));
        assert!(read(&"[".repeat(10_000)).contains("this is not YAML"));
        assert!(read(&"- ".repeat(10_000)).contains("this is not YAML"));
    }

    proptest::proptest! {
        #[test]
        fn nothing_typed_makes_it_panic(text in "[-:a*&<!{}\\[\\], \n'\"#|>~?]{0,60}") {
            let _ = parse(&text);
        }
    }
}

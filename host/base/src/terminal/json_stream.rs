//! A JSON document that is written part by part, for lists that need not be in memory as text.
//!
//! The bytes are those of [`super::table::write_json`] for the same document, also without secrets.

use std::io::{self, Write};

use serde::Serialize;

use super::table::json_within;

/// Columns of one step of indentation.
const STEP: usize = 2;

/// A document that is being written.
pub struct JsonStream<'a> {
    to: &'a mut dyn Write,
    /// The closing bracket of each open object and list, and whether it is still empty.
    open: Vec<(char, bool)>,
}

impl<'a> JsonStream<'a> {
    /// Begins a document that is an object.
    pub fn object(to: &'a mut dyn Write) -> io::Result<Self> {
        to.write_all(b"{")?;
        Ok(Self { to, open: vec![('}', true)] })
    }

    /// Begins the next member of an object, or the next item of a list.
    fn next(&mut self, key: Option<&str>) -> io::Result<()> {
        let indent = STEP * self.open.len();
        if let Some((_, is_empty)) = self.open.last_mut() {
            let comma = if std::mem::take(is_empty) { "" } else { "," };
            write!(self.to, "{comma}\n{:indent$}", "")?;
        }
        match key {
            Some(key) => write!(self.to, "{}: ", serde_json::to_string(key)?),
            None => Ok(()),
        }
    }

    /// Writes a value: a member of an object with its key, or an item of a list without one.
    pub fn value(&mut self, key: Option<&str>, value: &impl Serialize) -> io::Result<()> {
        self.next(key)?;
        let text = json_within(value, STEP * self.open.len())?;
        self.to.write_all(text.as_bytes())
    }

    /// Begins an object within the document.
    pub fn begin_object(&mut self, key: Option<&str>) -> io::Result<()> {
        self.next(key)?;
        self.open.push(('}', true));
        self.to.write_all(b"{")
    }

    /// Begins a list within the document.
    pub fn begin_list(&mut self, key: Option<&str>) -> io::Result<()> {
        self.next(key)?;
        self.open.push((']', true));
        self.to.write_all(b"[")
    }

    /// Ends the object or list that was begun last.
    pub fn end(&mut self) -> io::Result<()> {
        let Some((bracket, is_empty)) = self.open.pop() else { return Ok(()) };
        let indent = STEP * self.open.len();
        match is_empty {
            true => write!(self.to, "{bracket}"),
            false => write!(self.to, "\n{:indent$}{bracket}", ""),
        }
    }

    /// Ends the document.
    pub fn finish(mut self) -> io::Result<()> {
        while !self.open.is_empty() {
            self.end()?;
        }
        writeln!(self.to)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::terminal::table::write_json;

    #[test]
    fn the_bytes_are_those_of_the_whole_document() {
        let mut parts = Vec::new();
        let mut stream = JsonStream::object(&mut parts).unwrap();
        stream.value(Some("a"), &"x\u{1b}").unwrap();
        stream.begin_list(Some("b")).unwrap();
        stream.value(None, &json!({ "c": 1, "d": [] })).unwrap();
        stream.begin_object(None).unwrap();
        stream.value(Some("e"), &[1, 2]).unwrap();
        stream.begin_list(Some("f")).unwrap();
        stream.end().unwrap();
        stream.end().unwrap();
        stream.end().unwrap();
        stream.value(Some("g"), &()).unwrap();
        stream.finish().unwrap();
        let whole = json!({
            "a": "x\u{1b}", "b": [{ "c": 1, "d": [] }, { "e": [1, 2], "f": [] }], "g": null,
        });
        let mut expected = Vec::new();
        write_json(&mut expected, &whole).unwrap();
        assert_eq!(String::from_utf8(parts).unwrap(), String::from_utf8(expected).unwrap());
    }
}

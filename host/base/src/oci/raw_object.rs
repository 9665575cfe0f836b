//! A JSON object that is changed in some of its keys and keeps all others, in their order and byte for byte, with the spaces
//! between them.
//!
//! What it refuses: an object in which a key occurs twice, because two readers could read it differently.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The keys of an object, in order, and its values as JSON text.
#[derive(Debug, Clone, Default)]
pub struct RawObject<'a> {
    entries: Vec<RawEntry<'a>>,
    /// The spaces before the object, and the text after the last value with the brace; `None` for an object that was not
    /// parsed.
    edges: Option<(&'a str, &'a str)>,
}

/// A key and its value.
#[derive(Debug, Clone)]
struct RawEntry<'a> {
    key: String,
    value: Cow<'a, str>,
    /// The spaces before the brace or comma before the key, and the text between that and the value; `None` for a new key.
    written: Option<(&'a str, &'a str)>,
}

/// The keys and values of an object, as they are parsed.
struct Pairs<'a>(Vec<(String, &'a str)>);

impl<'a> RawObject<'a> {
    /// Parses an object. Errors when the text is not a JSON object, or has a key twice.
    pub fn parse(text: &'a str) -> serde_json::Result<Self> {
        let Pairs(pairs) = serde_json::from_str(text)?;
        // A raw value points into the text, which gives its position.
        let mut at = 0;
        let entry = |(key, value): (String, &'a str)| {
            let start = (value.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
            let before = text.get(at..start).unwrap_or_default();
            at = start + value.len();
            let written = before.split_once(['{', ',']);
            RawEntry { key, value: Cow::Borrowed(value), written }
        };
        let entries: Vec<RawEntry<'a>> = pairs.into_iter().map(entry).collect();
        let (start, first) = text.split_once('{').unwrap_or(("", "}"));
        let end = if entries.is_empty() { first } else { text.get(at..).unwrap_or("}") };
        Ok(Self { entries, edges: Some((start, end)) })
    }

    /// Returns a value as JSON text; `None` where it is absent or null.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.entries.iter().find(|entry| entry.key == key);
        found.map(|entry| &*entry.value).filter(|value| *value != "null")
    }

    /// Returns a value that is a text; `None` for any other value.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<String> {
        serde_json::from_str(self.get(key)?).ok()
    }

    /// Returns a value that is an object, an empty one where it is absent or null. Errors when it is something else, or
    /// has a key twice.
    pub fn object(&self, key: &str) -> serde_json::Result<RawObject<'_>> {
        self.get(key).map_or_else(|| Ok(RawObject::default()), RawObject::parse)
    }

    /// Returns the elements of a value that is a list, none where it is absent or null. Errors when it is something
    /// else.
    pub fn list(&self, key: &str) -> serde_json::Result<Vec<&str>> {
        let listed: Vec<&RawValue> =
            self.get(key).map_or_else(|| Ok(Vec::new()), serde_json::from_str)?;
        Ok(listed.into_iter().map(RawValue::get).collect())
    }

    /// Returns the keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.key.as_str())
    }

    /// Replaces a value in its place, or adds it at the end. `value` is JSON text.
    pub fn set(&mut self, key: &str, value: impl Into<Cow<'a, str>>) {
        match self.entries.iter_mut().find(|entry| entry.key == key) {
            Some(entry) => entry.value = value.into(),
            None => {
                let (key, value) = (key.to_owned(), value.into());
                self.entries.push(RawEntry { key, value, written: None });
            }
        }
    }

    /// Removes a key. Returns whether the object had it.
    pub fn remove(&mut self, key: &str) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.key != key);
        self.entries.len() < before
    }

    /// Returns the object as JSON text. What was not changed has the spaces that it had; a new key has none.
    #[must_use]
    pub fn render(&self) -> String {
        let length = |entry: &RawEntry| entry.key.len() + entry.value.len() + 4;
        let mut text = String::with_capacity(self.entries.iter().map(length).sum::<usize>() + 2);
        let (start, end) = self.edges.unwrap_or(("", "}"));
        text.push_str(start);
        text.push('{');
        for (index, RawEntry { key, value, written }) in self.entries.iter().enumerate() {
            if index > 0 {
                text.push_str(written.map_or("", |(spaces, _)| spaces));
                text.push(',');
            }
            match written {
                Some((_, written)) => text.push_str(written),
                None => {
                    text.push_str(&quoted(key));
                    text.push(':');
                }
            }
            text.push_str(value);
        }
        text.push_str(end);
        text
    }
}

/// Returns a text as JSON text, with quotes and escapes.
#[must_use]
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns a list of JSON texts as JSON text.
#[must_use]
pub fn list(elements: &[impl AsRef<str>]) -> String {
    let elements: Vec<&str> = elements.iter().map(AsRef::as_ref).collect();
    format!("[{}]", elements.join(","))
}

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Pairs<'de>;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs: Vec<(String, &'de str)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if pairs.iter().any(|(known, _)| *known == key) {
                        return Err(A::Error::custom("a key occurs twice"));
                    }
                    pairs.push((key, value.get()));
                }
                Ok(Pairs(pairs))
            }
        }
        from.deserialize_map(Visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unchanged_members_keep_their_bytes_and_their_order() {
        let text = r#"{ "z":1e5, "a" :{"x": [1,  2]},"n":null,"l":[1 ,"\u00e9"]}"#;
        let mut object = RawObject::parse(text).unwrap();
        assert_eq!(
            (object.get("z"), object.get("n"), object.get("none")),
            (Some("1e5"), None, None)
        );
        assert_eq!(object.list("l").unwrap(), ["1", r#""\u00e9""#]);
        assert_eq!(object.object("a").unwrap().get("x"), Some("[1,  2]"));
        assert!(object.object("n").unwrap().keys().next().is_none());
        assert!(object.object("l").is_err() && object.list("a").is_err());
        object.set("a", "7");
        object.set("new \"key\"", quoted("é\n"));
        assert!(object.remove("l") && !object.remove("l"));
        assert_eq!(object.render(), r#"{ "z":1e5, "a" :7,"n":null,"new \"key\"":"é\n"}"#);
        for text in [" {\n \"a\" : 1 ,\n \"b\":{ }\n}\n", "{ }", "{\"a\":\"{,}\" , \"{,\":1}"] {
            assert_eq!(RawObject::parse(text).unwrap().render(), text);
        }
        let mut object = RawObject::parse("{\n \"a\": 1,\n \"b\": 2\n}").unwrap();
        object.remove("a");
        assert_eq!(object.render(), "{\n \"b\": 2\n}");
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        for text in [r#"{"a":1,"a":2}"#, r#"{"a":1,"\u0061":2}"#, "[]", "null", "{"] {
            assert!(RawObject::parse(text).is_err(), "{text}");
        }
        assert_eq!(RawObject::parse("{}").unwrap().render(), "{}");
    }
}

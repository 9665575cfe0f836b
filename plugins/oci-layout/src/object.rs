//! A JSON object that keeps the order and the bytes of its values, so that entries of other tools stay the same
//! byte for byte.
//!
//! This module refuses an object in which a key occurs twice, because two readers could read it differently.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The keys of an object, and its values as JSON text.
pub struct Object<'a>(Vec<(String, Cow<'a, str>)>);

impl<'a> Object<'a> {
    /// Parses an object; `None` if the bytes are not a JSON object with distinct keys.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// Returns whether a key differs from one of the `known` keys only in upper and lower case. Some readers
    /// treat such a key as the known one.
    pub fn has_misspelled(&self, known: &[&str]) -> bool {
        let alike = |key: &str, known: &str| key != known && key.eq_ignore_ascii_case(known);
        self.0.iter().any(|(key, _)| known.iter().any(|known| alike(key, known)))
    }

    /// Returns a value as JSON text.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| &**value)
    }

    /// Returns a value that is a string.
    pub fn text(&self, key: &str) -> Option<String> {
        serde_json::from_str(self.get(key)?).ok()
    }

    /// Returns a value that is an object.
    pub fn object(&self, key: &str) -> Option<Object<'_>> {
        Object::parse(self.get(key)?.as_bytes())
    }

    /// Replaces a value, or adds it at the end of the object. `value` is JSON text.
    pub fn set(&mut self, key: &str, value: String) {
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = Cow::Owned(value),
            None => self.0.push((key.to_owned(), Cow::Owned(value))),
        }
    }

    pub fn render(&self) -> String {
        let length: usize = self.0.iter().map(|(key, value)| key.len() + value.len() + 8).sum();
        let mut text = String::with_capacity(length + 2);
        for (key, value) in &self.0 {
            text.push(if text.is_empty() { '{' } else { ',' });
            text.push_str(&quoted(key));
            text.push(':');
            text.push_str(value);
        }
        text + if self.0.is_empty() { "{}" } else { "}" }
    }
}

/// Returns a string as JSON text, with quotes and escapes.
pub fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Object<'de>;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut pairs: Vec<(String, Cow<'de, str>)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if pairs.iter().any(|(known, _)| *known == key) {
                        return Err(A::Error::custom("a key occurs twice"));
                    }
                    pairs.push((key, Cow::Borrowed(value.get())));
                }
                Ok(Object(pairs))
            }
        }
        from.deserialize_map(Pairs)
    }
}

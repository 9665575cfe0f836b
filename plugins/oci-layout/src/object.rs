//! A JSON object whose values nobody touches: they keep their order and spelling, so that what
//! others wrote beside our entry stays as it is, byte for byte. What it refuses: a key that stands
//! there twice, because two readers could take it for two things.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Keys, and values as they are spelled.
pub struct Object<'a>(Vec<(String, Cow<'a, str>)>);

impl<'a> Object<'a> {
    /// `None` where it is no JSON object.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// Whether a key is one of these in another spelling: some readers take it for that.
    pub fn has_misspelled(&self, known: &[&str]) -> bool {
        let alike = |key: &str, known: &str| key != known && key.eq_ignore_ascii_case(known);
        self.0.iter().any(|(key, _)| known.iter().any(|known| alike(key, known)))
    }

    /// A value as it is spelled.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| &**value)
    }

    /// A value that is a string.
    pub fn text(&self, key: &str) -> Option<String> {
        serde_json::from_str(self.get(key)?).ok()
    }

    /// A value that is an object.
    pub fn object(&self, key: &str) -> Option<Object<'_>> {
        Object::parse(self.get(key)?.as_bytes())
    }

    /// Replaces a value, or adds it at the end.
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

/// A string as JSON spells it.
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
                        return Err(A::Error::custom("a key stands there twice"));
                    }
                    pairs.push((key, Cow::Borrowed(value.get())));
                }
                Ok(Object(pairs))
            }
        }
        from.deserialize_map(Pairs)
    }
}

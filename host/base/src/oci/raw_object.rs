//! A JSON object that is changed in some of its keys and keeps all others, in their order and byte for byte.
//!
//! What it refuses: an object in which a key occurs twice, because two readers could read it differently.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The keys of an object, in order, and its values as JSON text.
#[derive(Debug, Clone, Default)]
pub struct RawObject<'a>(Vec<(String, Cow<'a, str>)>);

impl<'a> RawObject<'a> {
    /// Parses an object. Errors when the text is not a JSON object, or has a key twice.
    pub fn parse(text: &'a str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// Returns a value as JSON text; `None` where it is absent or null.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| &**value).filter(|value| *value != "null")
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
        self.0.iter().map(|(key, _)| key.as_str())
    }

    /// Replaces a value in its place, or adds it at the end. `value` is JSON text.
    pub fn set(&mut self, key: &str, value: impl Into<Cow<'a, str>>) {
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value.into(),
            None => self.0.push((key.to_owned(), value.into())),
        }
    }

    /// Removes a key. Returns whether the object had it.
    pub fn remove(&mut self, key: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|(known, _)| known != key);
        self.0.len() < before
    }

    /// Returns the object as JSON text, without spaces between its keys.
    #[must_use]
    pub fn render(&self) -> String {
        let length: usize = self.0.iter().map(|(key, value)| key.len() + value.len() + 4).sum();
        let mut text = String::with_capacity(length + 2);
        text.push('{');
        for (index, (key, value)) in self.0.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(&quoted(key));
            text.push(':');
            text.push_str(value);
        }
        text.push('}');
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

impl<'de> Deserialize<'de> for RawObject<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = RawObject<'de>;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs: Vec<(String, Cow<'de, str>)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if pairs.iter().any(|(known, _)| *known == key) {
                        return Err(A::Error::custom("a key occurs twice"));
                    }
                    pairs.push((key, Cow::Borrowed(value.get())));
                }
                Ok(RawObject(pairs))
            }
        }
        from.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_changed_keeps_its_bytes_and_its_order() {
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
        assert_eq!(object.render(), "{\"z\":1e5,\"a\":7,\"n\":null,\"new \\\"key\\\"\":\"é\\n\"}");
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        for text in [r#"{"a":1,"a":2}"#, r#"{"a":1,"\u0061":2}"#, "[]", "null", "{"] {
            assert!(RawObject::parse(text).is_err(), "{text}");
        }
        assert_eq!(RawObject::parse("{}").unwrap().render(), "{}");
    }
}

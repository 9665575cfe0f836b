//! The way to one string in a JSON document that several images share.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use occystrap_base::error::printable;
use occystrap_base::oci::{json, reading};

/// A step of the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[serde(expecting = "a name or a selection")]
pub enum Step {
    /// Into an object, by its key.
    Key(String),
    /// Into a list: the one element in which these keys lead to this string.
    Element {
        /// Outermost first.
        keys: Vec<String>,
        /// The string.
        value: String,
    },
}

/// The value at the end of the steps.
#[derive(Debug, PartialEq, Eq)]
pub enum StepResult {
    /// A string.
    Text(String),
    /// Another value.
    Other,
    /// Nothing.
    Nothing,
}

/// The reason why the end of the steps cannot be found.
#[derive(Debug)]
pub enum Trouble {
    /// The file could not be read.
    Io(io::Error),
    /// The text is not JSON.
    NotJson,
    /// Two tools could read two different values there.
    TwoReadings(String),
    /// Several elements of a list match the step.
    Ambiguous,
}

impl Step {
    fn fits(&self, element: &Value) -> bool {
        let Self::Element { keys, value } = self else { return false };
        let found = keys.iter().try_fold(element, |at, key| at.as_object()?.get(key));
        found.and_then(Value::as_str) == Some(value)
    }
}

/// Finds the end of the steps in a JSON text, which is read as a stream: of an object at most one key is kept,
/// of a list one element. The rest of the text is read, because it must be JSON as well, but not kept: it may
/// be nested as deep as the caller allows, and hold numbers of any size.
pub fn find(steps: &[Step], text: impl Read) -> Result<StepResult, Trouble> {
    let why = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_reader(text);
    let way = Way { steps, why: &why };
    match way.deserialize(&mut deserializer).and_then(|found| deserializer.end().map(|()| found)) {
        Ok(found) => Ok(found),
        Err(cause) => Err(why.take().unwrap_or_else(|| match cause.is_io() {
            true => Trouble::Io(cause.into()),
            false => Trouble::NotJson,
        })),
    }
}

/// The steps that are left, and the reason why reading ended early.
#[derive(Clone, Copy)]
struct Way<'a> {
    steps: &'a [Step],
    why: &'a Cell<Option<Trouble>>,
}

impl Way<'_> {
    fn end<E: serde::de::Error>(self, why: Trouble) -> E {
        self.why.set(Some(why));
        E::custom("")
    }

    fn at_end(self, found: StepResult) -> StepResult {
        if self.steps.is_empty() { found } else { StepResult::Nothing }
    }

    /// Reads an element of a list: `None` if the step does not name it.
    fn element<E: serde::de::Error>(
        self,
        step: &Step,
        rest: &[Step],
        text: &str,
    ) -> Result<Option<StepResult>, E> {
        reading::distinct(text.as_bytes()).map_err(|why| {
            // A position in the element is not the position in the file.
            let why = why.split(" at line ").next().unwrap_or(&why).to_owned();
            self.end(Trouble::TwoReadings(why))
        })?;
        let element: Value =
            json::parse(text.as_bytes()).map_err(|_| self.end(Trouble::NotJson))?;
        match step.fits(&element) {
            true => find(rest, text.as_bytes()).map(Some).map_err(|why| self.end(why)),
            false => Ok(None),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Way<'_> {
    type Value = StepResult;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<StepResult, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Way<'_> {
    type Value = StepResult;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<StepResult, E> {
        Ok(match self.steps {
            [] => StepResult::Text(text.to_owned()),
            _ => StepResult::Nothing,
        })
    }

    fn visit_unit<E>(self) -> Result<StepResult, E> {
        Ok(self.at_end(StepResult::Other))
    }

    fn visit_bool<E>(self, _: bool) -> Result<StepResult, E> {
        Ok(self.at_end(StepResult::Other))
    }

    fn visit_i64<E>(self, _: i64) -> Result<StepResult, E> {
        Ok(self.at_end(StepResult::Other))
    }

    fn visit_u64<E>(self, _: u64) -> Result<StepResult, E> {
        Ok(self.at_end(StepResult::Other))
    }

    fn visit_f64<E>(self, _: f64) -> Result<StepResult, E> {
        Ok(self.at_end(StepResult::Other))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StepResult, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<Box<RawValue>>()? {
            let key = json::string_text(&key);
            match self.steps {
                [Step::Key(wanted), rest @ ..] if *wanted == key => {
                    let next = map.next_value_seed(Self { steps: rest, why: self.why })?;
                    if found.replace(next).is_some() {
                        let why = format!("the key '{}' is there twice", printable(&key));
                        return Err(self.end(Trouble::TwoReadings(why)));
                    }
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found.unwrap_or_else(|| self.at_end(StepResult::Other)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<StepResult, A::Error> {
        let [step @ Step::Element { .. }, rest @ ..] = self.steps else {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(self.at_end(StepResult::Other));
        };
        let mut found = None;
        while let Some(element) = list.next_element::<Box<RawValue>>()? {
            if let Some(next) = self.element(step, rest, element.get())?
                && found.replace(next).is_some()
            {
                return Err(self.end(Trouble::Ambiguous));
            }
        }
        Ok(found.unwrap_or(StepResult::Nothing))
    }
}

/// Returns the steps for a message: `manifests:[annotations.name=1]:digest`.
#[must_use]
pub fn display(steps: &[Step]) -> String {
    let words = steps.iter().map(|step| match step {
        Step::Key(key) => key.clone(),
        Step::Element { keys, value } => {
            format!("[{}={value}]", keys.last().map_or("", String::as_str))
        }
    });
    words.collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use occystrap_base::oci::text_stream::TextStream;

    fn steps(name: &str) -> Vec<Step> {
        let keys = vec!["annotations".to_owned(), "name".to_owned()];
        let element = Step::Element { keys, value: name.to_owned() };
        vec![Step::Key("manifests".to_owned()), element, Step::Key("digest".to_owned())]
    }

    #[test]
    fn an_element_is_found_wherever_it_stands_and_only_once() {
        let element = |name: &str| json!({ "digest": name, "annotations": { "name": name } });
        let mut document = json!({ "manifests": [{}, 1, element("a"), element("b")] });
        let found = |document: &Value, name| {
            find(&steps(name), document.to_string().as_bytes()).map_err(|why| format!("{why:?}"))
        };
        assert_eq!(found(&document, "b"), Ok(StepResult::Text("b".to_owned())));
        assert_eq!(found(&document, "c"), Ok(StepResult::Nothing));
        document["manifests"].as_array_mut().unwrap().push(element("b"));
        assert_eq!(found(&document, "b"), Err("Ambiguous".to_owned()));
        assert_eq!(found(&document, "a"), Ok(StepResult::Text("a".to_owned())));
        for other in [json!({}), json!({ "manifests": {} }), json!([1]), json!(null)] {
            assert_eq!(found(&other, "a"), Ok(StepResult::Nothing));
        }
        document["manifests"] = json!([{ "annotations": { "name": "a" }, "digest": [1] }]);
        assert_eq!(found(&document, "a"), Ok(StepResult::Other));
        assert_eq!(display(&steps("b")), "manifests:[name=b]:digest");
    }

    #[test]
    fn ambiguous_keys_count_only_on_the_way() {
        let key = |key: &str| Step::Key(key.to_owned());
        let (map, list) = (vec![key("a"), key("b")], steps("x"));
        let found = |steps: &[Step], text: &str| match find(steps, text.as_bytes()) {
            Ok(found) => format!("{found:?}"),
            Err(Trouble::TwoReadings(why)) => why,
            Err(why) => format!("{why:?}"),
        };
        for (steps, text, expected) in [
            (&map, r#"{"a":{"b":"1","c":2},"d":{"e":1,"e":1},"d":0}"#, r#"Text("1")"#),
            (&map, r#"{"a":{"b":"1"},"a":{}}"#, "the key 'a' is there twice"),
            (&map, r#"{"a":{"b":"1","b":"1"}}"#, "the key 'b' is there twice"),
            (&map, r#"{"a":{"b":"1"}} x"#, "NotJson"),
            (&map, r#"{"a":{"b":"1"},"c":[tru]}"#, "NotJson"),
            (
                &list,
                r#"{"manifests":[{"annotations":{"name":"y","name":"x"}}]}"#,
                "the key 'name' is there twice",
            ),
        ] {
            assert_eq!(found(steps, text), expected, "{text}");
        }
        assert_eq!(found(&map, "{\"a\":{\"b\":\"1\"},\"c\":\"\u{fffd}\"}"), r#"Text("1")"#);
        let not_utf8 = TextStream::new(&b"{\"c\":\"\xff\"}"[..], 100);
        assert!(matches!(find(&map, not_utf8), Err(Trouble::Io(_))));
    }

    #[test]
    fn values_of_other_tools_beside_the_way_are_skipped() {
        let map = ["a", "b"].map(|key| Step::Key(key.to_owned()));
        let (deep, digits) = ("[".repeat(9_000) + &"]".repeat(9_000), "9".repeat(400));
        for other in ["5", "1e400", "-1e-400", &digits, "null", r#""\ud800""#, "[1e400]", &deep] {
            let beside = format!(r#""x":{other},"\ud800":{{"b":{other}}}"#);
            for text in [
                format!(r#"{{{beside},"a":{{"b":"1"}}}}"#),
                format!(r#"{{"a":{{{beside},"b":"1"}}}}"#),
                format!(r#"{{"a":{{"b":"1",{beside}}},"y":{other}}}"#),
            ] {
                let found = find(&map, text.as_bytes()).unwrap();
                assert_eq!(
                    found,
                    StepResult::Text("1".to_owned()),
                    "{}",
                    &text[..99.min(text.len())]
                );
            }
        }
    }

    #[test]
    fn plain_keys_are_plain_in_json() {
        let text = serde_json::to_value(steps("a")).unwrap();
        assert_eq!(text[0], "manifests");
        assert_eq!(serde_json::from_value::<Vec<Step>>(text).unwrap(), steps("a"));
    }
}

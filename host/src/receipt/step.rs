//! The way to one string in a JSON document that several images share.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plugin::bindings::writer;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
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

/// Several elements of a list fit where one is named.
#[derive(Debug, PartialEq, Eq)]
pub struct Ambiguous;

impl Step {
    /// As a plugin named it.
    #[must_use]
    pub fn from_guest(raw: writer::Step) -> Self {
        match raw {
            writer::Step::Key(key) => Self::Key(key),
            writer::Step::Element(writer::Element { keys, value }) => Self::Element { keys, value },
        }
    }

    /// As a plugin is told.
    #[must_use]
    pub fn into_guest(self) -> writer::Step {
        match self {
            Self::Key(key) => writer::Step::Key(key),
            Self::Element { keys, value } => writer::Step::Element(writer::Element { keys, value }),
        }
    }

    fn follow<'a>(&self, from: &'a Value) -> Result<Option<&'a Value>, Ambiguous> {
        match self {
            // Not `Value::get` alone: a key is no index.
            Self::Key(key) => Ok(from.as_object().and_then(|object| object.get(key))),
            Self::Element { keys, value } => {
                let fits = |element: &&Value| {
                    let found = keys.iter().try_fold(*element, |at, key| at.as_object()?.get(key));
                    found.and_then(Value::as_str) == Some(value)
                };
                let mut fitting = from.as_array().into_iter().flatten().filter(fits);
                match (fitting.next(), fitting.next()) {
                    (_, Some(_)) => Err(Ambiguous),
                    (found, None) => Ok(found),
                }
            }
        }
    }
}

/// Where the steps lead; `None` when they lead nowhere.
pub fn follow<'a>(steps: &[Step], document: &'a Value) -> Result<Option<&'a Value>, Ambiguous> {
    let mut at = document;
    for step in steps {
        match step.follow(at)? {
            Some(next) => at = next,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

/// The steps, for a message: `manifests:[annotations.name=1]:digest`.
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

    fn steps(name: &str) -> Vec<Step> {
        let keys = vec!["annotations".to_owned(), "name".to_owned()];
        let element = Step::Element { keys, value: name.to_owned() };
        vec![Step::Key("manifests".to_owned()), element, Step::Key("digest".to_owned())]
    }

    #[test]
    fn an_element_is_found_wherever_it_stands_and_only_once() {
        let element = |name: &str| json!({ "digest": name, "annotations": { "name": name } });
        let mut document = json!({ "manifests": [{}, 1, element("a"), element("b")] });
        let found =
            |document: &Value, name| follow(&steps(name), document).map(|found| found.cloned());
        assert_eq!(found(&document, "b"), Ok(Some(json!("b"))));
        assert_eq!(found(&document, "c"), Ok(None));
        document["manifests"].as_array_mut().unwrap().push(element("b"));
        assert_eq!(found(&document, "b"), Err(Ambiguous));
        assert_eq!(found(&document, "a"), Ok(Some(json!("a"))));
        for other in [json!({}), json!({ "manifests": {} }), json!([1]), json!(null)] {
            assert_eq!(found(&other, "a"), Ok(None));
        }
        assert_eq!(display(&steps("b")), "manifests:[name=b]:digest");
    }

    #[test]
    fn plain_keys_are_plain_in_json() {
        let text = serde_json::to_value(steps("a")).unwrap();
        assert_eq!(text[0], "manifests");
        assert_eq!(serde_json::from_value::<Vec<Step>>(text).unwrap(), steps("a"));
    }
}

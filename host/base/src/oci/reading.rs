//! Check that all readers of a JSON document read the same in it.
//!
//! The parser of Docker, containerd and skopeo takes a key in any case, and the last of two equal keys; others take it
//! as it is spelled, or the first. Two readers that find two images under one digest are the problem of CVE-2021-41190.
//! What it refuses: a key that readers use which stands twice in an object, or in another spelling. Below 120 levels of
//! nesting there are no keys that readers use.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use super::json;
use crate::error::{Error, printable};

/// Shape of a value in a document.
#[derive(Clone, Copy)]
enum Shape {
    /// Value that this module does not check.
    Any,
    /// Object with any keys, each of them once, and so in all values below.
    Distinct,
    /// Object with keys that readers use, among others.
    Object(&'static [(&'static str, Shape)]),
    /// List of values of one shape.
    List(&'static Shape),
}

/// Manifest and index (OCI image specification, "Image Manifest" and "Image Index"); `fsLayers` is schema 1's.
const MANIFEST: Shape = Shape::Object(&[
    ("schemaVersion", Shape::Any),
    ("mediaType", Shape::Any),
    ("artifactType", Shape::Any),
    ("config", DESCRIPTOR),
    ("layers", Shape::List(&DESCRIPTOR)),
    ("manifests", Shape::List(&DESCRIPTOR)),
    ("fsLayers", Shape::Any),
    ("subject", DESCRIPTOR),
    ("annotations", Shape::Distinct),
]);

/// Descriptor (OCI image specification, "Content Descriptors").
const DESCRIPTOR: Shape = Shape::Object(&[
    ("mediaType", Shape::Any),
    ("artifactType", Shape::Any),
    ("digest", Shape::Any),
    ("size", Shape::Any),
    ("urls", Shape::Any),
    ("data", Shape::Any),
    ("annotations", Shape::Distinct),
    ("platform", PLATFORM),
]);

/// Platform (OCI image specification, "Image Index").
const PLATFORM: Shape = Shape::Object(&[
    ("os", Shape::Any),
    ("os.version", Shape::Any),
    ("os.features", Shape::Any),
    ("architecture", Shape::Any),
    ("variant", Shape::Any),
]);

/// Config (OCI image specification, "Image Configuration"): the keys for layers and platform.
const CONFIG: Shape = Shape::Object(&[
    ("os", Shape::Any),
    ("architecture", Shape::Any),
    ("variant", Shape::Any),
    ("config", Shape::Any),
    ("history", Shape::Any),
    ("rootfs", Shape::Object(&[("type", Shape::Any), ("diff_ids", Shape::Any)])),
]);

/// `manifest.json` of `docker save`.
const SAVED: Shape = Shape::List(&Shape::Object(&[
    ("Config", Shape::Any),
    ("RepoTags", Shape::Any),
    ("Layers", Shape::Any),
]));

/// Checks that a manifest or an index can be read in one way only. The error names the key that can be read in two
/// ways. Text that is not JSON passes, here and below: its parser reports it.
pub fn manifest(bytes: &[u8]) -> Result<(), String> {
    one(MANIFEST, bytes)
}

/// Checks that the layers and the platform of an image config can be read in one way only.
pub fn config(bytes: &[u8]) -> Result<(), String> {
    one(CONFIG, bytes)
}

/// Checks that the list of images in an archive can be read in one way only.
pub fn saved(bytes: &[u8]) -> Result<(), String> {
    one(SAVED, bytes)
}

/// Checks that no object of a document has a key twice.
pub fn distinct(bytes: &[u8]) -> Result<(), String> {
    one(Shape::Distinct, bytes)
}

/// Returns the error for a document that can be read in two ways. `place` is its location, `what` is its name in the
/// message.
pub fn refused(place: &str, what: &str, why: &str) -> Error {
    Error::source(format!("{place}: {what} can be read in two ways: {why}")).hint(
        "different tools would read different images from it, so that neither can be verified",
    )
}

fn one(shape: Shape, bytes: &[u8]) -> Result<(), String> {
    let Ok(bytes) = json::simplified(bytes) else { return Ok(()) };
    match shape.deserialize(&mut serde_json::Deserializer::from_slice(&bytes)) {
        Err(cause) if cause.classify() == Category::Data => Err(cause.to_string()),
        _ => Ok(()),
    }
}

impl Shape {
    /// Returns the shape of the value of a key. Errors name the key that it could be taken for.
    fn under(self, key: &str) -> Result<Self, String> {
        let keys = match self {
            Self::Object(keys) => keys,
            Self::Distinct => return Ok(Self::Distinct),
            Self::Any | Self::List(_) => return Ok(Self::Any),
        };
        match keys.iter().find(|(known, _)| folded(known) == folded(key)) {
            Some((known, _)) if *known != key => {
                Err(format!("the key '{}' could be '{known}'", printable(key)))
            }
            Some((_, shape)) => Ok(*shape),
            None => Ok(Self::Any),
        }
    }

    fn counts(self, key: &str) -> bool {
        match self {
            Self::Object(keys) => keys.iter().any(|(known, _)| *known == key),
            Self::Distinct => true,
            Self::Any | Self::List(_) => false,
        }
    }
}

/// Returns a key in one case, for comparison. Upper case comes first: some letters that are not ASCII become ASCII by
/// it.
pub(super) fn folded(key: &str) -> String {
    key.to_uppercase().to_lowercase()
}

impl<'de> DeserializeSeed<'de> for Shape {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        match self {
            Self::Any => from.deserialize_ignored_any(IgnoredAny).map(|_| ()),
            _ => from.deserialize_any(self),
        }
    }
}

/// Visitor of a value. Values of another type than expected pass: the parser of the document reports them.
impl<'de> Visitor<'de> for Shape {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let element = match self {
            Self::List(element) => *element,
            Self::Distinct => Self::Distinct,
            Self::Any | Self::Object(_) => Self::Any,
        };
        while list.next_element_seed(element)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let under = self.under(&key).map_err(A::Error::custom)?;
            if self.counts(&key) && !seen.insert(key.clone()) {
                let key = printable(&key);
                return Err(A::Error::custom(format!("the key '{key}' is there twice")));
            }
            map.next_value_seed(under)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_as_others_write_them_have_one_reading() {
        let index = r#"{"schemaVersion":2,"manifests":[
            {"digest":"d","size":1,"annotations":{"Size":"L","size":"S"},"platform":{"os":"linux"}}],
            "annotations":{"a":"1","A":"2"},"x":{"y":1,"y":2}}"#;
        assert_eq!(manifest(index.as_bytes()), Ok(()));
        let image = r#"{"os":"linux","created":"","config":{"Labels":{"a":"","A":""}},
            "container_config":{},"rootfs":{"type":"layers","diff_ids":[]},"history":[{}]}"#;
        assert_eq!(config(image.as_bytes()), Ok(()));
        let list = r#"[{"Config":"c","RepoTags":null,"Layers":[],"LayerSources":{},"Parent":""}]"#;
        assert_eq!(saved(list.as_bytes()), Ok(()));
        assert_eq!(distinct(br#"{"a":{"x":1},"b":{"x":1},"A":[{"x":1},{"x":2}]}"#), Ok(()));
    }

    #[test]
    fn other_documents_are_left_to_other_rules() {
        for text in ["", "{", "null", "7", "[[]]", "\"a\"", "{\"manifests\":{},\"config\":[1.5]}"] {
            for read in [manifest, config, saved, distinct] {
                assert_eq!(read(text.as_bytes()), Ok(()), "{text}");
            }
        }
    }

    #[test]
    fn two_readings_are_found_wherever_they_are() {
        let said = |read: fn(&[u8]) -> Result<(), String>, text: &str| {
            read(text.as_bytes()).expect_err(text).split(" at line").next().unwrap().to_owned()
        };
        for (text, expected) in [
            (r#"{"manifests":[],"Manifests":[]}"#, "the key 'Manifests' could be 'manifests'"),
            (r#"{"Layers":[]}"#, "the key 'Layers' could be 'layers'"),
            (r#"{"LAYER\u017f":[]}"#, "the key 'LAYERſ' could be 'layers'"),
            (r#"{"layers":[],"layers":[]}"#, "the key 'layers' is there twice"),
            (r#"{"layers":[{},{"Digest":""}]}"#, "the key 'Digest' could be 'digest'"),
            (r#"{"config":{"size":1,"size":2}}"#, "the key 'size' is there twice"),
            (
                r#"{"manifests":[{"Annotations":{}}]}"#,
                "the key 'Annotations' could be 'annotations'",
            ),
            (r#"{"manifests":[{"annotations":{"n":"a","n":"b"}}]}"#, "the key 'n' is there twice"),
            (r#"{"manifests":[{"platform":{"OS":""}}]}"#, "the key 'OS' could be 'os'"),
        ] {
            assert_eq!(said(manifest, text), expected);
        }
        let text = r#"{"rootfs":{},"RootFS":{}}"#;
        assert_eq!(said(config, text), "the key 'RootFS' could be 'rootfs'");
        let text = r#"{"rootfs":{"diff_ids":[],"Diff_IDs":[]}}"#;
        assert_eq!(said(config, text), "the key 'Diff_IDs' could be 'diff_ids'");
        let text = r#"[{},{"Config":"a","config":"b"}]"#;
        assert_eq!(said(saved, text), "the key 'config' could be 'Config'");
        let text = r#"{"a":[{"b":1,"b":1}]}"#;
        assert_eq!(said(distinct, text), "the key 'b' is there twice");
    }
}

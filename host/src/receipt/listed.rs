//! What a manifest lists, as every reader of it understands it.
//!
//! A manifest that a plugin made is read by Docker, containerd and others later, whose JSON parsers
//! take the last of two equal keys, or do not care for case. What it refuses: to call a manifest
//! right that one of them would read otherwise.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Expectation, Role};
use crate::image::Digest;
use crate::registry::Manifest;
use crate::registry::manifest::OCI_MANIFEST;

/// Keys that readers act on.
const KNOWN: [&str; 11] = [
    "schemaVersion",
    "mediaType",
    "config",
    "layers",
    "manifests",
    "fsLayers",
    "digest",
    "size",
    "urls",
    "data",
    "subject",
];

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    config: Blob,
    layers: Vec<Blob>,
}

#[derive(Deserialize)]
struct Blob {
    digest: Digest,
    size: u64,
}

/// A manifest in a file, which is what it says it is (OCI image specification, "Image Manifest").
pub fn of_file(bytes: Bytes) -> Manifest {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: String,
    }
    let typed = serde_json::from_slice::<Typed>(&bytes);
    let media_type = typed.map_or_else(|_| OCI_MANIFEST.to_owned(), |typed| typed.media_type);
    Manifest { digest: Digest::of(&bytes), media_type, bytes }
}

/// Check that a manifest lists exactly the config and the layers of the receipt, in order. The error
/// says what it is instead.
pub fn check(manifest: &Manifest, expectations: &[Expectation]) -> Result<(), &'static str> {
    if manifest.is_index() {
        return Err("a manifest whose media type is that of an index");
    }
    // A key that is there twice is an error here.
    let Ok(listed) = serde_json::from_slice::<Listed>(&manifest.bytes) else {
        return Err("a manifest that cannot be read");
    };
    let Ok(Value::Object(document)) = serde_json::from_slice(&manifest.bytes) else {
        return Err("a manifest that cannot be read");
    };
    if listed.media_type.is_some_and(|inner| inner != manifest.media_type)
        || ["manifests", "fsLayers"].iter().any(|other| document.contains_key(*other))
        || !is_unambiguous(&document)
    {
        return Err("a manifest that can be read in two ways");
    }
    let named = |role: Role, blob: &Blob| {
        expectations.iter().any(|expectation| {
            expectation.role == role
                && expectation.digest == Some(blob.digest)
                && expectation.size == Some(blob.size)
        })
    };
    let layers = expectations.iter().filter(|one| matches!(one.role, Role::Layer(_))).count();
    let fits = named(Role::Config, &listed.config)
        && listed.layers.len() == layers
        && (0..).zip(&listed.layers).all(|(index, layer)| named(Role::Layer(index), layer));
    if fits { Ok(()) } else { Err("a manifest that lists something else") }
}

/// Whether no key, of the document or of a blob in it, is a known one in another spelling.
fn is_unambiguous(document: &Map<String, Value>) -> bool {
    // Upper case first: some letters that are not ASCII become ASCII by it.
    let folded = |key: &str| key.to_uppercase().to_lowercase();
    let plain = |object: &Map<String, Value>| {
        object
            .keys()
            .all(|key| KNOWN.iter().all(|known| *key == **known || folded(key) != folded(known)))
    };
    let blobs = document.get("layers").and_then(Value::as_array).into_iter().flatten();
    let blobs = blobs.chain(document.get("config")).filter_map(Value::as_object);
    plain(document) && blobs.into_iter().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt::Place;
    use crate::registry::manifest::OCI_INDEX;

    fn digest(content: &[u8]) -> Digest {
        Digest::of(content)
    }

    fn blob(content: &[u8]) -> String {
        format!(r#"{{"digest":"{}","size":{}}}"#, digest(content), content.len())
    }

    fn judge(media_type: &str, bytes: &str) -> Result<(), &'static str> {
        let expect = |role, content: &[u8]| Expectation {
            role,
            place: Place::Blob { digest: digest(content) },
            size: Some(content.len() as u64),
            digest: Some(digest(content)),
        };
        let expectations = [
            expect(Role::Config, b"{}"),
            expect(Role::Layer(0), b"a"),
            expect(Role::Layer(1), b"bb"),
        ];
        let manifest = Manifest {
            bytes: Bytes::copy_from_slice(bytes.as_bytes()),
            media_type: media_type.to_owned(),
            digest: digest(bytes.as_bytes()),
        };
        check(&manifest, &expectations)
    }

    #[test]
    fn the_image_and_nothing_else() {
        let (config, a, b) = (blob(b"{}"), blob(b"a"), blob(b"bb"));
        let with = |more: &str| format!(r#"{{"config":{config},"layers":[{a},{b}]{more}}}"#);
        assert_eq!(judge(OCI_MANIFEST, &with("")), Ok(()));
        let typed = format!(r#","mediaType":"{OCI_MANIFEST}","annotations":{{"Size":"L"}}"#);
        assert_eq!(judge(OCI_MANIFEST, &with(&typed)), Ok(()));

        let other = "a manifest that lists something else";
        for layers in [format!("{b},{a}"), a.clone(), format!("{a},{b},{b}"), String::new()] {
            let text = format!(r#"{{"config":{config},"layers":[{layers}]}}"#);
            assert_eq!(judge(OCI_MANIFEST, &text), Err(other), "{text}");
        }
        let text = format!(r#"{{"config":{a},"layers":[{a},{b}]}}"#);
        assert_eq!(judge(OCI_MANIFEST, &text), Err(other));

        let two_ways = "a manifest that can be read in two ways";
        for more in [
            r#","manifests":[]"#.to_owned(),
            r#","fsLayers":[]"#.to_owned(),
            format!(r#","Layers":[{b}]"#),
            format!(r#","LAYER\u017f":[{b}]"#),
            format!(r#","mediaType":"{OCI_INDEX}""#),
        ] {
            assert_eq!(judge(OCI_MANIFEST, &with(&more)), Err(two_ways), "{more}");
        }
        let inner = a.replace("}", &format!(r#","Digest":"{}"}}"#, digest(b"bb")));
        let text = format!(r#"{{"config":{config},"layers":[{inner},{b}]}}"#);
        assert_eq!(judge(OCI_MANIFEST, &text), Err(two_ways));

        let unread = "a manifest that cannot be read";
        for text in [with(&format!(r#","layers":[{b}]"#)), "[]".to_owned(), String::new()] {
            assert_eq!(judge(OCI_MANIFEST, &text), Err(unread), "{text}");
        }
        assert!(judge(OCI_INDEX, &with("")).is_err());
    }
}

//! Checks what a manifest lists, as every reader of it understands it.
//!
//! A manifest that a plugin made is read by Docker, containerd and other tools later. What it refuses: a
//! manifest that one of them would read differently.

use serde_json::Value;

use super::{Expectation, Role};
use occystrap_base::oci::document::ManifestDocument;
use occystrap_base::oci::manifest::{DOCKER_MANIFEST, OCI_MANIFEST};
use occystrap_base::oci::{Descriptor, json, reading, types};

/// Checks that a manifest lists exactly the config and the layers of the receipt, in order. The error says what
/// the manifest is instead. `media_type` is the one under which a registry serves it.
pub fn check(
    media_type: Option<&str>,
    bytes: &[u8],
    expectations: &[Expectation],
) -> Result<(), &'static str> {
    let is_image = |media_type: &str| matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST);
    if media_type.is_some_and(|media_type| !is_image(media_type)) {
        return Err("a manifest whose media type is that of an index");
    }
    // A duplicate key is an error here.
    const UNREAD: &str = "a manifest that cannot be read";
    let Ok(Value::Object(document)) = json::parse(bytes) else { return Err(UNREAD) };
    if types::manifest(bytes).is_err() {
        return Err("a manifest with a field of a type that clients reject");
    }
    let parsed = json::parse::<ManifestDocument>(bytes).map_err(|_| UNREAD)?;
    let config = parsed.config("").and_then(|config| config.promised("")).map_err(|_| UNREAD)?;
    let layers = parsed.layers().iter().map(|layer| layer.promised(""));
    let listed = layers.collect::<Result<Vec<_>, _>>().map_err(|_| UNREAD)?;
    let inner = document.get("mediaType").and_then(Value::as_str).filter(|inner| !inner.is_empty());
    if inner.is_some_and(|inner| !is_image(inner) || media_type.is_some_and(|outer| outer != inner))
        || ["manifests", "fsLayers"].iter().any(|other| document.contains_key(*other))
        || reading::manifest(bytes).is_err()
    {
        return Err("a manifest that can be read in two ways");
    }
    let named = |role: Role, blob: &Descriptor| {
        expectations.iter().any(|expectation| {
            expectation.role == role
                && expectation.digest == Some(blob.digest)
                && expectation.size == Some(blob.size)
        })
    };
    let layers = expectations.iter().filter(|one| one.role.is_layer()).count();
    let fits = named(Role::Config, &config)
        && listed.len() == layers
        && (0..).zip(&listed).all(|(index, layer)| named(Role::Layer(index), layer));
    if fits { Ok(()) } else { Err("a manifest that lists something else") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt::Place;
    use occystrap_base::oci::Digest;
    use occystrap_base::oci::manifest::OCI_INDEX;

    fn digest(content: &[u8]) -> Digest {
        Digest::of(content)
    }

    fn blob(content: &[u8]) -> String {
        format!(r#"{{"digest":"{}","size":{}}}"#, digest(content), content.len())
    }

    fn checked(media_type: &str, bytes: &str) -> Result<(), &'static str> {
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
        check(Some(media_type), bytes.as_bytes(), &expectations)
    }

    #[test]
    fn the_image_and_nothing_else() {
        let (config, a, b) = (blob(b"{}"), blob(b"a"), blob(b"bb"));
        let with = |more: &str| format!(r#"{{"config":{config},"layers":[{a},{b}]{more}}}"#);
        assert_eq!(checked(OCI_MANIFEST, &with("")), Ok(()));
        let typed = format!(r#","mediaType":"{OCI_MANIFEST}","annotations":{{"Size":"L"}}"#);
        assert_eq!(checked(OCI_MANIFEST, &with(&typed)), Ok(()));

        let other = "a manifest that lists something else";
        for layers in [format!("{b},{a}"), a.clone(), format!("{a},{b},{b}"), String::new()] {
            let text = format!(r#"{{"config":{config},"layers":[{layers}]}}"#);
            assert_eq!(checked(OCI_MANIFEST, &text), Err(other), "{text}");
        }
        let text = format!(r#"{{"config":{a},"layers":[{a},{b}]}}"#);
        assert_eq!(checked(OCI_MANIFEST, &text), Err(other));

        let two_ways = "a manifest that can be read in two ways";
        for more in [
            r#","manifests":[]"#.to_owned(),
            r#","fsLayers":[]"#.to_owned(),
            format!(r#","Layers":[{b}]"#),
            format!(r#","LAYER\u017f":[{b}]"#),
            format!(r#","mediaType":"{OCI_INDEX}""#),
        ] {
            assert_eq!(checked(OCI_MANIFEST, &with(&more)), Err(two_ways), "{more}");
        }
        let inner = a.replace("}", &format!(r#","Digest":"{}"}}"#, digest(b"bb")));
        let text = format!(r#"{{"config":{config},"layers":[{inner},{b}]}}"#);
        assert_eq!(checked(OCI_MANIFEST, &text), Err(two_ways));

        let text = with(r#","annotations":{"a":5}"#);
        let mistyped = Err("a manifest with a field of a type that clients reject");
        assert_eq!(checked(OCI_MANIFEST, &text), mistyped);

        let unread = "a manifest that cannot be read";
        for text in [with(&format!(r#","layers":[{b}]"#)), "[]".to_owned(), String::new()] {
            assert_eq!(checked(OCI_MANIFEST, &text), Err(unread), "{text}");
        }
        assert!(checked(OCI_INDEX, &with("")).is_err());
    }
}

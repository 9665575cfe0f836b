//! Manifests and indexes, with their bytes, media type and digest.
//!
//! What it refuses: schema 1, bytes that do not match the promised digest, and documents that two readers could take
//! for different things.

use bytes::Bytes;
use serde::Deserialize;

use super::{Descriptor, Digest, json, reading};
use crate::error::{Error, Result};

/// Bytes of the largest manifest. The distribution specification ("Pushing Manifests") says that registries should
/// accept at least 4 megabytes, and registries and other clients stop there.
pub const LARGEST_MANIFEST: usize = 4 * 1024 * 1024;

/// Media type of an index (OCI image specification, "Image Index").
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of a manifest (OCI image specification, "Image Manifest").
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of Docker's index (Image Manifest Version 2, Schema 2: manifest list).
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Media type of Docker's manifest (Image Manifest Version 2, Schema 2: image manifest).
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Manifest or index whose bytes match its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Bytes as they were served.
    pub bytes: Bytes,
    /// Media type, one of the four above.
    pub media_type: String,
    /// Digest of the bytes.
    pub digest: Digest,
}

impl Manifest {
    /// Returns whether it is an index: it lists manifests and no layers.
    #[must_use]
    pub fn is_index(&self) -> bool {
        matches!(self.media_type.as_str(), OCI_INDEX | DOCKER_LIST)
    }

    /// Reads a document, with the media type that came with it. `place` is the image's name. Errors when it is not a
    /// manifest of an image, when it is of schema 1, or when it can be read in two ways.
    pub fn read(place: &str, content_type: Option<&str>, bytes: Bytes) -> Result<Self> {
        if content_type.is_some_and(|found| {
            found.starts_with("application/vnd.docker.distribution.manifest.v1+")
        }) {
            return Err(schema_1(place));
        }
        let shape: Shape = json::parse(&bytes).map_err(|cause| {
            Error::source(format!("{place}: the manifest cannot be read: {cause}"))
        })?;
        if shape.schema_version == Some(1) {
            return Err(schema_1(place));
        }
        reading::manifest(&bytes).map_err(|why| reading::refused(place, "the manifest", &why))?;
        let media_type = media_type(&shape, content_type).ok_or_else(|| {
            let found = shape
                .media_type
                .as_deref()
                .or(content_type)
                .map_or("a document without a media type", type_or_not);
            Error::source(format!("{place}: '{found}' is not an image manifest"))
        })?;
        let index = matches!(media_type, OCI_INDEX | DOCKER_LIST);
        // Podman and skopeo reject such a document as ambiguous.
        let is_listing = shape.layers.is_some() || shape.manifests.is_some();
        if is_listing && (shape.fs_layers.is_some() || shape.history.is_some()) {
            return Err(Error::source(format!(
                "{place}: the document is of two schemas at once: it has 'fsLayers' or 'history' of schema 1"
            )));
        }
        // Readers that disagree here would see two images under one digest (CVE-2021-41190).
        let fits = match index {
            true => shape.layers.is_none() && shape.config.is_none(),
            false => shape.manifests.is_none(),
        };
        if !fits {
            return Err(Error::source(format!(
                "{place}: the document is a manifest and an index at once"
            )));
        }
        let (media_type, digest) = (media_type.to_owned(), Digest::of(&bytes));
        Ok(Self { bytes, media_type, digest })
    }

    /// Reads a manifest or index that is stored under a digest. Errors name `place`. Errors when the bytes do not match
    /// the descriptor, or are not a manifest.
    pub fn kept(what: &Descriptor, bytes: Bytes, place: &str) -> Result<Self> {
        check_digest(place, what.digest, &bytes)?;
        let manifest = Self::read(place, Some(&what.media_type), bytes)?;
        manifest.check_promised(what, place)?;
        Ok(manifest)
    }

    /// Returns the media type that clients take the document for: its own `mediaType`, or OCI's where it has none,
    /// since Docker's specification requires the field. Returns `None` where only the media type that came with the
    /// document shows what it is.
    #[must_use]
    pub fn own_type(&self) -> Option<&'static str> {
        let shape: Shape = json::parse(&self.bytes).ok()?;
        media_type(&shape, None)
    }

    /// Compares size and media type with those of a descriptor. The bytes were compared with the digest before. Errors
    /// name `place`.
    pub fn check_promised(&self, what: &Descriptor, place: &str) -> Result<()> {
        self.check_size(what.size, place)?;
        self.check_media_type(what, place)
    }

    /// Compares the media type with that of a descriptor: both must be of a manifest, or both of an index. The OCI
    /// image specification ("Image Manifest") demands equal media types, but Docker, containerd, Podman and skopeo
    /// accept Docker's and OCI's manifests under each other's media type. Errors name `place`.
    pub fn check_media_type(&self, what: &Descriptor, place: &str) -> Result<()> {
        // Clients treat an empty media type as an absent one.
        if what.media_type.is_empty() || is_index_type(&what.media_type) == Some(self.is_index()) {
            return Ok(());
        }
        Err(self.media_type_differs(what, place))
    }

    /// Compares the media type with the one in the list of a layout, `index.json`. Errors name `place`. Podman and
    /// skopeo read such a manifest by the media type in the list.
    pub fn check_layout_type(&self, what: &Descriptor, place: &str) -> Result<()> {
        match what.media_type.is_empty() || what.media_type == self.media_type {
            true => Ok(()),
            false => Err(self.media_type_differs(what, place)),
        }
    }

    fn media_type_differs(&self, what: &Descriptor, place: &str) -> Error {
        let called = format!("{place}: media type of the manifest {}", what.digest);
        Error::mismatch(called, type_or_not(&what.media_type), &self.media_type)
    }

    /// Errors when the manifest has not as many bytes as promised.
    pub fn check_size(&self, promised: u64, place: &str) -> Result<()> {
        if self.bytes.len() as u64 == promised {
            return Ok(());
        }
        let what = format!("{place}: size of the manifest in bytes");
        Err(Error::mismatch(what, promised, self.bytes.len()))
    }
}

/// Errors when the bytes of a manifest do not match the digest under which it was requested.
pub fn check_digest(place: &str, wanted: Digest, bytes: &[u8]) -> Result<()> {
    let found = Digest::of(bytes);
    match found == wanted {
        true => Ok(()),
        false => Err(Error::mismatch(format!("{place}: the manifest's bytes"), wanted, found)),
    }
}

/// Returns a media type for messages, where the text has the form of a media type (RFC 6838, 4.2). Other text is not
/// repeated, since servers repeat there what they were sent.
#[must_use]
pub fn type_or_not(text: &str) -> &str {
    /// Two names of 127 characters, with the slash.
    const LONGEST: usize = 255;
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "!#$&-^_.+".contains(c))
    };
    let is_type = text.len() <= LONGEST
        && text.split_once('/').is_some_and(|(kind, name)| is_name(kind) && is_name(name));
    if is_type { text } else { "an invalid media type" }
}

/// Returns whether a media type is that of an index; `None` where it is none of the four.
fn is_index_type(media_type: &str) -> Option<bool> {
    match media_type {
        OCI_INDEX | DOCKER_LIST => Some(true),
        OCI_MANIFEST | DOCKER_MANIFEST => Some(false),
        _ => None,
    }
}

/// Returns whether a media type is one of the four.
#[must_use]
pub fn is_manifest_type(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | OCI_MANIFEST | DOCKER_LIST | DOCKER_MANIFEST)
}

/// Fields that show what a document is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[serde(expecting = "an object")]
struct Shape {
    schema_version: Option<u64>,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
    fs_layers: Option<serde::de::IgnoredAny>,
    history: Option<serde::de::IgnoredAny>,
}

/// Returns the media type of a document. The body takes precedence over the header, since its digest was checked. A
/// manifest may lack the field (OCI image specification, "Image Manifest"): then its other fields decide.
fn media_type(shape: &Shape, content_type: Option<&str>) -> Option<&'static str> {
    let known = |text: &str| {
        [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].into_iter().find(|one| *one == text)
    };
    // Clients treat an empty media type as an absent one.
    if let Some(said) = shape.media_type.as_deref().filter(|said| !said.is_empty()) {
        return known(said);
    }
    content_type.and_then(known).or(match shape {
        Shape { manifests: Some(_), layers: None, .. } => Some(OCI_INDEX),
        Shape { layers: Some(_), config: Some(_), .. } => Some(OCI_MANIFEST),
        _ => None,
    })
}

fn schema_1(place: &str) -> Error {
    Error::source(format!("{place}: the manifest is of schema 1, which is not supported"))
        .hint("such images are from before 2017: pull and push it with a current tool, or choose a newer tag")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_in_the_body_the_header_or_the_parts() {
        let docker = format!(
            r#"{{"schemaVersion":2,"mediaType":"{DOCKER_MANIFEST}","config":{{}},"layers":[]}}"#
        );
        for (body, content_type, expected) in [
            (docker.as_str(), Some("application/json"), DOCKER_MANIFEST),
            (docker.as_str(), None, DOCKER_MANIFEST),
            (r#"{"schemaVersion":2,"config":{},"layers":[]}"#, Some(OCI_MANIFEST), OCI_MANIFEST),
            (r#"{"schemaVersion":2,"config":{},"layers":[]}"#, None, OCI_MANIFEST),
            (r#"{"schemaVersion":2,"manifests":[]}"#, Some("text/plain"), OCI_INDEX),
        ] {
            assert_eq!(
                Manifest::read("x", content_type, body.to_owned().into()).unwrap().media_type,
                expected,
                "{body}"
            );
        }
    }

    #[test]
    fn a_document_with_the_fields_of_schema_1_is_refused() {
        let read = |more: &str| {
            let body = format!(r#"{{"schemaVersion":2,"config":{{}},"layers":[]{more}}}"#);
            Manifest::read("x", Some(OCI_MANIFEST), body.into()).map(|_| ())
        };
        for more in ["", r#","fsLayers":null,"history":null"#, r#","signatures":[]"#] {
            assert!(read(more).is_ok(), "{more}");
        }
        for more in [r#","fsLayers":[]"#, r#","history":[]"#] {
            let said = read(more).unwrap_err().to_string();
            assert!(said.contains("of two schemas at once"), "{said}");
        }
    }

    #[test]
    fn a_descriptor_says_the_media_type_of_its_manifest_or_none() {
        let body = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;
        let kept = |media_type: &str| {
            let bytes = Bytes::from(body);
            let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
            let what = Descriptor { media_type: media_type.to_owned(), digest, size };
            Manifest::kept(&what, bytes, "x").is_ok()
        };
        for (media_type, is_right) in [
            ("", true),
            (OCI_MANIFEST, true),
            ("text/plain", false),
            (OCI_INDEX, false),
            (DOCKER_LIST, false),
        ] {
            assert_eq!(kept(media_type), is_right, "{media_type}");
        }
    }

    #[test]
    fn an_entry_of_an_index_may_call_a_manifest_by_the_name_of_the_other_specification() {
        let pairs = [(OCI_MANIFEST, DOCKER_MANIFEST), (OCI_INDEX, DOCKER_LIST)];
        for (one, other) in pairs.into_iter().flat_map(|(a, b)| [(a, b), (b, a)]) {
            let lists = if is_index_type(one) == Some(true) { "manifests" } else { "layers" };
            let body = format!(r#"{{"schemaVersion":2,"mediaType":"{one}","{lists}":[]}}"#);
            let (digest, size) = (Digest::of(body.as_bytes()), body.len() as u64);
            let what = Descriptor { media_type: other.to_owned(), digest, size };
            let manifest = Manifest::kept(&what, body.into(), "x").unwrap();
            assert_eq!(manifest.media_type, one);
            assert!(manifest.check_layout_type(&what, "x").is_err(), "{one}");
        }
    }
}

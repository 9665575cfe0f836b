//! Manifests and indexes as registries serve them: bytes that were checked, and what they are.
//!
//! What it refuses: schema 1, bytes that are not what was asked for, and documents that two readers
//! could take for two things.

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;

use super::wire::Answer;
use crate::error::{Error, Result};
use crate::image::descriptor::Descriptor;
use crate::image::digest::Digest;
use crate::image::reading;

/// Largest manifest: the distribution specification ("Pushing Manifests") says that registries
/// should take at least 4 megabytes, and that is where they, and other clients, stop.
pub const LARGEST_MANIFEST: usize = 4 * 1024 * 1024;

/// OCI image specification, "Image Index".
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image specification, "Image Manifest".
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Docker image manifest version 2, schema 2: manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker image manifest version 2, schema 2: image manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// What we can read.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// A manifest or an index whose bytes are those of its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// As served, byte for byte.
    pub bytes: Bytes,
    /// One of the four types above.
    pub media_type: String,
    /// Of the bytes.
    pub digest: Digest,
}

impl Manifest {
    /// Whether it lists manifests of several platforms rather than layers.
    #[must_use]
    pub fn is_index(&self) -> bool {
        matches!(self.media_type.as_str(), OCI_INDEX | DOCKER_LIST)
    }
}

impl Manifest {
    /// A manifest or index that is kept under a digest. Errors, which name `place`, when the bytes
    /// are not those that were promised, or no manifest.
    pub fn kept(what: &Descriptor, bytes: Bytes, place: &str) -> Result<Self> {
        let served = Served { content_type: Some(what.media_type.clone()), ..Served::default() };
        let manifest = check(place, Some(what.digest), &served, bytes)?;
        manifest.check_size(what.size, place)?;
        // OCI image specification, "Image Manifest": `mediaType` must be that of the descriptor.
        if is_manifest_type(&what.media_type) && what.media_type != manifest.media_type {
            let called = format!("{place}: media type of the manifest {}", what.digest);
            return Err(Error::mismatch(called, &what.media_type, &manifest.media_type));
        }
        Ok(manifest)
    }

    /// Whether it is as long as was promised, in bytes.
    pub fn check_size(&self, promised: u64, place: &str) -> Result<()> {
        if self.bytes.len() as u64 == promised {
            return Ok(());
        }
        let what = format!("{place}: size of the manifest in bytes");
        Err(Error::mismatch(what, promised, self.bytes.len()))
    }
}

/// Whether a media type is one of the four.
#[must_use]
pub fn is_manifest_type(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | OCI_MANIFEST | DOCKER_LIST | DOCKER_MANIFEST)
}

/// What an answer's headers say about its body.
#[derive(Debug, Default)]
pub(super) struct Served {
    host: String,
    content_type: Option<String>,
    digest: Option<String>,
}

impl Served {
    pub(super) fn of(answer: &Answer) -> Self {
        let media_type =
            |value: &str| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        Self {
            host: answer.host.clone(),
            content_type: answer.header(CONTENT_TYPE).map(media_type),
            digest: answer.header("docker-content-digest").map(str::to_owned),
        }
    }

    pub(super) fn is_html(&self) -> bool {
        self.content_type.as_deref() == Some("text/html")
    }
}

/// Just enough to tell what a document is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<u64>,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
}

/// Checks a body against what was asked for and what was announced. `place` is the image's name.
pub(super) fn check(
    place: &str,
    wanted: Option<Digest>,
    served: &Served,
    bytes: Bytes,
) -> Result<Manifest> {
    let content_type = served.content_type.as_deref();
    let host = &served.host;
    if served.is_html() || bytes.trim_ascii_start().first() == Some(&b'<') {
        let found = content_type.unwrap_or("a document that starts with '<'");
        return Err(Error::source(format!(
            "{place}: {host} answered {found} where a manifest was expected"
        ))
        .hint(format!("is {host} a registry?")));
    }
    let digest = Digest::of(&bytes);
    if let Some(wanted) = wanted
        && wanted != digest
    {
        return Err(Error::mismatch(format!("{place}: the manifest's bytes"), wanted, digest));
    }
    // Other algorithms are allowed here (distribution specification, "Pulling manifests"), but
    // nothing can be said about them.
    if let Some(said) = served.digest.as_deref().filter(|said| said.starts_with("sha256:"))
        && said != digest.to_string()
    {
        return Err(Error::mismatch(
            format!(
                "{place}: the manifest's bytes do not match the Docker-Content-Digest of {host}"
            ),
            said,
            digest,
        ));
    }
    if content_type
        .is_some_and(|found| found.starts_with("application/vnd.docker.distribution.manifest.v1+"))
    {
        return Err(schema_1(place));
    }
    let shape: Shape = serde_json::from_slice(&bytes)
        .map_err(|cause| Error::source(format!("{place}: the manifest cannot be read: {cause}")))?;
    if shape.schema_version == Some(1) {
        return Err(schema_1(place));
    }
    reading::manifest(&bytes).map_err(|why| reading::refused(place, "the manifest", &why))?;
    let media_type = media_type(&shape, content_type).ok_or_else(|| {
        let found = shape
            .media_type
            .as_deref()
            .or(content_type)
            .unwrap_or("a document without a media type");
        Error::source(format!("{place}: '{found}' is not an image manifest"))
    })?;
    let index = matches!(media_type, OCI_INDEX | DOCKER_LIST);
    // Readers that disagree on which it is see two images under one digest (CVE-2021-41190).
    let fits = match index {
        true => shape.layers.is_none() && shape.config.is_none(),
        false => shape.manifests.is_none(),
    };
    if !fits {
        return Err(Error::source(format!(
            "{place}: the document is a manifest and an index at once"
        )));
    }
    Ok(Manifest { bytes, media_type: media_type.to_owned(), digest })
}

/// The body's word counts before the header's: its digest was checked. Manifests may lack it
/// (OCI image specification, "Image Manifest"): then its parts tell.
fn media_type(shape: &Shape, content_type: Option<&str>) -> Option<&'static str> {
    let known = |text: &str| {
        [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].into_iter().find(|one| *one == text)
    };
    if let Some(said) = &shape.media_type {
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

    fn checked(body: &str, content_type: Option<&str>) -> Result<Manifest> {
        let served = Served {
            host: "r.example".into(),
            content_type: content_type.map(str::to_owned),
            digest: None,
        };
        check("r.example/x:1", None, &served, Bytes::copy_from_slice(body.as_bytes()))
    }

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
            assert_eq!(checked(body, content_type).unwrap().media_type, expected, "{body}");
        }
    }

    #[test]
    fn what_is_no_image_manifest_is_said_to_be_none() {
        for (body, content_type, expected) in [
            (r#"{"schemaVersion":1,"fsLayers":[]}"#, None, "schema 1"),
            ("{}", Some("application/vnd.docker.distribution.manifest.v1+prettyjws"), "schema 1"),
            ("<!doctype html>", None, "where a manifest was expected"),
            ("{}", Some("text/html"), "answered text/html where a manifest was expected"),
            ("{}", None, "without a media type"),
            ("nonsense", None, "cannot be read"),
            ("", None, "cannot be read"),
            ("null", None, "cannot be read"),
            (
                r#"{"mediaType":"application/vnd.cncf.x"}"#,
                Some(OCI_MANIFEST),
                "'application/vnd.cncf.x' is not an image manifest",
            ),
            (r#"{"manifests":[],"layers":[]}"#, Some(OCI_INDEX), "at once"),
            (r#"{"manifests":[],"layers":[],"config":{}}"#, Some(OCI_MANIFEST), "at once"),
        ] {
            let error = checked(body, content_type).expect_err(body);
            assert!(error.to_string().contains(expected), "{body}: {error}");
            assert!(error.to_string().starts_with("r.example/x:1: "), "{error}");
        }
    }

    #[test]
    fn both_promises_bind() {
        let body = Bytes::from_static(br#"{"config":{},"layers":[]}"#);
        let other = Digest::of(b"other");
        let check = |wanted, said: Option<String>| {
            let served = Served { digest: said, ..Served::default() };
            check("x", wanted, &served, body.clone())
        };
        let right = Digest::of(&body);
        assert!(check(Some(right), Some(right.to_string())).is_ok());
        assert!(check(None, Some("sha512:00".into())).is_ok());
        for wrong in [
            check(Some(other), None),
            check(Some(right), Some(other.to_string())),
            check(None, Some("sha256:0".into())),
        ] {
            let text = wrong.unwrap_err().to_string();
            assert!(text.contains("expected") && text.contains(&right.to_string()), "{text}");
        }
    }
}

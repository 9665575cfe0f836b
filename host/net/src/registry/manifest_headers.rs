//! Manifests in answers of registries: the headers of the answer, and the check of its body.
//!
//! What this module refuses: bytes that do not have the requested digest, and bodies that are not a manifest.

use std::io::Read as _;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use reqwest::header::CONTENT_TYPE;

use crate::http::wire::Answer;
use occystrap_base::error::{Error, Result, Side};
use occystrap_base::oci::Digest;
use occystrap_base::oci::manifest::{LARGEST_MANIFEST, Manifest, check_digest};

/// The media types of manifests that occystrap can read.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// The `Accept-Encoding` of every GET for a manifest. Go's HTTP client, which all clients of registries use, adds this
/// header to each GET without a range, and to no HEAD. A cache may store a separate variant for it.
pub(super) const ACCEPT_CODING: &str = "gzip";

/// The headers of an answer that describe its body.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ManifestHeaders {
    pub host: String,
    /// The media type without parameters, in lower case.
    content_type: Option<String>,
    /// The `Content-Type` as it was sent.
    pub(super) said_type: Option<String>,
    pub(super) digest: Option<String>,
    pub(super) length: Option<u64>,
}

/// A manifest, and the headers of the answer that contained it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedManifest {
    /// The manifest.
    pub manifest: Manifest,
    pub(super) headers: ManifestHeaders,
}

impl FetchedManifest {
    /// Returns whether the answer has this media type. Its parameters are ignored.
    pub(super) fn is_served_as(&self, media_type: &str) -> bool {
        self.headers.content_type.as_deref() == Some(media_type)
    }
}

impl ManifestHeaders {
    pub(super) fn of(answer: &Answer) -> Self {
        let media_type =
            |value: &str| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        Self {
            host: answer.host.clone(),
            content_type: answer.header(CONTENT_TYPE).map(media_type),
            said_type: answer.header(CONTENT_TYPE).map(str::to_owned),
            // Clients ignore an empty header.
            digest: answer
                .header("docker-content-digest")
                .filter(|said| !said.trim().is_empty())
                .map(str::to_owned),
            length: answer.length(),
        }
    }

    /// Decodes a body with `Content-Encoding` gzip. The length of such an answer is not that of the manifest, and
    /// clients ignore it. Errors when the body cannot be decoded, or has more than [`LARGEST_MANIFEST`] bytes.
    pub(super) fn decode(&mut self, place: &str, body: &[u8]) -> Result<Bytes> {
        self.length = None;
        let mut plain = Vec::new();
        let most = LARGEST_MANIFEST as u64 + 1;
        let outcome = MultiGzDecoder::new(body).take(most).read_to_end(&mut plain);
        let host = &self.host;
        if outcome.is_err() {
            return Err(Error::source(format!(
                "{place}: {host} sent a manifest with Content-Encoding gzip that cannot be decoded, which \
                 Docker, containerd, Podman and skopeo reject"
            )));
        }
        match plain.len() > LARGEST_MANIFEST {
            true => Err(Error::source(format!(
                "{place}: {host} sent a manifest of more than {LARGEST_MANIFEST} bytes, which is the limit"
            ))),
            false => Ok(plain.into()),
        }
    }

    pub(super) fn is_html(&self) -> bool {
        self.content_type.as_deref() == Some("text/html")
    }
}

/// Returns the text of a digest header for messages. A text that is not a digest is not repeated.
pub(super) fn digest_or_not(said: &str) -> Side {
    said.parse::<Digest>().map_or_else(|_| "a header that is not a digest".into(), Side::from)
}

/// Reads a body as a manifest. Errors when it does not have the digest `wanted`, or is not a manifest. `place` is the
/// image's name.
pub(super) fn check(
    place: &str,
    wanted: Option<Digest>,
    headers: &ManifestHeaders,
    bytes: Bytes,
) -> Result<Manifest> {
    let content_type = headers.content_type.as_deref();
    let host = &headers.host;
    if headers.is_html() || bytes.trim_ascii_start().first() == Some(&b'<') {
        let found =
            content_type.filter(|_| headers.is_html()).unwrap_or("a document that starts with '<'");
        return Err(Error::source(format!(
            "{place}: {host} answered {found} where a manifest was expected"
        ))
        .hint(format!("is {host} a registry?")));
    }
    if let Some(wanted) = wanted {
        check_digest(place, wanted, &bytes)?;
    }
    Manifest::read(place, content_type, bytes)
}

/// Errors when a manifest does not have the digest in the headers of its answer. A digest of another algorithm is
/// allowed there (distribution specification, "Pulling manifests"), and cannot be compared.
pub(super) fn check_named(place: &str, fetched: &FetchedManifest) -> Result<()> {
    let FetchedManifest { manifest, headers } = fetched;
    let named = headers.digest.as_deref().filter(|said| said.starts_with("sha256:"));
    match named.filter(|said| *said != manifest.digest.to_string()) {
        None => Ok(()),
        Some(said) => Err(Error::mismatch(
            format!(
                "{place}: the manifest's bytes do not match the Docker-Content-Digest of {}",
                headers.host
            ),
            digest_or_not(said),
            manifest.digest,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use occystrap_base::oci::manifest::{OCI_INDEX, OCI_MANIFEST};

    fn checked(body: &str, content_type: Option<&str>) -> Result<Manifest> {
        let headers = ManifestHeaders {
            host: "r.example".into(),
            content_type: content_type.map(str::to_owned),
            ..ManifestHeaders::default()
        };
        check("r.example/x:1", None, &headers, Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn a_document_that_is_no_image_manifest_is_refused() {
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
            let headers = ManifestHeaders { digest: said, ..ManifestHeaders::default() };
            let manifest = check("x", wanted, &headers, body.clone())?;
            check_named("x", &FetchedManifest { manifest, headers })
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

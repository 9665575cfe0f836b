//! What a request is about: its path and its query, parsed and checked (distribution specification, "Endpoints").
//!
//! What it refuses: names outside the grammar of the specification, in whatever spelling they arrive.

use std::borrow::Cow;

use url::form_urlencoded;

use occystrap_base::oci::Digest;
use occystrap_base::oci::name::{LONGEST_NAME, is_repository, is_tag};

use crate::refusal::{Code, Refusal};

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// The version of the API.
    Version,
    /// A manifest or an index.
    Manifest(String, Target),
    /// A blob.
    Blob(String, Digest),
    /// New uploads of a repository.
    Uploads(String),
    /// An upload that has begun.
    Upload(String, String),
    /// The tags of a repository.
    Tags(String),
    /// What refers to a manifest.
    Referrers(String, Digest),
    /// The list of all repositories.
    Catalog,
}

/// How a request names a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// By tag.
    Tag(String),
    /// By digest.
    Digest(Digest),
}

impl Target {
    /// Returns the digest, where the request names one.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Tag(_) => None,
            Self::Digest(digest) => Some(*digest),
        }
    }

    /// Returns the tag, where the request names one.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        match self {
            Self::Tag(tag) => Some(tag),
            Self::Digest(_) => None,
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl Route {
    /// Parses the path of a request. Errors: `NAME_INVALID`, `DIGEST_INVALID`, `MANIFEST_INVALID` for a reference that is
    /// neither a tag nor a digest, and 404 for a path that the specification does not have.
    pub fn parse(path: &str) -> Result<Self, Refusal> {
        let unknown = || {
            Refusal::not_found(Code::Unsupported, "this path is not one of the distribution API")
        };
        if path == "/v2" || path == "/v2/" {
            return Ok(Self::Version);
        }
        let rest = path.strip_prefix("/v2/").ok_or_else(unknown)?;
        let parts: Vec<Cow<'_, str>> =
            rest.split('/').map(decoded).collect::<Option<_>>().ok_or_else(unknown)?;
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        match parts.as_slice() {
            ["_catalog"] => Ok(Self::Catalog),
            [name @ .., "blobs", "uploads", ""] | [name @ .., "blobs", "uploads"]
                if !name.is_empty() =>
            {
                Ok(Self::Uploads(repository(name)?))
            }
            [name @ .., "blobs", "uploads", id] => {
                Ok(Self::Upload(repository(name)?, (*id).to_owned()))
            }
            [name @ .., "blobs", text] => Ok(Self::Blob(repository(name)?, digest(text)?)),
            [name @ .., "manifests", text] => Ok(Self::Manifest(repository(name)?, target(text)?)),
            [name @ .., "tags", "list"] => Ok(Self::Tags(repository(name)?)),
            [name @ .., "referrers", text] => Ok(Self::Referrers(repository(name)?, digest(text)?)),
            _ => Err(unknown()),
        }
    }

    /// Returns the repository, where the request is about one.
    #[must_use]
    pub fn repository(&self) -> Option<&str> {
        match self {
            Self::Version | Self::Catalog => None,
            Self::Manifest(name, _)
            | Self::Blob(name, _)
            | Self::Uploads(name)
            | Self::Upload(name, _)
            | Self::Tags(name)
            | Self::Referrers(name, _) => Some(name),
        }
    }
}

/// Returns a part of a path without percent-encoding. Some clients encode the colon of a digest. A part that hides a
/// slash or a byte that is not printable is none.
fn decoded(part: &str) -> Option<Cow<'_, str>> {
    if !part.contains('%') {
        return Some(Cow::Borrowed(part));
    }
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let pair = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    let is_plain = bytes.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'/');
    String::from_utf8(bytes).ok().filter(|_| is_plain).map(Cow::Owned)
}

fn repository(parts: &[&str]) -> Result<String, Refusal> {
    let name = parts.join("/");
    match name.len() <= LONGEST_NAME && is_repository(&name) {
        true => Ok(name),
        false => Err(Refusal::bad(Code::NameInvalid, "this is not the name of a repository")),
    }
}

/// Parses a digest. Errors with `DIGEST_INVALID`.
pub fn digest(text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(|error: occystrap_base::error::Error| {
        Refusal::bad(Code::DigestInvalid, error.to_string())
    })
}

fn target(text: &str) -> Result<Target, Refusal> {
    if text.contains(':') {
        return digest(text).map(Target::Digest);
    }
    match is_tag(text) {
        true => Ok(Target::Tag(text.to_owned())),
        false => Err(Refusal::bad(Code::ManifestInvalid, "this is neither a tag nor a digest")),
    }
}

/// Parameters of a request, after the `?`.
#[derive(Debug, Clone, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses the query of a request.
    #[must_use]
    pub fn parse(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// Returns the first value of a parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns all values of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[track_caller]
    fn code(path: &str) -> (u16, &'static str) {
        let refusal = Route::parse(path).unwrap_err();
        (refusal.status.as_u16(), refusal.code.name())
    }

    #[test]
    fn names_may_have_the_words_of_the_api() {
        let name = || "a/blobs/tags/b".to_owned();
        let digest: Digest = format!("sha256:{HEX}").parse().unwrap();
        for (path, route) in [
            ("manifests/v1".to_owned(), Route::Manifest(name(), Target::Tag("v1".to_owned()))),
            (format!("blobs/sha256:{HEX}"), Route::Blob(name(), digest)),
            (format!("blobs/sha256%3A{HEX}"), Route::Blob(name(), digest)),
            ("blobs/uploads/".to_owned(), Route::Uploads(name())),
            ("blobs/uploads".to_owned(), Route::Uploads(name())),
            ("blobs/uploads/7f".to_owned(), Route::Upload(name(), "7f".to_owned())),
            ("tags/list".to_owned(), Route::Tags(name())),
            (format!("referrers/sha256:{HEX}"), Route::Referrers(name(), digest)),
        ] {
            assert_eq!(Route::parse(&format!("/v2/a/blobs/tags/b/{path}")).unwrap(), route);
        }
        assert_eq!(Route::parse("/v2/").unwrap(), Route::Version);
    }

    #[test]
    fn no_spelling_leads_out_of_a_repository() {
        for name in
            ["../a", "a/../b", "%2e%2e/a", "a//b", "", "a%2fb", "a%00b", "a\0b", "A", "a/%2E%2E"]
        {
            let (status, _) = code(&format!("/v2/{name}/tags/list"));
            assert!(matches!(status, 400 | 404), "{name}: {status}");
        }
        assert_eq!(code(&format!("/v2/{}/tags/list", "a".repeat(256))), (400, "NAME_INVALID"));
        assert_eq!(code("/v2/a/manifests/.x"), (400, "MANIFEST_INVALID"));
        assert_eq!(code("/v2/a/blobs/sha256:12"), (400, "DIGEST_INVALID"));
        assert_eq!(code("/v2/a/blobs/sha512:12"), (400, "DIGEST_INVALID"));
        assert_eq!(code("/metrics"), (404, "UNSUPPORTED"));
    }

    proptest! {
        #[test]
        fn whatever_arrives_is_a_valid_name_or_refused(path in "/v2/[a-z./%0-9A-F_-]{0,60}/(manifests|blobs|tags)/[a-z.%0-9:]{0,20}") {
            if let Ok(route) = Route::parse(&path) && let Some(name) = route.repository() {
                prop_assert!(is_repository(name), "{name}");
            }
        }
    }
}

//! The check whether the clients of a registry get the same manifest as a GET by its tag or digest returns.
//!
//! Each client makes other requests, and a registry, or a cache in front of it, can answer each of them differently:
//!
//! | client | requests | uses |
//! | --- | --- | --- |
//! | Docker, containerd | HEAD by tag; GET by tag when the answer has no digest | `Docker-Content-Digest`, `Content-Type`, `Content-Length` |
//! | Docker, containerd | GET by the digest in that answer | Docker: `Content-Type` |
//! | Podman, skopeo, buildah | GET by tag | `Content-Type` |
//! | all, for the manifests of an index | GET by digest | Docker, Podman, skopeo: `Content-Type` |
//! | containerd, for a digest in the image's name | HEAD by digest | `Content-Type`, `Content-Length` |
//!
//! Observed with Docker 20.10, containerd 1.6, Podman 4.3 and skopeo 1.9. All clients ignore the parameters of a media
//! type (`; charset=utf-8`). All but containerd ignore its case. They treat 405 for a HEAD as an answer without a
//! digest.
//!
//! What this module refuses: an answer that one of these clients rejects, or reads as another image.

use reqwest::header::{ACCEPT, HeaderValue};
use reqwest::{Method, StatusCode};

use super::manifest_headers::{self, FetchedManifest, ManifestHeaders};
use super::repository::{Repository, named};
use crate::http::retry::RetryBudget;
use crate::http::wire::Call;
use occystrap_base::error::{Error, FaultOrigin, Kind, Result, Side};
use occystrap_base::oci::Digest;
use occystrap_base::oci::manifest::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};

/// The hint for an answer that a client rejects although the pushed bytes are right.
pub const CHANGED_ANSWER: &str = "the registry, or a proxy or cache in front of it, changes this answer: check their configuration; pushing again does not help";

/// A request of a client for a manifest or its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// HEAD by the tag or digest in the image's name.
    Head,
    /// GET by that tag or digest, when the answer to HEAD has no digest.
    InsteadOfHead,
    /// GET by tag.
    Tag,
    /// GET by the digest of a tag.
    Digest,
    /// GET by digest, when every client makes this request.
    Only,
}

/// An answer with a media type other than that of the manifest.
struct WrongType {
    ask: Ask,
    /// The header as it was sent; `None` where there was none.
    found: Option<String>,
    /// Whether one is the OCI media type, and the other the Docker media type of the same document.
    related: bool,
}

impl Repository {
    /// Errors ([`Kind::Source`], with both sides) when clients reject the headers of `fetched`, the answer to a GET by
    /// digest. This is how all clients get the manifests of an index. No request is made.
    pub fn check_headers(&self, target: &str, fetched: &FetchedManifest) -> Result<()> {
        let by = get_of(target);
        let wrong: Vec<WrongType> = wrong_type(by, &fetched.headers, fetched).into_iter().collect();
        reject(&self.place_of(target), by, fetched, &wrong).map_err(with_hint)
    }

    /// Errors when a client that pulls `target`, a tag or a digest, does not get the manifest that was `fetched` by it:
    /// [`Kind::Source`] when a client rejects an answer or reads it as another image; [`Kind::NotFound`] when a client
    /// does not find it; [`Kind::Network`] and [`Kind::Auth`] when a request fails. A tag costs two requests, a digest
    /// one.
    pub async fn check_resolved(&self, target: &str, fetched: &FetchedManifest) -> Result<()> {
        let place = self.place_of(target);
        let mut wrong: Vec<WrongType> =
            wrong_type(get_of(target), &fetched.headers, fetched).into_iter().collect();
        let outcome = match get_of(target) {
            Ask::Only => self.resolve_digest(target, &place, fetched, &mut wrong).await,
            _ => self.resolve_tag(target, &place, fetched, &mut wrong).await,
        };
        match outcome {
            Err(error) if error.kind() == Kind::Interrupted => Err(error),
            Err(error) if error.kind() == Kind::Source => Err(with_hint(error)),
            // A wrong answer is an error, even if another request failed.
            outcome => {
                reject(&place, get_of(target), fetched, &wrong).map_err(with_hint).and(outcome)
            }
        }
    }

    async fn resolve_tag(
        &self,
        tag: &str,
        place: &str,
        fetched: &FetchedManifest,
        wrong: &mut Vec<WrongType>,
    ) -> Result<()> {
        let digest = fetched.manifest.digest.to_string();
        let mut named = self.resolve(tag, place, fetched, wrong).await?;
        if is_other(named.as_deref(), &digest) {
            // The tag may have been moved between two answers.
            if self.fetch_manifest_lenient(tag).await?.manifest.digest != fetched.manifest.digest {
                let message = format!("{place}: the tag was moved during the check");
                return Err(Error::new(Kind::Network, message));
            }
            wrong.retain(|one| one.ask != Ask::Head);
            named = self.resolve(tag, place, fetched, wrong).await?;
        }
        if let Some(other) = named.as_deref().filter(|named| is_other(Some(named), &digest)) {
            let what =
                format!("{place}: HEAD reports another digest, which Docker and containerd pull");
            return Err(Error::mismatch(
                what,
                fetched.manifest.digest,
                manifest_headers::digest_or_not(other),
            ));
        }
        let by_digest = self.fetch_by(named.as_deref().unwrap_or(&digest)).await;
        let by_digest = by_digest.map_err(|error| not_by_digest(place, error))?;
        if by_digest.manifest.digest != fetched.manifest.digest {
            return Err(other_by_digest(place, fetched.manifest.digest, by_digest.manifest.digest));
        }
        wrong.extend(wrong_type(Ask::Digest, &by_digest.headers, fetched));
        Ok(())
    }

    async fn resolve_digest(
        &self,
        digest: &str,
        place: &str,
        fetched: &FetchedManifest,
        wrong: &mut Vec<WrongType>,
    ) -> Result<()> {
        match self.head(digest, place).await? {
            Some(headers) => {
                check_length(place, &headers, fetched)?;
                wrong.extend(wrong_type(Ask::Head, &headers, fetched));
            }
            None => wrong.extend(wrong_type(Ask::InsteadOfHead, &fetched.headers, fetched)),
        }
        Ok(())
    }

    /// Resolves a tag as Docker and containerd do. Returns the digest in the answer to HEAD. Returns `None` when it has
    /// none: then both clients use the answer to GET.
    async fn resolve(
        &self,
        tag: &str,
        place: &str,
        fetched: &FetchedManifest,
        wrong: &mut Vec<WrongType>,
    ) -> Result<Option<String>> {
        let headers = self.head(tag, place).await?;
        let Some((headers, digest)) =
            headers.and_then(|headers| headers.digest.clone().map(|digest| (headers, digest)))
        else {
            let get = &fetched.headers;
            let own = fetched.manifest.digest.to_string();
            if let Some(other) = get.digest.as_deref().filter(|said| is_other(Some(said), &own)) {
                let what = format!(
                    "{place}: HEAD reports no digest, and GET by tag reports another digest than \
                     that of its manifest, which Docker and containerd pull"
                );
                return Err(Error::mismatch(
                    what,
                    fetched.manifest.digest,
                    manifest_headers::digest_or_not(other),
                ));
            }
            if get.digest.is_some() && get.length.is_none() {
                return Err(Error::source(format!(
                    "{place}: HEAD reports no digest, and GET answers without Content-Length, which Docker rejects"
                )));
            }
            wrong.extend(wrong_type(Ask::InsteadOfHead, get, fetched));
            return Ok(None);
        };
        if headers.length.is_none() {
            let message =
                format!("{place}: HEAD answers without Content-Length, which Docker rejects");
            return Err(Error::source(message));
        }
        if !is_other(Some(&digest), &fetched.manifest.digest.to_string()) {
            check_length(place, &headers, fetched)?;
            wrong.extend(wrong_type(Ask::Head, &headers, fetched));
        }
        Ok(Some(digest))
    }

    /// Requests HEAD, and returns the headers. Returns `None` when the registry does not support HEAD (405): clients
    /// then use GET.
    async fn head(&self, target: &str, place: &str) -> Result<Option<ManifestHeaders>> {
        let mut call = Call::get(self.url(&format!("manifests/{target}")));
        call.method = Method::HEAD;
        call.headers.insert(ACCEPT, HeaderValue::from_static(manifest_headers::ACCEPT));
        let mut budget = RetryBudget::new(&self.wire().settings);
        let answer = self.send(&call, &mut budget).await.map_err(|error| named(error, place))?;
        match answer.status() {
            StatusCode::METHOD_NOT_ALLOWED => Ok(None),
            status if status.is_success() => Ok(Some(ManifestHeaders::of(&answer))),
            status => Err(Error::mismatch(
                format!(
                    "{place}: HEAD is refused although GET is not, and containerd relies on HEAD"
                ),
                StatusCode::OK.to_string(),
                status.to_string(),
            )),
        }
    }
}

/// Returns whether a digest in an answer cannot be that of the manifest. A digest of another algorithm can.
fn is_other(named: Option<&str>, digest: &str) -> bool {
    /// The other algorithms that the image specification registers.
    const OTHERS: [(&str, usize); 2] = [("sha384:", 96), ("sha512:", 128)];
    let is_hex = |text: &str, length| {
        text.len() == length
            && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
    };
    let of_other_algorithm = |named: &str| {
        OTHERS
            .iter()
            .any(|(name, length)| named.strip_prefix(name).is_some_and(|hex| is_hex(hex, *length)))
    };
    named.is_some_and(|named| named != digest && !of_other_algorithm(named))
}

/// Errors when HEAD reports another length: containerd compares it with the downloaded bytes.
fn check_length(place: &str, headers: &ManifestHeaders, fetched: &FetchedManifest) -> Result<()> {
    let size = fetched.manifest.bytes.len() as u64;
    match headers.length {
        Some(length) if length != size => Err(Error::mismatch(
            format!("{place}: HEAD reports another Content-Length, which containerd rejects"),
            size,
            length,
        )),
        _ => Ok(()),
    }
}

/// Returns the media type that all answers must have.
fn expected(fetched: &FetchedManifest) -> &str {
    fetched.manifest.own_type().unwrap_or(&fetched.manifest.media_type)
}

fn wrong_type(ask: Ask, headers: &ManifestHeaders, fetched: &FetchedManifest) -> Option<WrongType> {
    let said = headers.said_type.as_deref().unwrap_or_default();
    let mut bare = said.split(';').next().unwrap_or_default().trim().to_owned();
    // Only containerd compares the case, and it uses the answer to HEAD.
    if !matches!(ask, Ask::Head | Ask::InsteadOfHead) {
        bare.make_ascii_lowercase();
    }
    let expected = expected(fetched);
    let related =
        [(OCI_INDEX, DOCKER_LIST), (OCI_MANIFEST, DOCKER_MANIFEST)].iter().any(|(oci, docker)| {
            [*oci, *docker].contains(&bare.as_str()) && [*oci, *docker].contains(&expected)
        });
    let found = (!said.trim().is_empty()).then(|| said.to_owned());
    (bare != expected).then_some(WrongType { ask, found, related })
}

/// Errors when a client rejects the media type of an answer. The error lists these answers and clients. `by` is the GET
/// by the tag or digest in the image's name.
fn reject(place: &str, by: Ask, fetched: &FetchedManifest, wrong: &[WrongType]) -> Result<()> {
    let Some(first) = wrong.first() else { return Ok(()) };
    let has = |of: &dyn Fn(&WrongType) -> bool| wrong.iter().any(of);
    let asks = [
        (Ask::Head, "HEAD"),
        (Ask::InsteadOfHead, if by == Ask::Only { "GET by digest" } else { "GET by tag" }),
        (Ask::Tag, "GET by tag"),
        (Ask::Digest, "GET by digest"),
        (Ask::Only, "GET by digest"),
    ];
    let asks = asks.iter().filter(|(ask, _)| has(&|one| one.ask == *ask));
    let mut asks: Vec<&str> = asks.map(|(_, called)| *called).collect();
    asks.dedup();
    let by_get = |one: &WrongType| matches!(one.ask, Ask::Tag | Ask::Only);
    let clients = [
        (
            "Docker",
            has(&|one| match one.ask {
                Ask::Head | Ask::InsteadOfHead => one.found.is_none(),
                Ask::Digest | Ask::Only => true,
                Ask::Tag => false,
            }),
        ),
        (
            "containerd",
            has(&|one| matches!(one.ask, Ask::Head | Ask::InsteadOfHead) && !one.related),
        ),
        ("Podman", has(&by_get)),
        ("skopeo", has(&|one| by_get(one) && !one.related)),
    ];
    let clients = clients.iter().filter(|(_, rejects)| *rejects);
    let clients: Vec<&str> = clients.map(|(client, _)| *client).collect();
    let what = match (&first.found, clients.as_slice()) {
        // Each of these clients accepts the media type of the other family.
        (_, []) => return Ok(()),
        (Some(_), clients) => format!("another Content-Type, rejected by {}", list(clients)),
        (None, clients) => format!("no Content-Type, rejected by {}", list(clients)),
    };
    let (expected, found) = (expected(fetched), first.found.as_deref().unwrap_or("none"));
    let answers = if asks.len() == 1 { "answers" } else { "answer" };
    let what = format!("{place}: {} {answers} with {what}", list(&asks));
    Err(Error::mismatch(what, expected, found))
}

/// Adds the hint [`CHANGED_ANSWER`] to an error without a hint.
fn with_hint(error: Error) -> Error {
    match error.hint_text() {
        Some(_) => error,
        None => error.hint(CHANGED_ANSWER).with_origin(FaultOrigin::ChangedAnswer),
    }
}

/// Returns the kind of a GET by this tag or digest.
fn get_of(target: &str) -> Ask {
    match target.parse::<Digest>() {
        Ok(_) => Ask::Only,
        Err(_) => Ask::Tag,
    }
}

/// Returns the error for a manifest that is found by its tag, and not by its digest.
fn not_by_digest(place: &str, error: Error) -> Error {
    match (error.kind(), error.difference()) {
        (Kind::NotFound, _) => Error::new(
            Kind::NotFound,
            format!(
                "{place}: the registry does not have the manifest under its digest, by which Docker \
                 and containerd pull it"
            ),
        ),
        (Kind::Source, Some((expected, found))) => other_by_digest(place, expected, found),
        _ => error,
    }
}

fn other_by_digest(place: &str, expected: impl Into<Side>, found: impl Into<Side>) -> Error {
    let what = format!("{place}: GET by digest gives another manifest, which Docker pulls");
    Error::mismatch(what, expected, found)
}

/// Joins names: `a`, `a and b`, `a, b and c`.
fn list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_of_another_algorithm_is_not_another_manifest() {
        let digest = Digest::of(b"x").to_string();
        let sha512 = format!("sha512:{}", "0f".repeat(64));
        for same in [None, Some(digest.as_str()), Some(sha512.as_str())] {
            assert!(!is_other(same, &digest), "{same:?}");
        }
        let other = Digest::of(b"y").to_string();
        for odd in [other.as_str(), "xyz", "", "sha512:0f", "sha512:../../x", &digest[..70]] {
            assert!(is_other(Some(odd), &digest), "{odd}");
        }
    }

    #[test]
    fn names_are_listed_as_a_sentence_has_them() {
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["a", "b"]), "a and b");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
    }
}

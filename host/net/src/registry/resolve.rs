//! Whether the clients of a registry get the manifest that a GET of its name gives.
//!
//! Each client asks in its own way, and a registry, or a cache before it, can answer each way differently:
//!
//! | client | asks | acts on |
//! | --- | --- | --- |
//! | Docker, containerd | HEAD by tag; GET by tag where that names no digest | `Docker-Content-Digest`, `Content-Type`, `Content-Length` |
//! | Docker, containerd | GET by the digest that was named | Docker: `Content-Type` |
//! | Podman, skopeo, buildah | GET by tag | `Content-Type` |
//! | all, of what an index lists | GET by digest | Docker, Podman, skopeo: `Content-Type` |
//! | containerd, of a digest that the user named | HEAD by digest | `Content-Type`, `Content-Length` |
//!
//! Observed with Docker 20.10, containerd 1.6, Podman 4.3 and skopeo 1.9. Parameters of a media type
//! (`; charset=utf-8`) are read over by all; its case by all but containerd. 405 for a HEAD is as good as an
//! answer without a digest.
//!
//! What it refuses: an answer that one of these clients rejects, or takes for another image.

use reqwest::header::{ACCEPT, HeaderValue};
use reqwest::{Method, StatusCode};

use super::repository::{Repository, named};
use super::served::{self, Fetched, Served};
use crate::http::retry::Budget;
use crate::http::wire::Call;
use occystrap_base::error::{Error, Kind, Origin, Result, Side};
use occystrap_base::oci::Digest;
use occystrap_base::oci::manifest::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};

/// What to do about an answer that a client rejects. The bytes that were pushed are right.
pub const CHANGED_ANSWER: &str = "the registry, or a proxy or cache in front of it, changes this answer: look there; pushing again does not help";

/// A request by which clients learn what a manifest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// HEAD by the name that the user gave.
    Head,
    /// GET by that name, where HEAD does not say what it stands for.
    InsteadOfHead,
    /// GET by tag.
    Tag,
    /// GET by the digest that a tag was resolved to.
    Digest,
    /// GET by digest, where that is how every client asks.
    Only,
}

/// An answer whose media type is not that of the manifest.
struct WrongType {
    ask: Ask,
    /// As it was sent; `None` where there was none.
    found: Option<String>,
    /// It is Docker's name for what OCI has another one for, or the other way round.
    related: bool,
}

impl Repository {
    /// Errors ([`Kind::Source`], with both sides) when clients that fetch a manifest by its digest alone, as
    /// all do with what an index lists, reject the answer that `fetched` came with. Nothing is asked.
    pub fn check_served(&self, target: &str, fetched: &Fetched) -> Result<()> {
        let by = get_of(target);
        let wrong: Vec<WrongType> = wrong_type(by, &fetched.served, fetched).into_iter().collect();
        reject(&self.place_of(target), by, fetched, &wrong).map_err(with_hint)
    }

    /// Errors when a client that is given the name `target`, a tag or a digest, does not get the manifest that
    /// was `fetched` by it: [`Kind::Source`] where one rejects an answer or takes it for another
    /// image; [`Kind::NotFound`] where it is not there for one; [`Kind::Network`] and [`Kind::Auth`]
    /// where that cannot be asked. A tag costs two requests, a digest one.
    pub async fn check_resolved(&self, target: &str, fetched: &Fetched) -> Result<()> {
        let place = self.place_of(target);
        let mut wrong: Vec<WrongType> =
            wrong_type(get_of(target), &fetched.served, fetched).into_iter().collect();
        let outcome = match get_of(target) {
            Ask::Only => self.resolve_digest(target, &place, fetched, &mut wrong).await,
            _ => self.resolve_tag(target, &place, fetched, &mut wrong).await,
        };
        match outcome {
            Err(error) if error.kind() == Kind::Interrupted => Err(error),
            Err(error) if error.kind() == Kind::Source => Err(with_hint(error)),
            // What is known to be wrong does not depend on what could not be asked.
            outcome => {
                reject(&place, get_of(target), fetched, &wrong).map_err(with_hint).and(outcome)
            }
        }
    }

    async fn resolve_tag(
        &self,
        tag: &str,
        place: &str,
        fetched: &Fetched,
        wrong: &mut Vec<WrongType>,
    ) -> Result<()> {
        let digest = fetched.manifest.digest.to_string();
        let mut named = self.resolve(tag, place, fetched, wrong).await?;
        if is_other(named.as_deref(), &digest) {
            // The tag may have been moved between two answers.
            if self.fetch_served(tag).await?.manifest.digest != fetched.manifest.digest {
                let message = format!("{place}: the tag was moved while it was looked at");
                return Err(Error::new(Kind::Network, message));
            }
            wrong.retain(|one| one.ask != Ask::Head);
            named = self.resolve(tag, place, fetched, wrong).await?;
        }
        if let Some(other) = named.as_deref().filter(|named| is_other(Some(named), &digest)) {
            let what =
                format!("{place}: HEAD names another manifest, which Docker and containerd pull");
            return Err(Error::mismatch(
                what,
                fetched.manifest.digest,
                served::digest_or_not(other),
            ));
        }
        let by_digest = self.fetch_by(named.as_deref().unwrap_or(&digest)).await;
        let by_digest = by_digest.map_err(|error| not_by_digest(place, error))?;
        if by_digest.manifest.digest != fetched.manifest.digest {
            return Err(other_by_digest(place, &digest, by_digest.manifest.digest));
        }
        wrong.extend(wrong_type(Ask::Digest, &by_digest.served, fetched));
        Ok(())
    }

    async fn resolve_digest(
        &self,
        digest: &str,
        place: &str,
        fetched: &Fetched,
        wrong: &mut Vec<WrongType>,
    ) -> Result<()> {
        match self.head(digest, place).await? {
            Some(served) => {
                check_length(place, &served, fetched)?;
                wrong.extend(wrong_type(Ask::Head, &served, fetched));
            }
            None => wrong.extend(wrong_type(Ask::InsteadOfHead, &fetched.served, fetched)),
        }
        Ok(())
    }

    /// Resolves a tag as Docker and containerd do. Returns the digest that HEAD names, and `None` where it
    /// names none, so that both take what a GET gives.
    async fn resolve(
        &self,
        tag: &str,
        place: &str,
        fetched: &Fetched,
        wrong: &mut Vec<WrongType>,
    ) -> Result<Option<String>> {
        let served = self.head(tag, place).await?;
        let Some((served, digest)) =
            served.and_then(|served| served.digest.clone().map(|digest| (served, digest)))
        else {
            let get = &fetched.served;
            let own = fetched.manifest.digest.to_string();
            if let Some(other) = get.digest.as_deref().filter(|said| is_other(Some(said), &own)) {
                let what = format!(
                    "{place}: HEAD names no digest, and GET by tag names another one than its manifest \
                     has, which Docker and containerd pull"
                );
                return Err(Error::mismatch(
                    what,
                    fetched.manifest.digest,
                    served::digest_or_not(other),
                ));
            }
            if get.digest.is_some() && get.length.is_none() {
                return Err(Error::source(format!(
                    "{place}: HEAD names no digest, and GET answers without Content-Length, which Docker rejects"
                )));
            }
            wrong.extend(wrong_type(Ask::InsteadOfHead, get, fetched));
            return Ok(None);
        };
        if served.length.is_none() {
            let message =
                format!("{place}: HEAD answers without Content-Length, which Docker rejects");
            return Err(Error::source(message));
        }
        if !is_other(Some(&digest), &fetched.manifest.digest.to_string()) {
            check_length(place, &served, fetched)?;
            wrong.extend(wrong_type(Ask::Head, &served, fetched));
        }
        Ok(Some(digest))
    }

    /// What a HEAD says; `None` where the registry knows no HEAD (405), which clients make up for.
    async fn head(&self, target: &str, place: &str) -> Result<Option<Served>> {
        let mut call = Call::get(self.url(&format!("manifests/{target}")));
        call.method = Method::HEAD;
        call.headers.insert(ACCEPT, HeaderValue::from_static(served::ACCEPT));
        let mut budget = Budget::new(&self.wire().settings);
        let answer = self.send(&call, &mut budget).await.map_err(|error| named(error, place))?;
        match answer.status() {
            StatusCode::METHOD_NOT_ALLOWED => Ok(None),
            status if status.is_success() => Ok(Some(Served::of(&answer))),
            status => Err(Error::mismatch(
                format!("{place}: HEAD is refused where GET is not, and containerd takes its word"),
                StatusCode::OK.to_string(),
                status.to_string(),
            )),
        }
    }
}

/// Whether HEAD names a digest that cannot be that of the manifest. One of another algorithm can.
fn is_other(named: Option<&str>, digest: &str) -> bool {
    /// Of the algorithms that the image specification registers.
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

/// containerd compares the length that HEAD says with what it downloads.
fn check_length(place: &str, served: &Served, fetched: &Fetched) -> Result<()> {
    let size = fetched.manifest.bytes.len() as u64;
    match served.length {
        Some(length) if length != size => Err(Error::mismatch(
            format!("{place}: HEAD says another Content-Length, which containerd rejects"),
            size,
            length,
        )),
        _ => Ok(()),
    }
}

/// The media type that all answers must have.
fn expected(fetched: &Fetched) -> &str {
    fetched.manifest.own_type().unwrap_or(&fetched.manifest.media_type)
}

fn wrong_type(ask: Ask, served: &Served, fetched: &Fetched) -> Option<WrongType> {
    let said = served.said_type.as_deref().unwrap_or_default();
    let mut bare = said.split(';').next().unwrap_or_default().trim().to_owned();
    // containerd alone tells capital letters from small ones, and HEAD is what it acts on.
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

/// The error for answers with another media type that a client rejects: which they are, and who does. `by` is the GET of the
/// name itself.
fn reject(place: &str, by: Ask, fetched: &Fetched, wrong: &[WrongType]) -> Result<()> {
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
        // Each of them takes the twin of the other family for it.
        (_, []) => return Ok(()),
        (Some(_), clients) => format!("another Content-Type, rejected by {}", list(clients)),
        (None, clients) => format!("no Content-Type, rejected by {}", list(clients)),
    };
    let (expected, found) = (expected(fetched), first.found.as_deref().unwrap_or("none"));
    let answers = if asks.len() == 1 { "answers" } else { "answer" };
    let what = format!("{place}: {} {answers} with {what}", list(&asks));
    Err(Error::mismatch(what, expected, found))
}

/// The error, with what to do about it, where it does not say that already.
fn with_hint(error: Error) -> Error {
    match error.hint_text() {
        Some(_) => error,
        None => error.hint(CHANGED_ANSWER).with_origin(Origin::ChangedAnswer),
    }
}

/// How the name itself is asked for by GET.
fn get_of(target: &str) -> Ask {
    match target.parse::<Digest>() {
        Ok(_) => Ask::Only,
        Err(_) => Ask::Tag,
    }
}

/// The error for a manifest that its tag leads to, and its digest does not.
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

/// `a`, `a and b`, `a, b and c`.
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

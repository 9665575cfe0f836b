//! A repository of a registry: requests with authentication, and the download of manifests.
//!
//! What this module refuses: to repeat a request without end, and to send the registry's credentials to a host that it
//! redirects to.

use std::sync::Arc;

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, HeaderValue};
use url::Url;

use super::challenge::challenges;
use super::known_blobs::KnownBlobs;
use super::manifest_headers::{self, FetchedManifest, ManifestHeaders};
use super::reference::Reference;
use super::scope;
use super::session::{AuthSession, Pass, Sessions, usable};
use crate::http::failure::Failure;
use crate::http::peer::Peer;
use crate::http::resume_state::Ends;
use crate::http::retry::{RetryBudget, is_passing};
use crate::http::wire::{Answer, Call, Wire};
use occystrap_base::error::{Error, FaultOrigin, Kind, Result};
use occystrap_base::oci::digest::Digest;
use occystrap_base::oci::manifest::{LARGEST_MANIFEST, Manifest};
use occystrap_base::oci::name::is_tag;

/// The `Accept-Encoding` of requests for blobs. Blobs are already compressed, and ranges and lengths of a body that is
/// compressed for the transfer are not those of the blob.
pub(super) const PLAIN: HeaderValue = HeaderValue::from_static("identity");

/// A repository. Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct Repository(Arc<Inner>);

struct Inner {
    reference: Reference,
    endpoint: Url,
    scope: String,
    session: Arc<AuthSession>,
    /// The sessions with other scopes come from here.
    sessions: Arc<Sessions>,
    known: KnownBlobs,
    wire: Wire,
    /// See [`Repository::strict`].
    is_strict: bool,
}

impl Repository {
    pub(super) fn new(
        reference: &Reference,
        scope: String,
        sessions: Arc<Sessions>,
        known: KnownBlobs,
        wire: Wire,
    ) -> Result<Self> {
        let endpoint = reference.endpoint(wire.settings.insecure)?;
        let session = sessions.session(reference, &scope);
        let reference = reference.clone();
        let is_strict = false;
        let inner = Inner { reference, endpoint, scope, session, sessions, known, wire, is_strict };
        Ok(Self(Arc::new(inner)))
    }

    /// Returns the same repository with tokens that also allow `scope`.
    pub(super) fn widened(&self, scope: &str) -> Self {
        let Inner { reference, endpoint, sessions, known, wire, is_strict, .. } = &*self.0;
        let scope = format!("{} {scope}", self.0.scope);
        Self(Arc::new(Inner {
            reference: reference.clone(),
            endpoint: endpoint.clone(),
            session: sessions.session(reference, &scope),
            scope,
            sessions: sessions.clone(),
            known: known.clone(),
            wire: wire.clone(),
            is_strict: *is_strict,
        }))
    }

    /// Returns the same repository for verification. A download of a blob then fails whenever it fails in the clients
    /// of registries, even if all of its bytes are received.
    #[must_use]
    pub fn strict(&self) -> Self {
        let Inner { reference, endpoint, scope, session, sessions, known, wire, .. } = &*self.0;
        Self(Arc::new(Inner {
            reference: reference.clone(),
            endpoint: endpoint.clone(),
            scope: scope.clone(),
            session: session.clone(),
            sessions: sessions.clone(),
            known: known.clone(),
            wire: wire.clone(),
            is_strict: true,
        }))
    }

    /// Returns another repository of the registry that has a blob, for reading: see [`Repository::other_with_blob`].
    #[must_use]
    pub fn other_holder(&self, digest: Digest) -> Option<Self> {
        let name = self.other_with_blob(digest)?;
        let Inner { reference, endpoint, sessions, known, wire, is_strict, .. } = &*self.0;
        let scope = scope::pull(&name);
        let reference = Reference { repository: name, ..reference.clone() };
        Some(Self(Arc::new(Inner {
            session: sessions.session(&reference, &scope),
            reference,
            endpoint: endpoint.clone(),
            scope,
            sessions: sessions.clone(),
            known: known.clone(),
            wire: wire.clone(),
            is_strict: *is_strict,
        })))
    }

    pub(super) fn is_strict(&self) -> bool {
        self.0.is_strict
    }

    /// Returns `HOST/REPOSITORY`, the name in errors.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}/{}", self.0.reference.host, self.0.reference.repository)
    }

    /// Returns `HOST/REPOSITORY:TAG` or `HOST/REPOSITORY@DIGEST`.
    pub(super) fn place_of(&self, target: &str) -> String {
        match is_tag(target) {
            true => format!("{}:{target}", self.place()),
            false => format!("{}@{target}", self.place()),
        }
    }

    /// Returns whether both repositories are at the same registry, so that a blob can be mounted from one to the other:
    /// they have the same host name, port and scheme.
    #[must_use]
    pub fn same_registry(&self, other: &Self) -> bool {
        self.0.endpoint == other.0.endpoint
    }

    /// Returns the host of the registry, as references spell it.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.0.reference.host
    }

    /// Returns the name within the registry.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.reference.repository
    }

    pub(super) fn endpoint(&self) -> &Url {
        &self.0.endpoint
    }

    /// Forgets the sessions of this repository.
    pub(super) fn forget_sessions(&self) {
        self.0.sessions.forget(&self.0.reference);
    }

    #[cfg(test)]
    pub(super) fn sessions(&self) -> usize {
        self.0.sessions.len()
    }

    /// Returns what this run has learned of blobs.
    pub(super) fn known_blobs(&self) -> &KnownBlobs {
        &self.0.known
    }

    pub(super) fn wire(&self) -> &Wire {
        &self.0.wire
    }

    /// Returns the authentication to send with the next request.
    pub(super) async fn pass(&self) -> Result<Pass> {
        let Inner { reference, scope, session, wire, .. } = &*self.0;
        session.pass(wire, reference, scope).await
    }

    /// Gets a new pass after `refused` was refused with `answer`. Returns the same as [`AuthSession::renew`].
    pub(super) async fn renew(&self, refused: &Pass, answer: &Answer) -> Result<bool> {
        let Inner { reference, scope, session, wire, .. } = &*self.0;
        session.renew(refused, &challenges(answer.headers()), wire, reference, scope).await
    }

    /// Logs in after an answer that may hide something from users without a login: see [`AuthSession::introduce`].
    async fn introduce(&self, refused: &Pass, answer: &Answer) -> Result<bool> {
        let Inner { reference, scope, session, wire, endpoint, .. } = &*self.0;
        let offered = challenges(answer.headers());
        session.introduce(refused, &offered, wire, reference, scope, endpoint).await
    }

    /// Returns the error for a registry that refuses access.
    pub(super) async fn auth_error(&self) -> Error {
        let Inner { reference, scope, session, wire, endpoint, .. } = &*self.0;
        let server = Peer::new(endpoint, &wire.settings.proxies);
        session.auth_error(reference, scope, &server).await
    }

    /// Returns the error for a host that the registry redirected to, and that refuses access. No login is sent there.
    pub(super) fn auth_error_elsewhere(&self, answer: &Answer) -> Error {
        let (host, other, status) = (&self.0.reference.host, &answer.host, answer.status());
        Error::new(Kind::Auth, format!("{other}, where {host} redirected to, answered {status}"))
    }

    /// Returns the manifest or index of a tag or a digest (distribution specification, "Pulling manifests"). Its bytes
    /// are compared with the digest in `target` and with the digest in the answer. Errors: [`Kind::NotFound`],
    /// [`Kind::Auth`], [`Kind::Network`] after all retries, [`Kind::Source`] when the bytes have another digest, are
    /// longer than [`LARGEST_MANIFEST`], are of schema 1 or not a manifest, and [`Kind::Usage`] when `target` is
    /// neither a tag nor a digest.
    pub async fn manifest(&self, target: &str) -> Result<Manifest> {
        self.fetch_manifest(target).await.map(|fetched| fetched.manifest)
    }

    /// Returns the same as [`Self::manifest`], with the headers of the answer.
    pub async fn fetch_manifest(&self, target: &str) -> Result<FetchedManifest> {
        let fetched = self.fetch_manifest_lenient(target).await?;
        manifest_headers::check_named(&self.place_of(target), &fetched)?;
        Ok(fetched)
    }

    /// Returns the same as [`Self::fetch_manifest`], but ignores the digest in the answer, as the clients of registries
    /// do. [`Self::check_resolved`] checks this digest where clients use it.
    pub async fn fetch_manifest_lenient(&self, target: &str) -> Result<FetchedManifest> {
        match target.parse::<Digest>().is_ok() || is_tag(target) {
            true => self.fetch_by(target).await,
            false => Err(Error::usage(format!("'{target}' is neither a tag nor a digest"))),
        }
    }

    /// Returns the same as [`Self::fetch_manifest_lenient`], by a tag or by a digest of any algorithm. Only a SHA-256
    /// digest is compared with the bytes.
    pub(super) async fn fetch_by(&self, target: &str) -> Result<FetchedManifest> {
        let wanted = target.parse::<Digest>().ok();
        let place = self.place_of(target);
        let mut call = Call::get(self.url(&format!("manifests/{target}")));
        call.headers.insert(ACCEPT, HeaderValue::from_static(manifest_headers::ACCEPT));
        call.headers
            .insert(ACCEPT_ENCODING, HeaderValue::from_static(manifest_headers::ACCEPT_CODING));
        let mut budget = RetryBudget::new(&self.0.wire.settings);
        let mut ends = Ends::default();
        loop {
            let mut answer =
                self.send(&call, &mut budget).await.map_err(|error| named(error, &place))?;
            let mut headers = ManifestHeaders::of(&answer);
            match answer.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => {
                    return Err(self.image_not_found(&place, &answer, &headers).await);
                }
                status => return Err(unexpected(&place, &answer, status)),
            }
            match answer.read(LARGEST_MANIFEST, "a manifest").await {
                Ok(bytes) => {
                    let bytes = match answer.is_gzip() {
                        true => headers.decode(&place, &bytes)?,
                        false => bytes,
                    };
                    let manifest = manifest_headers::check(&place, wanted, &headers, bytes)?;
                    return Ok(FetchedManifest { manifest, headers });
                }
                Err(failure) => {
                    let is_end = matches!(failure, Failure::Ended(_));
                    if is_end {
                        ends.record(answer.came());
                    }
                    let paused = self.0.wire.pause(&mut budget, failure).await;
                    paused.map_err(|error| match ends.same().filter(|_| is_end) {
                        Some(end) if error.kind() == Kind::Network => {
                            ends_early(&place, &answer, end)
                        }
                        _ => named(error, &place),
                    })?;
                }
            }
        }
    }

    /// Makes a call with the authentication that the registry requests. A status of 401 or 403 is an error.
    pub(super) async fn send(&self, call: &Call, budget: &mut RetryBudget) -> Result<Answer> {
        let answer = self.ask(call, budget).await?;
        match answer.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.auth_error().await),
            _ => Ok(answer),
        }
    }

    /// Makes a call as [`Self::send`], but returns an answer of the registry with the status 401 or 403 as well. Some
    /// answers may be sent only to users without a login: 401 without a challenge, 403 and 404. They count only when
    /// the user has no login, or when the registry does not accept it.
    pub(super) async fn ask(&self, call: &Call, budget: &mut RetryBudget) -> Result<Answer> {
        let mut renewed = false;
        // The answer to the request without a login.
        let mut anonymous = None;
        loop {
            let pass = self.pass().await?;
            let answer = self.0.wire.exchange(call, pass.header.as_ref(), budget).await?;
            let status = answer.status();
            let is_refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
            if answer.elsewhere {
                return match is_refused {
                    true => Err(self.auth_error_elsewhere(&answer)),
                    false => Ok(answer),
                };
            }
            let asks = status == StatusCode::UNAUTHORIZED
                && usable(&challenges(answer.headers())).is_some();
            let may_hide = (is_refused || status == StatusCode::NOT_FOUND) && !asks;
            if may_hide
                && pass.header.is_none()
                && anonymous.is_none()
                && self.introduce(&pass, &answer).await?
            {
                anonymous = Some(answer);
                continue;
            }
            if status != StatusCode::UNAUTHORIZED || renewed {
                return Ok(answer);
            }
            match self.renew(&pass, &answer).await {
                Ok(fresh) => renewed = fresh,
                Err(error) if error.kind() == Kind::Auth => match anonymous {
                    // A login that is not accepted must not make the outcome worse.
                    Some(anonymous) => {
                        self.0.session.withdraw(&pass, error).await;
                        return Ok(anonymous);
                    }
                    None => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns a URL of the repository. Callers build `path` from checked tags and digests only.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.0.endpoint.clone();
        url.set_path(&format!("/v2/{}/{path}", self.0.reference.repository));
        url
    }

    async fn image_not_found(
        &self,
        place: &str,
        answer: &Answer,
        headers: &ManifestHeaders,
    ) -> Error {
        let error = Error::new(Kind::NotFound, format!("{place}: image not found"));
        match headers.is_html() {
            true => {
                error.hint(format!("{} answered with a web page: is it a registry?", answer.host))
            }
            false => error.hint(self.0.session.hint_if_absent().await),
        }
    }
}

/// Adds the name of the image to an error that does not contain it.
pub(super) fn named(error: Error, place: &str) -> Error {
    match error.kind() {
        Kind::Interrupted => error,
        _ if error.to_string().contains(place) => error,
        _ => error.within(place),
    }
}

/// Returns the error for a manifest of which the registry repeatedly announces more bytes than it sends.
fn ends_early(place: &str, answer: &Answer, end: u64) -> Error {
    let host = &answer.host;
    let announced = answer.length().map_or("more".to_owned(), |length| format!("{length} bytes"));
    Error::source(format!(
        "{place}: every answer of {host} ends at the same byte of the manifest: expected {announced}, \
         found {end}"
    ))
}

/// Returns the error for a status that is unexpected for this call.
pub(super) fn unexpected(place: &str, answer: &Answer, status: StatusCode) -> Error {
    let error = Error::new(Kind::Network, format!("{place}: {} answered {status}", answer.host));
    let error = match status.is_client_error() && !is_passing(status) {
        true => error.with_origin(FaultOrigin::Lasting),
        false => error,
    };
    match answer.hint() {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

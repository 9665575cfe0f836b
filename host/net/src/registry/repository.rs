//! One repository of a registry: what pulling from it takes, and what pushing shares with that.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, HeaderValue, RANGE};
use url::Url;

use super::challenge::challenges;
use super::client::{self, Client, Sessions};
use super::download::Download;
use super::reference::Reference;
use super::served::{self, Fetched, Served};
use super::session::{Pass, Session, usable};
use crate::http::counters::Counters;
use crate::http::failure::Failure;
use crate::http::peer::Peer;
use crate::http::resume_state::Ends;
use crate::http::retry::Budget;
use crate::http::settings::Settings;
use crate::http::wire::{Answer, Call, Wire};
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::descriptor::Descriptor;
use occystrap_base::oci::digest::Digest;
use occystrap_base::oci::manifest::{LARGEST_MANIFEST, Manifest};
use occystrap_base::oci::name::is_tag;

/// For blobs: they are compressed already, and parts and lengths of a body that is compressed on its way are
/// not those of the blob.
pub(super) const PLAIN: HeaderValue = HeaderValue::from_static("identity");

/// A repository. Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct Repository(Arc<Inner>);

struct Inner {
    reference: Reference,
    endpoint: Url,
    scope: String,
    session: Arc<Session>,
    /// For those with another scope.
    sessions: Arc<Sessions>,
    wire: Wire,
    /// See [`Repository::strict`].
    is_strict: bool,
}

impl Repository {
    /// A repository with a client of its own. Where several are used in one run,
    /// [`Client::repository`] makes them share connections, tokens and the rate limit.
    pub fn open(
        reference: &Reference,
        settings: &Settings,
        counters: Arc<Counters>,
        cancel: Cancel,
    ) -> Result<Self> {
        Client::new(settings, cancel)?.repository(reference, counters)
    }

    pub(super) fn new(
        reference: &Reference,
        scope: String,
        sessions: Arc<Sessions>,
        wire: Wire,
    ) -> Result<Self> {
        let endpoint = reference.endpoint(wire.settings.insecure)?;
        let session = client::session(&sessions, &reference.host, &scope);
        let reference = reference.clone();
        let is_strict = false;
        Ok(Self(Arc::new(Inner { reference, endpoint, scope, session, sessions, wire, is_strict })))
    }

    /// The same repository, with tokens that allow this as well.
    pub(super) fn widened(&self, scope: &str) -> Self {
        let Inner { reference, endpoint, sessions, wire, is_strict, .. } = &*self.0;
        let scope = format!("{} {scope}", self.0.scope);
        Self(Arc::new(Inner {
            reference: reference.clone(),
            endpoint: endpoint.clone(),
            session: client::session(sessions, &reference.host, &scope),
            scope,
            sessions: sessions.clone(),
            wire: wire.clone(),
            is_strict: *is_strict,
        }))
    }

    /// Returns the same repository for verification: a download of a blob fails there where it fails in the
    /// clients of registries, also where all of its bytes come.
    #[must_use]
    pub fn strict(&self) -> Self {
        let Inner { reference, endpoint, scope, session, sessions, wire, .. } = &*self.0;
        Self(Arc::new(Inner {
            reference: reference.clone(),
            endpoint: endpoint.clone(),
            scope: scope.clone(),
            session: session.clone(),
            sessions: sessions.clone(),
            wire: wire.clone(),
            is_strict: true,
        }))
    }

    pub(super) fn is_strict(&self) -> bool {
        self.0.is_strict
    }

    /// `HOST/REPOSITORY`, as it stands in errors.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}/{}", self.0.reference.host, self.0.reference.repository)
    }

    /// `HOST/REPOSITORY:TAG` or `HOST/REPOSITORY@DIGEST`.
    pub(super) fn place_of(&self, target: &str) -> String {
        match is_tag(target) {
            true => format!("{}:{target}", self.place()),
            false => format!("{}@{target}", self.place()),
        }
    }

    /// Whether both are served by the same registry, so that a blob can be mounted from one to the
    /// other: the same host as far as names tell, and reached in the same way.
    #[must_use]
    pub fn same_registry(&self, other: &Self) -> bool {
        self.0.endpoint == other.0.endpoint
    }

    /// The name within the registry.
    pub(super) fn name(&self) -> &str {
        &self.0.reference.repository
    }

    pub(super) fn endpoint(&self) -> &Url {
        &self.0.endpoint
    }

    pub(super) fn wire(&self) -> &Wire {
        &self.0.wire
    }

    /// What to send with a request now.
    pub(super) async fn pass(&self) -> Result<Pass> {
        let Inner { reference, scope, session, wire, .. } = &*self.0;
        session.pass(wire, reference, scope).await
    }

    /// After a pass was refused: gets a new one as the answer asks. Whether that settles the
    /// matter is told as [`Session::renew`] does.
    pub(super) async fn renew(&self, refused: &Pass, answer: &Answer) -> Result<bool> {
        let Inner { reference, scope, session, wire, .. } = &*self.0;
        session.renew(refused, &challenges(answer.headers()), wire, reference, scope).await
    }

    /// After an answer to a request without a login that may hide something: see [`Session::introduce`].
    async fn introduce(&self, refused: &Pass, answer: &Answer) -> Result<bool> {
        let Inner { reference, scope, session, wire, endpoint, .. } = &*self.0;
        let offered = challenges(answer.headers());
        session.introduce(refused, &offered, wire, reference, scope, endpoint).await
    }

    /// The error for a registry that is not satisfied with what it got.
    pub(super) async fn refusal(&self) -> Error {
        let Inner { reference, scope, session, wire, endpoint, .. } = &*self.0;
        let server = Peer::new(endpoint, &wire.settings.proxies);
        session.refusal(reference, scope, &server).await
    }

    /// The error for another place, where the registry's word let us in: not ours to log in to.
    pub(super) fn refusal_elsewhere(&self, answer: &Answer) -> Error {
        let (host, other, status) = (&self.0.reference.host, &answer.host, answer.status());
        Error::new(Kind::Auth, format!("{other}, where {host} redirected to, answered {status}"))
    }

    /// The manifest or index of a tag or a digest (distribution specification, "Pulling
    /// manifests"), its bytes checked against every digest that was promised. Errors:
    /// [`Kind::NotFound`], [`Kind::Auth`], [`Kind::Network`] after all retries, [`Kind::Source`]
    /// for bytes that are not what was promised, larger than [`LARGEST_MANIFEST`], of schema 1 or
    /// no manifest at all, and [`Kind::Usage`] when `target` is neither a tag nor a digest.
    pub async fn manifest(&self, target: &str) -> Result<Manifest> {
        self.fetch_manifest(target).await.map(|fetched| fetched.manifest)
    }

    /// The same, with what the registry says of it.
    pub async fn fetch_manifest(&self, target: &str) -> Result<Fetched> {
        let fetched = self.fetch_served(target).await?;
        served::check_named(&self.place_of(target), &fetched)?;
        Ok(fetched)
    }

    /// The same, whatever digest the answer names: clients of a registry do not compare that with the bytes.
    /// Where they act on it, [`Self::check_resolved`] compares it.
    pub async fn fetch_served(&self, target: &str) -> Result<Fetched> {
        match target.parse::<Digest>().is_ok() || is_tag(target) {
            true => self.fetch_by(target).await,
            false => Err(Error::usage(format!("'{target}' is neither a tag nor a digest"))),
        }
    }

    /// The same by a tag, or by a digest of any algorithm, which can be compared with the bytes where it is
    /// SHA-256 alone.
    pub(super) async fn fetch_by(&self, target: &str) -> Result<Fetched> {
        let wanted = target.parse::<Digest>().ok();
        let place = self.place_of(target);
        let mut call = Call::get(self.url(&format!("manifests/{target}")));
        call.headers.insert(ACCEPT, HeaderValue::from_static(served::ACCEPT));
        call.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(served::ACCEPT_CODING));
        let mut budget = Budget::new(&self.0.wire.settings);
        let mut ends = Ends::default();
        loop {
            let mut answer =
                self.send(&call, &mut budget).await.map_err(|error| named(error, &place))?;
            let mut served = Served::of(&answer);
            match answer.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => {
                    return Err(self.image_not_found(&place, &answer, &served).await);
                }
                status => return Err(unexpected(&place, &answer, status)),
            }
            match answer.read(LARGEST_MANIFEST, "a manifest").await {
                Ok(bytes) => {
                    let bytes = match answer.is_gzip() {
                        true => served.decode(&place, &bytes)?,
                        false => bytes,
                    };
                    let manifest = served::check(&place, wanted, &served, bytes)?;
                    return Ok(Fetched { manifest, served });
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

    /// Starts to download a blob (distribution specification, "Pulling blobs"). Nothing happens
    /// before its first [`Download::next`].
    #[must_use]
    pub fn blob(&self, what: &Descriptor) -> Download {
        Download::new(self.clone(), what)
    }

    /// A small blob whole, such as a config. Errors as [`Download::next`]; also when the descriptor
    /// promises more than `limit` bytes. Wrong bytes are asked for once more, before they are an
    /// error: a cache on the way may have cut or mixed them up.
    pub async fn blob_bytes(&self, what: &Descriptor, limit: u64) -> Result<Bytes> {
        if what.size > limit {
            return Err(Error::source(format!(
                "{}@{}: {} bytes are announced, more than the limit of {limit}",
                self.place(),
                what.digest,
                what.size
            )));
        }
        match self.blob_once(what).await {
            Err(error) if error.kind() == Kind::Source => {
                self.0.wire.counters.count_retry();
                tracing::debug!(reason = %error, "trying once more");
                self.blob_once(what).await
            }
            outcome => outcome,
        }
    }

    /// What follows `start` in a blob, unchecked: a part has no digest. For hints: it is asked once,
    /// and not by those who limit how often they ask.
    pub async fn blob_tail(&self, what: &Descriptor, start: u64) -> Result<Bytes> {
        let place = || format!("{}@{}", self.place(), what.digest);
        if self.0.wire.settings.rate_limit.is_some() {
            return Err(Error::usage(format!("{}: requests are limited", place())));
        }
        let mut call = Call::get(self.url(&format!("blobs/{}", what.digest)));
        let range = HeaderValue::try_from(format!("bytes={start}-"))
            .map_err(|_| Error::new(Kind::Network, "no header for the range"))?;
        call.headers.insert(RANGE, range);
        let mut budget = Budget::none();
        let mut answer = self.send(&call, &mut budget).await?;
        if answer.status() != StatusCode::PARTIAL_CONTENT {
            return Err(unexpected(&place(), &answer, answer.status()));
        }
        let limit = usize::try_from(what.size.saturating_sub(start)).unwrap_or(usize::MAX);
        match answer.read(limit, "the end of a blob").await {
            Ok(bytes) => Ok(bytes),
            Err(failure) => Err(failure.into_error()),
        }
    }

    async fn blob_once(&self, what: &Descriptor) -> Result<Bytes> {
        let mut download = self.blob(what);
        let mut bytes = BytesMut::new();
        while let Some(chunk) = download.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }

    /// Makes a call, with authentication as the registry asks for it. Answers are neither 401 nor
    /// 403.
    pub(super) async fn send(&self, call: &Call, budget: &mut Budget) -> Result<Answer> {
        let answer = self.ask(call, budget).await?;
        match answer.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.refusal().await),
            _ => Ok(answer),
        }
    }

    /// As [`Self::send`], but what the registry itself refuses after all is an answer, too. An answer that may
    /// be for users without a login alone (401 without a challenge, 403, 404) counts only where there is no
    /// login, or where that is not accepted.
    pub(super) async fn ask(&self, call: &Call, budget: &mut Budget) -> Result<Answer> {
        let mut renewed = false;
        // The answer that the request got without a login.
        let mut anonymous = None;
        loop {
            let pass = self.pass().await?;
            let answer = self.0.wire.exchange(call, pass.header.as_ref(), budget).await?;
            let status = answer.status();
            let is_refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
            if answer.elsewhere {
                return match is_refused {
                    true => Err(self.refusal_elsewhere(&answer)),
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
                    // The login makes nothing worse.
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

    /// Paths are made of checked names, tags and digests alone.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.0.endpoint.clone();
        url.set_path(&format!("/v2/{}/{path}", self.0.reference.repository));
        url
    }

    async fn image_not_found(&self, place: &str, answer: &Answer, served: &Served) -> Error {
        let error = Error::new(Kind::NotFound, format!("{place}: image not found"));
        match served.is_html() {
            true => {
                error.hint(format!("{} answered with a web page: is it a registry?", answer.host))
            }
            false => error.hint(self.0.session.hint_if_absent().await),
        }
    }
}

/// Names the image in an error, unless it does.
pub(super) fn named(error: Error, place: &str) -> Error {
    match error.kind() {
        Kind::Interrupted => error,
        _ if error.to_string().contains(place) => error,
        _ => error.within(place),
    }
}

/// The error for a manifest of which the registry announces more than it sends, every time.
fn ends_early(place: &str, answer: &Answer, end: u64) -> Error {
    let host = &answer.host;
    let announced = answer.length().map_or("more".to_owned(), |length| format!("{length} bytes"));
    Error::source(format!(
        "{place}: every answer of {host} ends at the same byte of the manifest: expected {announced}, \
         found {end}"
    ))
}

/// A status that has no meaning for this call.
pub(super) fn unexpected(place: &str, answer: &Answer, status: StatusCode) -> Error {
    let error = Error::new(Kind::Network, format!("{place}: {} answered {status}", answer.host));
    match answer.hint() {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

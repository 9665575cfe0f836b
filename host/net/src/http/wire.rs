//! Exchange with a server: paced, redirected by occystrap itself, and repeated when that can help.
//!
//! What it refuses: to send the Authorization header anywhere but to the place that it was made for, to follow a
//! redirect that would change the method or the body of a request, and to wait without an end.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use url::Url;

use super::coding::Gunzip;
use super::counters::Counters;
use super::failure::{EXPECTS_HTTPS, Failure, proxy_login};
use super::pace::Pace;
use super::peer::Peer;
use super::redirect::{self, MOST_REDIRECTS, authority};
use super::retry::{LONGEST_RETRY_AFTER, RetryBudget, is_passing, retry_after};
use super::settings::Settings;
use super::traffic::PullsLeft;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::minimum_rate::MinimumRate;

/// The header in which Docker Hub says how many pulls it still gives.
const PULLS_LEFT: &str = "ratelimit-remaining";

/// Settings and services of exchanges. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) http: reqwest::Client,
    pub(crate) settings: Arc<Settings>,
    pub(crate) pace: Arc<Pace>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) cancel: Cancel,
    /// Whether redirects of requests that read are followed.
    pub(crate) follows: bool,
    /// Check of every URL before it is requested, the first one and each that a redirect leads to.
    pub(crate) guard: Option<Guard>,
}

/// Hint for an answer with a wrong `Content-Encoding`.
pub(crate) const WRONG_CODING: &str = "the registry, its storage or a proxy adds this header to content that is not compressed for transport: correct it there; pushing again does not help";

/// Function that errors for a URL that must not be requested.
pub(crate) type Guard = Arc<dyn Fn(&Url) -> Result<()> + Send + Sync>;

/// Request that can be made any number of times.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// Headers, which are sent to every target of a redirect: they must not contain secrets.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
    /// Whether the server chose the URL, as it does for uploads.
    pub(crate) foreign: bool,
    /// Whether a server error (5xx) is an answer, and not a failure after which the call is made again.
    pub(crate) takes_faults: bool,
    /// Redirects that a request which writes may follow.
    pub(crate) moves: Moves,
}

/// Redirects of a request that writes which keep the method and the body (307 and 308, RFC 9110, 15.4.8) and are
/// followed. Other redirects of such a request are answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moves {
    /// None: the redirect is an answer.
    No,
    /// Those to the same host, by name.
    WithinHost,
    /// All.
    Anywhere,
}

impl Call {
    /// Creates a request without a body to a URL that occystrap made.
    pub(crate) fn new(method: Method, url: Url, headers: HeaderMap) -> Self {
        Self {
            method,
            url,
            headers,
            body: None,
            foreign: false,
            takes_faults: false,
            moves: Moves::No,
        }
    }

    pub(crate) fn get(url: Url) -> Self {
        Self::new(Method::GET, url, HeaderMap::new())
    }

    /// Returns the path for the log: all of a path that occystrap made, and nothing of one that a server chose.
    pub(crate) fn shown_path(&self) -> &str {
        if self.foreign { "..." } else { self.url.path() }
    }
}

/// Head of an answer, whose body is still to come.
pub struct Answer {
    response: reqwest::Response,
    /// Server that answered, as messages name it.
    pub host: String,
    peer: Peer,
    /// Whether the answer came from another place than the one that was asked.
    pub(crate) elsewhere: bool,
    wire: Wire,
    trickle: MinimumRate,
    /// Decoder, for a body that is decoded.
    gunzip: Option<Box<Gunzip>>,
    /// Bytes of the body that were received, as they were sent.
    came: u64,
}

impl Wire {
    /// Makes a call until its answer has a status that another attempt would not change.
    pub(crate) async fn exchange(
        &self,
        call: &Call,
        authorization: Option<&HeaderValue>,
        budget: &mut RetryBudget,
    ) -> Result<Answer> {
        loop {
            match self.attempt(call, authorization).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => self.pause(budget, failure).await?,
            }
        }
    }

    /// Waits before the next attempt: [`RetryBudget::pause`].
    pub(crate) async fn pause(&self, budget: &mut RetryBudget, failure: Failure) -> Result<()> {
        budget.pause(failure, &self.counters, &self.cancel).await
    }

    async fn attempt(
        &self,
        call: &Call,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, Failure> {
        let mut url = call.url.clone();
        let mut elsewhere = false;
        for _ in 0..=MOST_REDIRECTS {
            if let Some(guard) = &self.guard {
                guard(&url)?;
            }
            let peer = Peer::new(&url, &self.settings.proxies);
            let host = peer.host();
            self.pace.turn(host, &self.cancel).await?;
            let mut request =
                self.http.request(call.method.clone(), url.clone()).headers(call.headers.clone());
            if let Some(authorization) = authorization.filter(|_| !elsewhere) {
                request = request.header(AUTHORIZATION, authorization.clone());
            }
            if let Some(body) = &call.body {
                request = request.body(body.clone());
            }
            let traffic = self.counters.traffic();
            let sent = self.patiently(&peer, request.send()).await;
            let response = sent.inspect_err(|_| traffic.count_answer(host, 0))?;
            let status = response.status();
            traffic.count_answer(host, status.as_u16());
            let left = response.headers().get(PULLS_LEFT);
            if let Some(left) = left.and_then(|value| PullsLeft::parse(value.to_str().ok()?)) {
                traffic.note_pulls(host, left);
            }
            // A path that a server chose may be signed; any query may be.
            let path = if url == call.url { call.shown_path() } else { "..." };
            let (method, status_code) = (&call.method, status.as_u16());
            tracing::debug!(%method, host, path, status = status_code, "answered");
            let reads = call.method == Method::GET || call.method == Method::HEAD;
            let keeps_body =
                matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
            let is_followed = match reads {
                true => redirect::is_redirect(status),
                false => keeps_body && call.moves != Moves::No,
            };
            if is_followed && self.follows {
                let asked = (!call.foreign).then_some(&call.url);
                let insecure = self.settings.insecure;
                let next = redirect::follow(&url, asked, response.headers(), insecure)?;
                if !reads && call.moves == Moves::WithinHost && next.host_str() != url.host_str() {
                    return Err(redirect::not_followed(host, &next, status).into());
                }
                // A chain that has left the origin stays foreign: it could lead anywhere, and back here too.
                elsewhere |= next.origin() != url.origin();
                url = next;
                continue;
            }
            if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED
                && let Some(via) = peer.via()
            {
                let error = Error::new(Kind::Network, format!("{peer} answered {status}"));
                return Err(error.hint(proxy_login(via)).into());
            }
            let is_answer = call.takes_faults && status.is_server_error();
            if is_passing(status) && !is_answer {
                return Err(self.setback(&peer, &response));
            }
            return Ok(Answer { elsewhere, ..Answer::new(response, peer, self.clone()) });
        }
        let host = authority(&call.url);
        Err(Error::new(
            Kind::Network,
            format!("{host} redirected more than {MOST_REDIRECTS} times: a redirect loop?"),
        )
        .into())
    }

    /// Returns the failure of an answer whose status may pass. After "too many requests", all tasks keep away from the
    /// host for a while.
    pub(crate) fn setback(&self, peer: &Peer, response: &reqwest::Response) -> Failure {
        let status = response.status();
        let asked = retry_after(response.headers(), SystemTime::now());
        let error = Error::new(Kind::Network, format!("{peer} answered {status}"));
        let error = error.with_asked_wait(asked);
        let wait = asked.map(|asked| asked.min(LONGEST_RETRY_AFTER));
        if status != StatusCode::TOO_MANY_REQUESTS {
            return Failure::Passing { error, wait };
        }
        self.counters.count_rate_limit();
        // The requests of other tasks would be refused, too.
        self.pace.hold(peer.host(), wait.unwrap_or_default());
        self.counters.traffic().note_pause(peer.host(), wait.unwrap_or_default());
        let error = error
            .hint("it limits requests: log in for a higher limit, or send fewer with --rate-limit");
        Failure::Passing { error, wait }
    }

    /// Waits for a part of an answer: until it arrives, the silence is too long, or the run is cancelled.
    async fn patiently<T>(
        &self,
        peer: &Peer,
        part: impl Future<Output = reqwest::Result<T>>,
    ) -> Result<T, Failure> {
        let limit = self.settings.idle_timeout;
        tokio::select! {
            outcome = tokio::time::timeout(limit, part) => match outcome {
                Ok(Ok(part)) => Ok(part),
                Ok(Err(error)) => Err(Failure::explain(&error, peer, self.settings.insecure)),
                Err(_) => Err(Failure::silence(peer, limit)),
            },
            stop = self.cancel.cancelled() => Err(stop.into()),
        }
    }
}

impl Answer {
    pub(crate) fn new(response: reqwest::Response, peer: Peer, wire: Wire) -> Self {
        let host = peer.to_string();
        let (trickle, gunzip) = (MinimumRate::default(), None);
        Self { response, host, peer, elsewhere: false, wire, trickle, gunzip, came: 0 }
    }

    /// Returns the status of the answer.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Returns the headers of the answer.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Returns a header's value, where it is text.
    pub(crate) fn header(&self, name: impl reqwest::header::AsHeaderName) -> Option<&str> {
        self.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns the failure of this answer, where its status may pass.
    pub(crate) fn setback(&self) -> Failure {
        self.wire.setback(&self.peer, &self.response)
    }

    /// Returns a hint where the status has no meaning: HTTPS servers answer 400 to plain HTTP. A registry that has read
    /// the request gives its version with every answer.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        let is_plain = self.url().scheme() == "http"
            && self.peer.via().is_none()
            && self.header("docker-distribution-api-version").is_none();
        (is_plain && self.status() == StatusCode::BAD_REQUEST).then_some(EXPECTS_HTTPS)
    }

    /// Returns whether the body was compressed for transport, so that its length is not that of the content.
    pub(crate) fn is_gzip(&self) -> bool {
        self.header(CONTENT_ENCODING)
            .is_some_and(|coding| coding.trim().eq_ignore_ascii_case("gzip"))
    }

    /// Returns the answer with a body that is decoded, so that its length is not known.
    pub(crate) fn decoded(self) -> Self {
        Self { gunzip: Some(Box::new(Gunzip::new())), ..self }
    }

    /// Returns the length that `Content-Length` announces.
    pub(crate) fn length(&self) -> Option<u64> {
        let length = self.header(CONTENT_LENGTH).filter(|_| self.gunzip.is_none());
        length.and_then(|length| length.parse().ok())
    }

    /// Returns the URL that the answer came from: the target of the last redirect.
    pub(crate) fn url(&self) -> &Url {
        self.response.url()
    }

    /// Returns how many bytes of the body were received, as they were sent.
    pub(crate) fn came(&self) -> u64 {
        self.came
    }

    /// Returns the next part of the body; `None` at its end. Errors ([`Kind::Source`]) where a body that is decoded is
    /// not gzip.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            match self.gunzip.as_mut().map(|gunzip| gunzip.next()) {
                None => return self.sent().await,
                Some(Ok(Some(plain))) => return Ok(Some(plain)),
                Some(Ok(None)) => {}
                Some(Err(_)) => return Err(self.not_gzip().into()),
            }
            let sent = self.sent().await?;
            let Some(gunzip) = &mut self.gunzip else { return Ok(sent) };
            match sent {
                Some(coded) => gunzip.feed(coded),
                None => {
                    let last = gunzip.finish();
                    return last.map_err(|_| self.not_gzip().into());
                }
            }
        }
    }

    /// Returns the error for a body that its clients cannot decode.
    fn not_gzip(&self) -> Error {
        Error::source(format!(
            "{} sends a body with Content-Encoding gzip that cannot be decoded, which Docker, containerd, \
             Podman and skopeo reject",
            self.host
        ))
        .hint(WRONG_CODING)
    }

    /// Returns the next part of the body as it was sent; `None` at its end. Errors for a server that is silent for too
    /// long, or that sends next to nothing in the same time.
    async fn sent(&mut self) -> Result<Option<Bytes>, Failure> {
        let asked = Instant::now();
        let window = self.wire.settings.idle_timeout;
        let chunk = match self.wire.patiently(&self.peer, self.response.chunk()).await {
            // Silence takes as long as the window; an error before that is an early end.
            Err(Failure::Passing { error, .. }) if asked.elapsed() < window => {
                return Err(Failure::Ended(error));
            }
            outcome => outcome?,
        };
        self.came += chunk.as_ref().map_or(0, |bytes| bytes.len() as u64);
        match &chunk {
            Some(bytes) if self.trickle.is_below(bytes.len(), asked.elapsed(), window) => {
                Err(Failure::trickle(&self.peer, window))
            }
            _ => Ok(chunk),
        }
    }

    /// Returns a small body whole. Errors name it as `what`.
    pub(crate) async fn read(&mut self, limit: usize, what: &str) -> Result<Bytes, Failure> {
        let too_long = || {
            Error::source(format!(
                "{} sent {what} of more than {limit} bytes, which is the limit",
                self.host
            ))
        };
        if self.length().is_some_and(|length| length > limit as u64) {
            return Err(too_long().into());
        }
        let too_long = too_long();
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > limit {
                return Err(too_long.into());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

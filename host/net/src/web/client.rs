//! Requests of one session of a plugin, and of the host that verifies what the plugin wrote.
//!
//! What this module refuses: URLs that are not allowed or have two readings, and to send a login to another server than
//! the one that it belongs to.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};
use url::Url;

use super::allow::{Allow, has_login};
use super::netrc::Netrc;
use crate::http::failure::Failure;
use crate::http::redirect::authority;
use crate::http::retry::RetryBudget;
use crate::http::wire::{Answer, Call, Wire};
use crate::registry::Body;
use crate::registry::body::BodyReader;
use crate::registry::streamed_request::StreamedBody;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::limits;
use occystrap_base::oci::Descriptor;

/// A client for one session. Cheap to clone.
#[derive(Clone)]
pub struct WebClient {
    wire: Wire,
    allow: Arc<Allow>,
    netrc: Arc<Netrc>,
    login: Option<(Url, HeaderValue)>,
    /// Whether the URLs come from a manifest, and not from the user.
    is_for_layers: bool,
}

/// The reason why a URL is not requested.
#[derive(Debug)]
pub enum Denied {
    /// The text is not a URL, or not in normal form.
    Form,
    /// The user did not allow the place.
    Place(Error),
}

/// Whether a failed request may be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// The request only reads, or repeating it has no further effect.
    Yes,
    /// The effect of the request is not known.
    No,
}

impl WebClient {
    /// Returns a client for requests of a plugin, and of the host about what the plugin wrote. `login` belongs to its
    /// URL; the logins of `netrc` belong to their hosts.
    pub(super) fn new(
        wire: Wire,
        allow: Arc<Allow>,
        netrc: Arc<Netrc>,
        login: Option<(Url, HeaderValue)>,
    ) -> Self {
        Self { wire, allow, netrc, login, is_for_layers: false }
    }

    /// Returns a client for layers that are stored at URLs of their manifest. It sends no other login than `login`.
    pub(super) fn for_layers(
        wire: Wire,
        allow: Arc<Allow>,
        login: Option<(Url, HeaderValue)>,
    ) -> Self {
        Self { wire, allow, netrc: Arc::default(), login, is_for_layers: true }
    }

    /// Parses a URL of a plugin or a receipt. It must be in normal form, and within a place that the user allowed.
    pub fn check(&self, text: &str) -> Result<Url, Denied> {
        if text.len() > limits::HTTP_URL {
            return Err(Denied::Form);
        }
        let url = Url::parse(text).map_err(|_| Denied::Form)?;
        if url.as_str() != text || !is_plain_form(&url) {
            return Err(Denied::Form);
        }
        match self.allow.permits(&url) {
            true => Ok(url),
            false => Err(Denied::Place(unnamed(&url))),
        }
    }

    /// Makes a request with a small body or none, and returns the answer with any final status. Errors when there is no
    /// answer, or only answers with a temporary status (408, 429, 5xx), after all retries.
    pub async fn ask(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Option<Bytes>,
        repeat: Repeat,
    ) -> Result<Answer> {
        let mut budget = match repeat {
            Repeat::Yes => RetryBudget::new(&self.wire.settings),
            Repeat::No => RetryBudget::none(),
        };
        self.ask_within(method, url, headers, body, &mut budget).await
    }

    /// Makes a request as [`Self::ask`], with a given budget of retries.
    pub(super) async fn ask_within(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Option<Bytes>,
        budget: &mut RetryBudget,
    ) -> Result<Answer> {
        let call = Call::new(method, url.clone(), headers);
        let mut call = Call { body, foreign: self.is_for_layers, ..call };
        // The bytes are hashed as the server stores them.
        call.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let pass = self.pass(url);
        let answer = self.wire.exchange(&call, pass.as_ref(), budget).await;
        answer.map_err(|error| if self.is_for_layers { error } else { with_web_hint(error, url) })
    }

    /// Returns a URL for errors. Of a URL from a manifest, only the host is shown.
    pub(super) fn shown(&self, url: &Url) -> String {
        if self.is_for_layers { authority(url) } else { shown(url) }
    }

    /// Returns the size of the file at a URL in bytes, where the server reports it; the outer `None` when there is no
    /// file. The last byte is read as well, because servers answer HEAD from a cache (rclone does so for minutes).
    pub async fn stat(&self, url: &Url) -> Result<Option<Option<u64>>> {
        let answer = self.ask(Method::HEAD, url, HeaderMap::new(), None, Repeat::Yes).await?;
        let size = match status_error(url, answer.status()) {
            None => answer.length(),
            Some(error) if error.kind() == Kind::NotFound => return Ok(None),
            Some(error) => return Err(error),
        };
        let Some(last) = size.and_then(|size| size.checked_sub(1)) else { return Ok(Some(size)) };
        let range = HeaderValue::try_from(format!("bytes={last}-{last}"));
        let range = range.map_err(|_| Error::new(Kind::Network, "no header for the range"))?;
        let headers = HeaderMap::from_iter([(RANGE, range)]);
        let mut answer = self.ask(Method::GET, url, headers, None, Repeat::Yes).await?;
        match answer.status() {
            // The file is smaller than HEAD reported.
            StatusCode::RANGE_NOT_SATISFIABLE => {
                return Ok(Some(answer.header(CONTENT_RANGE).and_then(of_all).or(Some(0))));
            }
            // A server that does not support ranges sends the whole file. Its first bytes show that it exists.
            StatusCode::PARTIAL_CONTENT | StatusCode::OK => {}
            status => match status_error(url, status) {
                Some(error) if error.kind() == Kind::NotFound => return Ok(None),
                error => return error.map_or(Ok(Some(size)), Err),
            },
        }
        let reported = match answer.status() {
            StatusCode::OK => answer.length(),
            _ => answer.header(CONTENT_RANGE).and_then(of_all),
        };
        match answer.chunk().await.map_err(Failure::into_error)? {
            Some(_) => Ok(Some(reported.or(size))),
            None => Ok(Some(Some(0))),
        }
    }

    /// Sends content by PUT, and again from its start when an attempt failed for a temporary reason. Errors: those of
    /// the content's source, unchanged; any status but 2xx.
    pub async fn put(
        &self,
        url: &Url,
        headers: &HeaderMap,
        what: &Descriptor,
        body: &Body,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<()> {
        let mut reader = BodyReader::new(body, what)?;
        let mut budget = RetryBudget::new(&self.wire.settings);
        let mut listens = false;
        let (method, headers) = (Method::PUT, headers.clone());
        let call = Call::new(method, url.clone(), headers);
        let pass = self.pass(url);
        loop {
            let outcome = async {
                reader.seek(0).await?;
                let body = StreamedBody {
                    reader: &mut reader,
                    length: what.size,
                    start: 0,
                    to_process: what.size,
                    listens: &mut listens,
                    progress: &progress,
                };
                self.wire.send_streamed(&call, pass.as_ref(), body).await
            };
            let failure: Failure = match outcome.await {
                Ok(sent) => return written(url, sent.answer.status()),
                Err(failure) => failure,
            };
            if let Some(error) = reader.failure() {
                return Err(error);
            }
            let paused = self.wire.pause(&mut budget, failure).await;
            paused.map_err(|error| with_web_hint(error, url))?;
        }
    }

    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Returns the `Authorization` header for a URL. The login of the destination's URI is sent to the server of that
    /// URI, and takes precedence over logins of files.
    fn pass(&self, url: &Url) -> Option<HeaderValue> {
        let own = self.login.as_ref().filter(|(place, _)| place.origin() == url.origin());
        let own = own.map(|(_, header)| header.clone());
        own.or_else(|| self.netrc.header(url.host_str()?))
    }
}

/// Returns the whole size in a `Content-Range` header: 8 in `bytes 7-7/8` and `bytes */8` (RFC 9110, 14.4).
fn of_all(range: &str) -> Option<u64> {
    range.rsplit_once('/')?.1.parse().ok()
}

/// Returns the error for the status of a request that reads; `None` for 2xx.
#[must_use]
pub fn status_error(url: &Url, status: StatusCode) -> Option<Error> {
    status_error_at(&shown(url), status)
}

/// Returns the same as [`status_error`], with another name of the place.
pub(super) fn status_error_at(place: &str, status: StatusCode) -> Option<Error> {
    let error = |kind: Kind, what: &str| Error::new(kind, format!("{place}: {what}"));
    Some(match status.as_u16() {
        200..=299 => return None,
        401 | 403 | 407 => error(Kind::Auth, &format!("the server answered {status}")).hint(LOGIN),
        404 | 410 => error(Kind::NotFound, "the server does not have it"),
        300..=399 => {
            error(Kind::Network, &format!("the server redirects ({status}), which is not followed"))
        }
        _ => error(Kind::Network, &format!("the server answered {status}")),
    })
}

/// Errors when the status of a PUT is not 2xx.
pub fn written(url: &Url, status: StatusCode) -> Result<()> {
    match status_error(url, status) {
        None => Ok(()),
        Some(error) if matches!(error.kind(), Kind::Auth) => Err(error),
        Some(_) => {
            let message = format!("{}: the server did not accept it: {status}", shown(url));
            let error = Error::destination(message);
            Err(match status.as_u16() {
                404 | 409 => error.hint("does its parent folder exist?"),
                413 => error.hint("the server, or a proxy before it, limits the size of a request"),
                _ => error,
            })
        }
    }
}

const LOGIN: &str = "a login for it is looked for in the URI (user:password@HOST), in --netrc-file, \
    $NETRC and ~/.netrc";

/// Returns a URL for messages without the text after `?`, which may be a signature.
#[must_use]
pub fn shown(url: &Url) -> String {
    match url.as_str().split_once('?') {
        Some((place, _)) => format!("{place}?..."),
        None => url.to_string(),
    }
}

/// Returns the error for a place that the user did not allow.
#[must_use]
pub fn unnamed(url: &Url) -> Error {
    let host = authority(url);
    let hint = match url.scheme() {
        "http" => format!("--allow-net http://{host} allows it"),
        _ => format!(
            "--allow-net {host} allows it; --allow-net http://{host}, if it uses plain HTTP"
        ),
    };
    Error::new(Kind::Auth, format!("{}: not a place that you allowed", shown(url))).hint(hint)
}

/// Returns whether a URL is one of HTTP or HTTPS with a single reading: without a login, without a fragment, with a
/// host that does not end with a dot, and without a path that a server could decode to a parent folder.
pub(super) fn is_plain_form(url: &Url) -> bool {
    let path = url.path().to_ascii_lowercase();
    let step = |name: &str| matches!(name.split(';').next(), Some("." | ".."));
    matches!(url.scheme(), "http" | "https")
        && !has_login(url)
        && url.fragment().is_none()
        && url.host_str().is_some_and(|host| !host.ends_with('.'))
        && !["%2f", "%5c", "%25", "%00", "%0a", "%0d"].iter().any(|odd| path.contains(odd))
        && !path.split('/').any(step)
}

/// Replaces the hint about `--insecure`, which is for registries only, by one about `--allow-net`.
fn with_web_hint(error: Error, url: &Url) -> Error {
    match error.hint_text() {
        Some(hint) if hint.contains("--insecure") => error.hint(format!(
            "if it uses plain HTTP, allow that: --allow-net http://{}",
            authority(url)
        )),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_with_two_readings_are_refused() {
        let mut allow = Allow::default();
        for name in ["a.example", "127.0.0.1", "xn--bcher-kva.example"] {
            allow.name(name).unwrap();
        }
        let access = crate::web::Access::new(allow, Default::default(), &Default::default());
        let client = access.client(None, Default::default(), Default::default()).unwrap();
        for odd in [
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://127.0.0.1./",
            "https://a.example./",
            "https://A.example/",
            "https:a.example/",
            "https://a.example",
            "https://a.example:443/",
            "https://a.example/x/../y",
            "https://a.example/%2e%2e/y",
            "https://a.example/..%2fy",
            "https://a.example/..%5cy",
            "https://a.example/%252e%252e/y",
            "https://a.example/..;x=1/y",
            "https://a.example\\x",
            "https://u@a.example/",
            "https://u:p@a.example/",
            "https://a.example/#x",
            "https://a.example/ x",
            "https://a.example/\r\nx",
            "https://a.example/x%0d%0ay",
            "https://b\u{fc}cher.example/",
            "ftp://a.example/",
            "file:///etc/passwd",
            "a.example",
            "",
            "https://a.example@169.254.169.254/",
            "//a.example/",
        ] {
            assert!(matches!(client.check(odd), Err(Denied::Form)), "{odd:?}");
        }
        let long = format!("https://a.example/{}", "x".repeat(limits::HTTP_URL));
        assert!(matches!(client.check(&long), Err(Denied::Form)));
        for other in [
            "http://a.example/",
            "https://a.example:8443/",
            "https://169.254.169.254/latest/meta-data/",
            "https://[::ffff:7f00:1]/",
            "https://[::1]/",
            "https://localhost/",
        ] {
            assert!(matches!(client.check(other), Err(Denied::Place(_))), "{other}");
        }
        for good in
            ["https://a.example/x?y=%2F", "https://127.0.0.1/", "https://xn--bcher-kva.example/"]
        {
            assert!(client.check(good).is_ok(), "{good}");
        }
    }
}

//! Requests for one session of a plugin, and for the host's own look at what it wrote.

use bytes::Bytes;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};
use url::Url;

use super::access::Access;
use super::allow::has_login;
use super::fetch::Fetch;
use crate::http::failure::Failure;
use crate::http::redirect::authority;
use crate::http::retry::Budget;
use crate::http::wire::{Answer, Call, Wire};
use crate::registry::Body;
use crate::registry::body::Reader;
use crate::registry::deliver::Parcel;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::limits;
use occystrap_base::oci::{Descriptor, Digest};

/// Cheap to clone.
#[derive(Clone)]
pub struct Client {
    wire: Wire,
    access: Access,
    login: Option<(Url, HeaderValue)>,
    /// Whether it fetches what a manifest, and not the user, has named.
    is_outside: bool,
}

/// Why a URL is not asked for.
#[derive(Debug)]
pub enum Denied {
    /// It is none, or not in its normal form.
    Form,
    /// Nobody named its place.
    Place(Error),
}

/// Whether a failed request may be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It reads, or twice is as good as once.
    Yes,
    /// Nobody knows what it does.
    No,
}

impl Client {
    pub(super) fn new(wire: Wire, access: Access, login: Option<(Url, HeaderValue)>) -> Self {
        Self { wire, access, login, is_outside: false }
    }

    /// One for layers that are stored elsewhere.
    pub(super) fn for_layers(
        wire: Wire,
        access: Access,
        login: Option<(Url, HeaderValue)>,
    ) -> Self {
        Self { wire, access, login, is_outside: true }
    }

    /// A URL that a plugin or a receipt has named: in its normal form, and within a place that the
    /// user has named.
    pub fn check(&self, text: &str) -> Result<Url, Denied> {
        if text.len() > limits::HTTP_URL {
            return Err(Denied::Form);
        }
        let url = Url::parse(text).map_err(|_| Denied::Form)?;
        if url.as_str() != text || !is_plain_form(&url) {
            return Err(Denied::Form);
        }
        match self.access.allow().permits(&url) {
            true => Ok(url),
            false => Err(Denied::Place(unnamed(&url))),
        }
    }

    /// Make a request with a small body or none, and have its answer, whatever its status. Errors when
    /// there is none, or one that may pass (408, 429, 5xx), after all retries.
    pub async fn ask(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Option<Bytes>,
        repeat: Repeat,
    ) -> Result<Answer> {
        let mut budget = match repeat {
            Repeat::Yes => Budget::new(&self.wire.settings),
            Repeat::No => Budget::none(),
        };
        self.ask_within(method, url, headers, body, &mut budget).await
    }

    /// The same, within a budget of retries.
    pub(super) async fn ask_within(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Option<Bytes>,
        budget: &mut Budget,
    ) -> Result<Answer> {
        let call = Call::new(method, url.clone(), headers);
        let mut call = Call { body, foreign: self.is_outside, ..call };
        // What is hashed is what is kept there.
        call.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let pass = self.pass(url);
        let answer = self.wire.exchange(&call, pass.as_ref(), budget).await;
        answer.map_err(|error| if self.is_outside { error } else { in_our_words(error, url) })
    }

    /// How errors name a URL: of one that a manifest has named, the host alone.
    pub(super) fn shown(&self, url: &Url) -> String {
        if self.is_outside { authority(url) } else { shown(url) }
    }

    /// Size of what is at a URL, where the server says it; `None` when nothing is there. The last byte
    /// is read as well: servers answer a HEAD from what they remember (rclone does so for minutes).
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
            // There is less than was said.
            StatusCode::RANGE_NOT_SATISFIABLE => {
                return Ok(Some(answer.header(CONTENT_RANGE).and_then(of_all).or(Some(0))));
            }
            // A server without ranges sends all; that it begins to is what there is to see.
            StatusCode::PARTIAL_CONTENT | StatusCode::OK => {}
            status => match status_error(url, status) {
                Some(error) if error.kind() == Kind::NotFound => return Ok(None),
                error => return error.map_or(Ok(Some(size)), Err),
            },
        }
        let told = match answer.status() {
            StatusCode::OK => answer.length(),
            _ => answer.header(CONTENT_RANGE).and_then(of_all),
        };
        match answer.chunk().await.map_err(Failure::into_error)? {
            Some(_) => Ok(Some(told.or(size))),
            None => Ok(Some(Some(0))),
        }
    }

    /// Start to download what is at a URL; of that size and digest, where they are known.
    #[must_use]
    pub fn fetch(&self, url: &Url, wanted: Option<(u64, Digest)>) -> Fetch {
        Fetch::new(self.clone(), url.clone(), wanted)
    }

    /// PUT content, from its start again when a try failed for a passing reason. Errors: those of the
    /// content's source as they are; any answer but 2xx.
    pub async fn put(
        &self,
        url: &Url,
        headers: &HeaderMap,
        what: &Descriptor,
        body: &Body,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<()> {
        let mut reader = Reader::new(body, what)?;
        let mut budget = Budget::new(&self.wire.settings);
        let mut wary = false;
        let (method, headers) = (Method::PUT, headers.clone());
        let call = Call::new(method, url.clone(), headers);
        let pass = self.pass(url);
        loop {
            let outcome = async {
                reader.seek(0).await?;
                let parcel = Parcel {
                    reader: &mut reader,
                    length: what.size,
                    start: 0,
                    settles: what.size,
                    wary: &mut wary,
                    progress: &progress,
                };
                self.wire.deliver(&call, pass.as_ref(), parcel).await
            };
            let failure: Failure = match outcome.await {
                Ok(sent) => return written(url, sent.answer.status()),
                Err(failure) => failure,
            };
            if let Some(error) = reader.failure() {
                return Err(error);
            }
            let paused = self.wire.pause(&mut budget, failure).await;
            paused.map_err(|error| in_our_words(error, url))?;
        }
    }

    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// What a URI said goes to its own folder's server, and before any file.
    fn pass(&self, url: &Url) -> Option<HeaderValue> {
        let own = self.login.as_ref().filter(|(place, _)| place.origin() == url.origin());
        let own = own.map(|(_, header)| header.clone());
        own.or_else(|| self.access.login(url).filter(|_| !self.is_outside))
    }
}

/// The size of all, as an answer about a part says it: `bytes 7-7/8`, `bytes */8` (RFC 9110, 14.4).
fn of_all(range: &str) -> Option<u64> {
    range.rsplit_once('/')?.1.parse().ok()
}

/// `None` for 2xx; what any other answer to a request that reads means.
#[must_use]
pub fn status_error(url: &Url, status: StatusCode) -> Option<Error> {
    status_error_at(&shown(url), status)
}

/// The same, of a place that errors call so.
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

/// What an answer to a PUT means.
pub fn written(url: &Url, status: StatusCode) -> Result<()> {
    match status_error(url, status) {
        None => Ok(()),
        Some(error) if matches!(error.kind(), Kind::Auth) => Err(error),
        Some(_) => {
            let message = format!("{}: the server did not take it: {status}", shown(url));
            let error = Error::destination(message);
            Err(match status.as_u16() {
                404 | 409 => error.hint("is the folder above it there?"),
                413 => error.hint("the server, or a proxy before it, limits the size of a request"),
                _ => error,
            })
        }
    }
}

const LOGIN: &str = "a login for it is looked for in the URI (user:password@HOST), in --netrc-file, \
    $NETRC and ~/.netrc";

/// A URL for people: what is after `?` may be a signature.
#[must_use]
pub fn shown(url: &Url) -> String {
    match url.as_str().split_once('?') {
        Some((place, _)) => format!("{place}?..."),
        None => url.to_string(),
    }
}

/// The error for a place that nobody named.
#[must_use]
pub fn unnamed(url: &Url) -> Error {
    let host = authority(url);
    let hint = match url.scheme() {
        "http" => format!("--allow-net http://{host} names it"),
        _ => format!(
            "--allow-net {host} names it; --allow-net http://{host}, if it speaks plain HTTP"
        ),
    };
    Error::new(Kind::Auth, format!("{}: not a place that you named", shown(url))).hint(hint)
}

/// Whether a URL is one of HTTP that can be read in one way: no login, no fragment, no host that ends
/// with a dot, and nothing in its path that a server might decode to a step up.
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

/// The way to plain HTTP is another one here than for a registry.
fn in_our_words(error: Error, url: &Url) -> Error {
    match error.hint_text() {
        Some(hint) if hint.contains("--insecure") => error.hint(format!(
            "if it speaks plain HTTP, name it so: --allow-net http://{}",
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
        let mut allow = super::super::Allow::default();
        for name in ["a.example", "127.0.0.1", "xn--bcher-kva.example"] {
            allow.name(name).unwrap();
        }
        let access = Access::new(allow, Default::default(), &Default::default());
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

//! `http-in`: reads from the folder of a web server, and from hosts, that the user named.

use std::time::Instant;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderValue, RANGE};
use url::Url;
use wasmtime::component::Resource;

use super::failure::short;
use crate::destination::ReadAccess;
use crate::destination::site::SiteReader;
use crate::plugin::bindings::http_in::{Content, Header, Host, HostResponse, Range};
use crate::plugin::bindings::types::ErrorCode;
use crate::plugin::handle::Response;
use crate::plugin::state::GuestState;
use crate::plugin::violation::violation;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::limits;
use occystrap_net::http::wire::Answer;
use occystrap_net::web::client::{Denied, status_error};
use occystrap_net::web::header::{self, Refused};

/// A request of a plugin, checked.
pub(super) struct CheckedRequest {
    pub(super) site: SiteReader,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
}

impl Host for GuestState {
    fn folder(&mut self) -> wasmtime::Result<Result<String, ErrorCode>> {
        Ok(match self.site() {
            Some(site) => Ok(site.folder().to_string()),
            None => Err(ErrorCode::AccessDenied),
        })
    }

    fn get(
        &mut self,
        url: String,
        headers: Vec<Header>,
        part: Option<Range>,
    ) -> wasmtime::Result<Result<Resource<Response>, ErrorCode>> {
        let mut asked = match self.check_request(&url, headers, false) {
            Ok(asked) => asked,
            Err(code) => return Ok(Err(code)),
        };
        if let Some(Range { offset, len }) = part {
            let Some(end) = len.checked_sub(1).and_then(|more| offset.checked_add(more)) else {
                return Ok(Err(ErrorCode::InvalidState));
            };
            if let Ok(range) = HeaderValue::try_from(format!("bytes={offset}-{end}")) {
                asked.headers.insert(RANGE, range);
            }
        }
        self.send_request(asked, SiteReader::get)
    }

    fn head(
        &mut self,
        url: String,
        headers: Vec<Header>,
    ) -> wasmtime::Result<Result<Resource<Response>, ErrorCode>> {
        match self.check_request(&url, headers, false) {
            Ok(asked) => self.send_request(asked, SiteReader::head),
            Err(code) => Ok(Err(code)),
        }
    }

    fn hash(&mut self, url: String) -> wasmtime::Result<Result<Option<Content>, ErrorCode>> {
        let CheckedRequest { site, url, .. } = match self.check_request(&url, Vec::new(), false) {
            Ok(asked) => asked,
            Err(code) => return Ok(Err(code)),
        };
        let memory = self.memory.clone();
        let found = match memory.recall_content(url.as_str()) {
            Some(known) => Ok(known),
            None => {
                self.remember(url.as_str())?;
                self.transferring(|state| {
                    let before = state.hashed;
                    let found = state.hash_content(&site, &url);
                    (found, Some(state.hashed - before))
                })?
            }
        };
        Ok(match found {
            Ok(found) => {
                memory.remember_content(url.as_str(), found);
                Ok(found.map(|(size, digest)| Content { size, digest: digest.to_string() }))
            }
            Err(error) => Err(self.unavailable(error)),
        })
    }
}

impl HostResponse for GuestState {
    fn status(&mut self, response: Resource<Response>) -> wasmtime::Result<u16> {
        Ok(self.table.get(&response)?.status)
    }

    fn headers(&mut self, response: Resource<Response>) -> wasmtime::Result<Vec<Header>> {
        let headers = self.table.get(&response)?.headers.clone();
        Ok(headers.into_iter().map(|(name, value)| Header { name, value }).collect())
    }

    fn read(
        &mut self,
        response: Resource<Response>,
        len: u32,
    ) -> wasmtime::Result<Result<Vec<u8>, ErrorCode>> {
        let len = (len as usize).min(limits::PIECE);
        let read = self.table.get_mut(&response)?.read(len);
        Ok(match read {
            Ok(bytes) => Ok(bytes),
            Err(Stopped::Limit(rule)) => {
                self.noted = Some(violation(&self.plugin, rule));
                Err(ErrorCode::QuotaExceeded)
            }
            Err(Stopped::Failed(error)) => Err(self.unavailable(error)),
        })
    }

    fn drop(&mut self, response: Resource<Response>) -> wasmtime::Result<()> {
        self.table.delete(response)?;
        self.answers = self.answers.saturating_sub(1);
        Ok(())
    }
}

/// The reason why a body ended early.
enum Stopped {
    Limit(String),
    Failed(Error),
}

impl Response {
    /// Returns whether the status is 2xx.
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    fn read(&mut self, len: usize) -> Result<Vec<u8>, Stopped> {
        while self.ready.is_empty() {
            let Some(rest) = &mut self.rest else { return Ok(Vec::new()) };
            if self.began.elapsed() > limits::HTTP_READ_TIME {
                let limit = limits::HTTP_READ_TIME;
                let host = &rest.host;
                let message = format!("{host} sent an answer for more than {limit:?}");
                return Err(Stopped::Failed(Error::new(Kind::Network, message)));
            }
            match self.site.chunk(rest) {
                Ok(Some(chunk)) => {
                    self.read += chunk.len() as u64;
                    self.ready = chunk;
                }
                Ok(None) => self.rest = None,
                Err(failure) => return Err(Stopped::Failed(failure.into_error())),
            }
            if self.read > limits::HTTP_READ {
                self.rest = None;
                self.ready.clear();
                let most = limits::HTTP_READ >> 20;
                return Err(Stopped::Limit(format!("it read more than {most} MiB of one answer")));
            }
        }
        let piece = self.ready.split_to(len.min(self.ready.len()));
        Ok(piece.to_vec())
    }
}

impl GuestState {
    pub(super) fn site(&self) -> Option<&SiteReader> {
        self.access.as_ref().and_then(ReadAccess::site)
    }

    /// Checks whether the plugin may send this request with these headers. The guest gets a code; the user sees
    /// the reason if the plugin gives up.
    pub(super) fn check_request(
        &mut self,
        url: &str,
        headers: Vec<Header>,
        changes: bool,
    ) -> Result<CheckedRequest, ErrorCode> {
        // A note about an earlier answer does not apply to this one.
        self.noted = None;
        let Some(site) = self.site().cloned() else { return Err(ErrorCode::AccessDenied) };
        let plugin = self.plugin.clone();
        let mut note = |rule: String, code: ErrorCode| {
            self.noted = Some(violation(&plugin, rule));
            code
        };
        let url = match site.check(url) {
            Ok(url) => url,
            Err(Denied::Form) => {
                let url = short(url);
                let rule = format!("it asked for '{url}', which is no URL in its normal form");
                return Err(note(rule, ErrorCode::InvalidPath));
            }
            Err(Denied::Place(error)) => {
                self.noted = Some(error.within(format_args!("plugin '{plugin}' asked for")));
                return Err(ErrorCode::AccessDenied);
            }
        };
        let given = headers.into_iter().map(|header| (header.name, header.value)).collect();
        match header::sent(given, changes) {
            Ok(headers) => Ok(CheckedRequest { site, url, headers }),
            Err(Refused::TooMuch) => Err(note(
                "it sent too many headers, or too long".to_owned(),
                ErrorCode::QuotaExceeded,
            )),
            Err(Refused::Name(name)) => {
                let rule = format!("it sent the header '{}', which no plugin may", short(&name));
                Err(note(rule, ErrorCode::AccessDenied))
            }
            Err(Refused::Value(name)) => {
                let rule =
                    format!("it sent a header '{name}' with line ends or other control characters");
                Err(note(rule, ErrorCode::AccessDenied))
            }
        }
    }

    /// Sends a request with `ask`, and returns a handle for its answer.
    pub(super) fn send_request(
        &mut self,
        asked: CheckedRequest,
        ask: impl FnOnce(&SiteReader, &Url, HeaderMap) -> Result<Answer>,
    ) -> wasmtime::Result<Result<Resource<Response>, ErrorCode>> {
        if self.answers >= limits::HTTP_ANSWERS {
            let rule = format!("it holds more than {} answers", limits::HTTP_ANSWERS);
            return Err(self.violation(rule));
        }
        let CheckedRequest { site, url, headers } = asked;
        let answer = self.request()?.and_then(|()| ask(&site, &url, headers));
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(self.unavailable(error))),
        };
        // The user sees this error if the plugin gives up because of it.
        if let Some(error) = status_error(&url, answer.status())
            && error.kind() != Kind::NotFound
        {
            self.noted = Some(error);
        }
        let response = Response {
            status: answer.status().as_u16(),
            headers: header::seen(answer.headers()),
            ready: Bytes::new(),
            rest: Some(answer),
            site,
            read: 0,
            began: Instant::now(),
        };
        self.answers += 1;
        self.handle(response).map(Ok)
    }

    fn hash_content(
        &mut self,
        site: &SiteReader,
        url: &Url,
    ) -> wasmtime::Result<Result<Option<(u64, occystrap_base::oci::Digest)>>> {
        if let Err(stop) = self.request()? {
            return Ok(Err(stop));
        }
        match site.hash(url, |bytes| self.count_hashed(bytes).map_err(Hashing::Rule)) {
            Ok(found) => Ok(Ok(found)),
            Err(Hashing::Failed(error)) => Ok(Err(error)),
            Err(Hashing::Rule(broken)) => Err(broken),
        }
    }
}

/// The reason why hashing ended early.
enum Hashing {
    Failed(Error),
    Rule(wasmtime::Error),
}

impl From<Error> for Hashing {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

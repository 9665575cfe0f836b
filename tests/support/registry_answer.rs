//! The answers of the registry and the engine of the tests, and how a fault spoils them.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::Response;
use hyper::body::Frame;
use occystrap_base::oci::digest::Digest;

use super::registry::Request;
use super::registry_fault::Fault;

pub(super) type Reply = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

/// An answer.
pub(super) struct Plan {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    body: Bytes,
    ending: Ending,
    /// Value of `Content-Length`; without one the body is sent in chunks.
    length: Option<u64>,
}

enum Ending {
    Whole,
    /// After as many bytes.
    Cut(usize),
    Hang(usize),
    Trickle(Duration),
}

impl Plan {
    pub(super) fn new(
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: impl Into<Bytes>,
    ) -> Self {
        let body = body.into();
        Self { status, headers, length: Some(body.len() as u64), body, ending: Ending::Whole }
    }

    /// The rest of a cut blob: announced as complete, but without all of its bytes.
    pub(super) fn shortened(mut self, left: usize) -> Self {
        let range = self.headers.iter().find(|(name, _)| *name == "content-range");
        let first = range.and_then(|(_, said)| said["bytes ".len()..].split('-').next());
        let first = first.and_then(|first| first.parse().ok()).unwrap_or(0);
        if self.status < 300 && left < first + self.body.len() {
            self.ending = Ending::Cut(left.saturating_sub(first));
        }
        self
    }

    /// An error in the form of the distribution specification.
    pub(super) fn error(status: u16, code: &str) -> Self {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"no","detail":null}}]}}"#);
        Self::new(status, vec![("content-type", "application/json".into())], body)
    }

    pub(super) fn spoil(mut self, fault: Option<Fault>) -> Self {
        match fault {
            None
            | Some(
                Fault::Delay(_)
                | Fault::IgnoreRange
                | Fault::RefuseRange
                | Fault::RangeStatus(_)
                | Fault::IgnoreSuffix
                | Fault::CodedVariant(_)
                | Fault::Expire
                | Fault::CutRequest(_)
                | Fault::Deaf
                | Fault::SlowRead(..),
            ) => {}
            Some(Fault::Status(status, headers) | Fault::Early(status, headers)) => {
                self = Self::error(status, "FAULT");
                self.headers.extend(headers);
            }
            Some(Fault::Coded(body)) => {
                self.headers.push(("content-encoding", "gzip".to_owned()));
                self.length = Some(body.len() as u64);
                self.body = body.into();
            }
            Some(Fault::NoEnd) => {
                self.length = None;
                self.ending = Ending::Cut(self.body.len());
            }
            Some(Fault::CutAfter(bytes)) => self.ending = Ending::Cut(bytes),
            Some(Fault::HangAfter(bytes)) => self.ending = Ending::Hang(bytes),
            Some(Fault::Trickle(pause)) => self.ending = Ending::Trickle(pause),
            Some(Fault::Body(body)) => {
                self.length = Some(body.len() as u64);
                self.body = body.into();
            }
            Some(Fault::Chunked(body)) => {
                self.length = None;
                self.body = body.into();
            }
            Some(Fault::Length(length)) => {
                self.length = Some(length);
                self.ending = Ending::Cut(self.body.len());
            }
            Some(Fault::Header(name, value)) => {
                self.headers.retain(|(other, _)| *other != name);
                self.headers.push((name, value));
            }
            Some(Fault::OtherStatus(status)) => self.status = status,
            Some(Fault::NoHeader("content-length")) => self.length = None,
            Some(Fault::NoHeader(name)) => self.headers.retain(|(other, _)| *other != name),
            Some(Fault::Manifest(media_type, bytes)) => {
                let digest = Digest::of(&bytes).to_string();
                let headers =
                    vec![("content-type", media_type.into()), ("docker-content-digest", digest)];
                self = Self::new(200, headers, bytes);
            }
            Some(Fault::Html) => {
                let page = "<!doctype html><title>It works!</title>";
                self =
                    Self::new(200, vec![("content-type", "text/html; charset=utf-8".into())], page);
            }
            Some(Fault::Answer(status, body)) => self = Self::new(status, Vec::new(), body),
            Some(Fault::Redirect(to)) => self = Self::new(307, vec![("location", to)], ""),
        }
        self
    }

    pub(super) fn reply(self, head: bool) -> Reply {
        let mut reply = Response::builder().status(self.status);
        for (name, value) in &self.headers {
            reply = reply.header(*name, value);
        }
        if let Some(length) = self.length {
            reply = reply.header("content-length", length);
        }
        let (body, ending) = match head {
            true => (Bytes::new(), Ending::Whole),
            false => (self.body, self.ending),
        };
        let end = match ending {
            Ending::Whole | Ending::Trickle(_) => body.len(),
            Ending::Cut(bytes) | Ending::Hang(bytes) => bytes.min(body.len()),
        };
        let (portion, pause) = match ending {
            Ending::Trickle(pause) => (1, pause),
            _ => (64 * 1024, Duration::ZERO),
        };
        let mut steps: Vec<Step> = body
            .slice(..end)
            .chunks(portion)
            .map(|part| Step::Send(Bytes::copy_from_slice(part)))
            .collect();
        match ending {
            Ending::Whole | Ending::Trickle(_) => {}
            Ending::Cut(_) => steps.push(Step::Cut),
            Ending::Hang(_) => steps.push(Step::Hang),
        }
        let stream = stream::unfold(steps.into_iter(), move |mut steps| async move {
            let outcome = match steps.next()? {
                Step::Send(bytes) => {
                    tokio::time::sleep(pause).await;
                    Ok(Frame::data(bytes))
                }
                Step::Cut => {
                    // Let what was sent leave first.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    Err(std::io::Error::other("cut"))
                }
                Step::Hang => std::future::pending().await,
            };
            Some((outcome, steps))
        });
        reply.body(UnsyncBoxBody::new(StreamBody::new(stream))).unwrap()
    }
}

enum Step {
    Send(Bytes),
    Cut,
    Hang,
}

/// Bytes, or a part of them (`Range: bytes=FIRST-[LAST]`, `Range: bytes=-COUNT`).
pub(super) fn content(bytes: Bytes, media_type: &str, request: &Request, ranged: bool) -> Plan {
    let kind = ("content-type", media_type.to_owned());
    let range = request.header("range").strip_prefix("bytes=").filter(|_| ranged);
    let Some((first, last)) = range.and_then(|range| range.split_once('-')) else {
        return Plan::new(200, vec![kind], bytes);
    };
    let size = bytes.len();
    let (first, end) = match first.parse::<usize>() {
        Ok(first) => (first, last.parse().map_or(size, |last: usize| size.min(last + 1))),
        Err(_) => (size.saturating_sub(last.parse().unwrap()), size),
    };
    if first >= size {
        return Plan::new(416, vec![("content-range", format!("bytes */{size}"))], "");
    }
    let said = ("content-range", format!("bytes {first}-{}/{size}", end - 1));
    Plan::new(206, vec![kind, said], bytes.slice(first..end))
}

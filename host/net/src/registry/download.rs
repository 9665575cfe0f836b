//! A blob on its way: streamed, resumed where it was cut, and checked at its end.
//!
//! A blob that was compressed for its way (`Content-Encoding: gzip`) is decoded, as the clients of registries do.
//! Where a server only says so, and sends the blob as it is, a source may be read all the same:
//! verification alone fails there, since the clients fail ([`Repository::strict`]).
//!
//! What it refuses: to end well with other bytes than the descriptor promised.

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::{ACCEPT_ENCODING, HeaderValue, RANGE};

use super::presence::endless;
use super::repository::{PLAIN, Repository, named, unexpected};
use super::served::ACCEPT_CODING;
use crate::http::failure::Failure;
use crate::http::resume_state::ResumeState;
use crate::http::retry::Budget;
use crate::http::wire::{Answer, Call, WRONG_CODING};
use occystrap_base::error::{Error, Kind, Result, Side};
use occystrap_base::oci::descriptor::Descriptor;

/// The bytes of a blob, in order, each once.
pub struct Download {
    repository: Repository,
    what: Descriptor,
    /// How errors call it.
    place: String,
    arrived: ResumeState,
    budget: Budget,
    answer: Option<Answer>,
    /// Whether the answers are decoded. No part can be asked for then: a range is one of what is sent.
    coded: bool,
    end: Option<Result<()>>,
}

impl Download {
    pub(super) fn new(repository: Repository, what: &Descriptor) -> Self {
        Self {
            place: format!("{}@{}", repository.place(), what.digest),
            budget: Budget::new(&repository.wire().settings),
            repository,
            what: what.clone(),
            arrived: ResumeState::default(),
            answer: None,
            coded: false,
            end: None,
        }
    }

    /// Bytes that were handed out so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.arrived.size()
    }

    /// The next bytes; nothing once all came and have the size and the digest of the descriptor.
    /// What came before is only good after that. An error is final, and repeated when asked again:
    /// [`Kind::Source`] for bytes that are not the promised ones, [`Kind::NotFound`],
    /// [`Kind::Auth`], [`Kind::Network`] after all retries.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(end) = &self.end {
            return end.clone().map(|()| None);
        }
        let outcome = self.advance().await.map_err(|error| named(error, &self.place));
        match &outcome {
            Ok(Some(_)) => {}
            Ok(None) => self.end = Some(Ok(())),
            Err(error) => self.end = Some(Err(error.clone())),
        }
        if self.end.is_some() {
            self.answer = None;
        }
        outcome
    }

    async fn advance(&mut self) -> Result<Option<Bytes>> {
        loop {
            self.repository.wire().cancel.check()?;
            let Some(answer) = &mut self.answer else {
                self.answer = Some(self.ask().await?);
                continue;
            };
            let failure = match answer.chunk().await {
                Ok(Some(chunk)) => {
                    let chunk = self.arrived.unknown(chunk);
                    if chunk.is_empty() {
                        continue;
                    }
                    self.accept(&chunk)?;
                    return Ok(Some(chunk));
                }
                Ok(None) if self.is_whole() => return self.verify().map(|()| None),
                Err(failure) if self.is_whole() && self.repository.is_strict() => match failure {
                    Failure::Ended(_) => failure,
                    // Silence; another try would wait as long.
                    failure => return Err(failure.into_error()),
                },
                // A connection that broke after the last byte took nothing from us.
                Err(Failure::Passing { .. } | Failure::Ended(_)) if self.is_whole() => {
                    return self.verify().map(|()| None);
                }
                Ok(None) => {
                    Failure::Passing { error: self.size_mismatch(self.arrived.size()), wait: None }
                }
                Err(failure) => failure,
            };
            self.answer = None;
            let is_end = matches!(failure, Failure::Ended(_));
            if is_end {
                self.arrived.ended();
                if self.is_whole() && self.arrived.same_end().is_some() {
                    return Err(endless(&self.place));
                }
            }
            let paused = self.repository.wire().pause(&mut self.budget, failure).await;
            paused.map_err(|error| match self.arrived.same_end().filter(|_| is_end) {
                Some(end) if error.kind() == Kind::Network => self.ends_early(end),
                _ => error,
            })?;
        }
    }

    /// Whether all bytes are there; the end of the answer may still have to come.
    fn is_whole(&self) -> bool {
        self.arrived.size() == self.what.size
    }

    fn accept(&mut self, chunk: &Bytes) -> Result<()> {
        let size = self.arrived.with(chunk);
        if size > self.what.size {
            return Err(self.size_mismatch(format_args!("at least {size}")));
        }
        self.arrived.add(chunk, &mut self.budget);
        Ok(())
    }

    fn verify(&self) -> Result<()> {
        let found = self.arrived.digest();
        match found == self.what.digest {
            true => Ok(()),
            false => Err(self.mismatch("wrong bytes", self.what.digest, found)),
        }
    }

    fn size_mismatch(&self, found: impl Into<Side>) -> Error {
        self.mismatch("wrong size", Side::Bytes(self.what.size), found)
    }

    fn mismatch(&self, what: &str, expected: impl Into<Side>, found: impl Into<Side>) -> Error {
        let place = &self.place;
        match self.coded {
            false => Error::mismatch(format!("{place}: {what}"), expected, found),
            true => {
                let what = format!(
                    "{place}: {what} after its Content-Encoding gzip is decoded, as Docker, containerd, \
                     Podman and skopeo do"
                );
                Error::mismatch(what, expected, found).hint(WRONG_CODING)
            }
        }
    }

    /// The error for a blob of which the registry announces more than it has.
    fn ends_early(&self, end: u64) -> Error {
        Error::mismatch(
            format!("{}: every answer ends at the same byte", self.place),
            Side::Bytes(self.what.size),
            end,
        )
    }

    async fn request(&mut self) -> Result<Answer> {
        let mut call = Call::get(self.repository.url(&format!("blobs/{}", self.what.digest)));
        // After the last byte there is no part to ask for.
        let range = self.arrived.range().filter(|_| !self.is_whole() && !self.coded);
        // Clients ask for gzip where they ask for no part, and some servers send something else then.
        let coding = match self.repository.is_strict() && range.is_none() {
            true => HeaderValue::from_static(ACCEPT_CODING),
            false => PLAIN,
        };
        call.headers.insert(ACCEPT_ENCODING, coding);
        call.headers.extend(range.map(|range| (RANGE, range)));
        self.repository.send(&call, &mut self.budget).await
    }

    /// Whether a body of that length is all that is missing, or all of the blob.
    fn is_rest(&self, length: Option<u64>) -> bool {
        let size = self.what.size;
        length.is_some_and(|length| {
            length == size || self.arrived.size().saturating_add(length) == size
        })
    }

    /// Asks for what is missing (RFC 9110, 14.2). Servers may send all again.
    async fn ask(&mut self) -> Result<Answer> {
        let mut answer = self.request().await?;
        if answer.status().is_success() && answer.is_gzip() {
            // A source that sends as many bytes as the blob has sends the blob.
            let is_plain = !self.repository.is_strict() && self.is_rest(answer.length());
            self.coded = !is_plain;
            if self.coded && answer.status() == StatusCode::PARTIAL_CONTENT {
                answer = self.request().await?;
            }
            // The answer without a range need not be coded.
            self.coded = self.coded && answer.is_gzip();
            if self.coded && answer.status().is_success() {
                answer = answer.decoded();
            }
        }
        let start = match answer.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT if self.arrived.size() > 0 => {
                let fits = self.arrived.check_range(&answer, Some(self.what.size));
                fits.map_err(|(asked, said)| {
                    let (place, host) = (&self.place, &answer.host);
                    let what = format!("{place}: {host} sent another range than the one asked for");
                    Error::mismatch(what, asked, said)
                })?;
                self.arrived.size()
            }
            // There is nothing after what came.
            StatusCode::RANGE_NOT_SATISFIABLE if self.arrived.size() > 0 => {
                return Err(self.size_mismatch(self.arrived.size()));
            }
            StatusCode::NOT_FOUND => {
                return Err(Error::new(Kind::NotFound, format!("{}: blob not found", self.place))
                    .hint("the registry lists it, but does not have it: the image has to be pushed again"));
            }
            status => return Err(unexpected(&self.place, &answer, status)),
        };
        match answer.length() {
            Some(length) if start.checked_add(length) != Some(self.what.size) => {
                return Err(self
                    .size_mismatch(start.saturating_add(length))
                    .hint(format!("{} announced it in Content-Length", answer.host)));
            }
            _ => {}
        }
        self.arrived.resume(start);
        Ok(answer)
    }
}

//! A download that resumes where a connection broke: the missing bytes are requested with a range, every byte is
//! counted and hashed once, and size and digest are compared at the end.
//!
//! [`DownloadSource`] says what differs between a registry and a web server: how a request is made, and what
//! errors say. What this module refuses: to end without an error when the bytes are not the promised ones, and to
//! hold more than one piece of them in memory.

use bytes::Bytes;
use reqwest::StatusCode;

use super::failure::Failure;
use super::resume_state::ResumeState;
use super::retry::RetryBudget;
use super::wire::{Answer, Wire};
use occystrap_base::error::{Error, Kind, Result, Side};
use occystrap_base::oci::Digest;

/// The server of a download: how to request its bytes, and how errors describe what it sent.
pub(crate) trait DownloadSource {
    /// Returns the connections that are used.
    fn wire(&self) -> &Wire;

    /// Returns the name of the download for errors.
    fn place(&self) -> &str;

    /// Returns the promised size in bytes and digest; `None` when they are not known, and any bytes are accepted.
    fn promised(&self) -> Option<(u64, Digest)>;

    /// Requests the bytes that are missing in `state` (RFC 9110, 14.2). The server may answer with all bytes.
    async fn request(&mut self, state: &ResumeState, budget: &mut RetryBudget) -> Result<Answer>;

    /// Returns what to do when a body ends properly, but before the promised size.
    fn on_short_body(&self) -> OnShortBody;

    /// Returns what to do when the connection breaks after the last byte, before the end of the body.
    fn on_unterminated(&self) -> OnUnterminated;

    /// Errors when the server sends too slowly: so many bytes have been received until now.
    fn check_rate(&self, _received: u64) -> Result<()> {
        Ok(())
    }

    /// Returns the error for a size other than the promised one. `found` is a number of bytes, or `at least N`.
    fn wrong_size(&self, promised: u64, found: String) -> Error;

    /// Returns the error for bytes with a digest other than the promised one.
    fn wrong_digest(&self, promised: Digest, found: Digest) -> Error;

    /// Returns the error for an answer with another range than the requested one. Both are values of `Content-Range`.
    fn wrong_range(&self, answer: &Answer, requested: String, found: String) -> Error;

    /// Returns the error for an answer whose status is not one of a download.
    fn wrong_status(&self, answer: &Answer) -> Error;
}

/// The reaction to a body that ends properly, but before the promised size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnShortBody {
    /// The rest is requested, as after a broken connection.
    Resume,
    /// The size is wrong.
    Fail,
}

/// The reaction to a connection that breaks after the last byte, before the end of the body.
pub(crate) enum OnUnterminated {
    /// The download is complete: no byte is missing.
    Accept,
    /// The request is repeated. The error counts once two answers end in this way.
    Fail(Error),
    /// The request is repeated, as after any broken connection.
    Resume,
}

/// The bytes of a download, in order, each once.
pub(crate) struct ResumableDownload<S> {
    source: S,
    state: ResumeState,
    budget: RetryBudget,
    answer: Option<Answer>,
    /// The outcome, once there is one.
    end: Option<Result<()>>,
}

impl<S: DownloadSource> ResumableDownload<S> {
    /// Returns a download. Nothing is requested before the first call of [`Self::next`].
    pub(crate) fn new(source: S) -> Self {
        let budget = RetryBudget::new(&source.wire().settings);
        Self { source, state: ResumeState::default(), budget, answer: None, end: None }
    }

    /// Returns the server of the download.
    pub(crate) fn source(&self) -> &S {
        &self.source
    }

    /// Returns the count and the digest of the bytes that were returned until now.
    pub(crate) fn state(&self) -> &ResumeState {
        &self.state
    }

    /// Returns the next bytes, and `None` at the end: all bytes were received, and have the promised size and digest.
    /// Before that, the returned bytes are not verified. An error is final, and returned by every later call.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(end) = &self.end {
            return end.clone().map(|()| None);
        }
        let outcome = self.advance().await;
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
            self.source.wire().cancel.check()?;
            let Some(answer) = &mut self.answer else {
                self.answer = Some(self.request().await?);
                continue;
            };
            let failure = match answer.chunk().await {
                Ok(Some(chunk)) => {
                    let chunk = self.state.unknown(chunk);
                    self.source.check_rate(self.state.size())?;
                    if chunk.is_empty() {
                        continue;
                    }
                    self.accept(&chunk)?;
                    return Ok(Some(chunk));
                }
                Ok(None)
                    if self.is_short() && self.source.on_short_body() == OnShortBody::Resume =>
                {
                    Failure::Passing { error: self.wrong_size(self.state.size()), wait: None }
                }
                Ok(None) => return self.verify().map(|()| None),
                Err(failure) => failure,
            };
            self.answer = None;
            match self.after_break(failure)? {
                Some(failure) => self.pause(failure).await?,
                None => return self.verify().map(|()| None),
            }
        }
    }

    /// Handles a broken connection. Returns the failure where the request is to be repeated, and `None` where the
    /// download is complete.
    fn after_break(&mut self, failure: Failure) -> Result<Option<Failure>> {
        let is_end = matches!(failure, Failure::Ended(_));
        let is_complete = self.is_complete();
        let error = match self.source.on_unterminated() {
            OnUnterminated::Accept if is_complete => {
                // A connection that broke after the last byte has lost nothing.
                return Ok(Some(failure).filter(|failure| matches!(failure, Failure::Lasting(_))));
            }
            OnUnterminated::Fail(error) if is_complete => Some(error),
            _ => None,
        };
        if error.is_some() && !is_end {
            // The server is silent; another request would wait as long.
            return Err(failure.into_error());
        }
        if is_end {
            self.state.ended();
            if let Some(error) = error.filter(|_| self.state.same_end().is_some()) {
                return Err(error);
            }
        }
        Ok(Some(failure))
    }

    /// Waits before the next request. Errors when the failure is final or no retry is left.
    async fn pause(&mut self, failure: Failure) -> Result<()> {
        let is_end = matches!(failure, Failure::Ended(_));
        let paused = self.source.wire().pause(&mut self.budget, failure).await;
        paused.map_err(|error| match self.state.same_end().filter(|_| is_end) {
            Some(end) if error.kind() == Kind::Network => self.ends_early(end),
            _ => error,
        })
    }

    /// Requests the missing bytes, and checks the range and the length that the answer announces.
    async fn request(&mut self) -> Result<Answer> {
        let answer = self.source.request(&self.state, &mut self.budget).await?;
        let received = self.state.size();
        let start = match answer.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT if received > 0 => {
                let size = self.source.promised().map(|(size, _)| size);
                let fits = self.state.check_range(&answer, size);
                fits.map_err(|(requested, found)| {
                    self.source.wrong_range(&answer, requested, found)
                })?;
                received
            }
            // The server has no bytes after the received ones.
            StatusCode::RANGE_NOT_SATISFIABLE if received > 0 => {
                return Err(self.wrong_size(received));
            }
            _ => return Err(self.source.wrong_status(&answer)),
        };
        if let (Some((size, _)), Some(length)) = (self.source.promised(), answer.length())
            && start.checked_add(length) != Some(size)
        {
            return Err(self
                .wrong_size(start.saturating_add(length))
                .hint(format!("{} announced it in Content-Length", answer.host)));
        }
        self.state.resume(start);
        Ok(answer)
    }

    fn accept(&mut self, chunk: &Bytes) -> Result<()> {
        let found = self.state.with(chunk);
        if self.source.promised().is_some_and(|(size, _)| found > size) {
            return Err(self.wrong_size(format_args!("at least {found}")));
        }
        self.state.add(chunk, &mut self.budget);
        Ok(())
    }

    /// Returns whether all promised bytes were received. The end of the body may still be missing.
    fn is_complete(&self) -> bool {
        self.source.promised().is_some_and(|(size, _)| self.state.size() == size)
    }

    /// Returns whether promised bytes are missing.
    fn is_short(&self) -> bool {
        self.source.promised().is_some_and(|(size, _)| self.state.size() < size)
    }

    fn verify(&self) -> Result<()> {
        let Some((size, digest)) = self.source.promised() else { return Ok(()) };
        if self.state.size() != size {
            return Err(self.wrong_size(self.state.size()));
        }
        match self.state.digest() {
            found if found == digest => Ok(()),
            found => Err(self.source.wrong_digest(digest, found)),
        }
    }

    fn wrong_size(&self, found: impl std::fmt::Display) -> Error {
        let promised = self.source.promised().map_or(self.state.size(), |(size, _)| size);
        self.source.wrong_size(promised, found.to_string())
    }

    /// Returns the error for a server that announces more bytes than it sends: several answers ended at `end`.
    fn ends_early(&self, end: u64) -> Error {
        let what = format!("{}: every answer ends at the same byte", self.source.place());
        match self.source.promised() {
            Some((size, _)) => Error::mismatch(what, Side::Bytes(size), end),
            None => Error::source(format!("{what}, after {end}")),
        }
    }
}

//! What is at a URL on its way here: streamed, resumed where it was cut, hashed, and kept nowhere.
//!
//! What it refuses: to end well with other bytes than were wanted, to be kept busy by a byte at a
//! time, and to read more than it was told to expect.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, RANGE};
use reqwest::{Method, StatusCode};
use tokio::time::Instant;
use url::Url;

use super::client::{Client, status_error_at};
use crate::http::failure::Failure;
use crate::http::resume_state::ResumeState;
use crate::http::retry::Budget;
use crate::http::wire::Answer;
use occystrap_base::error::{Error, Kind, Result, Side};
use occystrap_base::oci::Digest;

/// Bytes a second that a server must give on average, after [`GRACE`]: a tenth of the slowest line
/// that anybody moves images over.
const SLOWEST: u64 = 8 * 1024;

/// How long a server may take before its pace counts.
const GRACE: Duration = Duration::from_secs(60);

/// The bytes of what is at a URL, in order, each once.
pub struct Fetch {
    client: Client,
    url: Url,
    /// How errors call it.
    place: String,
    wanted: Option<(u64, Digest)>,
    arrived: ResumeState,
    budget: Budget,
    answer: Option<Answer>,
    started: Instant,
}

impl Fetch {
    pub(super) fn new(client: Client, url: Url, wanted: Option<(u64, Digest)>) -> Self {
        let budget = Budget::new(&client.wire().settings);
        Self {
            place: client.shown(&url),
            client,
            url,
            wanted,
            arrived: ResumeState::default(),
            budget,
            answer: None,
            started: Instant::now(),
        }
    }

    /// The next bytes; nothing once all came, and are those that were wanted. Errors:
    /// [`Kind::Source`] with both sides for other bytes, [`Kind::NotFound`], [`Kind::Auth`],
    /// [`Kind::Network`] after all retries.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            self.client.wire().cancel.check()?;
            let Some(answer) = &mut self.answer else {
                self.answer = Some(self.ask().await?);
                continue;
            };
            let failure = match answer.chunk().await {
                Ok(Some(chunk)) => {
                    let chunk = self.arrived.unknown(chunk);
                    self.keep_pace()?;
                    if chunk.is_empty() {
                        continue;
                    }
                    self.accept(&chunk)?;
                    return Ok(Some(chunk));
                }
                Ok(None) => return self.verify().map(|()| None),
                Err(failure) => failure,
            };
            self.answer = None;
            let is_end = matches!(failure, Failure::Ended(_));
            if is_end {
                self.arrived.ended();
            }
            let paused = self.client.wire().pause(&mut self.budget, failure).await;
            paused.map_err(|error| match self.arrived.same_end().filter(|_| is_end) {
                Some(end) if error.kind() == Kind::Network => self.ends_early(end),
                _ => error,
            })?;
        }
    }

    /// What came so far.
    #[must_use]
    pub fn content(&self) -> (u64, Digest) {
        (self.arrived.size(), self.arrived.digest())
    }

    /// Asks for what is missing (RFC 9110, 14.2). Servers may send all again.
    async fn ask(&mut self) -> Result<Answer> {
        let mut headers = HeaderMap::new();
        headers.extend(self.arrived.range().map(|range| (RANGE, range)));
        let (client, url) = (self.client.clone(), self.url.clone());
        let answer = client.ask_within(Method::GET, &url, headers, None, &mut self.budget).await?;
        let start = match answer.status() {
            StatusCode::PARTIAL_CONTENT if self.arrived.size() > 0 => {
                let fits = self.arrived.check_range(&answer, self.wanted.map(|(size, _)| size));
                fits.map_err(|(asked, said)| {
                    let what = "the server sent another part than the one asked for";
                    self.error(Kind::Network, &format!("{what}: expected {asked}, found {said}"))
                })?;
                self.arrived.size()
            }
            StatusCode::OK => 0,
            StatusCode::RANGE_NOT_SATISFIABLE => return Err(self.size(self.arrived.size())),
            status => {
                return Err(status_error_at(&self.place, status).unwrap_or_else(|| {
                    self.error(Kind::Network, &format!("the server answered {status}"))
                }));
            }
        };
        self.arrived.resume(start);
        if let (Some((size, _)), Some(length)) = (self.wanted, answer.length())
            && start.saturating_add(length) != size
        {
            return Err(self.size(start.saturating_add(length)));
        }
        Ok(answer)
    }

    fn accept(&mut self, chunk: &Bytes) -> Result<()> {
        let found = self.arrived.with(chunk);
        if self.wanted.is_some_and(|(size, _)| found > size) {
            return Err(self.size(format_args!("at least {found}")));
        }
        self.arrived.add(chunk, &mut self.budget);
        Ok(())
    }

    fn keep_pace(&self) -> Result<()> {
        match is_too_slow(self.started.elapsed(), self.arrived.size()) {
            true => {
                Err(self
                    .error(Kind::Network, "the server sends too slowly, and was not waited for"))
            }
            false => Ok(()),
        }
    }

    fn verify(&self) -> Result<()> {
        let Some((size, digest)) = self.wanted else { return Ok(()) };
        if self.arrived.size() != size {
            return Err(self.size(self.arrived.size()));
        }
        let found = self.arrived.digest();
        match found == digest {
            true => Ok(()),
            false => Err(Error::mismatch(format!("{}: wrong bytes", self.place), digest, found)),
        }
    }

    fn size(&self, found: impl std::fmt::Display) -> Error {
        let expected = self.wanted.map_or(self.arrived.size(), |(size, _)| size);
        let what = format!("{}: wrong size", self.place);
        Error::mismatch(what, Side::Bytes(expected), format_args!("{found} bytes"))
    }

    /// The error for what the server announces in full, and has no more of than this.
    fn ends_early(&self, end: u64) -> Error {
        match self.wanted {
            Some(_) => self.size(end),
            None => self
                .error(Kind::Source, &format!("every answer ends at the same byte, after {end}")),
        }
    }

    fn error(&self, kind: Kind, what: &str) -> Error {
        Error::new(kind, format!("{}: {what}", self.place))
    }
}

/// Whether so many bytes in that time are fewer than anybody waits for.
fn is_too_slow(elapsed: Duration, received: u64) -> bool {
    elapsed > GRACE + Duration::from_secs(received / SLOWEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_at_a_time_comes_to_an_end() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert!(!is_too_slow(minutes(1), 0));
        assert!(is_too_slow(minutes(2), 120));
        // A gigabyte over a line of 128 kbit/s takes most of a day.
        assert!(!is_too_slow(minutes(60 * 17), 1 << 30));
        assert!(is_too_slow(minutes(60 * 48), 1 << 30));
        assert!(!is_too_slow(minutes(60), u64::MAX));
    }
}

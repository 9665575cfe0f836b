//! Downloads from a URL: streamed, resumed after a broken connection, hashed, and not stored.
//!
//! What this module refuses: to end without an error when the bytes are not the promised ones, to wait for a server
//! that sends next to nothing, and to read more bytes than were promised.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, RANGE};
use reqwest::{Method, StatusCode};
use tokio::time::Instant;
use url::Url;

use super::client::{WebClient, status_error_at};
use crate::http::resumable::{DownloadSource, OnShortBody, OnUnterminated, ResumableDownload};
use crate::http::resume_state::ResumeState;
use crate::http::retry::RetryBudget;
use crate::http::wire::{Answer, Wire};
use occystrap_base::error::{Error, Kind, Result, Side};
use occystrap_base::oci::Digest;

/// The rate that a server must reach on average after [`GRACE`], in bytes a second: a tenth of the slowest line that
/// images are moved over.
const SLOWEST: u64 = 8 * 1024;

/// The time before the rate of a server counts.
const GRACE: Duration = Duration::from_secs(60);

/// The bytes at a URL, in order, each once.
pub struct UrlDownload(ResumableDownload<UrlSource>);

impl UrlDownload {
    /// Returns the next bytes, and `None` at the end: all bytes were received, and have the promised size and digest,
    /// where these are known. An error is final: [`Kind::Source`] with both sides for other bytes,
    /// [`Kind::NotFound`], [`Kind::Auth`], [`Kind::Network`] after all retries.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        self.0.next().await
    }

    /// Returns the size and the digest of the bytes that were returned until now.
    #[must_use]
    pub fn content(&self) -> (u64, Digest) {
        (self.0.state().size(), self.0.state().digest())
    }
}

impl WebClient {
    /// Starts to download the bytes at a URL. They must have the size and the digest of `promised`, where these are
    /// known.
    #[must_use]
    pub fn download(&self, url: &Url, promised: Option<(u64, Digest)>) -> UrlDownload {
        let (client, place, url) = (self.clone(), self.shown(url), url.clone());
        let started = Instant::now();
        UrlDownload(ResumableDownload::new(UrlSource { client, url, place, promised, started }))
    }
}

/// A URL, as the source of a download.
struct UrlSource {
    client: WebClient,
    url: Url,
    /// The name of the URL in errors.
    place: String,
    promised: Option<(u64, Digest)>,
    started: Instant,
}

impl UrlSource {
    fn error(&self, kind: Kind, what: &str) -> Error {
        Error::new(kind, format!("{}: {what}", self.place))
    }
}

impl DownloadSource for UrlSource {
    fn wire(&self) -> &Wire {
        self.client.wire()
    }

    fn place(&self) -> &str {
        &self.place
    }

    fn promised(&self) -> Option<(u64, Digest)> {
        self.promised
    }

    async fn request(&mut self, state: &ResumeState, budget: &mut RetryBudget) -> Result<Answer> {
        let headers = state.range().map(|range| (RANGE, range)).into_iter().collect::<HeaderMap>();
        self.client.ask_within(Method::GET, &self.url, headers, None, budget).await
    }

    fn on_short_body(&self) -> OnShortBody {
        OnShortBody::Fail
    }

    fn on_unterminated(&self) -> OnUnterminated {
        OnUnterminated::Resume
    }

    fn check_rate(&self, received: u64) -> Result<()> {
        match is_too_slow(self.started.elapsed(), received) {
            true => Err(self.error(
                Kind::Network,
                &format!(
                    "the server sends fewer than {SLOWEST} bytes a second; the download was stopped"
                ),
            )),
            false => Ok(()),
        }
    }

    fn wrong_size(&self, promised: u64, found: String) -> Error {
        let what = format!("{}: wrong size", self.place);
        Error::mismatch(what, Side::Bytes(promised), format_args!("{found} bytes"))
    }

    fn wrong_digest(&self, promised: Digest, found: Digest) -> Error {
        Error::mismatch(format!("{}: wrong bytes", self.place), promised, found)
    }

    fn wrong_range(&self, _: &Answer, requested: String, found: String) -> Error {
        let what = "the server sent another range than the one asked for";
        self.error(Kind::Network, &format!("{what}: expected {requested}, found {found}"))
    }

    fn wrong_status(&self, answer: &Answer) -> Error {
        match answer.status() {
            // There are no bytes, and so no range of them.
            StatusCode::RANGE_NOT_SATISFIABLE => {
                self.wrong_size(self.promised.map_or(0, |(size, _)| size), "0".to_owned())
            }
            status => status_error_at(&self.place, status).unwrap_or_else(|| {
                self.error(Kind::Network, &format!("the server answered {status}"))
            }),
        }
    }
}

/// Returns whether so many bytes in that time are below the minimum rate.
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

//! Downloads of blobs: streamed, resumed after a broken connection, and compared with their descriptor at the end.
//!
//! A blob that was compressed for the transfer (`Content-Encoding: gzip`) is decoded, as the clients of registries do.
//! Some servers send this header with a blob that they did not compress. A source with that mistake can still be read.
//! Verification fails there, because the clients fail ([`Repository::strict`]).
//!
//! What this module refuses: to end without an error when the bytes are not those of the descriptor.

use bytes::{Bytes, BytesMut};
use reqwest::StatusCode;
use reqwest::header::{ACCEPT_ENCODING, HeaderValue, RANGE};

use super::blob_existence::unterminated;
use super::manifest_headers::ACCEPT_CODING;
use super::repository::{PLAIN, Repository, named, unexpected};
use crate::http::resumable::{DownloadSource, OnShortBody, OnUnterminated, ResumableDownload};
use crate::http::resume_state::ResumeState;
use crate::http::retry::RetryBudget;
use crate::http::wire::{Answer, Call, WRONG_CODING, Wire};
use occystrap_base::error::{Error, Kind, Result, Side};
use occystrap_base::oci::{Descriptor, Digest};

/// The bytes of a blob, in order, each once.
pub struct Download(ResumableDownload<BlobSource>);

impl Download {
    /// Returns the number of bytes that were returned until now.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.0.state().size()
    }

    /// Returns the next bytes, and `None` at the end: all bytes were received, and have the size and the digest of the
    /// descriptor. Before that, the returned bytes are not verified. An error is final, and returned by every later
    /// call: [`Kind::Source`] for bytes that are not the promised ones, [`Kind::NotFound`], [`Kind::Auth`],
    /// [`Kind::Network`] after all retries.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let outcome = self.0.next().await;
        outcome.map_err(|error| named(error, self.0.source().place()))
    }
}

impl Repository {
    /// Starts to download a blob (distribution specification, "Pulling blobs"). Nothing is requested before the first
    /// [`Download::next`].
    #[must_use]
    pub fn blob(&self, what: &Descriptor) -> Download {
        let place = format!("{}@{}", self.place(), what.digest);
        let (repository, what) = (self.clone(), what.clone());
        let source = BlobSource { repository, what, place, is_coded: false };
        Download(ResumableDownload::new(source))
    }

    /// Returns a whole small blob, such as a config. Wrong bytes are requested once more before they are an error,
    /// because a cache on the way may have cut them or mixed them up. Errors as [`Download::next`], and
    /// ([`Kind::Source`]) when the descriptor promises more than `limit` bytes.
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
                self.wire().counters.count_retry();
                tracing::debug!(reason = %error, "trying once more");
                self.blob_once(what).await
            }
            outcome => outcome,
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

    /// Returns the bytes of a blob from `start` on. They are not verified, because a part has no digest: use them for
    /// hints only. There are no retries, and no request at all where the user limits the rate of requests.
    pub async fn blob_tail(&self, what: &Descriptor, start: u64) -> Result<Bytes> {
        let place = || format!("{}@{}", self.place(), what.digest);
        if self.wire().settings.rate_limit.is_some() {
            return Err(Error::usage(format!("{}: requests are limited", place())));
        }
        let mut call = Call::get(self.url(&format!("blobs/{}", what.digest)));
        let range = HeaderValue::try_from(format!("bytes={start}-"))
            .map_err(|_| Error::new(Kind::Network, "no header for the range"))?;
        call.headers.insert(RANGE, range);
        let mut budget = RetryBudget::none();
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
}

/// A blob of a repository, as the source of a download.
struct BlobSource {
    repository: Repository,
    what: Descriptor,
    /// The name of the blob in errors.
    place: String,
    /// Whether the answers are decoded. No range can be requested then: it would be one of the compressed bytes.
    is_coded: bool,
}

impl BlobSource {
    async fn send(&self, state: &ResumeState, budget: &mut RetryBudget) -> Result<Answer> {
        let mut call = Call::get(self.repository.url(&format!("blobs/{}", self.what.digest)));
        // There is no range after the last byte.
        let is_complete = state.size() == self.what.size;
        let range = state.range().filter(|_| !is_complete && !self.is_coded);
        // Clients accept gzip in requests without a range, and some servers answer these differently.
        let coding = match self.repository.is_strict() && range.is_none() {
            true => HeaderValue::from_static(ACCEPT_CODING),
            false => PLAIN,
        };
        call.headers.insert(ACCEPT_ENCODING, coding);
        call.headers.extend(range.map(|range| (RANGE, range)));
        self.repository.send(&call, budget).await
    }

    /// Returns whether a body of that length has all missing bytes, or all bytes of the blob.
    fn is_rest(&self, received: u64, length: Option<u64>) -> bool {
        let size = self.what.size;
        length.is_some_and(|length| length == size || received.saturating_add(length) == size)
    }

    fn mismatch(&self, what: &str, expected: impl Into<Side>, found: impl Into<Side>) -> Error {
        let place = &self.place;
        match self.is_coded {
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
}

impl DownloadSource for BlobSource {
    fn wire(&self) -> &Wire {
        self.repository.wire()
    }

    fn place(&self) -> &str {
        &self.place
    }

    fn promised(&self) -> Option<(u64, Digest)> {
        Some((self.what.size, self.what.digest))
    }

    async fn request(&mut self, state: &ResumeState, budget: &mut RetryBudget) -> Result<Answer> {
        let answer = self.send(state, budget).await?;
        if !answer.status().is_success() || !answer.is_gzip() {
            return Ok(answer);
        }
        // A source that sends as many bytes as the blob has sends the blob itself.
        let is_plain = !self.repository.is_strict() && self.is_rest(state.size(), answer.length());
        self.is_coded = !is_plain;
        let answer = match self.is_coded && answer.status() == StatusCode::PARTIAL_CONTENT {
            true => self.send(state, budget).await?,
            false => answer,
        };
        // The answer to a request without a range may be uncompressed.
        self.is_coded = self.is_coded && answer.is_gzip();
        Ok(match self.is_coded && answer.status().is_success() {
            true => answer.decoded(),
            false => answer,
        })
    }

    fn on_short_body(&self) -> OnShortBody {
        OnShortBody::Resume
    }

    fn on_unterminated(&self) -> OnUnterminated {
        match self.repository.is_strict() {
            true => OnUnterminated::Fail(unterminated(&self.place)),
            false => OnUnterminated::Accept,
        }
    }

    fn wrong_size(&self, promised: u64, found: String) -> Error {
        self.mismatch("wrong size", Side::Bytes(promised), found)
    }

    fn wrong_digest(&self, promised: Digest, found: Digest) -> Error {
        self.mismatch("wrong bytes", promised, found)
    }

    fn wrong_range(&self, answer: &Answer, requested: String, found: String) -> Error {
        let (place, host) = (&self.place, &answer.host);
        let what = format!("{place}: {host} sent another range than the one asked for");
        Error::mismatch(what, requested, found)
    }

    fn wrong_status(&self, answer: &Answer) -> Error {
        match answer.status() {
            StatusCode::NOT_FOUND => {
                Error::new(Kind::NotFound, format!("{}: blob not found", self.place)).hint(
                    "the registry lists it, but does not have it: the image has to be pushed again",
                )
            }
            status => unexpected(&self.place, answer, status),
        }
    }
}

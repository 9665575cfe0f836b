//! Uploads of blobs (distribution specification, "Pushing blobs"), in one request or in chunks.
//!
//! Every attempt is a new upload with the content from its start, because registries differ in what they keep of a
//! failed one. What this module refuses: to send the registry's credentials to another host, even if the upload
//! location is there.

use std::ops::Range;

use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode};
use url::Url;

use super::body::{Body, BodyReader};
use super::push::{check_stored, empty};
use super::repository::Repository;
use super::streamed_request::{Progress, StreamedAnswer, StreamedBody};
use crate::http::failure::Failure;
use crate::http::retry::RetryBudget;
use crate::http::wire::{Call, Moves};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::Descriptor;

/// Options of an upload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PushOptions {
    /// The most bytes of one request, for registries behind a proxy that limits them. A registry can require more
    /// (`OCI-Chunk-Min-Length`). `None` and 0 send each blob in one request.
    pub chunk_size: Option<u64>,
}

impl Repository {
    /// Uploads a blob: streamed, and again from its start when an attempt failed for a temporary reason. `progress` is
    /// called with the number of bytes that this attempt has sent; the number is reset for each attempt. Errors: those
    /// of the content's source, unchanged; [`Kind::Destination`], with the registry's error message, when it refuses;
    /// [`Kind::Auth`]; [`Kind::Network`] after all retries.
    pub async fn push_blob(
        &self,
        what: &Descriptor,
        body: &Body,
        options: &PushOptions,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<()> {
        let place = format!("{}@{}", self.place(), what.digest);
        let mut upload = Upload {
            repository: self,
            what,
            place: &place,
            chunk_size: options.chunk_size.filter(|size| *size > 0),
            reader: BodyReader::new(body, what)?,
            budget: RetryBudget::new(&self.wire().settings),
            progress: &progress,
            listens: false,
            in_parts: false,
            turns_to_parts: false,
        };
        loop {
            let failure = match upload.attempt().await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            // The source failed, and not the upload: return its error.
            if let Some(error) = upload.reader.failure() {
                return Err(error);
            }
            if upload.turns_to_parts {
                upload.turns_to_parts = false;
                tracing::debug!(place, "the blob is sent by PATCH");
                continue;
            }
            let paused = self.wire().pause(&mut upload.budget, failure).await;
            paused.map_err(|error| self.named_or_auth(error, &place))?;
        }
    }
}

struct Upload<'a> {
    repository: &'a Repository,
    what: &'a Descriptor,
    place: &'a str,
    chunk_size: Option<u64>,
    reader: BodyReader<'a>,
    budget: RetryBudget,
    progress: Progress<'a>,
    /// Whether the last connection broke.
    listens: bool,
    /// Whether the whole blob is sent by PATCH, as Docker, Podman and skopeo do.
    in_parts: bool,
    /// Whether the registry has just refused the blob in one request, so that the next attempt uses PATCH.
    turns_to_parts: bool,
}

impl Upload<'_> {
    async fn attempt(&mut self) -> Result<(), Failure> {
        let (mut to, least) = self.start().await?;
        let outcome = self.send(&mut to, least).await;
        if let Err(Failure::Lasting(error)) = &outcome
            && error.kind() != Kind::Interrupted
        {
            self.repository.abandon(to).await;
        }
        outcome
    }

    /// Starts an upload. Returns its URL, and the smallest chunk that the registry accepts, in bytes.
    async fn start(&mut self) -> Result<(Url, u64), Failure> {
        let url = self.repository.url("blobs/uploads/");
        let call = Call { moves: Moves::Anywhere, ..Call::new(Method::POST, url, empty()) };
        let mut answer = self.repository.ask(&call, &mut self.budget).await?;
        // Some registries answer 200 or 204. containerd accepts these too.
        let is_open = matches!(
            answer.status(),
            StatusCode::ACCEPTED | StatusCode::OK | StatusCode::NO_CONTENT
        ) && answer.headers().contains_key(LOCATION);
        if !is_open && answer.status() != StatusCode::ACCEPTED {
            return Err(self
                .repository
                .push_error(self.place, "an upload", &mut answer)
                .await
                .0
                .into());
        }
        let least = answer.header("oci-chunk-min-length").and_then(|least| least.parse().ok());
        Ok((self.repository.upload_place(&answer)?, least.unwrap_or(0)))
    }

    async fn send(&mut self, to: &mut Url, least: u64) -> Result<(), Failure> {
        let size = self.what.size;
        let chunk = self.chunk_size.map(|chunk| chunk.max(least)).filter(|chunk| *chunk < size);
        let chunk = chunk.or(Some(size).filter(|_| self.in_parts));
        let mut sent = 0;
        while let Some(chunk) = chunk
            && sent < size
        {
            let part = sent..size.min(sent.saturating_add(chunk));
            sent = part.end;
            self.part(to, part).await?;
        }
        self.last(to, sent..size).await
    }

    /// Sends one chunk of several ("Pushing a blob in chunks").
    async fn part(&mut self, to: &mut Url, part: Range<u64>) -> Result<(), Failure> {
        let range = HeaderValue::try_from(format!("{}-{}", part.start, part.end - 1))
            .map_err(|_| Error::new(Kind::Network, "no header for the range"))?;
        let mut call = upload(Method::PATCH, to.clone());
        call.headers.insert(CONTENT_RANGE, range);
        let to_process = part.end - part.start;
        let mut sent = self.deliver(&call, part, to_process).await?;
        self.accepted(&mut sent, false).await?;
        if sent.answer.headers().contains_key(LOCATION) {
            *to = self.repository.upload_place(&sent.answer)?;
        }
        Ok(())
    }

    /// Ends an upload, and sends the bytes that were not sent in chunks.
    async fn last(&mut self, to: &Url, part: Range<u64>) -> Result<(), Failure> {
        let mut url = to.clone();
        url.query_pairs_mut().append_pair("digest", &self.what.digest.to_string());
        let call = upload(Method::PUT, url);
        let is_whole = part.start == 0 && part.end > 0;
        let mut sent = self.deliver(&call, part, self.what.size).await?;
        self.accepted(&mut sent, is_whole).await?;
        Ok(check_stored(&sent.answer, self.what.digest, self.place)?)
    }

    async fn accepted(&mut self, sent: &mut StreamedAnswer, is_whole: bool) -> Result<(), Failure> {
        let status = sent.answer.status();
        if status.is_success() {
            return Ok(());
        }
        let (error, body) =
            self.repository.push_error(self.place, "the blob", &mut sent.answer).await;
        if is_whole && knows_parts_alone(status, &body.code) {
            (self.in_parts, self.turns_to_parts) = (true, true);
        }
        // The registry lost the upload, or expects another offset: a new upload may succeed.
        let lost = status == StatusCode::RANGE_NOT_SATISFIABLE
            || status == StatusCode::NOT_FOUND && body.code != "NAME_UNKNOWN";
        match lost {
            true => Err(Failure::Passing { error, wait: None }),
            false => Err(error.into()),
        }
    }

    /// Sends a chunk. When the token expired during the request, the chunk is sent again with a new token.
    async fn deliver(
        &mut self,
        call: &Call,
        part: Range<u64>,
        to_process: u64,
    ) -> Result<StreamedAnswer, Failure> {
        let Self { repository, reader, progress, listens, .. } = self;
        let elsewhere = call.url.origin() != repository.endpoint().origin();
        let mut renewed = false;
        loop {
            let pass = repository.pass().await?;
            reader.seek(part.start).await?;
            let body = StreamedBody {
                reader,
                length: part.end - part.start,
                start: part.start,
                to_process,
                listens,
                progress: *progress,
            };
            let header = pass.header.as_ref().filter(|_| !elsewhere);
            let sent = repository.wire().send_streamed(call, header, body).await?;
            match sent.answer.status() {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if elsewhere => {
                    return Err(repository.auth_error_elsewhere(&sent.answer).into());
                }
                StatusCode::UNAUTHORIZED if !renewed => {
                    tracing::debug!("the token expired during an upload");
                    renewed = repository.renew(&pass, &sent.answer).await?;
                }
                _ => return Ok(sent),
            }
        }
    }
}

/// Returns whether a registry that refuses a blob in one request (PUT with a body) may accept it by PATCH. Some servers
/// support only PATCH, because Docker, Podman and skopeo use nothing else, and refuse or ignore the body of a PUT.
fn knows_parts_alone(status: StatusCode, code: &str) -> bool {
    match status {
        StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::LENGTH_REQUIRED
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::NOT_IMPLEMENTED => true,
        StatusCode::BAD_REQUEST => {
            matches!(code, "DIGEST_INVALID" | "SIZE_INVALID" | "BLOB_UPLOAD_INVALID")
        }
        _ => false,
    }
}

/// Returns a request to the upload location.
fn upload(method: Method, url: Url) -> Call {
    let kind = HeaderValue::from_static("application/octet-stream");
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind)]);
    Call { foreign: true, ..Call::new(method, url, headers) }
}

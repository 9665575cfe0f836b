//! A blob on its way to a registry (distribution specification, "Pushing blobs"): in one request,
//! or in parts.
//!
//! Every try is an upload of its own, with the content from its start: what a registry kept of a
//! failed one is anybody's guess. What it refuses: to send our credentials to another place than
//! the registry, wherever that wants the bytes.

use std::ops::Range;

use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode};
use url::Url;

use super::body::{Body, Reader};
use super::deliver::{Parcel, Progress, Sent};
use super::push::{empty, kept};
use super::repository::Repository;
use crate::http::failure::Failure;
use crate::http::retry::Budget;
use crate::http::wire::{Call, Moves};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::descriptor::Descriptor;

/// How a blob is uploaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PushOptions {
    /// Bytes of one request at most, for registries behind a proxy that limits them. A registry can
    /// ask for more (`OCI-Chunk-Min-Length`). `None`, and 0, send each blob in one request.
    pub chunk_size: Option<u64>,
}

impl Repository {
    /// Uploads a blob: streamed, and again from its start when a try failed for a passing reason.
    /// `progress` hears how many bytes of it have been sent in this try; the number falls back when
    /// another begins. Errors: those of the content's source, as they are; [`Kind::Destination`]
    /// with the registry's own words where it refuses; [`Kind::Auth`]; [`Kind::Network`] after all
    /// retries.
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
            reader: Reader::new(body, what)?,
            budget: Budget::new(&self.wire().settings),
            progress: &progress,
            wary: false,
            in_parts: false,
            turns_to_parts: false,
        };
        loop {
            let failure = match upload.attempt().await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            // Its own words say where it went wrong, and that was not here.
            if let Some(error) = upload.reader.failure() {
                return Err(error);
            }
            if upload.turns_to_parts {
                upload.turns_to_parts = false;
                tracing::debug!(place, "the blob is sent by PATCH");
                continue;
            }
            let paused = self.wire().pause(&mut upload.budget, failure).await;
            paused.map_err(|error| self.refused_or(error, &place))?;
        }
    }
}

struct Upload<'a> {
    repository: &'a Repository,
    what: &'a Descriptor,
    place: &'a str,
    chunk_size: Option<u64>,
    reader: Reader<'a>,
    budget: Budget,
    progress: Progress<'a>,
    /// The last connection broke.
    wary: bool,
    /// All of the blob goes by PATCH, as Docker, Podman and skopeo send it.
    in_parts: bool,
    /// The registry has just refused the blob in one request, and is asked once more.
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

    /// Opens an upload: where it goes, and the smallest part that the registry takes.
    async fn start(&mut self) -> Result<(Url, u64), Failure> {
        let url = self.repository.url("blobs/uploads/");
        let call = Call { moves: Moves::Anywhere, ..Call::new(Method::POST, url, empty()) };
        let mut answer = self.repository.ask(&call, &mut self.budget).await?;
        // Some registries say 200 or 204, which containerd takes as well.
        let is_open = matches!(
            answer.status(),
            StatusCode::ACCEPTED | StatusCode::OK | StatusCode::NO_CONTENT
        ) && answer.headers().contains_key(LOCATION);
        if !is_open && answer.status() != StatusCode::ACCEPTED {
            return Err(self
                .repository
                .refused(self.place, "an upload", &mut answer)
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

    /// One part of several ("Pushing a blob in chunks").
    async fn part(&mut self, to: &mut Url, part: Range<u64>) -> Result<(), Failure> {
        let range = HeaderValue::try_from(format!("{}-{}", part.start, part.end - 1))
            .map_err(|_| Error::new(Kind::Network, "no header for the range"))?;
        let mut call = upload(Method::PATCH, to.clone());
        call.headers.insert(CONTENT_RANGE, range);
        let settles = part.end - part.start;
        let mut sent = self.deliver(&call, part, settles).await?;
        self.accepted(&mut sent, false).await?;
        if sent.answer.headers().contains_key(LOCATION) {
            *to = self.repository.upload_place(&sent.answer)?;
        }
        Ok(())
    }

    /// Ends an upload, with what was not sent in parts.
    async fn last(&mut self, to: &Url, part: Range<u64>) -> Result<(), Failure> {
        let mut url = to.clone();
        url.query_pairs_mut().append_pair("digest", &self.what.digest.to_string());
        let call = upload(Method::PUT, url);
        let is_whole = part.start == 0 && part.end > 0;
        let mut sent = self.deliver(&call, part, self.what.size).await?;
        self.accepted(&mut sent, is_whole).await?;
        Ok(kept(&sent.answer, self.what.digest, self.place)?)
    }

    async fn accepted(&mut self, sent: &mut Sent, is_whole: bool) -> Result<(), Failure> {
        let status = sent.answer.status();
        if status.is_success() {
            return Ok(());
        }
        let (error, refusal) =
            self.repository.refused(self.place, "the blob", &mut sent.answer).await;
        if is_whole && knows_parts_alone(status, &refusal.code) {
            (self.in_parts, self.turns_to_parts) = (true, true);
        }
        // The upload got lost, or out of step: another one will not be.
        let lost = status == StatusCode::RANGE_NOT_SATISFIABLE
            || status == StatusCode::NOT_FOUND && refusal.code != "NAME_UNKNOWN";
        match lost {
            true => Err(Failure::Passing { error, wait: None }),
            false => Err(error.into()),
        }
    }

    /// Sends a part, and once more after getting a new token where the old one ended on the way.
    async fn deliver(
        &mut self,
        call: &Call,
        part: Range<u64>,
        settles: u64,
    ) -> Result<Sent, Failure> {
        let Self { repository, reader, progress, wary, .. } = self;
        let elsewhere = call.url.origin() != repository.endpoint().origin();
        let mut renewed = false;
        loop {
            let pass = repository.pass().await?;
            reader.seek(part.start).await?;
            let parcel = Parcel {
                reader,
                length: part.end - part.start,
                start: part.start,
                settles,
                wary,
                progress: *progress,
            };
            let header = pass.header.as_ref().filter(|_| !elsewhere);
            let sent = repository.wire().deliver(call, header, parcel).await?;
            match sent.answer.status() {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if elsewhere => {
                    return Err(repository.refusal_elsewhere(&sent.answer).into());
                }
                StatusCode::UNAUTHORIZED if !renewed => {
                    tracing::debug!("the token ended in the middle of an upload");
                    renewed = repository.renew(&pass, &sent.answer).await?;
                }
                _ => return Ok(sent),
            }
        }
    }
}

/// Whether a registry that refuses a blob in one request (PUT with a body) may take it by PATCH: some servers know no
/// other way, since Docker, Podman and skopeo use no other, and refuse the body or do not read it.
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

/// A request to where the registry wants the upload.
fn upload(method: Method, url: Url) -> Call {
    let kind = HeaderValue::from_static("application/octet-stream");
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind)]);
    Call { foreign: true, ..Call::new(method, url, headers) }
}

//! Pushes to a repository other than uploads of blobs: mounts of blobs, and manifests.
//!
//! What this module refuses: to count a blob as mounted before the check finds it here, and to delete anything at
//! another host than the registry.

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode};
use url::Url;

use super::error_body::ErrorBody;
use super::manifest_headers::{self, digest_or_not};
use super::repository::{Repository, named};
use super::scope;
use crate::http::redirect;
use crate::http::retry::RetryBudget;
use crate::http::wire::{Answer, Call, Moves};
use occystrap_base::error::{Error, FaultOrigin, Kind, Result};
use occystrap_base::oci::digest::Digest;
use occystrap_base::oci::manifest::{OCI_INDEX, OCI_MANIFEST};
use occystrap_base::oci::name::is_tag;

impl Repository {
    /// Adds a name to an error: the repository when it concerns the login, else `place`.
    pub(super) fn named_or_auth(&self, error: Error, place: &str) -> Error {
        match error.kind() {
            Kind::Auth => named(error, &self.place()),
            _ => named(error, place),
        }
    }

    /// Mounts a blob of another repository of the same registry, so that it need not be sent (distribution
    /// specification, "Mounting a blob from another repository"). `from` is the name of that repository. Returns `true`
    /// only after the blob is found in this repository, with this size. Returns `false` when the mount fails for any
    /// reason: then the blob must be uploaded. Errors when the user interrupts.
    pub async fn mount_blob(&self, digest: Digest, size: u64, from: &str) -> Result<bool> {
        if self.name() == from {
            return Ok(false);
        }
        let mounted = match self.mount(digest, from).await {
            // A blob that is cut in the other repository is cut here as well.
            Ok(true) => self.find_blob(digest, Some(size)).await.map(|found| found == Some(size)),
            outcome => outcome,
        };
        if let Ok(true) = mounted {
            self.note_mounted(digest, size);
        }
        match mounted {
            Err(error) if error.kind() == Kind::Interrupted => Err(error),
            Err(error) => {
                tracing::debug!(%digest, reason = %error, "not mounted: it is uploaded");
                Ok(false)
            }
            mounted => mounted,
        }
    }

    async fn mount(&self, digest: Digest, from: &str) -> Result<bool> {
        let both = self.widened(&scope::pull(from));
        let mut url = self.url("blobs/uploads/");
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
        // A server error is an answer: an upload costs less than many retries.
        let call = Call { takes_faults: true, ..Call::new(Method::POST, url, empty()) };
        let mut budget = RetryBudget::new(&self.wire().settings);
        let answer = both.send(&call, &mut budget).await?;
        tracing::debug!(%digest, from, status = answer.status().as_u16(), "mount");
        match answer.status() {
            StatusCode::CREATED => Ok(true),
            StatusCode::ACCEPTED => {
                if answer.headers().contains_key(LOCATION)
                    && let Ok(started) = self.upload_place(&answer)
                {
                    self.abandon(started).await;
                }
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// Returns the URL where an upload continues. A relative URL is relative to the server that answered.
    pub(super) fn upload_place(&self, answer: &Answer) -> Result<Url> {
        redirect::upload(
            answer.url(),
            &self.url("blobs/uploads/"),
            answer.headers(),
            self.wire().settings.insecure,
        )
    }

    /// Cancels an upload, so that the registry can delete the received bytes. A failure is ignored, because registries
    /// delete unfinished uploads after some time. Uploads at another host are not cancelled: a registry must not be
    /// able to make occystrap delete something elsewhere.
    pub(super) async fn abandon(&self, upload: Url) {
        if upload.origin() != self.endpoint().origin() {
            return;
        }
        let Ok(pass) = self.pass().await else { return };
        let call = Call { foreign: true, ..Call::new(Method::DELETE, upload, empty()) };
        let _ = self.wire().exchange(&call, pass.header.as_ref(), &mut RetryBudget::none()).await;
    }

    /// Returns whether clients of the registry get exactly these bytes, with this media type, by `target` and by their
    /// digest. Returns `false` when a request fails. Errors when the user interrupts.
    async fn has_manifest(&self, target: &str, media_type: &str, bytes: &Bytes) -> Result<bool> {
        let digest = Digest::of(bytes).to_string();
        let mut call = Call::get(self.url(&format!("manifests/{target}")));
        call.method = Method::HEAD;
        call.headers.insert(ACCEPT, HeaderValue::from_static(manifest_headers::ACCEPT));
        let found = async {
            // Most tags are new, and registries that limit manifest requests do not count HEAD.
            let head = self.send(&call, &mut RetryBudget::none()).await?;
            let named = head.header("docker-content-digest");
            if head.status() != StatusCode::OK || named.is_some_and(|named| named != digest) {
                return Ok::<bool, Error>(false);
            }
            let fetched = self.fetch_manifest_lenient(target).await?;
            let is_same = fetched.manifest.bytes == *bytes && fetched.is_served_as(media_type);
            Ok(is_same && self.check_resolved(target, &fetched).await.is_ok())
        };
        match found.await {
            Err(error) if error.kind() == Kind::Interrupted => Err(error),
            found => Ok(found.unwrap_or(false)),
        }
    }

    /// Returns whether a GET returns exactly these bytes. A registry with immutable tags refuses a manifest that it
    /// already has: from an earlier attempt whose answer was lost, from another process, or because
    /// [`Self::has_manifest`] returned `false` for another wrong answer. Verification checks whether clients accept the
    /// answers.
    async fn gives(&self, target: &str, bytes: &Bytes) -> Result<bool> {
        match self.fetch_manifest_lenient(target).await {
            Ok(fetched) => Ok(fetched.manifest.bytes == *bytes),
            Err(error) if error.kind() == Kind::Interrupted => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// Stores a manifest under a tag, or under its digest (distribution specification, "Pushing Manifests"). The blobs
    /// and manifests that it refers to must already be in the repository. A manifest that the registry already has
    /// under both is not sent again, because registries with immutable tags refuse that. If a registry refuses a
    /// manifest that it has, the manifest counts as stored. Errors: [`Kind::Destination`], with the registry's error
    /// message, when it refuses, or reports another digest than that of the bytes; [`Kind::Auth`]; [`Kind::Network`]
    /// after all retries; [`Kind::Usage`] when `target` is neither a tag nor the digest of the bytes, or `media_type`
    /// is not a media type.
    pub async fn push_manifest(&self, target: &str, media_type: &str, bytes: Bytes) -> Result<()> {
        let digest = Digest::of(&bytes);
        let place = match target.parse::<Digest>() {
            Ok(named) if named == digest => format!("{}@{digest}", self.place()),
            Ok(named) => {
                return Err(Error::usage(format!(
                    "a manifest of the digest {digest} cannot be pushed as {named}"
                )));
            }
            Err(_) if is_tag(target) => format!("{}:{target}", self.place()),
            Err(_) => {
                return Err(Error::usage(format!("'{target}' is neither a tag nor a digest")));
            }
        };
        let header = HeaderValue::try_from(media_type)
            .map_err(|_| Error::usage(format!("'{media_type}' is not a media type")))?;
        let is_other = self.is_new() || self.take_other_tag(target, digest);
        if !is_other && self.has_manifest(target, media_type, &bytes).await? {
            tracing::debug!(target, %digest, "the manifest is there already");
            return Ok(());
        }
        let media_type = header;
        let url = self.url(&format!("manifests/{target}"));
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, media_type.clone())]);
        let call = Call {
            body: Some(bytes.clone()),
            moves: Moves::WithinHost,
            ..Call::new(Method::PUT, url, headers)
        };
        let mut budget = RetryBudget::new(&self.wire().settings);
        let mut answer =
            self.ask(&call, &mut budget).await.map_err(|error| named(error, &place))?;
        if answer.status().is_success() {
            return check_stored(&answer, digest, &place);
        }
        let (mut error, body) = self.push_error(&place, "the manifest", &mut answer).await;
        if answer.status() == StatusCode::PAYLOAD_TOO_LARGE {
            error = error.hint(
                "the registry, or a proxy before it, limits the size of a manifest: most take 4 MiB, in which \
                 annotations and 'data' of descriptors count",
            );
        }
        if answer.status().is_client_error() && self.gives(target, &bytes).await? {
            tracing::debug!(target, %digest, %error, "the manifest is there already");
            return Ok(());
        }
        let oci = [OCI_MANIFEST, OCI_INDEX].iter().any(|known| media_type == known);
        let unknown_type = answer.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE
            || matches!(body.code.as_str(), "MANIFEST_INVALID" | "UNSUPPORTED");
        Err(match body.code.as_str() {
            "MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN" | "MANIFEST_UNKNOWN" => {
                self.forget_blobs();
                error
                    .hint("it does not have a blob of the manifest: push the image again")
                    .with_origin(FaultOrigin::LostBlob)
            }
            _ if oci && unknown_type => error.hint(
                "it may know Docker's media types only: such a registry cannot hold OCI images, \
                 nor layers compressed with zstd",
            ),
            _ => error,
        })
    }

    /// Returns the error for an answer that refuses `what`, and the error body of the answer.
    pub(super) async fn push_error(
        &self,
        place: &str,
        what: &str,
        answer: &mut Answer,
    ) -> (Error, ErrorBody) {
        let body = ErrorBody::read(answer).await;
        let (status, host) = (answer.status(), &answer.host);
        let error = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let error = self.auth_error().await;
                let message = format!("{}: {error}{}", self.place(), body.tail());
                Error::new(Kind::Auth, message).hint(error.hint_text().unwrap_or_default())
            }
            StatusCode::PAYLOAD_TOO_LARGE => {
                let message = format!(
                    "{place}: {host} says that {what} is too large ({status}){}",
                    body.tail()
                );
                Error::destination(message).hint(
                    "the registry, or a proxy before it, limits the size of a request: \
                     ?chunk_size= sends layers in parts, for example ?chunk_size=50000000",
                )
            }
            status if redirect::is_redirect(status) => {
                let to = redirect::upload(
                    answer.url(),
                    &self.url(""),
                    answer.headers(),
                    self.wire().settings.insecure,
                );
                match to {
                    Ok(to) => {
                        let error = redirect::not_followed(host, &to, status);
                        Error::destination(format!("{place}: {error}"))
                    }
                    Err(error) => named(error, place),
                }
            }
            _ => Error::destination(format!(
                "{place}: {host} refused {what} ({status}){}",
                body.tail()
            )),
        };
        (error, body)
    }
}

/// Returns the headers of a request without a body. Some servers require this `Content-Length` (RFC 9110, 8.6).
pub(super) fn empty() -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("0"))])
}

/// Errors when the registry reports another digest for the content that it stored.
pub(super) fn check_stored(answer: &Answer, digest: Digest, place: &str) -> Result<()> {
    match answer.header("docker-content-digest") {
        Some(said) if said.starts_with("sha256:") && said != digest.to_string() => {
            Err(Error::destination(format!(
                "{place}: {} stored something else: expected {digest}, found {}",
                answer.host,
                digest_or_not(said)
            )))
        }
        _ => Ok(()),
    }
}

//! What the owner of the endpoint decides: what becomes of a manifest, and everything that clients did not send here.

use std::io;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use serde_json::Value;
use tokio::sync::mpsc;

use occystrap_base::oci::{Digest, Manifest};

use crate::refusal::{Code, Refusal};
use crate::route::Target;

/// What all requests about a repository say.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The repository, as in the path.
    pub repository: String,
    /// The registry that the client means (`?ns=`, distribution specification, "Registry Proxying").
    pub namespace: Option<String>,
    /// Whether the client wants the headers alone.
    pub is_head: bool,
}

/// A manifest that clients get.
pub struct ServedManifest {
    /// The manifest.
    pub manifest: Manifest,
    /// Headers beside those of the specification.
    pub headers: HeaderMap<HeaderValue>,
}

/// A blob that clients did not send here, from its first byte on.
pub struct RemoteBlob {
    /// Size in bytes.
    pub size: u64,
    /// The bytes. An error ends the connection of the client before its last byte.
    pub pieces: mpsc::Receiver<io::Result<Bytes>>,
}

/// A manifest that a client sent and that has landed.
pub struct Landed {
    /// Digest of the bytes that the client sent.
    pub digest: Digest,
    /// The manifest that it refers to, where the registry that has it now lists it under that one (`OCI-Subject`).
    pub subject: Option<Digest>,
    /// The digest under which it has landed, where that is another one.
    pub landed_as: Option<Digest>,
    /// What the user is warned of (distribution specification, "Warnings").
    pub warning: Option<String>,
}

/// What refers to a manifest.
pub struct FoundReferrers {
    /// Descriptors, as the index of the answer lists them.
    pub descriptors: Vec<Value>,
    /// Whether they were reduced to the wanted type.
    pub is_filtered: bool,
}

/// The owner of an endpoint. A future ends when the client is gone: work that must go on belongs to a task of its own.
pub trait Backend: Send + Sync + 'static {
    /// Returns the size of a blob that clients did not send here; `None` where there is none.
    fn blob_size(
        &self,
        asked: &Asked,
        digest: Digest,
    ) -> impl Future<Output = Result<Option<u64>, Refusal>> + Send;

    /// Returns a blob that clients did not send here; `None` where there is none.
    fn blob(
        &self,
        asked: &Asked,
        digest: Digest,
    ) -> impl Future<Output = Result<Option<RemoteBlob>, Refusal>> + Send;

    /// Returns a manifest.
    fn manifest(
        &self,
        asked: &Asked,
        target: &Target,
    ) -> impl Future<Output = Result<ServedManifest, Refusal>> + Send;

    /// Takes a manifest that a client sends.
    fn put_manifest(
        &self,
        asked: &Asked,
        target: Target,
        content_type: Option<String>,
        bytes: Bytes,
    ) -> impl Future<Output = Result<Landed, Refusal>> + Send;

    /// Returns the tags of a repository, in any order.
    fn tags(&self, asked: &Asked) -> impl Future<Output = Result<Vec<String>, Refusal>> + Send;

    /// Returns what refers to a manifest, reduced to one type where the client wants that.
    fn referrers(
        &self,
        asked: &Asked,
        subject: Digest,
        wanted: Option<&str>,
    ) -> impl Future<Output = Result<FoundReferrers, Refusal>> + Send;

    /// Deletes a manifest or a tag.
    fn delete_manifest(
        &self,
        asked: &Asked,
        target: &Target,
    ) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Deletes a blob. `was_here` is whether a client had sent it here; it is forgotten already.
    fn delete_blob(
        &self,
        asked: &Asked,
        digest: Digest,
        was_here: bool,
    ) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Errors where requests about a repository are not answered at all.
    fn admit(&self, _repository: &str) -> Result<(), Refusal> {
        Ok(())
    }

    /// Returns whether clients may delete.
    fn allows_deletion(&self) -> bool;

    /// Notes that a request ended: its class, and the status of its answer.
    fn note_request(&self, class: &'static str, status: u16);
}

/// Returns the refusal for a manifest that is not there.
#[must_use]
pub fn no_manifest(asked: &Asked, target: &Target) -> Refusal {
    let message = format!("'{}' has no manifest '{target}'", asked.repository);
    Refusal::not_found(Code::ManifestUnknown, message)
}

//! Manifests and blobs that clients get.
//!
//! A blob is compared with its digest while it passes: a client gets its last bytes only when all were right.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use hyper::HeaderMap;
use tokio::sync::mpsc;

use super::shared::Shared;
use occystrap_base::error::{Error, Kind};
use occystrap_base::oci::{Descriptor, Digest};
use occystrap_net::registry::{Download, Repository};
use occystrap_output::layer_cache::StoredLayer;
use occystrap_serve::backend::{Asked, RemoteBlob, ServedManifest, no_manifest};
use occystrap_serve::refusal::{Code, Refusal};
use occystrap_serve::route::Target;

/// Pieces of a blob that wait for a client.
const PIECES: usize = 8;

/// Returns a manifest: as a client pushed it a short time ago, or that of the downstream registry.
pub async fn manifest(
    shared: &Shared,
    asked: &Asked,
    target: &Target,
) -> Result<ServedManifest, Refusal> {
    let served = |manifest| ServedManifest { manifest, headers: HeaderMap::new() };
    let Asked { repository, .. } = asked;
    let downstream = shared.repository(repository)?;
    let pushed = match target {
        Target::Tag(tag) => shared.remembered.by_tag(repository, tag),
        Target::Digest(digest) => shared.remembered.by_digest(repository, *digest),
    };
    if let Some(pushed) = pushed
        && pushed.is_changed()
    {
        // A tag may have another image since.
        let is_current = match target {
            Target::Digest(_) => true,
            Target::Tag(tag) => {
                let now = downstream.digest_of(tag).await;
                now.map_err(|error| shared.refusal(&error, Code::ManifestUnknown))?
                    == Some(pushed.landed_as)
            }
        };
        if is_current {
            return Ok(served(pushed.manifest));
        }
    }
    match downstream.manifest(&target.to_string()).await {
        Ok(manifest) => Ok(served(manifest)),
        Err(error) if error.kind() == Kind::NotFound => Err(no_manifest(asked, target)),
        Err(error) => Err(shared.refusal(&error, Code::ManifestUnknown)),
    }
}

/// Returns the size of a blob of the downstream registry, or of one that a client need not send.
pub async fn blob_size(
    shared: &Shared,
    asked: &Asked,
    digest: Digest,
) -> Result<Option<u64>, Refusal> {
    let downstream = shared.repository(&asked.repository)?;
    let failed = |error: Error| shared.refusal(&error, Code::BlobUnknown);
    let found = downstream.stat_blob(digest).await.map_err(failed)?;
    if found.is_some() {
        return Ok(found);
    }
    // A client that pushes need not send a layer of which the registry has what the filters made.
    let Some((stored, made)) = made_of(shared, digest) else { return Ok(None) };
    let is_there = downstream.stat_blob(made).await.map_err(failed)?.is_some();
    Ok(is_there.then_some(stored.size))
}

/// Returns what the filters made of a layer that clients push under this digest.
pub fn made_of(shared: &Shared, digest: Digest) -> Option<(StoredLayer, Digest)> {
    if !shared.has_filters() {
        return None;
    }
    let filtered = &shared.filtered;
    shared.layer_cache.made_of(digest, &filtered.filters, &filtered.target)
}

/// Returns a blob of the downstream registry.
pub async fn blob(
    shared: &Arc<Shared>,
    asked: &Asked,
    digest: Digest,
) -> Result<Option<RemoteBlob>, Refusal> {
    let downstream = shared.repository(&asked.repository)?;
    let found = downstream.find_blob(digest, None).await;
    let Some(size) = found.map_err(|error| shared.refusal(&error, Code::BlobUnknown))? else {
        return Ok(None);
    };
    Ok(Some(relayed(shared, &downstream, digest, size)))
}

/// Starts to fetch a blob, for one client.
pub fn relayed(shared: &Arc<Shared>, from: &Repository, digest: Digest, size: u64) -> RemoteBlob {
    let what = Descriptor { media_type: "application/octet-stream".to_owned(), digest, size };
    let download = from.blob(&what);
    let (send, pieces) = mpsc::channel(PIECES);
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        if let Err(error) = relay(&shared, download, &send).await {
            tracing::warn!("{error}");
            let _ = send.send(Err(io::Error::other(error))).await;
        }
    });
    RemoteBlob { size, pieces }
}

/// Passes a blob on. The last piece is held back until all bytes were compared with the digest.
async fn relay(
    shared: &Shared,
    mut download: Download,
    to: &mpsc::Sender<io::Result<Bytes>>,
) -> Result<(), Error> {
    let mut held: Option<Bytes> = None;
    while let Some(piece) = download.next().await? {
        if let Some(before) = held.replace(piece) {
            shared.counts.relayed(before.len());
            if to.send(Ok(before)).await.is_err() {
                return Ok(());
            }
        }
    }
    if let Some(last) = held {
        shared.counts.relayed(last.len());
        let _ = to.send(Ok(last)).await;
    }
    Ok(())
}

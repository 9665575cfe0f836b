//! Pulls through the proxy: manifests and blobs of upstream registries. What clients get is stored downstream as well, and comes
//! from there the next time.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, WARNING};
use tokio::sync::mpsc;

use super::event::ProxyEvent;
use super::known::MOST_TAGS;
use super::pull::relayed;
use super::shared::Shared;
use super::store;
use super::upstream::Through;
use occystrap_base::error::{Error, Kind};
use occystrap_base::oci::{Descriptor, Digest, Manifest};
use occystrap_serve::backend::{Asked, RemoteBlob, ServedManifest, no_manifest};
use occystrap_serve::received::ReceivedBlob;
use occystrap_serve::refusal::{Code, Refusal};
use occystrap_serve::reply::{read_section, warning};
use occystrap_serve::route::Target;

/// The registry from which an answer is (distribution specification, "Registry Proxying").
const NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");

/// What a tag leads to.
struct Resolved {
    digest: Digest,
    /// Why the upstream registry did not say it: the image is the one that is stored.
    stale: Option<Error>,
}

/// Returns a manifest of an upstream registry.
pub async fn manifest(
    shared: &Arc<Shared>,
    asked: &Asked,
    target: &Target,
    through: &Through,
) -> Result<ServedManifest, Refusal> {
    let key = through.key();
    // Clients that ask for the same at the same time cause one request.
    let _turn = shared.through.turns.take(&format!("{key}:{target}")).await;
    let mut headers = HeaderMap::new();
    if asked.namespace.is_some()
        && let Ok(host) = HeaderValue::from_str(&through.reference.host)
    {
        headers.insert(NAMESPACE, host);
    }
    let resolved = match target {
        Target::Digest(digest) => Resolved { digest: *digest, stale: None },
        Target::Tag(tag) => resolve(shared, asked, tag, through).await?,
    };
    if let Some(error) = &resolved.stale {
        let image = through.image(&target.to_string()).display();
        let line = format!("{image}: this is the stored copy: {error}");
        headers.extend(warning(&line).map(|value| (WARNING, value)));
        shared.tell(ProxyEvent::Warning(line));
    }
    let is_stale = resolved.stale.is_some();
    let manifest = match (shared.has_filters(), is_stale, target) {
        (true, false, Target::Tag(tag)) => {
            store::filtered(shared, through, tag, resolved.digest).await?
        }
        (true, _, _) | (_, true, _) => stored(shared, through, resolved.digest)
            .await?
            .ok_or_else(|| no_manifest(asked, target))?,
        (false, false, _) => {
            let manifest = by_digest(shared, asked, target, through, resolved.digest).await?;
            if !asked.is_head {
                store::keep(shared, through, &manifest);
            }
            manifest
        }
    };
    Ok(ServedManifest { manifest, headers })
}

/// Returns what a tag is at the upstream registry, which is asked again after the time of `--recheck`. If it does not say that,
/// the stored image counts, where the user allows it.
async fn resolve(
    shared: &Shared,
    asked: &Asked,
    tag: &str,
    through: &Through,
) -> Result<Resolved, Refusal> {
    let id = (through.key(), tag.to_owned());
    let known = shared.through.tags().get(&id).copied();
    if let Some((digest, at)) = known
        && at.elapsed() < shared.options.recheck
    {
        return Ok(Resolved { digest, stale: None });
    }
    let upstream = through.repository(&shared.clients, &shared.context);
    let upstream = upstream.map_err(|error| shared.refusal(&error, Code::NameUnknown))?;
    let error = match upstream.digest_of(tag).await {
        Ok(Some(digest)) => {
            let mut tags = shared.through.tags();
            if tags.len() >= MOST_TAGS {
                tags.clear();
            }
            tags.insert(id, (digest, Instant::now()));
            return Ok(Resolved { digest, stale: None });
        }
        Ok(None) => {
            let image = through.image(tag).display();
            Error::new(Kind::NotFound, format!("{image}: the registry has no such image"))
        }
        Err(error) => error,
    };
    if shared.options.serves_stale {
        let downstream = shared.repository(&through.name)?;
        if let Ok(Some(digest)) = downstream.digest_of(tag).await {
            return Ok(Resolved { digest, stale: Some(error) });
        }
    }
    match error.kind() {
        Kind::NotFound => Err(no_manifest(asked, &Target::Tag(tag.to_owned()))),
        _ => Err(shared.refusal(&error, Code::ManifestUnknown)),
    }
}

/// Returns a manifest that is stored.
async fn stored(
    shared: &Shared,
    through: &Through,
    digest: Digest,
) -> Result<Option<Manifest>, Refusal> {
    match shared.repository(&through.name)?.manifest(&digest.to_string()).await {
        Ok(manifest) => Ok(Some(manifest)),
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(shared.refusal(&error, Code::ManifestUnknown)),
    }
}

/// Returns a manifest: the one that was fetched a short time ago, the stored one, or that of the upstream registry.
async fn by_digest(
    shared: &Shared,
    asked: &Asked,
    target: &Target,
    through: &Through,
    digest: Digest,
) -> Result<Manifest, Refusal> {
    let key = through.key();
    if let Some(known) = shared.through.manifests.by_digest(&key, digest) {
        return Ok(known.manifest);
    }
    let manifest = match stored(shared, through, digest).await? {
        Some(manifest) => manifest,
        None => {
            let upstream = through.repository(&shared.clients, &shared.context);
            let upstream = upstream.map_err(|error| shared.refusal(&error, Code::NameUnknown))?;
            match upstream.manifest(&digest.to_string()).await {
                Ok(manifest) => manifest,
                Err(error) if error.kind() == Kind::NotFound => {
                    return Err(no_manifest(asked, target));
                }
                Err(error) => return Err(shared.refusal(&error, Code::ManifestUnknown)),
            }
        }
    };
    shared.through.note(&key, &manifest);
    Ok(manifest)
}

/// Returns the size of a blob.
pub async fn blob_size(
    shared: &Shared,
    through: &Through,
    digest: Digest,
) -> Result<Option<u64>, Refusal> {
    let key = through.key();
    if let Some(blob) = shared.blobs.get(&key, digest) {
        return Ok(Some(blob.size()));
    }
    let known = shared.through.sizes().get(&(key, digest)).copied();
    if known.is_some() {
        return Ok(known);
    }
    let failed = |error: Error| shared.refusal(&error, Code::BlobUnknown);
    let stored = shared.repository(&through.name)?.find_blob(digest, None).await.map_err(failed)?;
    if stored.is_some() || shared.has_filters() {
        return Ok(stored);
    }
    let upstream = through.repository(&shared.clients, &shared.context).map_err(failed)?;
    upstream.find_blob(digest, None).await.map_err(failed)
}

/// Returns a blob: one that was just fetched, the stored one, or that of the upstream registry.
pub async fn blob(
    shared: &Arc<Shared>,
    through: &Through,
    digest: Digest,
) -> Result<Option<RemoteBlob>, Refusal> {
    let key = through.key();
    if let Some(blob) = shared.blobs.get(&key, digest) {
        return Ok(Some(of_file(blob)));
    }
    let failed = |error: Error| shared.refusal(&error, Code::BlobUnknown);
    // Of several clients, the first finds out where the blob is.
    let _turn = shared.through.turns.take(&format!("{key}@{digest}")).await;
    if let Some(fetch) = shared.through.fetches.find(&key, digest) {
        return Ok(Some(fetch.follow()));
    }
    if let Some(blob) = shared.blobs.get(&key, digest) {
        return Ok(Some(of_file(blob)));
    }
    let known = shared.through.sizes().get(&(key.clone(), digest)).copied();
    let downstream = shared.repository(&through.name)?;
    if let Some(size) = downstream.find_blob(digest, known).await.map_err(failed)? {
        return Ok(Some(relayed(shared, &downstream, digest, size)));
    }
    if shared.has_filters() {
        return Ok(None);
    }
    let upstream = through.repository(&shared.clients, &shared.context).map_err(failed)?;
    let size = match known {
        Some(size) => size,
        None => match upstream.find_blob(digest, None).await.map_err(failed)? {
            Some(size) => size,
            None => return Ok(None),
        },
    };
    let what = Descriptor { media_type: "application/octet-stream".to_owned(), digest, size };
    match store::fetch(shared, through, &what) {
        Ok(fetch) => Ok(Some(fetch.follow())),
        Err(error) => Err(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::Unavailable,
            shared.options.downstream.hidden(&error.to_string()),
        )),
    }
}

/// Returns a blob that is in a file here.
fn of_file(blob: Arc<ReceivedBlob>) -> RemoteBlob {
    let size = blob.size();
    let pieces: mpsc::Receiver<io::Result<Bytes>> = read_section(blob.section(), 0, size);
    RemoteBlob { size, pieces }
}

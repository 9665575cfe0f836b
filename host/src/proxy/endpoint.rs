//! The requests that come to the endpoint of a proxy.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::Value;

use super::pull;
use super::push::{Push, land};
use super::shared::{Shared, broke_down};
use super::through;
use occystrap_base::oci::{Digest, Manifest};
use occystrap_net::registry::Removal;
use occystrap_serve::backend::{
    Asked, Backend, FoundReferrers, Landed, RemoteBlob, ServedManifest, no_manifest,
};
use occystrap_serve::refusal::{Code, Refusal};
use occystrap_serve::route::Target;

/// Time after which a client may push again where the queue is full.
const QUEUE_WAIT: Duration = Duration::from_secs(30);

/// The owner of the endpoint of a proxy.
pub struct ProxyBackend(pub Arc<Shared>);

impl Backend for ProxyBackend {
    async fn blob_size(&self, asked: &Asked, digest: Digest) -> Result<Option<u64>, Refusal> {
        let through = self.0.options.upstreams.chosen(asked)?;
        if !self.0.options.upstreams.is_named(asked) {
            let found = pull::blob_size(&self.0, asked, digest).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        match through {
            Some(through) => through::blob_size(&self.0, &through, digest).await,
            None => Ok(None),
        }
    }

    async fn blob(&self, asked: &Asked, digest: Digest) -> Result<Option<RemoteBlob>, Refusal> {
        let through = self.0.options.upstreams.chosen(asked)?;
        if !self.0.options.upstreams.is_named(asked) {
            let found = pull::blob(&self.0, asked, digest).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        match through {
            Some(through) => through::blob(&self.0, &through, digest).await,
            None => Ok(None),
        }
    }

    async fn manifest(&self, asked: &Asked, target: &Target) -> Result<ServedManifest, Refusal> {
        let through = self.0.options.upstreams.chosen(asked)?;
        let Some(through) = through else { return pull::manifest(&self.0, asked, target).await };
        if !self.0.options.upstreams.is_named(asked) {
            // What clients pushed under this name goes before an upstream registry that the request does not name.
            match pull::manifest(&self.0, asked, target).await {
                Err(refusal) if refusal.status == StatusCode::NOT_FOUND => {}
                answered => return answered,
            }
        }
        through::manifest(&self.0, asked, target, &through).await
    }

    async fn put_manifest(
        &self,
        asked: &Asked,
        target: Target,
        content_type: Option<String>,
        bytes: Bytes,
    ) -> Result<Landed, Refusal> {
        if self.0.options.upstreams.is_named(asked) {
            let message = "names that begin with an upstream registry are copies of what it has";
            return Err(Refusal::new(StatusCode::FORBIDDEN, Code::Denied, message));
        }
        let repository = asked.repository.clone();
        let place = format!("push of '{repository}:{target}'");
        let manifest = Manifest::read(&place, content_type.as_deref(), bytes)
            .map_err(|error| self.0.refusal(&error, Code::ManifestInvalid))?;
        let queued = Arc::clone(&self.0.queue).try_acquire_owned().map_err(|_| {
            let message = "too many images wait already";
            Refusal::later(StatusCode::TOO_MANY_REQUESTS, message, QUEUE_WAIT)
        })?;
        let shared = Arc::clone(&self.0);
        // A client that is gone does not end the push.
        let work = tokio::spawn(async move {
            let working = Arc::clone(&shared.working).acquire_owned().await;
            let push = Push { repository, target, manifest };
            let landed = tokio::task::spawn_blocking(move || land(&shared, push)).await;
            drop((working, queued));
            landed
        });
        work.await.map_err(|_| broke_down())?.map_err(|_| broke_down())?
    }

    async fn tags(&self, asked: &Asked) -> Result<Vec<String>, Refusal> {
        let found = self.0.repository(&asked.repository)?.tags().await;
        found.map_err(|error| self.0.refusal(&error, Code::NameUnknown))?.ok_or_else(|| {
            let message = format!("there is no repository '{}'", asked.repository);
            Refusal::not_found(Code::NameUnknown, message)
        })
    }

    async fn referrers(
        &self,
        asked: &Asked,
        subject: Digest,
        wanted: Option<&str>,
    ) -> Result<FoundReferrers, Refusal> {
        let found = self.0.repository(&asked.repository)?.referrer_descriptors(subject).await;
        let mut descriptors =
            found.map_err(|error| self.0.refusal(&error, Code::ManifestUnknown))?;
        if let Some(wanted) = wanted {
            descriptors
                .retain(|one| one.get("artifactType").and_then(Value::as_str) == Some(wanted));
        }
        Ok(FoundReferrers { descriptors, is_filtered: wanted.is_some() })
    }

    async fn delete_manifest(&self, asked: &Asked, target: &Target) -> Result<(), Refusal> {
        let removed =
            self.0.repository(&asked.repository)?.delete_manifest(&target.to_string()).await;
        self.0.remembered.forget(&asked.repository, target);
        match removed.map_err(|error| self.0.refusal(&error, Code::ManifestUnknown))? {
            Removal::Removed => Ok(()),
            Removal::Absent => Err(no_manifest(asked, target)),
            Removal::Refused(_) => Err(not_deleted()),
        }
    }

    async fn delete_blob(
        &self,
        asked: &Asked,
        digest: Digest,
        was_here: bool,
    ) -> Result<(), Refusal> {
        let repository = self.0.repository(&asked.repository)?;
        let removed = repository.delete_blob(digest).await;
        repository.forget_blob(digest);
        match removed.map_err(|error| self.0.refusal(&error, Code::BlobUnknown))? {
            Removal::Removed => Ok(()),
            Removal::Absent | Removal::Refused(_) if was_here => Ok(()),
            Removal::Absent => {
                let message = format!("'{}' has no blob {digest}", asked.repository);
                Err(Refusal::not_found(Code::BlobUnknown, message))
            }
            Removal::Refused(_) => Err(not_deleted()),
        }
    }

    fn allows_deletion(&self) -> bool {
        self.0.options.allow_delete
    }

    fn note_request(&self, class: &'static str, status: u16) {
        self.0.counts.request(class, status);
    }
}

fn not_deleted() -> Refusal {
    Refusal::unsupported("the downstream registry does not delete")
}

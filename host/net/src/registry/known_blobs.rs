//! What a run has learned of the blobs in the registries that it uses. With this, the run never asks
//! for a blob twice and never sends it twice.
//!
//! What this module refuses: to count a blob as verified only because a registry said that it stored the blob.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use occystrap_base::oci::Digest;

/// Repositories that are remembered for each blob of a registry. One is enough for a mount; more serve registries that
/// refuse to mount from one of them.
pub(super) const MOST_REPOSITORIES: usize = 4;

/// A record of blobs that outlives the run.
pub trait BlobRecord: Send + Sync {
    /// Returns a repository of a host, other than `except`, that had a blob.
    fn repository_with(&self, host: &str, except: &str, digest: Digest) -> Option<String>;

    /// Returns whether a blob of a host was found damaged or missing, and was not read since.
    fn is_bad(&self, host: &str, digest: Digest) -> bool;

    /// Records that a repository of a host has a blob now. Later runs need not send the blob, even if this run fails.
    fn landed(&self, host: &str, repository: &str, digest: Digest, size: u64);
}

/// What proves that a repository has a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlobProof {
    /// The registry said that it stored the blob.
    Sent,
    /// Its size and its last byte were read back.
    Seen,
    /// All of its bytes were read back.
    Read,
}

/// A blob that a repository has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownBlob {
    /// Size in bytes.
    pub size: u64,
    /// How much is known of it.
    pub proof: BlobProof,
    /// Digest of the uncompressed layer, where that was compared.
    pub diff_id: Option<Digest>,
}

/// What a run has learned. Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub(super) struct KnownBlobs(Arc<Mutex<Known>>);

/// A registry, and the name of a repository in it.
type RepositoryKey = (Arc<str>, Arc<str>);

#[derive(Default)]
pub(super) struct Known {
    /// What is in a repository, by the registry, the name of the repository and the digest.
    pub(super) links: HashMap<(Arc<str>, Arc<str>, Digest), KnownBlob>,
    /// The repositories that have a blob, by the registry and the digest.
    pub(super) places: HashMap<(Arc<str>, Digest), Vec<Arc<str>>>,
    /// Repositories that had nothing when the run began.
    pub(super) new: HashSet<RepositoryKey>,
    /// Repositories of which the record knew blobs when the run began.
    pub(super) recorded: HashSet<RepositoryKey>,
    /// The digests that tags were found to name, by registry, repository and tag: `None` for a tag that is not there.
    pub(super) tags: HashMap<(Arc<str>, Arc<str>, String), Option<Digest>>,
    /// Whether results for one image count for other images: see
    /// [`RegistryClient::for_many_images`](super::RegistryClient::for_many_images).
    pub(super) many: bool,
    /// Whether every kind of request of clients found the same manifest, by registry and repository.
    pub(super) agreements: HashMap<RepositoryKey, Arc<Mutex<bool>>>,
    /// Blobs that are being sent to a registry.
    pub(super) sending: HashMap<(Arc<str>, Digest), watch::Receiver<()>>,
    /// Whether registries have the API for referrers, by host.
    pub(super) referrer_apis: BTreeMap<String, bool>,
    /// What earlier runs recorded.
    pub(super) record: Option<Arc<dyn BlobRecord>>,
    /// One allocation for each name.
    pub(super) names: HashSet<Arc<str>>,
}

impl Known {
    pub(super) fn name(&mut self, text: &str) -> Arc<str> {
        match self.names.get(text) {
            Some(known) => Arc::clone(known),
            None => {
                let name: Arc<str> = text.into();
                self.names.insert(Arc::clone(&name));
                name
            }
        }
    }
}

impl KnownBlobs {
    /// Makes the results for one manifest of a repository count for its other manifests.
    pub(super) fn count_for_many(&self) {
        self.lock().many = true;
    }

    /// Sets what earlier runs recorded.
    pub(super) fn consult(&self, record: Arc<dyn BlobRecord>) {
        self.lock().record = Some(record);
    }

    /// Returns whether registries have the API for referrers, by host.
    pub(super) fn referrer_apis(&self) -> BTreeMap<String, bool> {
        self.lock().referrer_apis.clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to send a blob to a registry. Other transfers of the blob to that registry wait until it is dropped.
pub struct SendTurn {
    pub(super) known: KnownBlobs,
    pub(super) key: (Arc<str>, Digest),
    /// Wakes those that wait when it is dropped.
    pub(super) _wake: watch::Sender<()>,
}

impl Drop for SendTurn {
    fn drop(&mut self) {
        self.known.lock().sending.remove(&self.key);
    }
}

//! What a run has learned of the blobs in the registries that it uses, so that no blob is asked for or sent twice.
//!
//! What this module refuses: to count a blob as verified because a registry said that it stored it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::repository::Repository;
use occystrap_base::oci::Digest;

/// Repositories that are remembered for each blob of a registry. One is enough for a mount; more serve registries that
/// refuse to mount from one of them.
const MOST_REPOSITORIES: usize = 4;

/// A record of blobs from earlier runs.
pub trait BlobRecord: Send + Sync {
    /// Returns a repository of a host, other than `except`, that had a blob.
    fn repository_with(&self, host: &str, except: &str, digest: Digest) -> Option<String>;
}

/// How much is known of a blob in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlobProof {
    /// The registry said that it stored it.
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

#[derive(Default)]
struct Known {
    /// What is in a repository, by the registry, the name of the repository and the digest.
    links: HashMap<(Arc<str>, Arc<str>, Digest), KnownBlob>,
    /// The repositories that have a blob, by the registry and the digest.
    places: HashMap<(Arc<str>, Digest), Vec<Arc<str>>>,
    /// Repositories that had nothing when the run began.
    new: HashSet<(Arc<str>, Arc<str>)>,
    /// Whether what was found for one manifest of a repository counts for others: see
    /// [`RegistryClient::for_many_images`](super::RegistryClient::for_many_images).
    many: bool,
    /// Repositories in which every kind of request of clients found the same manifest.
    agreeing: HashSet<(Arc<str>, Arc<str>)>,
    /// Blobs that are being sent to a registry.
    sending: HashMap<(Arc<str>, Digest), watch::Receiver<()>>,
    /// What earlier runs recorded.
    record: Option<Arc<dyn BlobRecord>>,
    /// One allocation for each name.
    names: HashSet<Arc<str>>,
}

impl Known {
    fn name(&mut self, text: &str) -> Arc<str> {
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
    /// Lets what was found for one manifest of a repository count for others.
    pub(super) fn count_for_many(&self) {
        self.lock().many = true;
    }

    /// Sets what earlier runs recorded.
    pub(super) fn consult(&self, record: Arc<dyn BlobRecord>) {
        self.lock().record = Some(record);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to send a blob to a registry. Other transfers of the blob to that registry wait until it is dropped.
pub struct SendTurn {
    known: KnownBlobs,
    key: (Arc<str>, Digest),
    /// Wakes those that wait when it is dropped.
    _wake: watch::Sender<()>,
}

impl Drop for SendTurn {
    fn drop(&mut self) {
        self.known.lock().sending.remove(&self.key);
    }
}

impl Repository {
    /// Returns what this run knows of a blob in this repository.
    #[must_use]
    pub fn known_blob(&self, digest: Digest) -> Option<KnownBlob> {
        let mut known = self.known_blobs().lock();
        let key = (known.name(self.endpoint().as_str()), known.name(self.name()), digest);
        known.links.get(&key).copied()
    }

    /// Notes that a blob was sent to this repository, and counts its bytes.
    pub fn note_sent(&self, digest: Digest, size: u64) {
        self.wire().counters.count_sent(size);
        self.note_blob(digest, KnownBlob { size, proof: BlobProof::Sent, diff_id: None });
    }

    /// Notes that a blob was mounted in this repository and found there, and counts its bytes.
    pub(super) fn note_mounted(&self, digest: Digest, size: u64) {
        self.wire().counters.count_mounted(size);
        self.note_blob(digest, KnownBlob { size, proof: BlobProof::Seen, diff_id: None });
    }

    /// Notes that this repository has a blob. A better proof that is known already is kept.
    pub fn note_blob(&self, digest: Digest, blob: KnownBlob) {
        let mut known = self.known_blobs().lock();
        let (host, name) = (known.name(self.endpoint().as_str()), known.name(self.name()));
        let link =
            known.links.entry((Arc::clone(&host), Arc::clone(&name), digest)).or_insert(blob);
        if link.size != blob.size || link.proof <= blob.proof {
            let diff_id = blob.diff_id.or(link.diff_id.filter(|_| link.size == blob.size));
            *link = KnownBlob { diff_id, ..blob };
        }
        let places = known.places.entry((host, digest)).or_default();
        if places.len() < MOST_REPOSITORIES && !places.contains(&name) {
            places.push(name);
        }
    }

    /// Forgets what is known of a blob in this repository: it was found damaged or missing.
    pub fn forget_blob(&self, digest: Digest) {
        let mut known = self.known_blobs().lock();
        let (host, name) = (known.name(self.endpoint().as_str()), known.name(self.name()));
        if let Some(places) = known.places.get_mut(&(Arc::clone(&host), digest)) {
            places.retain(|place| *place != name);
        }
        known.new.remove(&(Arc::clone(&host), Arc::clone(&name)));
        known.links.remove(&(host, name, digest));
    }

    /// Forgets what is known of all blobs in this repository: the registry lacks one that it should have.
    pub fn forget_blobs(&self) {
        let mut known = self.known_blobs().lock();
        let (host, name) = (known.name(self.endpoint().as_str()), known.name(self.name()));
        known.links.retain(|(at, of, _), _| *at != host || *of != name);
        for ((at, _), places) in &mut known.places {
            if *at == host {
                places.retain(|place| *place != name);
            }
        }
        known.new.remove(&(host, name));
    }

    /// Returns another repository of the registry that has a blob.
    #[must_use]
    pub fn other_with_blob(&self, digest: Digest) -> Option<String> {
        let record = {
            let mut known = self.known_blobs().lock();
            let host = known.name(self.endpoint().as_str());
            let places = known.places.get(&(host, digest));
            let mut others = places.into_iter().flatten().filter(|place| ***place != *self.name());
            if let Some(other) = others.next() {
                return Some(other.to_string());
            }
            known.record.clone()
        };
        record.and_then(|record| record.repository_with(self.host(), self.name(), digest))
    }

    /// Notes that the registry has nothing in this repository, so that no blob is asked for before it is sent.
    pub fn note_new(&self) {
        let mut known = self.known_blobs().lock();
        let key = (known.name(self.endpoint().as_str()), known.name(self.name()));
        known.new.insert(key);
    }

    /// Returns whether the repository had nothing when the run began.
    #[must_use]
    pub fn is_new(&self) -> bool {
        let mut known = self.known_blobs().lock();
        let key = (known.name(self.endpoint().as_str()), known.name(self.name()));
        known.new.contains(&key)
    }

    /// Notes that every kind of request of clients found the same manifest here.
    pub fn note_agreeing(&self) {
        let mut known = self.known_blobs().lock();
        let key = (known.name(self.endpoint().as_str()), known.name(self.name()));
        known.agreeing.insert(key);
    }

    /// Returns whether every kind of request of clients found the same manifest here, earlier in this run, and whether
    /// that counts for other manifests ([`RegistryClient::for_many_images`](super::RegistryClient::for_many_images)).
    #[must_use]
    pub fn is_agreeing(&self) -> bool {
        let mut known = self.known_blobs().lock();
        let key = (known.name(self.endpoint().as_str()), known.name(self.name()));
        known.many && known.agreeing.contains(&key)
    }

    /// Waits until no other transfer of this run sends the blob to this registry.
    pub async fn send_turn(&self, digest: Digest) -> SendTurn {
        loop {
            let mut other = {
                let mut known = self.known_blobs().lock();
                let key = (known.name(self.endpoint().as_str()), digest);
                match known.sending.get(&key) {
                    Some(other) => other.clone(),
                    None => {
                        let (wake, waits) = watch::channel(());
                        known.sending.insert(key.clone(), waits);
                        let known = self.known_blobs().clone();
                        return SendTurn { known, key, _wake: wake };
                    }
                }
            };
            // An error says that the other transfer has ended.
            while other.changed().await.is_ok() {}
        }
    }
}

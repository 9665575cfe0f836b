//! What a run knows of the blobs in one repository: notes, questions, and the turn to send one.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::known_blobs::{BlobProof, KnownBlob, MOST_REPOSITORIES, SendTurn};
use super::repository::Repository;
use occystrap_base::oci::Digest;

impl Repository {
    /// Returns what this run knows of a blob in this repository.
    #[must_use]
    pub fn known_blob(&self, digest: Digest) -> Option<KnownBlob> {
        let mut known = self.known_blobs().lock();
        let key = (known.name(self.endpoint().as_str()), known.name(self.name()), digest);
        known.links.get(&key).copied()
    }

    /// Returns the same as [`Self::known_blob`], for a verification: one that was read back, and only where what was found
    /// for one image counts for others ([`RegistryClient::for_many_images`](super::RegistryClient::for_many_images)).
    #[must_use]
    pub fn proved_blob(&self, digest: Digest) -> Option<KnownBlob> {
        let is_many = self.known_blobs().lock().many;
        self.known_blob(digest).filter(|blob| is_many && blob.proof >= BlobProof::Seen)
    }

    /// Returns whether earlier runs found the blob damaged at this host, so that it must be sent and read in full: some
    /// registries keep the damaged bytes, whatever they are sent.
    #[must_use]
    pub fn is_suspect(&self, digest: Digest) -> bool {
        let record = self.known_blobs().lock().record.clone();
        record.is_some_and(|record| record.is_bad(self.host(), digest))
    }

    /// Notes that a blob was sent to this repository, and counts its bytes.
    pub fn note_sent(&self, digest: Digest, size: u64) {
        self.wire().counters.count_sent(size);
        self.note_blob(digest, KnownBlob { size, proof: BlobProof::Sent, diff_id: None });
        self.record(digest, size);
    }

    /// Notes that a blob was mounted in this repository and found there, and counts its bytes.
    pub(super) fn note_mounted(&self, digest: Digest, size: u64) {
        self.wire().counters.count_mounted(size);
        self.note_blob(digest, KnownBlob { size, proof: BlobProof::Seen, diff_id: None });
        self.record(digest, size);
    }

    fn record(&self, digest: Digest, size: u64) {
        let record = self.known_blobs().lock().record.clone();
        if let Some(record) = record {
            record.landed(self.host(), self.name(), digest, size);
        }
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
        known.recorded.remove(&(Arc::clone(&host), Arc::clone(&name)));
        known.links.remove(&(host, name, digest));
    }

    /// Forgets what is known of all blobs in this repository: the registry lacks one that it should have.
    pub fn forget_blobs(&self) {
        let mut known = self.known_blobs().lock();
        let (host, name) = (known.name(self.endpoint().as_str()), known.name(self.name()));
        known.links.retain(|(at, of, _), _| *at != host || *of != name);
        known.places.retain(|(at, _), places| {
            if *at == host {
                places.retain(|place| *place != name);
            }
            !places.is_empty()
        });
        known.new.remove(&(Arc::clone(&host), Arc::clone(&name)));
        known.recorded.remove(&(host, name));
    }

    /// Forgets everything that was learned of this repository, with its tokens: no more work is done in it.
    pub fn forget(&self) {
        self.forget_blobs();
        let mut known = self.known_blobs().lock();
        let (host, name) = (known.name(self.endpoint().as_str()), known.name(self.name()));
        known.tags.retain(|(at, of, _), _| *at != host || *of != name);
        known.agreements.remove(&(host, Arc::clone(&name)));
        known.names.remove(&name);
        drop(known);
        self.forget_sessions();
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

    /// Notes that earlier runs recorded blobs of this repository, and that the caller has noted all of them.
    pub fn note_recorded(&self) {
        let mut known = self.known_blobs().lock();
        let key = (known.name(self.endpoint().as_str()), known.name(self.name()));
        known.recorded.insert(key);
    }

    /// Returns whether earlier runs recorded blobs of this repository. One that is not among them is likely not there.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        let mut known = self.known_blobs().lock();
        let key = (known.name(self.endpoint().as_str()), known.name(self.name()));
        known.recorded.contains(&key)
    }

    /// Notes what a tag is, from an answer of a moment ago: `None` where it is not there. The next push to the tag does not
    /// ask for it again where that is another manifest.
    pub fn note_tag(&self, tag: &str, digest: Option<Digest>) {
        let mut known = self.known_blobs().lock();
        let key = (known.name(self.endpoint().as_str()), known.name(self.name()), tag.to_owned());
        known.tags.insert(key, digest);
    }

    /// Returns whether a tag was noted to be another manifest, or not to be there. The note counts once.
    pub(super) fn take_other_tag(&self, tag: &str, digest: Digest) -> bool {
        let mut known = self.known_blobs().lock();
        let key = (known.name(self.endpoint().as_str()), known.name(self.name()), tag.to_owned());
        known.tags.remove(&key).is_some_and(|noted| noted != Some(digest))
    }

    /// Returns whether every kind of request of clients found the same manifest here, earlier in this run. A task that tests
    /// it holds the lock meanwhile, so that others wait for its result and do not test it as well. Returns `None` where that
    /// does not count for other manifests ([`RegistryClient::for_many_images`](super::RegistryClient::for_many_images)).
    #[must_use]
    pub fn agreement(&self) -> Option<Arc<Mutex<bool>>> {
        let mut known = self.known_blobs().lock();
        let key = (known.name(self.endpoint().as_str()), known.name(self.name()));
        known.many.then(|| Arc::clone(known.agreements.entry(key).or_default()))
    }

    /// Notes that HEAD found the manifest under a tag that an earlier run proved with every kind of request of clients. It
    /// counts as [`Self::agreement`], unless a task tests that just now.
    pub fn note_agreement(&self) {
        if let Some(known) = self.agreement()
            && let Ok(mut agreed) = known.try_lock()
        {
            *agreed = true;
        }
    }

    /// Returns whether the registry has the API for referrers; `None` where this run has not asked yet.
    #[must_use]
    pub fn has_referrers_api(&self) -> Option<bool> {
        self.known_blobs().lock().referrer_apis.get(self.host()).copied()
    }

    /// Notes whether the registry has the API for referrers. A registry that has answered once has it.
    pub(super) fn note_referrers_api(&self, has: bool) {
        let mut known = self.known_blobs().lock();
        let noted = known.referrer_apis.entry(self.host().to_owned()).or_insert(has);
        *noted |= has;
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

#[cfg(test)]
mod tests {
    use super::super::{Reference, RegistryClient};
    use super::*;
    use crate::http::settings::Settings;
    use occystrap_base::cancel::Cancel;

    #[test]
    fn of_a_forgotten_repository_nothing_is_kept_and_all_of_the_others() {
        let client = RegistryClient::new(&Settings::default(), Cancel::default());
        let client = client.unwrap().for_many_images();
        let at = |name: &str| {
            let reference = Reference::parse(&format!("localhost:5000/{name}")).unwrap();
            client.repository_to_push(&reference, Arc::default()).unwrap()
        };
        let (one, other) = (at("a/b"), at("a/bc"));
        let digest = Digest::of(b"a layer");
        for repository in [&one, &other] {
            repository.note_sent(digest, 7);
            repository.note_tag("1", None);
            repository.note_new();
            repository.note_agreement();
        }
        one.widened("repository:a/bc:pull");
        let sessions = one.sessions();
        one.forget();
        assert_eq!(one.sessions(), sessions - 2);
        let known = one.known_blobs().lock();
        assert_eq!((known.links.len(), known.tags.len(), known.new.len()), (1, 1, 1));
        assert_eq!((known.agreements.len(), known.places.len()), (1, 1));
        assert!(known.names.iter().all(|name| **name != *one.name()));
        drop(known);
        assert_eq!(one.other_with_blob(digest).as_deref(), Some("a/bc"));
        other.forget();
        let known = one.known_blobs().lock();
        assert!(known.links.is_empty() && known.tags.is_empty() && known.places.is_empty());
    }
}

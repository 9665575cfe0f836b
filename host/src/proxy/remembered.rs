//! Manifests that clients pushed a short time ago, and what became of them.
//!
//! A client that has pushed an image may ask for it at once, by the digest that it knows: of an image that filters changed,
//! the registry has another one. What it refuses: more than its limits; the oldest are forgotten first.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use occystrap_base::oci::{Digest, Manifest};

/// Most manifests that are remembered.
const MOST: usize = 1_000;

/// Most bytes of all of them.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// Manifests by repository and digest, and the tags under which they were pushed.
pub struct Remembered {
    time: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    manifests: HashMap<(String, Digest), Pushed>,
    tags: HashMap<(String, String), Digest>,
    /// In the order of their arrival. One that was pushed again is in it again.
    order: VecDeque<(Instant, String, Digest)>,
    bytes: usize,
}

/// A manifest that was pushed and has landed.
#[derive(Clone)]
pub struct Pushed {
    /// As it was pushed.
    pub manifest: Manifest,
    /// The digest that the registry has.
    pub landed_as: Digest,
    at: Instant,
}

impl Pushed {
    /// Returns whether filters changed the image.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.landed_as != self.manifest.digest
    }
}

impl Remembered {
    /// Returns an empty memory, in which a manifest stays for `time`.
    #[must_use]
    pub fn new(time: Duration) -> Self {
        Self { time, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.forget(self.time);
        state
    }

    /// Notes a manifest that has landed, and its tag.
    pub fn note(&self, repository: &str, tag: Option<&str>, manifest: Manifest, landed_as: Digest) {
        let mut state = self.state();
        let (at, digest) = (Instant::now(), manifest.digest);
        // A copy: the endpoint counts the bytes that arrived as long as they are held.
        let manifest = Manifest { bytes: Bytes::copy_from_slice(&manifest.bytes), ..manifest };
        state.order.push_back((at, repository.to_owned(), digest));
        state.bytes += manifest.bytes.len();
        let pushed = Pushed { manifest, landed_as, at };
        if let Some(before) = state.manifests.insert((repository.to_owned(), digest), pushed) {
            state.bytes -= before.manifest.bytes.len();
        }
        if let Some(tag) = tag {
            state.tags.insert((repository.to_owned(), tag.to_owned()), digest);
        }
        state.forget(self.time);
    }

    /// Returns a manifest by its digest.
    #[must_use]
    pub fn by_digest(&self, repository: &str, digest: Digest) -> Option<Pushed> {
        self.state().manifests.get(&(repository.to_owned(), digest)).cloned()
    }

    /// Returns the manifest that was pushed last under a tag.
    #[must_use]
    pub fn by_tag(&self, repository: &str, tag: &str) -> Option<Pushed> {
        let state = self.state();
        let digest = state.tags.get(&(repository.to_owned(), tag.to_owned()))?;
        state.manifests.get(&(repository.to_owned(), *digest)).cloned()
    }

    /// Forgets a manifest or a tag.
    pub fn forget(&self, repository: &str, target: &occystrap_serve::route::Target) {
        let mut state = self.state();
        if let Some(tag) = target.tag() {
            state.tags.remove(&(repository.to_owned(), tag.to_owned()));
        }
        if let Some(digest) = target.digest() {
            state.remove(repository, digest);
        }
    }
}

impl State {
    fn remove(&mut self, repository: &str, digest: Digest) {
        if let Some(gone) = self.manifests.remove(&(repository.to_owned(), digest)) {
            self.bytes -= gone.manifest.bytes.len();
        }
        self.tags.retain(|(of, _), known| of != repository || *known != digest);
    }

    fn forget(&mut self, time: Duration) {
        while let Some((at, repository, digest)) = self.order.front() {
            let is_current = self
                .manifests
                .get(&(repository.clone(), *digest))
                .is_some_and(|pushed| pushed.at == *at);
            let is_over = self.manifests.len() > MOST || self.bytes > MOST_BYTES;
            if is_current && !is_over && at.elapsed() < time {
                return;
            }
            let (repository, digest) = (repository.clone(), *digest);
            self.order.pop_front();
            if is_current {
                self.remove(&repository, digest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use occystrap_base::oci::manifest::OCI_MANIFEST;

    fn manifest(text: &str) -> Manifest {
        let bytes = bytes::Bytes::copy_from_slice(text.as_bytes());
        let digest = Digest::of(&bytes);
        Manifest { bytes, media_type: OCI_MANIFEST.to_owned(), digest }
    }

    #[test]
    fn the_oldest_are_forgotten_first() {
        let memory = Remembered::new(Duration::from_secs(3600));
        let one = manifest("one");
        memory.note("a", Some("v1"), one.clone(), one.digest);
        for number in 0..MOST {
            let other = manifest(&number.to_string());
            memory.note("a", None, other.clone(), Digest::of(b"changed"));
        }
        assert!(memory.by_tag("a", "v1").is_none());
        assert!(memory.by_digest("a", one.digest).is_none());
        let last = memory.by_digest("a", manifest("999").digest).unwrap();
        assert!(last.is_changed());
        assert!(memory.by_digest("b", last.manifest.digest).is_none());
    }

    #[test]
    fn a_manifest_is_remembered_for_a_time() {
        let memory = Remembered::new(Duration::from_millis(20));
        let one = manifest("one");
        memory.note("a", Some("v1"), one.clone(), one.digest);
        assert_eq!(memory.by_tag("a", "v1").unwrap().landed_as, one.digest);
        std::thread::sleep(Duration::from_millis(30));
        assert!(memory.by_tag("a", "v1").is_none());
        assert_eq!(memory.state().bytes, 0);
    }
}

//! What a proxy knows of upstream registries: manifests, tags, the sizes of blobs, what is being fetched and stored.
//!
//! What it refuses: more than its limits. What is forgotten is asked for again.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::fetch::Fetches;
use super::remembered::Remembered;
use super::turns::Turns;
use occystrap_base::oci::{Descriptor, Digest, Manifest};
use occystrap_images::source::content_store::parse;
use occystrap_serve::refusal::Refusal;

/// Sizes of blobs that are kept. A manifest names some ten.
const MOST_SIZES: usize = 100_000;

/// Tags that are kept with their digests.
pub const MOST_TAGS: usize = 10_000;

/// What is known of upstream registries.
pub struct UpstreamState {
    /// Manifests that were fetched, by [`super::upstream::Through::key`].
    pub manifests: Remembered,
    /// What the tags are, and since when that is known.
    tags: Mutex<HashMap<(String, String), (Digest, Instant)>>,
    /// The sizes of blobs, as manifests say them.
    sizes: Mutex<HashMap<(String, Digest), u64>>,
    /// Blobs that are being fetched.
    pub fetches: Arc<Fetches>,
    /// Images that are being stored.
    pub stores: Stores,
    /// Turns of requests.
    pub turns: Turns,
}

impl UpstreamState {
    /// Returns a state in which nothing is known. Manifests stay in it for `time`.
    #[must_use]
    pub fn new(time: Duration) -> Self {
        Self {
            manifests: Remembered::new(time),
            tags: Mutex::default(),
            sizes: Mutex::default(),
            fetches: Arc::default(),
            stores: Stores::default(),
            turns: Turns::default(),
        }
    }

    /// Returns what the tags are.
    pub fn tags(&self) -> MutexGuard<'_, HashMap<(String, String), (Digest, Instant)>> {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the sizes of blobs.
    pub fn sizes(&self) -> MutexGuard<'_, HashMap<(String, Digest), u64>> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the tags that were found to be a manifest.
    pub fn tags_of(&self, key: &str, digest: Digest) -> Vec<String> {
        let tags = self.tags();
        let of_digest = tags.iter().filter(|((of, _), (known, _))| of == key && *known == digest);
        of_digest.map(|((_, tag), _)| tag.clone()).collect()
    }

    /// Notes a manifest, and the sizes that it states.
    pub fn note(&self, key: &str, manifest: &Manifest) {
        self.manifests.note(key, None, manifest.clone(), manifest.digest);
        for what in blobs(manifest) {
            let mut sizes = self.sizes();
            if sizes.len() >= MOST_SIZES {
                sizes.clear();
            }
            sizes.insert((key.to_owned(), what.digest), what.size);
        }
    }
}

/// Images that are being stored, and the indexes to which they belong.
#[derive(Default)]
pub struct Stores {
    state: Mutex<StoreState>,
}

/// The digest that filters made of an image; `None` while they run.
pub type FilterResult = watch::Receiver<Option<Result<Digest, Refusal>>>;

/// What is stored, and what is being stored.
#[derive(Default)]
pub struct StoreState {
    /// Images that are stored now.
    pub running: HashSet<(String, Digest)>,
    /// Images that were stored, with the tags under which they were.
    pub stored: HashSet<(String, Digest, Option<String>)>,
    /// Indexes that clients got, by what they list.
    pub indexes: HashMap<(String, Digest), Manifest>,
    /// Images that filters make now.
    pub filtering: HashMap<(String, Digest), FilterResult>,
}

/// Entries of each table above. With more, the table starts anew.
pub const MOST: usize = 10_000;

impl Stores {
    /// Returns the tables.
    pub fn state(&self) -> MutexGuard<'_, StoreState> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.stored.len() > MOST {
            state.stored.clear();
        }
        if state.indexes.len() > MOST {
            state.indexes.clear();
        }
        state
    }
}

/// Returns the blobs that a manifest names and a registry has: not those that have URLs. None for an index.
#[must_use]
pub fn blobs(manifest: &Manifest) -> Vec<Descriptor> {
    if manifest.is_index() {
        return Vec::new();
    }
    let Ok(parsed) = parse(manifest, "") else { return Vec::new() };
    let config = parsed.config("").ok();
    let listed = config.into_iter().chain(parsed.layers());
    listed
        .filter(|listed| listed.urls().next().is_none())
        .filter_map(|listed| listed.promised("").ok())
        .collect()
}

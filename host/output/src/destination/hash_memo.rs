//! What was hashed in this verification, so that no byte is read twice.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::engine_image::{EngineImageDigests, EngineImageInfo};
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::hash_range;
use occystrap_base::oci::Digest;
use occystrap_base::terminal::progress::{LayerProgress, Progress};
use occystrap_net::registry::FetchedManifest;

type Known = HashMap<(String, u64, u64), Digest>;

/// Digests by path, offset and length; blobs of a registry stand under their digest. Cheap to
/// clone; clones share what they know.
#[derive(Clone, Default)]
pub struct HashMemo {
    known: Arc<Mutex<Known>>,
    /// Digests of uncompressed layers, with the same keys.
    unpacked: Arc<Mutex<Known>>,
    remote: Arc<Mutex<Remote>>,
    progress: LayerProgress,
}

/// What a registry or an engine has answered; `None` for what is not there.
#[derive(Default)]
struct Remote {
    sizes: HashMap<Digest, Option<u64>>,
    /// Contents of configs.
    configs: HashMap<Digest, Bytes>,
    manifests: HashMap<String, Option<FetchedManifest>>,
    /// Whether clients that are given a name get the manifest, by the name.
    resolved: HashMap<String, Result<()>>,
    /// Size and digest of what is at a URL.
    contents: HashMap<String, Option<(u64, Digest)>>,
    /// The engine's description of its image, or the error.
    image: Option<Result<Option<EngineImageInfo>>>,
    /// The digests of the engine's exported image, or the error.
    export: Option<Result<Option<EngineImageDigests>>>,
}

impl HashMemo {
    /// Creates a memo that shows progress while it reads.
    #[must_use]
    pub fn showing(progress: &Progress) -> Self {
        Self { progress: progress.layer("verify", 0), ..Self::default() }
    }

    /// Returns the progress bar, whose total grows with [`LayerProgress::more`].
    #[must_use]
    pub fn progress(&self) -> &LayerProgress {
        &self.progress
    }

    /// Returns the digest of these bytes, if it is known.
    #[must_use]
    pub fn recall(&self, path: &str, offset: u64, len: u64) -> Option<Digest> {
        self.known().get(&(path.to_owned(), offset, len)).copied()
    }

    /// Reads and hashes `len` bytes of a file from `offset`, and remembers the digest. Errors when the file is shorter.
    pub fn hash(
        &self,
        file: &File,
        path: &str,
        offset: u64,
        len: u64,
        cancel: &Cancel,
    ) -> Result<Digest> {
        let failed = |cause: &_| Error::io(Kind::Destination, "read", path, cause);
        let progress = |read| self.progress.add(read);
        let digest = hash_range(file, (offset, len), cancel, failed, progress)?;
        self.known().insert((path.to_owned(), offset, len), digest);
        Ok(digest)
    }

    /// Remembers the digest of a whole file or blob that was hashed elsewhere.
    pub fn remember(&self, path: &str, len: u64, digest: Digest) {
        self.remember_at(path, 0, len, digest);
    }

    /// Remembers the digest of a part of a file.
    pub fn remember_at(&self, path: &str, offset: u64, len: u64, digest: Digest) {
        self.known().insert((path.to_owned(), offset, len), digest);
    }

    /// Returns the digest of an uncompressed layer, if it is known.
    #[must_use]
    pub fn recall_unpacked(&self, path: &str, offset: u64, len: u64) -> Option<Digest> {
        lock(&self.unpacked).get(&(path.to_owned(), offset, len)).copied()
    }

    /// Remembers the digest of an uncompressed layer.
    pub fn remember_unpacked(&self, path: &str, offset: u64, len: u64, digest: Digest) {
        lock(&self.unpacked).insert((path.to_owned(), offset, len), digest);
    }

    /// Returns the size of a blob if the registry was asked for it; the inner `None` says that it is not there.
    #[must_use]
    pub fn recall_size(&self, blob: Digest) -> Option<Option<u64>> {
        self.remote().sizes.get(&blob).copied()
    }

    /// Remembers the size of a blob; `None` if it is not there.
    pub fn remember_size(&self, blob: Digest, size: Option<u64>) {
        self.remote().sizes.insert(blob, size);
    }

    /// Returns the content of a config that was read.
    #[must_use]
    pub fn recall_config(&self, blob: Digest) -> Option<Bytes> {
        self.remote().configs.get(&blob).cloned()
    }

    /// Remembers the content of a config.
    pub fn remember_config(&self, blob: Digest, bytes: Bytes) {
        self.remote().configs.insert(blob, bytes);
    }

    /// Returns a manifest if the registry was asked for it; the inner `None` says that it is not there.
    #[must_use]
    pub fn recall_manifest(&self, reference: &str) -> Option<Option<FetchedManifest>> {
        self.remote().manifests.get(reference).cloned()
    }

    /// Remembers a manifest; `None` if it is not there.
    pub fn remember_manifest(&self, reference: &str, manifest: Option<FetchedManifest>) {
        self.remote().manifests.insert(reference.to_owned(), manifest);
    }

    /// Forgets which manifests are not there, and how clients resolve names: a registry may have them now.
    pub fn forget_absent(&self) {
        let mut remote = self.remote();
        remote.manifests.retain(|_, manifest| manifest.is_some());
        remote.resolved.clear();
    }

    /// Returns what is known of how clients resolve a name.
    #[must_use]
    pub fn recall_resolved(&self, reference: &str) -> Option<Result<()>> {
        self.remote().resolved.get(reference).cloned()
    }

    /// Remembers whether clients that are given a name get its manifest.
    pub fn remember_resolved(&self, reference: &str, outcome: Result<()>) {
        self.remote().resolved.insert(reference.to_owned(), outcome);
    }

    /// Returns size and digest of the content at a URL if the server was asked for it; the inner `None` says that it is
    /// not there.
    #[must_use]
    pub fn recall_content(&self, url: &str) -> Option<Option<(u64, Digest)>> {
        self.remote().contents.get(url).copied()
    }

    /// Remembers size and digest of the content at a URL; `None` if it is not there.
    pub fn remember_content(&self, url: &str, content: Option<(u64, Digest)>) {
        self.remote().contents.insert(url.to_owned(), content);
    }

    /// Returns the engine's description of its image, or the error, if the engine was asked.
    #[must_use]
    pub fn recall_image(&self) -> Option<Result<Option<EngineImageInfo>>> {
        self.remote().image.clone()
    }

    /// Remembers the engine's description of its image, or the error, so that the engine is asked only once.
    pub fn remember_image(&self, image: Result<Option<EngineImageInfo>>) {
        self.remote().image = Some(image);
    }

    /// Returns the digests of the engine's exported image, or the error, if it was exported.
    #[must_use]
    pub fn recall_export(&self) -> Option<Result<Option<EngineImageDigests>>> {
        self.remote().export.clone()
    }

    /// Remembers the digests of an exported image, or the error, because an export takes long.
    pub fn remember_export(&self, exported: Result<Option<EngineImageDigests>>) {
        self.remote().export = Some(exported);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }

    fn remote(&self) -> MutexGuard<'_, Remote> {
        lock(&self.remote)
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

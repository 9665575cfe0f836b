//! A repository of a registry for blocking code: the host calls of a plugin, and verification.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::delivery::{self, Delivery};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::{Descriptor, Digest};
use occystrap_base::terminal::progress::LayerProgress;
use occystrap_layer::blob::{checked, open_one};
use occystrap_layer::image::{Content, Layer};
use occystrap_net::context::{Blocking, Context};
use occystrap_net::registry::{FetchedManifest, KnownBlob, Repository};

/// A repository for reading, and the runtime that its requests run on. Cheap to clone.
#[derive(Clone)]
pub struct RepositoryReader {
    repository: Blocking<Repository>,
}

/// A stored layer that is to be read: what its bytes must be, stored and uncompressed.
pub struct StoredLayer {
    /// Digest of the blob.
    pub digest: Digest,
    /// Size of the blob in bytes.
    pub size: u64,
    /// Digest of the uncompressed layer.
    pub diff_id: Digest,
    /// How messages name it.
    pub place: String,
}

impl RepositoryReader {
    /// Returns a handle on a repository of this run.
    #[must_use]
    pub fn new(repository: Repository, context: &Context) -> Self {
        Self { repository: Blocking::new(repository, context) }
    }

    /// Returns `HOST/NAME`.
    #[must_use]
    pub fn place(&self) -> String {
        self.repository.place()
    }

    /// Returns `HOST/NAME@DIGEST` or `HOST/NAME:TAG`.
    #[must_use]
    pub fn display(&self, subject: &str) -> String {
        part(&self.place(), subject)
    }

    /// Returns the size of a blob, and `None` when it is not there: [`Repository::stat_blob`].
    pub fn stat_blob(&self, digest: Digest) -> Result<Option<u64>> {
        self.repository.wait(self.repository.stat_blob(digest))
    }

    /// Returns how a push would bring a blob into the repository: [`delivery::delivery`].
    pub fn delivery(&self, blob: &Descriptor, source: Option<&Repository>) -> Result<Delivery> {
        self.repository.wait(delivery::delivery(&self.repository, blob, source))
    }

    /// Returns the size of a blob as its readers get it: [`Repository::find_blob`].
    pub fn find_blob(&self, digest: Digest, promised: Option<u64>) -> Result<Option<u64>> {
        self.repository.wait(self.repository.find_blob(digest, promised))
    }

    /// Returns what this run has proved of a blob here: [`Repository::proved_blob`].
    #[must_use]
    pub fn proved_blob(&self, digest: Digest) -> Option<KnownBlob> {
        self.repository.proved_blob(digest)
    }

    /// Returns whether a blob must be read in full here: [`Repository::is_suspect`].
    #[must_use]
    pub fn is_suspect(&self, digest: Digest) -> bool {
        self.repository.is_suspect(digest)
    }

    /// Notes what a verification found of a blob here: [`Repository::note_blob`].
    pub fn note_blob(&self, digest: Digest, blob: KnownBlob) {
        self.repository.note_blob(digest, blob);
    }

    /// Returns whether all kinds of requests agree here: [`Repository::agreement`].
    #[must_use]
    pub fn agreement(&self) -> Option<Arc<Mutex<bool>>> {
        self.repository.agreement()
    }

    /// Forgets a blob that was found damaged or missing: [`Repository::forget_blob`].
    pub fn forget_blob(&self, digest: Digest) {
        self.repository.forget_blob(digest);
    }

    /// Downloads a blob and compares it with its digest and its size. Nothing is kept.
    pub fn check_blob(&self, what: &Descriptor) -> Result<()> {
        self.repository.wait(async {
            let mut download = self.repository.strict().blob(what);
            while download.next().await?.is_some() {}
            Ok(())
        })
    }

    /// Downloads a blob and returns its digest. Nothing is kept.
    pub fn hash_blob(&self, digest: Digest, size: u64) -> Result<Digest> {
        let what = Descriptor { media_type: String::new(), digest, size };
        match self.check_blob(&what) {
            Ok(()) => Ok(digest),
            Err(error) => {
                let found = error.difference().and_then(|(_, found)| Digest::of_side(found));
                found.ok_or(error)
            }
        }
    }

    /// Downloads a layer once and compares its stored and its uncompressed bytes with their digests. Nothing is kept.
    pub fn check_layer(
        &self,
        layer: StoredLayer,
        progress: &LayerProgress,
        context: &Context,
    ) -> Result<()> {
        let StoredLayer { digest, size, diff_id, place } = layer;
        let layer = Layer {
            diff_id,
            digest: Some(digest),
            size,
            media_type: String::new(),
            content: Content::Registry(self.repository.strict()),
            place,
            opaque: false,
        };
        let stored = open_one(&layer, context).ok_or_else(Error::interrupted)?;
        checked(&layer, stored.showing(progress))
    }

    /// Returns a small blob, whole and checked, as the clients of registries get it.
    pub fn blob_bytes(&self, what: &Descriptor, limit: u64) -> Result<Bytes> {
        self.repository.wait(self.repository.strict().blob_bytes(what, limit))
    }

    /// Returns a manifest or index, with what the registry says of it; `None` when it is not there.
    pub fn manifest(&self, reference: &str) -> Result<Option<FetchedManifest>> {
        absent(self.repository.wait(self.repository.fetch_manifest_lenient(reference)))
    }

    /// Errors when a client that is given a name does not get what was fetched by it:
    /// [`Repository::check_resolved`].
    pub fn check_resolved(&self, reference: &str, fetched: &FetchedManifest) -> Result<()> {
        self.repository.wait(self.repository.check_resolved(reference, fetched))
    }

    /// Errors when clients refuse what was fetched: [`Repository::check_headers`].
    pub fn check_headers(&self, reference: &str, fetched: &FetchedManifest) -> Result<()> {
        self.repository.check_headers(reference, fetched)
    }
}

/// A repository for writing. Cheap to clone.
#[derive(Clone)]
pub struct BlockingRepository {
    reader: RepositoryReader,
}

impl BlockingRepository {
    /// Returns a handle on a repository of this run.
    #[must_use]
    pub fn new(repository: Repository, context: &Context) -> Self {
        Self { reader: RepositoryReader::new(repository, context) }
    }

    /// Returns the same repository for reading.
    #[must_use]
    pub fn reader(&self) -> &RepositoryReader {
        &self.reader
    }

    /// Returns the repository itself, for asynchronous code.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.reader.repository
    }

    /// Returns another repository of the registry that has a blob, and the size of the blob there:
    /// [`Repository::other_holder`].
    pub fn other_holder(&self, digest: Digest) -> Result<Option<(Repository, u64)>> {
        let RepositoryReader { repository } = &self.reader;
        let Some(other) = repository.other_holder(digest) else { return Ok(None) };
        let size = repository.wait(other.stat_blob(digest))?;
        Ok(size.map(|size| (other, size)))
    }

    /// Pushes a manifest under a tag or its digest.
    pub fn push_manifest(&self, reference: &str, media_type: &str, bytes: Bytes) -> Result<()> {
        let RepositoryReader { repository } = &self.reader;
        repository.wait(repository.push_manifest(reference, media_type, bytes))
    }
}

/// Returns how messages name a part of a repository.
#[must_use]
pub fn display(host: &str, repository: &str, subject: &str) -> String {
    part(&format!("{host}/{repository}"), subject)
}

fn part(place: &str, subject: &str) -> String {
    match subject.parse::<Digest>() {
        Ok(_) => format!("{place}@{subject}"),
        Err(_) => format!("{place}:{subject}"),
    }
}

fn absent<T>(answer: Result<T, Error>) -> Result<Option<T>> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

//! A repository of a registry, as seen by code that waits: a plugin's host calls, and the checks.

use bytes::Bytes;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::{Descriptor, Digest};
use occystrap_net::context::{Blocking, Context};
use occystrap_net::registry::{FetchedManifest, Repository};

/// A repository, and where its requests run. Cheap to clone.
#[derive(Clone)]
pub struct BlockingRepository {
    repository: Blocking<Repository>,
}

impl BlockingRepository {
    /// A repository of this run.
    #[must_use]
    pub fn new(repository: Repository, context: &Context) -> Self {
        Self { repository: Blocking::new(repository, context) }
    }

    /// The repository itself, for work that does not wait.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// `HOST/NAME`.
    #[must_use]
    pub fn place(&self) -> String {
        self.repository.place()
    }

    /// `HOST/NAME@DIGEST` or `HOST/NAME:TAG`.
    #[must_use]
    pub fn display(&self, subject: &str) -> String {
        part(&self.place(), subject)
    }

    /// Returns the size of a blob, and `None` when it is not there: [`Repository::stat_blob`].
    pub fn stat_blob(&self, digest: Digest) -> Result<Option<u64>> {
        self.repository.wait(self.repository.stat_blob(digest))
    }

    /// Returns the size of a blob as its readers get it: [`Repository::find_blob`].
    pub fn find_blob(&self, digest: Digest, promised: Option<u64>) -> Result<Option<u64>> {
        self.repository.wait(self.repository.find_blob(digest, promised))
    }

    /// Download a blob and compare it with its digest and its size, keeping nothing.
    pub fn check_blob(&self, what: &Descriptor) -> Result<()> {
        self.repository.wait(async {
            let mut download = self.repository.strict().blob(what);
            while download.next().await?.is_some() {}
            Ok(())
        })
    }

    /// Download a blob and hash it, keeping nothing.
    pub fn hash_blob(&self, digest: Digest, size: u64) -> Result<Digest> {
        let what = Descriptor { media_type: String::new(), digest, size };
        match self.check_blob(&what) {
            Ok(()) => Ok(digest),
            Err(error) => match error.difference().and_then(|(_, found)| Digest::of_side(found)) {
                Some(found) => Ok(found),
                _ => Err(error),
            },
        }
    }

    /// A small blob, whole and checked, as the clients of registries get it.
    pub fn blob_bytes(&self, what: &Descriptor, limit: u64) -> Result<Bytes> {
        self.repository.wait(self.repository.strict().blob_bytes(what, limit))
    }

    /// A manifest or index, with what the registry says of it; `None` when it is not there.
    pub fn manifest(&self, reference: &str) -> Result<Option<FetchedManifest>> {
        absent(self.repository.wait(self.repository.fetch_manifest_lenient(reference)))
    }

    /// Errors when a client that is given a name does not get what was fetched by it:
    /// [`Repository::check_resolved`].
    pub fn check_resolved(&self, reference: &str, fetched: &FetchedManifest) -> Result<()> {
        self.repository.wait(self.repository.check_resolved(reference, fetched))
    }

    /// Push a manifest under a tag or its digest.
    pub fn push_manifest(&self, reference: &str, media_type: &str, bytes: Bytes) -> Result<()> {
        self.repository.wait(self.repository.push_manifest(reference, media_type, bytes))
    }
}

/// How messages name a part of a repository.
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

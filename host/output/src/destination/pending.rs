//! What a session has written and nobody sees yet, whatever the destination is.

use bytes::Bytes;

use super::commit::expected::Terms;
use super::engine_image::{CompleteUpload, EngineImage};
use super::grant::Grant;
use super::push::Push;
use super::read_access::ReadAccess;
use super::site::BlockingSite;
use super::staging::Staging;
use super::uploads::Uploads;
use occystrap_base::error::Result;
use occystrap_base::files::destination::Destination;

/// A session's writes, to be made visible together or not at all.
pub enum Pending {
    /// Files without names.
    Files(Staging),
    /// Blobs that nothing refers to, and manifests that were not sent.
    Push(Push),
    /// An archive that an engine has, but for its end; none before the plugin has written one.
    Load(EngineImage, Option<Box<CompleteUpload>>),
    /// What a web server has, and what was not sent yet.
    Uploads(Box<Uploads>),
}

impl Pending {
    /// Returns what the session may change.
    #[must_use]
    pub fn grant(&self) -> Grant {
        match self {
            Self::Files(staging) => Grant::Storage(staging.destination().clone()),
            Self::Push(push) => Grant::Repository(push.remote().clone()),
            Self::Load(named, _) => Grant::Engine(named.clone()),
            Self::Uploads(uploads) => Grant::Web(uploads.site().clone()),
        }
    }

    /// Returns what the plugin may read.
    #[must_use]
    pub fn read_access(&self) -> ReadAccess {
        self.grant().into_read_access()
    }

    /// Returns the directory or file, where the destination is one.
    #[must_use]
    pub fn storage(&self) -> Option<&Destination> {
        match self {
            Self::Files(staging) => Some(staging.destination()),
            _ => None,
        }
    }

    /// Returns the engine, where the destination is one.
    #[must_use]
    pub fn engine(&self) -> Option<&EngineImage> {
        match self {
            Self::Load(named, _) => Some(named),
            _ => None,
        }
    }

    /// Returns the folder on a web server, where the destination is one.
    #[must_use]
    pub fn site(&self) -> Option<&BlockingSite> {
        match self {
            Self::Uploads(uploads) => Some(uploads.site()),
            _ => None,
        }
    }

    /// The files, where there are some.
    pub fn files(&mut self) -> Option<&mut Staging> {
        match self {
            Self::Files(staging) => Some(staging),
            _ => None,
        }
    }

    /// The tag that the image must get, where the destination is a repository.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        match self {
            Self::Push(push) => push.tag(),
            _ => None,
        }
    }

    /// The content of a small file that was written and that nobody sees yet. `None` where there
    /// is none, or more of it than `limit` bytes.
    #[must_use]
    pub fn written(&self, path: &str, limit: usize) -> Option<Bytes> {
        match self {
            Self::Files(staging) => staging.read(path, limit),
            Self::Uploads(uploads) => uploads.written(path, limit),
            Self::Push(_) | Self::Load(..) => None,
        }
    }

    /// Waits for what may still change the destination, before anything relies on what is there. Blobs
    /// that are still pushed to a registry change nothing: their names are their digests.
    pub fn settle(&mut self) {
        if let Self::Uploads(uploads) = self {
            uploads.settle();
        }
    }

    /// Make everything visible. An interruption leaves files as they were; a server or an engine may have
    /// what it was sent last.
    pub fn commit(self, terms: &Terms) -> Result<()> {
        let remote = match self {
            Self::Files(staging) => return staging.commit(terms),
            Self::Push(push) => push.commit(),
            Self::Uploads(uploads) => uploads.commit(),
            Self::Load(_, archive) => archive.map_or(Ok(()), |archive| archive.commit()),
        };
        remote.map_err(|error| error.with_effect("the destination may have it or not"))
    }
}

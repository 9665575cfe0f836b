//! What a session has written and is not visible yet, whatever the destination is.

use std::path::PathBuf;

use bytes::Bytes;

use super::commit::expected::Terms;
use super::engine_image::{CompleteUpload, EngineImage};
use super::push::Push;
use super::read_access::{FolderReader, ReadAccess};
use super::remote::RepositoryReader;
use super::site::BlockingSite;
use super::staging::Staging;
use super::uploads::Uploads;
use occystrap_base::error::Result;
use occystrap_base::files::destination::Destination;
use occystrap_base::files::scratch;
use occystrap_base::files::unnamed_file::UnnamedFile;

/// A session's writes, to be made visible together or not at all.
pub enum Pending {
    /// Files without names.
    Files(Staging),
    /// Blobs that nothing refers to, and manifests that were not sent.
    Push(Push),
    /// An archive that an engine has received except for its end; `None` until the plugin has written one.
    Load(EngineImage, Option<Box<CompleteUpload>>),
    /// What a web server has, and what was not sent yet.
    Uploads(Box<Uploads>),
    /// Nothing: the plugin only plans, and may read the destination.
    Plan(PlanOnly),
}

/// A destination that a plugin plans for, and to which nothing can be written.
pub struct PlanOnly {
    /// What the plugin may read.
    pub access: ReadAccess,
    /// Where files without names are made, for what the plugin writes before it is asked for its plan.
    pub temp_dir: PathBuf,
}

impl Pending {
    /// Returns what the plugin may read.
    #[must_use]
    pub fn read_access(&self) -> ReadAccess {
        match self {
            Self::Files(staging) => {
                ReadAccess::Storage(FolderReader::of(staging.destination().clone()))
            }
            Self::Push(push) => ReadAccess::Repository(push.remote().reader().clone()),
            Self::Load(named, _) => ReadAccess::Engine(named.reader().clone()),
            Self::Uploads(uploads) => ReadAccess::Web(uploads.site().reader().clone()),
            Self::Plan(plan) => plan.access.clone(),
        }
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

    /// Returns the repository, where the destination is one.
    #[must_use]
    pub fn repository(&self) -> Option<&RepositoryReader> {
        match self {
            Self::Push(push) => Some(push.remote().reader()),
            _ => None,
        }
    }

    /// Returns the files, where the destination has files.
    pub fn files(&mut self) -> Option<&mut Staging> {
        match self {
            Self::Files(staging) => Some(staging),
            _ => None,
        }
    }

    /// Returns the tag that the image must get, where the destination is a repository.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        match self {
            Self::Push(push) => push.tag(),
            _ => None,
        }
    }

    /// Returns the content of a small file that was written and is not visible yet. `None` where there is no such
    /// file, or where it has more than `limit` bytes.
    #[must_use]
    pub fn written(&self, path: &str, limit: usize) -> Option<Bytes> {
        match self {
            Self::Files(staging) => staging.read(path, limit),
            Self::Uploads(uploads) => uploads.written(path, limit),
            Self::Push(_) | Self::Load(..) | Self::Plan(_) => None,
        }
    }

    /// Returns whether the plugin only plans.
    #[must_use]
    pub fn is_plan(&self) -> bool {
        matches!(self, Self::Plan(_))
    }

    /// Returns a file that is gone with the session, for what a plugin that only plans writes; `None` for one that
    /// writes an image.
    #[must_use]
    pub fn scratch(&self) -> Option<Result<UnnamedFile>> {
        let Self::Plan(PlanOnly { temp_dir, .. }) = self else { return None };
        Some(scratch::create_unnamed(temp_dir))
    }

    /// Waits for what may still change the destination, before anything relies on what is there. Blobs
    /// that are still pushed to a registry change nothing: their names are their digests.
    pub fn settle(&mut self) {
        if let Self::Uploads(uploads) = self {
            uploads.settle();
        }
    }

    /// Makes everything visible. An interruption leaves files as they were; a server or an engine may have
    /// what it was sent last.
    pub fn commit(self, terms: &Terms) -> Result<()> {
        let remote = match self {
            Self::Files(staging) => return staging.commit(terms),
            Self::Push(push) => push.commit(),
            Self::Uploads(uploads) => uploads.commit(),
            Self::Load(_, archive) => archive.map_or(Ok(()), |archive| archive.commit()),
            Self::Plan(_) => Ok(()),
        };
        remote.map_err(|error| error.with_effect("the destination may have it or not"))
    }
}

//! What a writing session may touch: the one thing that the user named.
//!
//! A handle in a grant can push, load and write. Verification gets [`ReadAccess`] instead.

use super::engine_image::EngineImage;
use super::read_access::{FolderReader, ReadAccess};
use super::remote::BlockingRepository;
use super::site::BlockingSite;
use occystrap_base::files::destination::Destination;

/// One thing that the user named, for writing. Cheap to clone.
#[derive(Clone)]
pub enum Grant {
    /// A directory or a file.
    Storage(Destination),
    /// A repository of a registry.
    Repository(BlockingRepository),
    /// The name of an image in an engine.
    Engine(EngineImage),
    /// A folder on a web server.
    Web(BlockingSite),
}

impl Grant {
    /// Limits the grant to reading.
    #[must_use]
    pub fn into_read_access(self) -> ReadAccess {
        match self {
            Self::Storage(destination) => ReadAccess::Storage(FolderReader::of(destination)),
            Self::Repository(remote) => ReadAccess::Repository(remote.reader().clone()),
            Self::Engine(named) => ReadAccess::Engine(named.reader().clone()),
            Self::Web(site) => ReadAccess::Web(site.reader().clone()),
        }
    }
}

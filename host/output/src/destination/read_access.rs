//! What a verification may touch: the thing that the user named, for reading.
//!
//! [`Grant`](super::Grant) is for writing. The handles here have reading methods alone, and none of them gives out a
//! handle that writes: neither the host's verification nor a plugin that verifies can change a destination.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use cap_std::fs::Dir;

use super::engine_image::EngineReader;
use super::remote::RepositoryReader;
use super::site::SiteReader;
use occystrap_base::error::{Error, Result};
use occystrap_base::files::destination::Destination;
use occystrap_base::files::identity::{FileIdentity, entry_info};
use occystrap_images::source::directory::Directory;

/// One thing that the user named, for reading. Cheap to clone.
#[derive(Clone)]
pub enum ReadAccess {
    /// A directory or a file.
    Storage(FolderReader),
    /// A repository of a registry.
    Repository(RepositoryReader),
    /// The name of an image in an engine.
    Engine(EngineReader),
    /// A folder on a web server.
    Web(SiteReader),
}

impl ReadAccess {
    /// Returns the directory or file.
    #[must_use]
    pub fn storage(&self) -> Option<&FolderReader> {
        match self {
            Self::Storage(folder) => Some(folder),
            _ => None,
        }
    }

    /// Returns the repository.
    #[must_use]
    pub fn repository(&self) -> Option<&RepositoryReader> {
        match self {
            Self::Repository(remote) => Some(remote),
            _ => None,
        }
    }

    /// Returns the engine.
    #[must_use]
    pub fn engine(&self) -> Option<&EngineReader> {
        match self {
            Self::Engine(named) => Some(named),
            _ => None,
        }
    }

    /// Returns the folder on a web server.
    #[must_use]
    pub fn site(&self) -> Option<&SiteReader> {
        match self {
            Self::Web(site) => Some(site),
            _ => None,
        }
    }

    /// Returns how messages name a part of it.
    #[must_use]
    pub fn display(&self, subject: &str) -> String {
        match self {
            Self::Storage(folder) => folder.display(subject),
            Self::Repository(remote) => remote.display(subject),
            Self::Web(site) => site.display(subject),
            // A subject is the name of an image, or a layer of it.
            Self::Engine(_) => subject.to_owned(),
        }
    }

    /// Returns how messages name all of it.
    #[must_use]
    pub fn whole(&self) -> String {
        match self {
            Self::Storage(folder) => match folder.file_name() {
                Some(name) => folder.display(name),
                None => folder.folder().display().to_string(),
            },
            Self::Repository(remote) => remote.place(),
            Self::Engine(named) => named.image().to_string(),
            Self::Web(site) => site.folder().to_string(),
        }
    }
}

/// A directory, or one file in a directory, for reading. Cheap to clone.
#[derive(Clone)]
pub struct FolderReader(Destination);

impl FolderReader {
    /// Limits a destination to reading.
    #[must_use]
    pub fn of(destination: Destination) -> Self {
        Self(destination)
    }

    /// Opens a directory. Errors as [`Destination::directory`].
    pub fn directory(path: &Path) -> Result<Self> {
        Destination::directory(path).map(Self)
    }

    /// Opens the directory of one file. Errors as [`Destination::file`].
    pub fn file(path: &Path) -> Result<Self> {
        Destination::file(path).map(Self)
    }

    /// Opens what is below a directory that is open. Errors as [`Destination::below`].
    pub fn below(root: &Dir, below: &Path, shown: &Path, name: Option<&str>) -> io::Result<Self> {
        Destination::below(root, below, shown, name).map(Self)
    }

    /// Returns the name of the one file, where the user named a file.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        self.0.file_name()
    }

    /// Returns the path of the directory as the user named it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.0.folder()
    }

    /// Returns a path for messages.
    #[must_use]
    pub fn display(&self, path: &str) -> String {
        self.0.display(path)
    }

    /// Describes a failed operation on a path.
    #[must_use]
    pub fn failure(&self, action: &str, path: &str, cause: &io::Error) -> Error {
        self.0.failure(action, path, cause)
    }

    /// Returns the metadata of what has a name, without following a symbolic link.
    pub fn symlink_metadata(&self, path: &str) -> io::Result<cap_std::fs::Metadata> {
        self.0.dir()?.symlink_metadata(path)
    }

    /// Opens a regular file. Errors as [`Destination::open`].
    pub fn open(&self, path: &str) -> io::Result<File> {
        self.0.open(path)
    }

    /// Returns which file has a name now. `None` where there is none, or it cannot be read.
    #[must_use]
    pub fn identity(&self, path: &str) -> Option<FileIdentity> {
        let (above, name) = path.rsplit_once('/').unwrap_or((".", path));
        let folder = self.0.dir().and_then(|folder| folder.open_dir(above)).ok()?;
        entry_info(folder.as_fd(), name).ok().flatten().map(|there| there.identity)
    }

    /// Returns the files by name.
    #[must_use]
    pub fn members(&self) -> Directory {
        Directory::of(self.0.clone())
    }
}

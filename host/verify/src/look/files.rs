//! Access to the bytes that are checked: files of a destination, or members of an archive.

use std::fs::File;
use std::io;
use std::path::Path;

use occystrap_base::error::Result;
use occystrap_images::source::archive;
use occystrap_images::source::directory::Directory;
use occystrap_images::source::members::ArchiveMembers;
use occystrap_images::source::tar_index::TarIndex;
use occystrap_net::context::Context;
use occystrap_output::destination::read_access::FolderReader;
use occystrap_output::receipt::Place;

/// The offset of a member that an archive does not have.
pub const NOWHERE: u64 = u64::MAX;

/// Files by their path below a destination.
pub trait Files: Sync {
    /// Returns the size of a regular file in bytes; `None` for anything else. Errors as the system's `stat`.
    fn size(&self, path: &str) -> io::Result<Option<u64>>;

    /// Opens a file for reading.
    fn open(&self, path: &str) -> io::Result<File>;

    /// Returns how messages name a file, or a part of a file.
    fn display(&self, path: &str) -> String;
}

impl Files for FolderReader {
    fn size(&self, path: &str) -> io::Result<Option<u64>> {
        let metadata = self.symlink_metadata(path)?;
        Ok(metadata.is_file().then(|| metadata.len()))
    }

    fn open(&self, path: &str) -> io::Result<File> {
        Self::open(self, path)
    }

    fn display(&self, path: &str) -> String {
        Self::display(self, path)
    }
}

/// Files that are found by their names, and not by a receipt.
pub trait NamedFiles {
    /// Returns access to the bytes.
    fn files(&self) -> &dyn Files;

    /// Returns the files by name.
    fn members(&self) -> &dyn ArchiveMembers;

    /// Returns the place of a file.
    fn place(&self, name: &str) -> Place;

    /// Returns how messages name a file.
    fn called(&self, name: &str) -> String {
        self.files().display(&self.place(name).subject())
    }
}

/// A directory.
pub struct FolderFiles {
    members: Directory,
    destination: FolderReader,
}

impl FolderFiles {
    /// Returns the files of an open directory.
    #[must_use]
    pub fn of(destination: FolderReader) -> Self {
        Self { members: destination.members(), destination }
    }
}

impl NamedFiles for FolderFiles {
    fn files(&self) -> &dyn Files {
        &self.destination
    }

    fn members(&self) -> &dyn ArchiveMembers {
        &self.members
    }

    fn place(&self, name: &str) -> Place {
        Place::File { path: name.to_owned() }
    }
}

/// An archive without a receipt. An archive that is compressed as a whole was decompressed, and the result is checked.
pub struct ArchiveFiles {
    members: TarIndex,
    /// The name of the archive's file.
    file_name: String,
    destination: FolderReader,
}

impl ArchiveFiles {
    /// Reads the headers of an archive. Errors when the file is not an archive, or can be read in two ways.
    pub fn open(path: &Path, context: &Context) -> Result<Self> {
        let destination = FolderReader::file(path)?;
        let file_name = destination.file_name().unwrap_or_default().to_owned();
        Ok(Self { members: archive::index(path, context)?, file_name, destination })
    }

    /// Returns its members.
    #[must_use]
    pub fn index(&self) -> &TarIndex {
        &self.members
    }
}

impl Files for ArchiveFiles {
    fn size(&self, _: &str) -> io::Result<Option<u64>> {
        Ok(Some(self.members.file().metadata()?.len()))
    }

    fn open(&self, _: &str) -> io::Result<File> {
        self.members.file().try_clone()
    }

    fn display(&self, path: &str) -> String {
        self.destination.display(path)
    }
}

impl NamedFiles for ArchiveFiles {
    fn files(&self) -> &dyn Files {
        self
    }

    fn members(&self) -> &dyn ArchiveMembers {
        &self.members
    }

    fn place(&self, name: &str) -> Place {
        let section = self.members.section(name).ok().flatten();
        Place::Part {
            path: self.file_name.clone(),
            member: name.to_owned(),
            offset: section.map_or(NOWHERE, |section| section.offset),
        }
    }
}

//! Identity of a file, independent of its name.
//!
//! Symbolic links, mounts and file systems that fold case give one file several paths. Only the device and the inode
//! identify it.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Stat};
use rustix::path::Arg;

/// Identity of a regular file or a symbolic link: device and inode. The size guards against a file system that gives
/// the number of a removed file to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    /// The device.
    pub dev: u64,
    /// The inode.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
}

impl FileIdentity {
    /// Returns the identity of an open file.
    pub fn of(file: &File) -> io::Result<Self> {
        Ok(Self::from(&rustix::fs::fstat(file)?))
    }

    /// Returns whether both are the same file. Their sizes may differ.
    #[must_use]
    pub fn is_same_inode(&self, other: Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }
}

#[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
impl From<&Stat> for FileIdentity {
    fn from(stat: &Stat) -> Self {
        Self { dev: stat.st_dev as u64, ino: stat.st_ino as u64, size: stat.st_size as u64 }
    }
}

/// Information about an entry of a directory.
#[derive(Debug, Clone, Copy)]
pub struct EntryInfo {
    /// Identity of the entry.
    pub identity: FileIdentity,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Whether it is a regular file.
    pub is_file: bool,
    /// Owner, as the file system shows it.
    pub owner: u32,
    kind: FileType,
}

impl EntryInfo {
    /// Returns the kind of the entry, in words.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.kind {
            FileType::RegularFile => "a file",
            FileType::Directory => "a directory",
            FileType::Symlink => "a symbolic link",
            FileType::Fifo => "a FIFO",
            FileType::Socket => "a socket",
            _ => "a device",
        }
    }
}

/// Returns information about an entry of a directory, without following a link; `None` where there is none.
pub fn entry_info(folder: impl AsFd, name: impl Arg) -> io::Result<Option<EntryInfo>> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => {
            let kind = FileType::from_raw_mode(stat.st_mode);
            Ok(Some(EntryInfo {
                identity: FileIdentity::from(&stat),
                is_directory: kind == FileType::Directory,
                is_file: kind == FileType::RegularFile,
                owner: stat.st_uid,
                kind,
            }))
        }
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(cause) => Err(cause.into()),
    }
}

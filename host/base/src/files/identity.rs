//! The identity of a file: what it is, whatever it is called.
//!
//! Two paths are one file through symbolic links, mounts and file systems that fold case. Only
//! the device and the inode tell.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Stat};

/// A regular file or a symbolic link, by device and inode. The size is a guard against a file system
/// that gives the number of a removed file to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    /// The device.
    pub dev: u64,
    /// The inode.
    pub ino: u64,
    /// In bytes.
    pub size: u64,
}

impl FileIdentity {
    /// Returns the identity of an open file.
    pub fn of(file: &File) -> io::Result<Self> {
        Ok(Self::from(&rustix::fs::fstat(file)?))
    }

    /// Whether two are one file, whatever its size was.
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

/// What stands under a name.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// Its identity.
    pub identity: FileIdentity,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Whether it is a regular file.
    pub is_file: bool,
    /// Its owner, as the file system shows it.
    pub owner: u32,
    kind: FileType,
}

impl Standing {
    /// What it is, in words.
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

/// Looks at a name in a folder, without following a link. `None` where nothing stands there.
pub fn standing(folder: impl AsFd, name: &str) -> io::Result<Option<Standing>> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => {
            let kind = FileType::from_raw_mode(stat.st_mode);
            Ok(Some(Standing {
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

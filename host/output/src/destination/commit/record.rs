//! The commit record: what a commit creates and replaces, in a file of the destination.
//!
//! The record appears before the first change and goes after the last one. A process that finds it
//! under the directory's lock knows that its writer is dead, and undoes or finishes the commit
//! (`undo.rs`). What it refuses: a record of another user or of another form. Another user of a shared
//! folder may have written it, so every path is checked as a plugin's, and nothing is removed that the
//! record does not name by inode.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use occystrap_base::files::destination::check_path;
use occystrap_base::files::identity::{FileIdentity, entry_info};
use occystrap_base::files::temporary;
use occystrap_base::files::unnamed_file::UnnamedFile;
use occystrap_base::limits;
use occystrap_base::oci::Digest;

/// The record's name: a fixed one, so that no folder is searched for it.
pub const NAME: &str = ".occystrap-commit.json";

/// The ending of the name under which a replacement waits, and the replaced file after an exchange.
const SWAP: &str = ".swap";

/// The ending of the name under which a replaced file waits where nothing can be exchanged.
const OLD: &str = ".old";

/// Bytes of a record: [`limits::FILES`] files of some 300 bytes each are a tenth of it.
pub const LARGEST: u64 = 16 * 1024 * 1024;

/// Folders in a record: as many as [`limits::FILES`] paths of 16 folders each have.
const MOST_FOLDERS: usize = 16 * limits::FILES;

/// The version of this form.
const VERSION: u32 = 1;

/// What a commit creates and replaces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
#[serde(deny_unknown_fields)]
pub struct CommitRecord {
    /// [`VERSION`].
    occystrap_commit: u32,
    /// Folders that are missing before, each after the one above it.
    pub folders: Vec<String>,
    /// Files, in the order in which they get their names. The last one is the commit point.
    pub files: Vec<RecordedFile>,
}

/// A file of the commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
#[serde(deny_unknown_fields)]
pub struct RecordedFile {
    /// Relative to the destination.
    pub path: String,
    /// The new file.
    pub new: Recorded,
    /// The file that it replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced: Option<ReplacedFile>,
}

/// A file that is replaced, and the temporary names of the exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
#[serde(deny_unknown_fields)]
pub struct ReplacedFile {
    /// The file.
    pub old: Recorded,
    /// Where the new file waits, and the old one after the exchange. In the same folder.
    pub swap: String,
    /// Where the old file waits on a file system that cannot exchange. In the same folder.
    pub kept: String,
}

impl ReplacedFile {
    /// Returns the record of a file that is to be replaced, with new temporary names.
    #[must_use]
    pub fn new(old: Recorded) -> Self {
        let (swap, kept) = (temporary::random_name(SWAP), temporary::random_name(OLD));
        Self { old, swap, kept }
    }
}

/// A file's identity without its device, whose number another start of the system may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    ino: u64,
    size: u64,
    /// Of the content, for what is replaced and for what takes its place: after a copy of the directory
    /// the inode says nothing. `None` for a file that is new, or too large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

impl Recorded {
    /// Returns whether a file is this one.
    #[must_use]
    pub fn is(&self, file: FileIdentity) -> bool {
        (self.ino, self.size) == (file.ino, file.size)
    }

    /// Returns the size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl From<FileIdentity> for Recorded {
    fn from(file: FileIdentity) -> Self {
        Self { ino: file.ino, size: file.size, digest: None }
    }
}

impl CommitRecord {
    /// Returns an empty record.
    #[must_use]
    pub fn new() -> Self {
        Self { occystrap_commit: VERSION, ..Self::default() }
    }

    /// Writes the record into a directory, where it appears whole. *Already exists* where there is one.
    pub fn write(&self, directory: &Arc<Dir>, durable: bool) -> io::Result<FileIdentity> {
        let bytes = serde_json::to_vec(self)?;
        if bytes.len() as u64 > LARGEST || self.folders.len() > MOST_FOLDERS {
            return Err(io::Error::other("the paths of this commit are too long for its record"));
        }
        let mut file = UnnamedFile::private(directory)?;
        file.file().write_all_at(&bytes, 0)?;
        if durable {
            file.file().sync_all()?;
        }
        // Nothing may fail after the record has its name.
        let identity = file.identity()?;
        file.appear(directory, NAME)?;
        Ok(identity)
    }

    /// Reads the record of a directory. `None` where there is none. An error that is not of the system
    /// says what is wrong with the record.
    pub fn read(directory: &Arc<Dir>) -> Result<Option<Self>, Unusable> {
        match entry_info(directory.as_fd(), NAME)? {
            None => return Ok(None),
            Some(there) if there.is_file => {}
            Some(there) => return Err(Unusable::Other(there.kind())),
        }
        let mut options = OpenOptions::new();
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
        options.read(true).custom_flags(flags.bits().cast_signed());
        let file = match directory.open_with(NAME, &options) {
            Ok(file) => file.into_std(),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => {
                return Err(match foreign_owner(directory) {
                    Some(owner) => Unusable::Foreign(owner),
                    None => Unusable::Unread(cause),
                });
            }
        };
        let stat = rustix::fs::fstat(&file).map_err(io::Error::from)?;
        // A private file of this process shows which owner and mode its own record would have: servers map users, and
        // some file systems have no modes.
        let own = UnnamedFile::private(directory)?;
        let own = rustix::fs::fstat(own.file()).map_err(io::Error::from)?;
        if stat.st_uid != own.st_uid {
            return Err(Unusable::Foreign(stat.st_uid));
        }
        let others = (Mode::WGRP | Mode::WOTH).bits();
        if stat.st_mode & others & !own.st_mode != 0 {
            return Err(Unusable::Writable(stat.st_uid));
        }
        let mut bytes = Vec::new();
        (&file).take(LARGEST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST {
            return Err(Unusable::Malformed);
        }
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(Unusable::Lost);
        }
        let record: Self = serde_json::from_slice(&bytes).map_err(|_| Unusable::Malformed)?;
        if record.is_of_form() { Ok(Some(record)) } else { Err(Unusable::Malformed) }
    }

    /// Returns whether every path stays in the directory and every temporary name is one.
    fn is_of_form(&self) -> bool {
        let path = |path: &String| check_path(path, None).is_ok() && !names_temporary(path);
        let swap = |file: &RecordedFile| {
            file.replaced.as_ref().is_none_or(|replaced| {
                temporary::is_of_form(&replaced.swap, SWAP)
                    && temporary::is_of_form(&replaced.kept, OLD)
            })
        };
        self.occystrap_commit == VERSION
            && self.files.len() <= limits::FILES
            && self.folders.len() <= MOST_FOLDERS
            && self.folders.iter().all(path)
            && self.files.iter().all(|file| path(&file.path) && swap(file))
    }
}

/// Returns whether a part of a path is a name that this program keeps for itself, in upper or lower case.
#[must_use]
pub fn names_temporary(path: &str) -> bool {
    let prefix = temporary::PREFIX;
    path.split('/').any(|part| {
        part.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    })
}

fn foreign_owner(directory: &Dir) -> Option<u32> {
    let there = entry_info(directory.as_fd(), NAME).ok()??;
    (there.owner != rustix::process::geteuid().as_raw()).then_some(there.owner)
}

/// Why a record cannot be used.
#[derive(Debug)]
pub enum Unusable {
    /// It belongs to the user with this number.
    Foreign(u32),
    /// It belongs to the user with this number, and other users may write to it.
    Writable(u32),
    /// It is not a regular file, but of this kind.
    Other(&'static str),
    /// It has a name and no content: a power failure destroyed the content.
    Lost,
    /// It does not have the form of a record.
    Malformed,
    /// The system did not let it be read.
    Unread(io::Error),
}

impl From<io::Error> for Unusable {
    fn from(cause: io::Error) -> Self {
        Self::Unread(cause)
    }
}

//! The one directory or file that the user named, and nothing else.
//!
//! Paths that a plugin names are checked here, at the first line that sees them: relative,
//! `/`-separated, without `..`, and resolved by the system beneath the granted directory (cap-std).

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::fs::FlockOperation;

use crate::error::{Error, Kind, Result};

/// Linux's `PATH_MAX`.
const LONGEST_PATH: usize = 4096;

/// What a plugin may touch.
#[derive(Clone, Debug)]
pub struct Destination {
    directory: Arc<Dir>,
    /// As the user named it: the directory itself, or the directory of the file.
    folder: PathBuf,
    /// The one name granted, where the user named a file.
    file_name: Option<String>,
}

impl Destination {
    /// A directory that exists.
    pub fn directory(path: &Path) -> Result<Self> {
        let directory = open_directory(path)?;
        Ok(Self { directory: Arc::new(directory), folder: path.to_owned(), file_name: None })
    }

    /// A file, which need not exist, in a directory that does.
    pub fn file(path: &Path) -> Result<Self> {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| Error::usage(format!("'{}' does not name a file", path.display())))?;
        if path.is_dir() {
            return Err(Error::destination(format!(
                "'{}' is a directory, not a file",
                path.display()
            )));
        }
        let folder = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let directory = open_directory(folder).map_err(|error| {
            let hint = format!("create it first: mkdir -p '{}'", folder.display());
            if error.kind() == Kind::NotFound { error.hint(hint) } else { error }
        })?;
        Ok(Self {
            directory: Arc::new(directory),
            folder: folder.to_owned(),
            file_name: Some(name.to_owned()),
        })
    }

    /// The one name granted, where the user named a file.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        self.file_name.as_deref()
    }

    /// The directory, for work inside the host.
    #[must_use]
    pub fn dir(&self) -> &Arc<Dir> {
        &self.directory
    }

    /// The directory's path as the user named it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A path for messages.
    #[must_use]
    pub fn display(&self, path: &str) -> String {
        self.folder.join(path).display().to_string()
    }

    /// A failed operation on a path, in words.
    #[must_use]
    pub fn failure(&self, action: &str, path: &str, cause: &io::Error) -> Error {
        let place = self.display(path);
        // cap-std reports an escape so, without a number of the system.
        if cause.kind() == io::ErrorKind::PermissionDenied && cause.raw_os_error().is_none() {
            return Error::destination(format!("'{place}' leads out of the destination"))
                .hint("a symbolic link there points elsewhere; remove it");
        }
        if cause.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            return Error::destination(format!("'{place}' is a symbolic link"))
                .hint("a link in the place of a file is not followed; remove it");
        }
        Error::io(Kind::Destination, action, place, cause)
    }

    /// Open a regular file for reading. Neither follows a symlink at its end nor waits for a FIFO.
    pub fn open(&self, path: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
        options.read(true).custom_flags(flags.bits().cast_signed());
        let file = self.directory.open_with(path, &options)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(file.into_std())
    }

    /// Keep other occystrap processes from changing this directory until the returned handle is
    /// dropped; `None` while one of them does the same. The lock is on the directory itself: it
    /// leaves no file behind.
    pub fn try_lock(&self) -> io::Result<Option<File>> {
        let handle = self.directory.open(".")?.into_std();
        match rustix::fs::flock(handle.as_fd(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(handle)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(cause) => Err(cause.into()),
        }
    }
}

fn open_directory(path: &Path) -> Result<Dir> {
    Dir::open_ambient_dir(path, ambient_authority())
        .map_err(|cause| Error::io(Kind::Destination, "open the directory", path.display(), &cause))
}

/// Why a path is not one that a plugin may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPath {
    /// Empty, too long, or with a NUL.
    Malformed,
    /// Absolute, or with `.` or `..` in it.
    Escapes,
    /// Not the one file that was granted.
    NotGranted,
}

/// Check the form of a path that a plugin named.
pub fn check_path(path: &str, granted: Option<&str>) -> Result<(), BadPath> {
    if path.is_empty() || path.len() > LONGEST_PATH || path.contains('\0') {
        return Err(BadPath::Malformed);
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(BadPath::Escapes);
    }
    match granted {
        Some(name) if name != path => Err(BadPath::NotGranted),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_out_are_refused_before_the_system_sees_them() {
        for bad in ["..", "../x", "a/../b", "/etc/passwd", "a//b", "./a", "a/.", "a/"] {
            assert_eq!(check_path(bad, None), Err(BadPath::Escapes), "{bad}");
        }
        for bad in ["", "a\0b", &"x".repeat(5000)] {
            assert_eq!(check_path(bad, None), Err(BadPath::Malformed));
        }
        assert_eq!(check_path("a/b..c/.d", None), Ok(()));
        assert_eq!(check_path("other", Some("one")), Err(BadPath::NotGranted));
    }

    #[test]
    fn a_fifo_or_a_symlink_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), b"x").unwrap();
        std::os::unix::fs::symlink("file", folder.path().join("link")).unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        let destination = Destination::directory(folder.path()).unwrap();
        assert!(destination.open("file").is_ok());
        assert!(destination.open("link").is_err());
        assert!(destination.open("fifo").is_err());
    }
}

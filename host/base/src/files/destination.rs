//! The directory or file that the user named as destination, and nothing else.
//!
//! The form of a path from a plugin is checked here, before any system call: relative, separated by `/`, without `..`.
//! The system then resolves it beneath the granted directory (cap-std).

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::fs::{Access, AtFlags};

use crate::error::{Error, Kind, Result};
use crate::files::lock::Locked;
use crate::terminal::shell::quote;

/// Linux's `PATH_MAX`.
const LONGEST_PATH: usize = 4096;

/// Directory that a plugin may write to, or one file in a directory.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The directory itself, or the nearest directory above it that exists.
    anchor: Arc<Dir>,
    /// Path of the directory below the anchor; empty where the directory itself is the anchor.
    below: PathBuf,
    /// The directory, once it was opened.
    found: Arc<OnceLock<Arc<Dir>>>,
    /// Path as the user named it: of the directory itself, or of the directory of the file.
    folder: PathBuf,
    /// The only name that is granted, where the user named a file.
    file_name: Option<String>,
}

impl Destination {
    /// Opens a directory that exists.
    pub fn directory(path: &Path) -> Result<Self> {
        let directory = open_directory(path)?;
        Ok(Self::at(directory, PathBuf::new(), path, None))
    }

    /// Opens the place of a directory that may be missing. The directory is not created here: two processes that start
    /// at the same time would remove it under each other when one of them fails. Errors when it could not be created.
    pub fn directory_to_be(path: &Path) -> Result<Self> {
        if path.exists() && !path.is_dir() {
            let message = format!("'{}' is a file, not a directory", path.display());
            return Err(Error::destination(message));
        }
        // A link that points nowhere exists: opening it produces the right error.
        let nearest = path.ancestors().find(|folder| folder.symlink_metadata().is_ok());
        let nearest = nearest.unwrap_or(Path::new(""));
        let below = path.strip_prefix(nearest).unwrap_or(path);
        if below.as_os_str().is_empty() {
            return Self::directory(path);
        }
        if below.components().any(|part| part == Component::ParentDir) {
            let message =
                format!("'{}' has '..' after a directory that does not exist", path.display());
            return Err(Error::destination(message).hint("name the directory without '..'"));
        }
        let nearest = if nearest == Path::new("") { Path::new(".") } else { nearest };
        let open = || -> io::Result<Dir> {
            let anchor = Dir::open_ambient_dir(nearest, ambient_authority())?;
            let access = Access::WRITE_OK | Access::EXEC_OK;
            rustix::fs::accessat(anchor.as_fd(), ".", access, AtFlags::empty())?;
            Ok(anchor)
        };
        let anchor = open().map_err(|cause| {
            Error::io(Kind::Destination, "create the directory", path.display(), &cause)
        })?;
        Ok(Self::at(anchor, below.to_owned(), path, None))
    }

    fn at(anchor: Dir, below: PathBuf, folder: &Path, file_name: Option<&str>) -> Self {
        Self {
            anchor: Arc::new(anchor),
            below,
            found: Arc::default(),
            folder: folder.to_owned(),
            file_name: file_name.map(str::to_owned),
        }
    }

    /// Opens the place of a file, which need not exist, in a directory that exists.
    pub fn file(path: &Path) -> Result<Self> {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| Error::usage(format!("'{}' does not name a file", path.display())))?;
        // An existing file is replaced: a device or a pipe would be lost.
        if let Ok(there) = path.metadata()
            && !there.is_file()
        {
            let what = if there.is_dir() { "a directory" } else { "a device, a pipe or a socket" };
            let message = format!("'{}' is {what}, not a file", path.display());
            return Err(Error::destination(message));
        }
        let folder = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let directory = open_directory(folder).map_err(|error| {
            let hint =
                format!("create it first: mkdir -p {}", quote(&folder.display().to_string()));
            if error.kind() == Kind::NotFound { error.hint(hint) } else { error }
        })?;
        Ok(Self::at(directory, PathBuf::new(), folder, Some(name)))
    }

    /// Opens a directory below an open one, or the place of a file in it. No symbolic link on the way leads out of
    /// `root`. Messages show the directory as `folder`.
    pub fn below(
        root: &Dir,
        below: &Path,
        folder: &Path,
        file_name: Option<&str>,
    ) -> io::Result<Self> {
        let below = if below == Path::new("") { Path::new(".") } else { below };
        Ok(Self::at(root.open_dir(below)?, PathBuf::new(), folder, file_name))
    }

    /// Returns the only name that is granted, where the user named a file.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        self.file_name.as_deref()
    }

    /// Returns the directory, for work inside the host. Errors as *not found* while it does not exist.
    pub fn dir(&self) -> io::Result<Arc<Dir>> {
        if let Some(found) = self.found.get() {
            return Ok(Arc::clone(found));
        }
        let found = match self.below.as_os_str().is_empty() {
            true => Arc::clone(&self.anchor),
            false => Arc::new(self.anchor.open_dir(&self.below)?),
        };
        Ok(Arc::clone(self.found.get_or_init(|| found)))
    }

    /// Returns the directory, or the nearest one above it that exists: a place for files without a name, in the same
    /// file system.
    #[must_use]
    pub fn anchor(&self) -> &Arc<Dir> {
        &self.anchor
    }

    /// Returns the last existing directory on the way to the destination, and the missing path below it.
    pub fn nearest(&self) -> io::Result<(Arc<Dir>, PathBuf)> {
        let mut nearest = Arc::clone(&self.anchor);
        let mut missing = self.below.components();
        while let Some(name) = missing.clone().next() {
            match nearest.open_dir(name) {
                Ok(folder) => nearest = Arc::new(folder),
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => break,
                Err(cause) => return Err(cause),
            }
            missing.next();
        }
        Ok((nearest, missing.as_path().to_owned()))
    }

    /// Returns the directory's path as the user named it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns a path for messages.
    #[must_use]
    pub fn display(&self, path: &str) -> String {
        self.folder.join(path).display().to_string()
    }

    /// Returns the error of a failed operation on a path.
    #[must_use]
    pub fn failure(&self, action: &str, path: &str, cause: &io::Error) -> Error {
        let place = self.display(path);
        // cap-std reports a link that leads out of the directory in this way, without an error number of the system.
        if cause.kind() == io::ErrorKind::PermissionDenied && cause.raw_os_error().is_none() {
            return Error::destination(format!("'{place}' leads out of the destination"))
                .hint("a symbolic link there points elsewhere; remove it");
        }
        if cause.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            return Error::destination(format!("'{place}' is a symbolic link"))
                .hint("a link in the place of a file is not followed; remove it");
        }
        let hint = mount_hint(&place, cause);
        let error = Error::io(Kind::Destination, action, place, cause);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    /// Opens a regular file for reading. It neither follows a symbolic link at the end of the path nor waits for a
    /// FIFO.
    pub fn open(&self, path: &str) -> io::Result<File> {
        Self::open_in(&*self.dir()?, path)
    }

    /// Opens a file as [`Self::open`] does, in a directory that may not have its name yet.
    pub fn open_in(directory: &Dir, path: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
        options.read(true).custom_flags(flags.bits().cast_signed());
        let file = directory.open_with(path, &options)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(file.into_std())
    }

    /// Keeps other occystrap processes from changing this directory, or from creating it, until the returned lock is
    /// dropped. Returns `None` while another process holds the lock. The lock is on the directory itself, or on the
    /// nearest one above it that exists: it leaves no file behind.
    pub fn try_lock(&self) -> io::Result<Option<Locked>> {
        let (folder, missing) = self.nearest()?;
        let Some(lock) = try_lock(&folder)? else { return Ok(None) };
        // The directory was created before the lock was taken: another directory must be locked.
        let made = self.nearest()?.1 != missing;
        Ok(Some(lock).filter(|_| !made))
    }
}

/// Locks a directory; `None` while another process holds the lock.
pub fn try_lock(folder: &Dir) -> io::Result<Option<Locked>> {
    Locked::try_new(folder.open(".")?.into_std())
}

fn open_directory(path: &Path) -> Result<Dir> {
    Dir::open_ambient_dir(path, ambient_authority()).map_err(|cause| {
        let error = Error::io(Kind::Destination, "open the directory", path.display(), &cause);
        match (error.kind(), path.parent().filter(|_| path.is_absolute())) {
            (Kind::NotFound, Some(above)) => {
                error.hint(format!("'ls {}' shows what is there", quote(&above.to_string_lossy())))
            }
            (Kind::NotFound, None) => {
                let below = std::env::current_dir().unwrap_or_default();
                error.hint(format!(
                    "a path after two slashes starts in the current directory, which is {}; \
                     an absolute path has three slashes: dir:///PATH",
                    below.display()
                ))
            }
            _ => error,
        }
    })
}

/// Reason why a plugin may not name a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPath {
    /// The path is empty, too long, or has a NUL.
    Malformed,
    /// The path is absolute, or has `.` or `..` in it.
    Escapes,
    /// The path is not that of the granted file.
    NotGranted,
}

/// Checks the form of a path that a plugin named.
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

/// Returns a hint, where a mount prevents a rename or a link.
fn mount_hint(place: &str, cause: &io::Error) -> Option<String> {
    use rustix::io::Errno;
    let why = match Errno::from_io_error(cause)? {
        Errno::BUSY => "a mount point cannot be replaced",
        Errno::XDEV => "its directory is on another file system than the destination",
        _ => return None,
    };
    let place = quote(place);
    Some(format!(
        "{why}: look with 'findmnt -T {place}', and unmount it or name another destination"
    ))
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

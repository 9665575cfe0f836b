//! Writes that nobody sees yet.
//!
//! Files are written without a name (`O_TMPFILE`) and get theirs, all in the order in which they
//! were finished, when the session's receipt has been accepted. Whatever ends the process before
//! that, even SIGKILL, leaves the destination as it was and no temporary file. Own code instead of
//! `cap-tempfile`, whose handles borrow the directory and so cannot be kept in a list.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, Mode, OFlags};

use super::destination::Destination;
use crate::cancel::Cancel;
use crate::error::{Error, Kind, Result};

/// How often a lock that somebody else has is tried again: short, for it is held while a few
/// small files are written.
const LOCK_POLL: Duration = Duration::from_millis(2);

/// A file without a name, in the destination's file system.
pub struct Unnamed {
    file: File,
    /// On file systems without `O_TMPFILE` (NFS, some FUSE), a name all the same.
    name: Option<(Arc<Dir>, String)>,
}

impl Unnamed {
    /// A new, empty file.
    pub fn create(directory: &Arc<Dir>) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::openat(directory.as_fd(), ".", flags, Mode::from_raw_mode(0o666)) {
            Ok(descriptor) => Ok(Self { file: File::from(descriptor), name: None }),
            Err(
                rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL,
            ) => {
                let name = temporary_name();
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
                let descriptor = rustix::fs::openat(
                    directory.as_fd(),
                    name.as_str(),
                    flags,
                    Mode::from_raw_mode(0o666),
                )?;
                Ok(Self { file: File::from(descriptor), name: Some((Arc::clone(directory), name)) })
            }
            Err(cause) => Err(cause.into()),
        }
    }

    /// The file, open for reading and writing.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The file, which will never have a name.
    pub fn into_file(self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Give it its name, replacing what has it. Both within `root`.
    fn publish(mut self, root: &Dir, path: &str) -> io::Result<()> {
        let (parent, name) = match path.rsplit_once('/') {
            Some((parent, name)) => {
                // Opened first: of a link that leads out, creating says only that it exists.
                let folder = match root.open_dir(parent) {
                    Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                        root.create_dir_all(parent)?;
                        root.open_dir(parent)?
                    }
                    other => other?,
                };
                (folder, name)
            }
            None => (root.try_clone()?, path),
        };
        if let Some((directory, temporary)) = self.name.take() {
            return rustix::fs::renameat(directory.as_fd(), temporary, parent.as_fd(), name)
                .map_err(Into::into);
        }
        let own = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&self.file));
        let link = |to: &str| {
            rustix::fs::linkat(
                rustix::fs::CWD,
                own.as_str(),
                parent.as_fd(),
                to,
                AtFlags::SYMLINK_FOLLOW,
            )
        };
        match link(name) {
            // A link does not replace: give it a temporary name and rename that.
            Err(rustix::io::Errno::EXIST) => {
                let temporary = temporary_name();
                link(&temporary)?;
                let renamed =
                    rustix::fs::renameat(parent.as_fd(), temporary.as_str(), parent.as_fd(), name);
                if renamed.is_err() {
                    let _ =
                        rustix::fs::unlinkat(parent.as_fd(), temporary.as_str(), AtFlags::empty());
                }
                renamed.map_err(Into::into)
            }
            other => other.map_err(Into::into),
        }
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if let Some((directory, name)) = self.name.take() {
            let _ = directory.remove_file(name);
        }
    }
}

fn temporary_name() -> String {
    format!(".occystrap-{:016x}.tmp", fastrand::u64(..))
}

/// The finished files of a session.
pub struct Staging {
    destination: Destination,
    finished: Vec<(String, Unnamed)>,
    lock: Option<File>,
    /// Directories made for this session, outermost first; gone again when it is given up.
    created: Vec<PathBuf>,
    /// Whether to wait until everything is on the disk.
    durable: bool,
}

impl Staging {
    /// For a destination that exists.
    #[must_use]
    pub fn new(destination: Destination, durable: bool) -> Self {
        Self { destination, finished: Vec::new(), lock: None, created: Vec::new(), durable }
    }

    /// For a directory that is made where it is missing.
    pub fn for_directory(path: &Path, durable: bool) -> Result<Self> {
        if path.exists() && !path.is_dir() {
            let message = format!("'{}' is a file, not a directory", path.display());
            return Err(Error::destination(message));
        }
        let missing: Vec<PathBuf> = path
            .ancestors()
            .filter(|folder| *folder != Path::new(""))
            .take_while(|folder| !folder.exists())
            .map(Path::to_owned)
            .collect();
        std::fs::create_dir_all(path).map_err(|cause| {
            Error::io(Kind::Destination, "create the directory", path.display(), &cause)
        })?;
        let created: Vec<PathBuf> = missing.into_iter().rev().collect();
        let destination = Destination::directory(path);
        let mut staging = match destination {
            Ok(destination) => Self::new(destination, durable),
            Err(error) => {
                remove_empty(&created);
                return Err(error);
            }
        };
        staging.created = created;
        Ok(staging)
    }

    /// Where it will go.
    #[must_use]
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// A new file, in the right file system.
    pub fn create(&self) -> io::Result<Unnamed> {
        Unnamed::create(self.destination.dir())
    }

    /// Hold back a finished file.
    pub fn push(&mut self, path: String, file: Unnamed) {
        self.finished.push((path, file));
    }

    /// The content of a file that is held back, where it has at most `limit` bytes.
    #[must_use]
    pub fn read(&self, path: &str, limit: usize) -> Option<bytes::Bytes> {
        let (_, file) = self.finished.iter().rev().find(|(known, _)| known == path)?;
        let size = usize::try_from(file.file().metadata().ok()?.len()).ok()?;
        let mut bytes = vec![0; Some(size).filter(|size| *size <= limit)?];
        std::os::unix::fs::FileExt::read_exact_at(file.file(), &mut bytes, 0).ok()?;
        Some(bytes.into())
    }

    /// How many files are held back.
    #[must_use]
    pub fn len(&self) -> usize {
        self.finished.len()
    }

    /// Whether no file is held back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.finished.is_empty()
    }

    /// Keep other processes out until the session ends. Waits its turn, up to `patience`.
    pub fn lock(&mut self, patience: Duration, cancel: &Cancel) -> Result<()> {
        let until = Instant::now() + patience;
        while self.lock.is_none() {
            cancel.check()?;
            let folder = self.destination.folder().display();
            self.lock = self.destination.try_lock().map_err(|cause| {
                Error::io(Kind::Destination, "lock the directory", folder, &cause)
            })?;
            if self.lock.is_none() {
                if Instant::now() > until {
                    return Err(Error::destination(format!(
                        "'{}' has been locked by another occystrap for {} s",
                        self.destination.folder().display(),
                        patience.as_secs()
                    )));
                }
                std::thread::sleep(LOCK_POLL);
            }
        }
        Ok(())
    }

    /// Make everything visible, in the order in which it was finished.
    pub fn commit(mut self) -> Result<()> {
        for (path, file) in self.finished.drain(..) {
            let fail = |cause: io::Error| self.destination.failure("write", &path, &cause);
            if self.durable {
                file.file().sync_all().map_err(fail)?;
            }
            file.publish(self.destination.dir(), &path).map_err(fail)?;
            self.created.clear();
        }
        if self.durable {
            let root = self.destination.dir().open(".").and_then(|root| root.sync_all());
            root.map_err(|cause| {
                Error::io(Kind::Destination, "flush", self.destination.folder().display(), &cause)
            })?;
        }
        self.created.clear();
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        remove_empty(&self.created);
    }
}

fn remove_empty(created: &[PathBuf]) {
    for folder in created.iter().rev() {
        let _ = std::fs::remove_dir(folder);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = folder
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_is_visible_before_the_commit_and_everything_after() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("old"), b"before").unwrap();
        let mut staging = Staging::for_directory(folder.path(), false).unwrap();
        for (path, content) in [("a/b/new", "1"), ("old", "after")] {
            let file = staging.create().unwrap();
            file.file().write_all(content.as_bytes()).unwrap();
            staging.push(path.to_owned(), file);
        }
        assert_eq!(names(folder.path()), ["old"]);
        assert_eq!(std::fs::read(folder.path().join("old")).unwrap(), b"before");
        staging.commit().unwrap();
        assert_eq!(names(folder.path()), ["a", "old"]);
        assert_eq!(std::fs::read(folder.path().join("old")).unwrap(), b"after");
        assert_eq!(names(&folder.path().join("a/b")), ["new"]);
    }

    #[test]
    fn a_directory_made_for_nothing_goes_again() {
        let folder = tempfile::tempdir().unwrap();
        let staging = Staging::for_directory(&folder.path().join("x/y"), false).unwrap();
        assert_eq!(names(folder.path()), ["x"]);
        drop(staging);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_symlink_does_not_lead_the_commit_out() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("out")).unwrap();
        let mut staging = Staging::for_directory(folder.path(), false).unwrap();
        let file = staging.create().unwrap();
        staging.push("out/file".to_owned(), file);
        let error = staging.commit().unwrap_err();
        assert!(error.to_string().contains("leads out of the destination"), "{error}");
        assert!(names(elsewhere.path()).is_empty());
    }
}

//! Writes that nobody sees yet.
//!
//! Files are written without a name (`O_TMPFILE`) and get theirs, all in the order in which they
//! were finished, when the session's receipt has been accepted. Whatever ends the process before
//! that, even SIGKILL, leaves the destination as it was and no temporary file. A directory that is
//! missing is made then as well, so that nobody who fails takes it away under somebody else.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cap_std::fs::Dir;
use rustix::fs::RenameFlags;

use crate::cancel::Cancel;
use crate::destination::{Destination, try_lock};
use crate::error::{Error, Kind, Result};
use crate::limits::LOCK_WAIT;
use crate::lock;
use crate::unnamed::{Unnamed, temporary_name};

/// The finished files of a session.
pub struct Staging {
    destination: Destination,
    finished: Vec<(String, Unnamed)>,
    lock: Option<File>,
    /// Whether to wait until everything is on the disk.
    durable: bool,
}

impl Staging {
    /// For a destination that exists or will be made.
    #[must_use]
    pub fn new(destination: Destination, durable: bool) -> Self {
        Self { destination, finished: Vec::new(), lock: None, durable }
    }

    /// For a directory, which the commit makes where it is missing.
    pub fn for_directory(path: &Path, durable: bool) -> Result<Self> {
        Ok(Self::new(Destination::directory_to_be(path)?, durable))
    }

    /// Where it will go.
    #[must_use]
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// A new file, in the right file system.
    pub fn create(&self) -> io::Result<Unnamed> {
        Unnamed::create(self.destination.anchor())
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
        if self.lock.is_none() {
            let folder = self.destination.folder();
            let held = lock::wait(Kind::Destination, folder, patience, cancel, || {
                self.destination.try_lock()
            })?;
            self.lock = Some(held);
        }
        Ok(())
    }

    /// Make everything visible, in the order in which it was finished.
    pub fn commit(mut self) -> Result<()> {
        if self.finished.is_empty() {
            return Ok(());
        }
        let made = self.make_directory()?;
        let published = self.publish_all();
        if let (Err(_), Some(made)) = (&published, &made) {
            made.remove_empty();
        }
        published?;
        if self.durable {
            let flush = || -> io::Result<()> {
                self.destination.dir()?.open(".")?.sync_all()?;
                made.as_ref().map_or(Ok(()), |made| made.folder.open(".")?.sync_all())
            };
            flush().map_err(|cause| {
                Error::io(Kind::Destination, "flush", self.destination.folder().display(), &cause)
            })?;
        }
        Ok(())
    }

    fn publish_all(&mut self) -> Result<()> {
        let destination = &self.destination;
        for (path, file) in self.finished.drain(..) {
            let fail = |cause: io::Error| destination.failure("write", &path, &cause);
            if self.durable {
                file.file().sync_all().map_err(fail)?;
            }
            let root = destination.dir().map_err(fail)?;
            file.publish(&root, &path).map_err(fail)?;
        }
        Ok(())
    }

    /// Make the directory where it is missing; everybody who does holds the lock of the folder above.
    fn make_directory(&mut self) -> Result<Option<Made>> {
        if self.destination.dir().is_ok() {
            return Ok(None);
        }
        self.lock(LOCK_WAIT, &Cancel::default())?;
        let make = || -> io::Result<Option<Made>> {
            let (folder, missing) = self.destination.nearest()?;
            match missing.as_os_str().is_empty() {
                true => Ok(None),
                false => Made::make(folder, missing).map(Some),
            }
        };
        make().map_err(|cause| {
            let place = self.destination.folder().display();
            Error::io(Kind::Destination, "create the directory", place, &cause)
        })
    }
}

/// A directory that was made, with those above it that were missing.
struct Made {
    folder: Arc<Dir>,
    /// Relative to the folder.
    path: PathBuf,
    /// Nobody else changes what is in it until all is there.
    _lock: Option<File>,
}

impl Made {
    /// It gets its name when it is locked: whoever finds it waits for what will be in it.
    fn make(folder: Arc<Dir>, path: PathBuf) -> io::Result<Self> {
        let mut names = path.components();
        let Some(first) = names.next() else { return Err(io::ErrorKind::InvalidInput.into()) };
        let temporary = temporary_name();
        let inner = Path::new(&temporary).join(names.as_path());
        let appear = || -> io::Result<Option<File>> {
            folder.create_dir_all(&inner)?;
            let lock = try_lock(&folder.open_dir(&inner)?)?;
            let (at, first) = (folder.as_fd(), first.as_os_str());
            let new = RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(at, temporary.as_str(), at, first, new) {
                // Not known to this file system (NFS). There it may replace an empty directory.
                Err(rustix::io::Errno::INVAL) => {
                    rustix::fs::renameat(at, temporary.as_str(), at, first)?;
                }
                other => other?,
            }
            Ok(lock)
        };
        let appeared = appear();
        if appeared.is_err() {
            let _ = folder.remove_dir_all(&temporary);
        }
        let lock = appeared?;
        Ok(Self { folder, path, _lock: lock })
    }

    fn remove_empty(&self) {
        for path in self.path.ancestors().filter(|path| !path.as_os_str().is_empty()) {
            let _ = self.folder.remove_dir(path);
        }
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
        put(&mut staging, "a/b/new", "1");
        put(&mut staging, "old", "after");
        assert_eq!(names(folder.path()), ["old"]);
        assert_eq!(std::fs::read(folder.path().join("old")).unwrap(), b"before");
        staging.commit().unwrap();
        assert_eq!(names(folder.path()), ["a", "old"]);
        assert_eq!(std::fs::read(folder.path().join("old")).unwrap(), b"after");
        assert_eq!(names(&folder.path().join("a/b")), ["new"]);
    }

    fn put(staging: &mut Staging, path: &str, content: &str) {
        let file = staging.create().unwrap();
        file.file().write_all(content.as_bytes()).unwrap();
        staging.push(path.to_owned(), file);
    }

    fn lock(staging: &mut Staging) -> Result<()> {
        staging.lock(Duration::from_millis(20), &Cancel::default())
    }

    #[test]
    fn a_missing_directory_is_made_by_the_commit_and_given_up_by_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x/y");
        let [mut fails, mut lands] = [0, 1].map(|_| Staging::for_directory(&path, true).unwrap());
        put(&mut fails, "file", "never seen");
        lock(&mut fails).unwrap();
        assert!(names(folder.path()).is_empty());
        assert!(lands.destination().open("file").is_err());
        drop(fails);
        put(&mut lands, "a/file", "1");
        lands.commit().unwrap();
        assert_eq!(names(folder.path()), ["x"]);
        assert_eq!(std::fs::read(path.join("a/file")).unwrap(), b"1");
    }

    #[test]
    fn one_lock_holds_before_and_after_a_directory_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x/y");
        let [mut one, mut two] = [0, 1].map(|_| Staging::for_directory(&path, false).unwrap());
        lock(&mut one).unwrap();
        assert!(lock(&mut two).is_err());
        put(&mut one, "catalog", "of one");
        one.commit().unwrap();
        lock(&mut two).unwrap();
        assert!(two.destination().open("catalog").is_ok());
        let mut three = Staging::for_directory(&path, false).unwrap();
        assert!(lock(&mut three).is_err());
        put(&mut two, "catalog", "of both");
        two.commit().unwrap();
        lock(&mut three).unwrap();
        assert_eq!(std::fs::read(path.join("catalog")).unwrap(), b"of both");
    }

    #[test]
    fn neighbours_below_the_same_missing_folder_both_land() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join("new").join(name);
        let mut stagings = ["one", "two"].map(|n| Staging::for_directory(&path(n), false).unwrap());
        for staging in &mut stagings {
            put(staging, "file", "1");
        }
        for staging in stagings {
            staging.commit().unwrap();
        }
        assert_eq!(names(folder.path()), ["new"]);
        assert_eq!(names(&folder.path().join("new")), ["one", "two"]);
    }

    #[test]
    fn a_directory_that_nothing_could_be_put_into_goes_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut staging = Staging::for_directory(&folder.path().join("x/y"), false).unwrap();
        put(&mut staging, &"n".repeat(300), "a name that is too long");
        staging.commit().unwrap_err();
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_missing_directory_is_not_made_through_a_link_or_past_two_dots() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
        for bad in ["link", "link/x", "x/../y"] {
            assert!(Staging::for_directory(&folder.path().join(bad), false).is_err(), "{bad}");
        }
        assert_eq!(names(folder.path()), ["link"]);
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

//! The files of a session, until its commit.
//!
//! Files are written without a name (`O_TMPFILE`) and get theirs, all in the order in which they
//! were finished, when the session's receipt has been accepted (`commit.rs`). Whatever ends the process
//! before that, even SIGKILL, leaves the destination as it was and no temporary file. What it refuses:
//! names that no commit could give.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::time::Duration;

use super::commit::expected::Terms;
use super::commit::record::names_temporary;
use super::commit::{self, recover};
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::destination::Destination;
use occystrap_base::files::lock::{self, Locked};
use occystrap_base::files::replace;
use occystrap_base::files::unnamed_file::UnnamedFile;
use occystrap_base::limits::LOCK_WAIT;

/// Linux's `NAME_MAX`: bytes of one part of a path. File systems allow no more, some allow less.
const LONGEST_NAME: usize = 255;

/// The finished files of a session.
pub struct Staging {
    destination: Destination,
    finished: Vec<(String, UnnamedFile)>,
    /// The paths that the plugin has claimed for files, and for how many: those that it writes, and those
    /// that are held back.
    claimed: BTreeMap<String, usize>,
    lock: Option<Locked>,
    /// Whether to wait until everything is on the disk.
    durable: bool,
}

impl Staging {
    /// Creates a staging for a destination that exists or will be created. Changes nothing there.
    #[must_use]
    pub fn new(destination: Destination, durable: bool) -> Self {
        let (finished, claimed) = (Vec::new(), BTreeMap::new());
        Self { destination, finished, claimed, lock: None, durable }
    }

    /// Creates a staging for a directory, which the commit creates if it is missing. Files of a killed process are
    /// undone first, so that a session does not take them for present. Errors when the directory cannot be opened or
    /// locked.
    pub fn for_directory(path: &Path, durable: bool, cancel: &Cancel) -> Result<Self> {
        let mut staging = Self::new(Destination::directory_to_be(path)?, durable);
        if staging.was_interrupted()? {
            staging.lock(LOCK_WAIT, cancel)?;
            staging.lock = None;
        }
        Ok(staging)
    }

    /// Returns whether a killed process left something in the directory that is to be undone or finished.
    pub fn was_interrupted(&self) -> Result<bool> {
        let look = || {
            let (folder, missing) = self.destination.nearest()?;
            recover::is_needed(&folder, missing.as_os_str().is_empty())
        };
        let folder = self.destination.folder();
        look().map_err(|cause| Error::io(Kind::Destination, "look into", folder.display(), &cause))
    }

    /// Creates a staging for one file, in a directory that exists. Removes the temporary name of a killed process.
    /// Errors when the directory cannot be opened.
    pub fn for_file(path: &Path, durable: bool) -> Result<Self> {
        let staging = Self::new(Destination::file(path)?, durable);
        let destination = &staging.destination;
        if let (Some(name), Ok(folder)) = (destination.file_name(), destination.dir())
            && let Err(cause) = replace::recover(&folder, name)
        {
            // It blocks no name: the commit takes another one.
            let temporary = destination.display(&replace::temporary_name(name));
            let why = Error::io(Kind::Destination, "remove the old file", temporary, &cause);
            tracing::debug!("{why}");
        }
        Ok(staging)
    }

    /// Returns the destination.
    #[must_use]
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Claims a path for a file. Errors when the path can never be that of a file: a name is too long
    /// or this program's own, or the path and another one need the same name for a file and a folder.
    pub fn claim(&mut self, path: &str) -> Result<()> {
        let place = self.destination.display(path);
        let refused =
            |why: String| Err(Error::destination(format!("cannot write '{place}': {why}")));
        if let Some(long) = path.split('/').find(|name| name.len() > LONGEST_NAME) {
            let length = long.len();
            return refused(format!("a name of {length} bytes, {LONGEST_NAME} is the longest"));
        }
        if names_temporary(path) {
            return refused("names that begin with '.occystrap-' are temporary files".to_owned());
        }
        let mut above = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
        if let Some(file) = above.find(|above| self.claimed.contains_key(*above)) {
            return refused(format!("'{file}' is a file of the same image"));
        }
        let below = format!("{path}/");
        let after = (Bound::Excluded(below.as_str()), Bound::Unbounded);
        if let Some((file, _)) = self.claimed.range::<str, _>(after).next()
            && file.starts_with(&below)
        {
            return refused(format!("it is a folder of the same image, with '{file}' in it"));
        }
        match self.destination.dir().and_then(|dir| dir.symlink_metadata(path)) {
            Ok(there) if there.is_dir() => return refused("it is a directory".to_owned()),
            Err(cause)
                if matches!(
                    cause.kind(),
                    io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename
                ) =>
            {
                return Err(self.destination.failure("write", path, &cause));
            }
            // The commit finds every other problem, before it changes anything.
            _ => {}
        }
        *self.claimed.entry(path.to_owned()).or_default() += 1;
        Ok(())
    }

    /// Gives back the claim of a file that was given up.
    pub fn release(&mut self, path: &str) {
        match self.claimed.get_mut(path) {
            Some(claims) if *claims > 1 => *claims -= 1,
            _ => drop(self.claimed.remove(path)),
        }
    }

    /// Creates a file in the file system of the destination.
    pub fn create(&self) -> io::Result<UnnamedFile> {
        UnnamedFile::create(self.destination.anchor())
    }

    /// Keeps a finished file until the commit.
    pub fn push(&mut self, path: String, file: UnnamedFile) {
        self.finished.push((path, file));
    }

    /// Returns the content of a file that is held back; `None` if there is none, or if it has more than `limit` bytes.
    #[must_use]
    pub fn read(&self, path: &str, limit: usize) -> Option<bytes::Bytes> {
        let (_, file) = self.finished.iter().rev().find(|(known, _)| known == path)?;
        let size = usize::try_from(file.file().metadata().ok()?.len()).ok()?;
        let mut bytes = vec![0; Some(size).filter(|size| *size <= limit)?];
        std::os::unix::fs::FileExt::read_exact_at(file.file(), &mut bytes, 0).ok()?;
        Some(bytes.into())
    }

    /// Returns the number of files that are held back.
    #[must_use]
    pub fn len(&self) -> usize {
        self.finished.len()
    }

    /// Returns whether no file is held back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.finished.is_empty()
    }

    /// Locks the directory until the session ends, and waits for the lock up to `patience`. Then undoes or finishes the
    /// commit of a killed process.
    pub fn lock(&mut self, patience: Duration, cancel: &Cancel) -> Result<()> {
        if self.lock.is_some() {
            return Ok(());
        }
        let shown = self.destination.folder().to_owned();
        let held = lock::wait(Kind::Destination, &shown, patience, cancel, || {
            self.destination.try_lock()
        })?;
        let failed = |cause| Error::io(Kind::Destination, "look into", shown.display(), &cause);
        let (folder, missing) = self.destination.nearest().map_err(failed)?;
        let above = missing.components().count();
        if recover::is_needed(&folder, above == 0).map_err(failed)? {
            let shown = shown.ancestors().nth(above).unwrap_or(&shown);
            recover::recover(&folder, shown, above == 0, self.durable)?;
        }
        self.lock = Some(held);
        Ok(())
    }

    /// Makes everything visible, in the order in which it was finished, or changes nothing.
    pub fn commit(mut self, terms: &Terms) -> Result<()> {
        if self.finished.is_empty() && terms.expected.is_empty() {
            return Ok(());
        }
        if let Some(name) = self.destination.file_name() {
            return match self.finished.pop() {
                Some((_, file)) => {
                    commit::one_file(&self.destination, name, file, terms, self.durable)
                }
                None => Ok(()),
            };
        }
        self.lock(LOCK_WAIT, terms.cancel)?;
        let files = std::mem::take(&mut self.finished);
        let (destination, durable) = (&self.destination, self.durable);
        let failed = |cause| {
            let place = destination.folder().display();
            Error::io(Kind::Destination, "create the directory", place, &cause)
        };
        let (folder, missing) = destination.nearest().map_err(failed)?;
        match missing.as_os_str().is_empty() {
            true => {
                let root = destination.dir().map_err(failed)?;
                commit::into_existing(destination, root, files, terms, durable)
            }
            false => commit::into_new(destination, folder, missing, files, terms, durable),
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
        let mut staging = directory(folder.path(), false).unwrap();
        put(&mut staging, "a/b/new", "1");
        put(&mut staging, "old", "after");
        assert_eq!(names(folder.path()), ["old"]);
        assert_eq!(std::fs::read(folder.path().join("old")).unwrap(), b"before");
        staging.commit(&Terms::new(&[], &Cancel::default())).unwrap();
        assert_eq!(names(folder.path()), ["a", "old"]);
        assert_eq!(std::fs::read(folder.path().join("old")).unwrap(), b"after");
        assert_eq!(names(&folder.path().join("a/b")), ["new"]);
    }

    fn directory(path: &Path, durable: bool) -> Result<Staging> {
        Staging::for_directory(path, durable, &Cancel::default())
    }

    fn put(staging: &mut Staging, path: &str, content: &str) {
        let file = staging.create().unwrap();
        file.file().write_all(content.as_bytes()).unwrap();
        staging.push(path.to_owned(), file);
    }

    #[test]
    fn a_path_whose_file_was_given_up_is_free_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut staging = directory(folder.path(), false).unwrap();
        staging.claim("a").unwrap();
        staging.claim("a").unwrap();
        staging.release("a");
        let error = staging.claim("a/b").unwrap_err();
        assert!(error.to_string().contains("'a' is a file of the same image"), "{error}");
        staging.release("a");
        staging.claim("a/b").unwrap();
        staging.release("a/b");
        assert!(staging.claimed.is_empty());
    }

    fn lock(staging: &mut Staging) -> Result<()> {
        staging.lock(Duration::from_millis(20), &Cancel::default())
    }

    #[test]
    fn a_missing_directory_is_made_by_the_commit_and_given_up_by_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x/y");
        let [mut fails, mut lands] = [0, 1].map(|_| directory(&path, true).unwrap());
        put(&mut fails, "file", "never seen");
        lock(&mut fails).unwrap();
        assert!(names(folder.path()).is_empty());
        assert!(lands.destination().open("file").is_err());
        drop(fails);
        put(&mut lands, "a/file", "1");
        lands.commit(&Terms::new(&[], &Cancel::default())).unwrap();
        assert_eq!(names(folder.path()), ["x"]);
        assert_eq!(std::fs::read(path.join("a/file")).unwrap(), b"1");
    }

    #[test]
    fn one_lock_holds_before_and_after_a_directory_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x/y");
        let [mut one, mut two] = [0, 1].map(|_| directory(&path, false).unwrap());
        lock(&mut one).unwrap();
        assert!(lock(&mut two).is_err());
        put(&mut one, "catalog", "of one");
        one.commit(&Terms::new(&[], &Cancel::default())).unwrap();
        lock(&mut two).unwrap();
        assert!(two.destination().open("catalog").is_ok());
        let mut three = directory(&path, false).unwrap();
        assert!(lock(&mut three).is_err());
        put(&mut two, "catalog", "of both");
        two.commit(&Terms::new(&[], &Cancel::default())).unwrap();
        lock(&mut three).unwrap();
        assert_eq!(std::fs::read(path.join("catalog")).unwrap(), b"of both");
    }

    #[test]
    fn neighbours_below_the_same_missing_folder_both_land() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join("new").join(name);
        let mut stagings = ["one", "two"].map(|n| directory(&path(n), false).unwrap());
        for staging in &mut stagings {
            put(staging, "file", "1");
        }
        for staging in stagings {
            staging.commit(&Terms::new(&[], &Cancel::default())).unwrap();
        }
        assert_eq!(names(folder.path()), ["new"]);
        assert_eq!(names(&folder.path().join("new")), ["one", "two"]);
    }

    #[test]
    fn a_directory_that_nothing_could_be_put_into_goes_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut staging = directory(&folder.path().join("x/y"), false).unwrap();
        put(&mut staging, &"n".repeat(300), "a name that is too long");
        staging.commit(&Terms::new(&[], &Cancel::default())).unwrap_err();
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_missing_directory_is_not_made_through_a_link_or_past_two_dots() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
        for bad in ["link", "link/x", "x/../y"] {
            assert!(directory(&folder.path().join(bad), false).is_err(), "{bad}");
        }
        assert_eq!(names(folder.path()), ["link"]);
    }

    #[test]
    fn a_symlink_does_not_lead_the_commit_out() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("out")).unwrap();
        let mut staging = directory(folder.path(), false).unwrap();
        let file = staging.create().unwrap();
        staging.push("out/file".to_owned(), file);
        let error = staging.commit(&Terms::new(&[], &Cancel::default())).unwrap_err();
        assert!(error.to_string().contains("leads out of the destination"), "{error}");
        assert!(names(elsewhere.path()).is_empty());
    }
}

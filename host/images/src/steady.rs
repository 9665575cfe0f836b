//! Checking a destination again when another process has changed it meanwhile.
//!
//! A verification reads a list of images first and then the files that the list names. Another process may commit in
//! between; then the two do not fit although every image is intact. So if something is wrong and the lists changed
//! during the check or just before it, everything is read once more. A process that writes in place empties a file
//! first: the file does not change while that process waits, and is complete a moment later.
//!
//! | the lists during the second check | counts as wrong | becomes *unchecked* |
//! | --- | --- | --- |
//! | unchanged | every problem of the second check in a file that did not change | the others |
//! | changed again | a problem that both checks found in a file that did not change | the others |
//!
//! What it refuses: to excuse damage in a destination that no process changes.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::layout::{CATALOG, LIST};
use occystrap_base::oci::layout::{INDEX, MARKER};

/// The message about a file that another process changed during both checks.
pub const CHANGED: &str = "changed while it was read";

/// The hint that belongs to [`CHANGED`].
pub const AGAIN: &str = "run it again when no other process writes there";

/// Time between the two checks. A commit takes some milliseconds.
const PAUSE: Duration = Duration::from_millis(100);

/// Time by which the clock of a file system may be late: a tick of the kernel. It must be less than [`PAUSE`].
const CLOCK_STEP: Duration = Duration::from_millis(50);

/// The files of a destination that a commit changes, and their folders.
pub struct Watch {
    lists: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    /// Whether the destination is one file, so that a change affects everything in it.
    is_file: bool,
}

impl Watch {
    /// Returns the files of a `dir://` directory.
    #[must_use]
    pub fn directory(path: &Path) -> Self {
        Self::of(path, &[CATALOG, LIST], &[])
    }

    /// Returns the files of an OCI image layout.
    #[must_use]
    pub fn layout(path: &Path) -> Self {
        Self::of(path, &[INDEX, MARKER], &["blobs/sha256"])
    }

    /// Returns the one file of an archive.
    #[must_use]
    pub fn file(path: &Path) -> Self {
        Self { lists: vec![path.to_owned()], folders: Vec::new(), is_file: true }
    }

    fn of(path: &Path, lists: &[&str], folders: &[&str]) -> Self {
        let below = |names: &[&str]| names.iter().map(|name| path.join(name)).collect::<Vec<_>>();
        let mut folders = below(folders);
        folders.push(path.to_owned());
        Self { lists: below(lists), folders, is_file: false }
    }
}

/// The state of a file or folder at one moment. Every change, by rename or in place, gives another stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64, u64),
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let there = std::fs::metadata(path).ok()?;
        Some(Self {
            file: (there.dev(), there.ino(), there.size()),
            modified: (there.mtime(), there.mtime_nsec()),
            changed: (there.ctime(), there.ctime_nsec()),
        })
    }

    /// Returns the time of the last change, if it is after 1970.
    fn changed(&self) -> Option<SystemTime> {
        let (seconds, nanoseconds) = self.changed;
        let nanoseconds = u32::try_from(nanoseconds).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::new(u64::try_from(seconds).ok()?, nanoseconds))
    }

    /// Returns whether the last change was just before a moment. A change in the future was made by a clock that differs,
    /// so that it says nothing.
    fn is_new_at(&self, moment: SystemTime) -> bool {
        self.changed()
            .and_then(|changed| moment.duration_since(changed).ok())
            .is_some_and(|age| age < CLOCK_STEP)
    }
}

type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

fn stamps<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Stamps {
    paths.map(|path| (path.clone(), Stamp::of(path))).collect()
}

/// The result of one check.
pub trait CheckResult {
    /// A problem. Problems of two checks that are equal are the same problem.
    type Wrong: PartialEq;

    /// Returns all problems.
    fn wrong(&self) -> Vec<Self::Wrong>;

    /// Returns the file that has the problem, if it is one file.
    fn file(wrong: &Self::Wrong) -> Option<PathBuf>;

    /// Marks each problem that does not count as unchecked.
    fn mark_unchecked(&mut self, counts: &dyn Fn(&Self::Wrong) -> bool);
}

/// The results for several images.
impl<T: CheckResult> CheckResult for Vec<T> {
    type Wrong = T::Wrong;

    fn wrong(&self) -> Vec<T::Wrong> {
        self.iter().flat_map(T::wrong).collect()
    }

    fn file(wrong: &T::Wrong) -> Option<PathBuf> {
        T::file(wrong)
    }

    fn mark_unchecked(&mut self, counts: &dyn Fn(&T::Wrong) -> bool) {
        self.iter_mut().for_each(|one| one.mark_unchecked(counts));
    }
}

/// Checks a destination, and checks it once more if something is wrong and another process has changed it.
pub fn check<T: CheckResult>(
    watch: Option<&Watch>,
    cancel: &Cancel,
    mut check: impl FnMut() -> Result<T>,
) -> Result<T> {
    let Some(watch) = watch else { return check() };
    let began = SystemTime::now();
    let lists = stamps(watch.lists.iter());
    let folders = stamps(watch.folders.iter());
    let first = check();
    let (wrong, is_error) = match &first {
        Ok(seen) => (seen.wrong(), false),
        Err(error) => (Vec::new(), is_about_it(error)),
    };
    let is_same = stand_still(&lists, began) && stamps(folders.keys()) == folders;
    if (wrong.is_empty() && !is_error) || is_same {
        return first;
    }
    tracing::info!("reading once more: another process has changed it meanwhile");
    std::thread::sleep(PAUSE);
    cancel.check()?;
    let lists = stamps(watch.lists.iter());
    let files = wrong.iter().filter_map(T::file).collect::<Vec<_>>();
    let files = stamps(files.iter());
    let began = SystemTime::now();
    let second = check();
    let is_same = stand_still(&lists, began);
    match second {
        Ok(mut seen) => {
            let changed = |path: &PathBuf| match files.get(path) {
                Some(was) => Stamp::of(path) != *was,
                // Only the second check has found it.
                None => !stands_since(path, began),
            };
            let is_steady = |one: &T::Wrong| match T::file(one) {
                _ if watch.is_file => is_same,
                Some(path) => !changed(&path),
                None => true,
            };
            seen.mark_unchecked(&|one| is_steady(one) && (is_same || wrong.contains(one)));
            Ok(seen)
        }
        Err(error) if !is_same && is_about_it(&error) => {
            Err(Error::new(Kind::Changed, format!("{CHANGED}: {error}")).hint(AGAIN))
        }
        other => other,
    }
}

/// Returns whether lists are as they were when a check began, and had not changed just before it.
fn stand_still(lists: &Stamps, began: SystemTime) -> bool {
    stamps(lists.keys()) == *lists && !lists.values().flatten().any(|list| list.is_new_at(began))
}

/// Returns whether a file has not changed since a moment. For a missing file, this is asked of its folder.
fn stands_since(path: &Path, moment: SystemTime) -> bool {
    let folder = || Stamp::of(path.parent().filter(|folder| *folder != Path::new(""))?);
    let changed = Stamp::of(path).or_else(folder).and_then(|stamp| stamp.changed());
    changed.is_some_and(|changed| changed + CLOCK_STEP < moment)
}

/// Returns whether an error is about the destination.
fn is_about_it(error: &Error) -> bool {
    !error.is_unconfirmed() && !matches!(error.kind(), Kind::Interrupted | Kind::Usage)
}

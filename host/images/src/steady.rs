//! Reading a destination again when another process has changed it meanwhile.
//!
//! A verification reads a list of images first and then what the list leads to. Another process may
//! commit in between, and then the two do not fit, although every image is sound. So where something is
//! wrong and the lists were changed during the look, it is read once more from the start. If they were
//! changed again, only what both looks have seen, about a file that stood still, counts as wrong; the rest
//! is *unchecked*. If they were not, everything that the second look has found counts, about files that
//! stood still. What it refuses: to excuse damage in a destination that nothing changes.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::layout::{INDEX, MARKER};
use occystrap_base::oci::saved::{CATALOG, LIST};

/// What is said of a thing that another process has changed during both looks.
pub const CHANGED: &str = "changed while it was read";

/// What to do about it.
pub const AGAIN: &str = "run it again when no other process writes there";

/// Time between the two looks: a commit takes some milliseconds.
const PAUSE: Duration = Duration::from_millis(100);

/// How far the clock of a file system may be behind: a tick of the kernel. Less than [`PAUSE`].
const CLOCK_STEP: Duration = Duration::from_millis(50);

/// The files of a destination that a commit changes, and the folders that it changes them in.
pub struct Watch {
    lists: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    /// The destination is one file, so that nothing in it stands still where it changes.
    is_file: bool,
}

impl Watch {
    /// A directory of `dir://`.
    #[must_use]
    pub fn directory(path: &Path) -> Self {
        Self::of(path, &[CATALOG, LIST], &[])
    }

    /// An OCI image layout.
    #[must_use]
    pub fn layout(path: &Path) -> Self {
        Self::of(path, &[INDEX, MARKER], &["blobs/sha256"])
    }

    /// An archive.
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

/// What a file or a folder was at one moment. Every change by a name or in place makes another one of it.
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
}

type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

fn stamps<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Stamps {
    paths.map(|path| (path.clone(), Stamp::of(path))).collect()
}

/// What a look has found.
pub trait Look {
    /// One thing that is wrong: equal in two looks, it is the same thing.
    type Wrong: PartialEq;

    /// What is wrong.
    fn wrong(&self) -> Vec<Self::Wrong>;

    /// The file that a thing is about, where it is one.
    fn file(wrong: &Self::Wrong) -> Option<PathBuf>;

    /// Makes everything wrong that does not count something that could not be looked at.
    fn doubt(&mut self, counts: &dyn Fn(&Self::Wrong) -> bool);
}

/// Several images that one look has found.
impl<T: Look> Look for Vec<T> {
    type Wrong = T::Wrong;

    fn wrong(&self) -> Vec<T::Wrong> {
        self.iter().flat_map(T::wrong).collect()
    }

    fn file(wrong: &T::Wrong) -> Option<PathBuf> {
        T::file(wrong)
    }

    fn doubt(&mut self, counts: &dyn Fn(&T::Wrong) -> bool) {
        self.iter_mut().for_each(|one| one.doubt(counts));
    }
}

/// Looks at a destination, and once more where another process has changed it and something is wrong.
pub fn look<T: Look>(
    watch: Option<&Watch>,
    cancel: &Cancel,
    mut look: impl FnMut() -> Result<T>,
) -> Result<T> {
    let Some(watch) = watch else { return look() };
    let lists = stamps(watch.lists.iter());
    let folders = stamps(watch.folders.iter());
    let first = look();
    let (wrong, is_error) = match &first {
        Ok(seen) => (seen.wrong(), false),
        Err(error) => (Vec::new(), is_about_it(error)),
    };
    let is_same = stamps(lists.keys()) == lists && stamps(folders.keys()) == folders;
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
    let second = look();
    let is_same = stamps(lists.keys()) == lists;
    match second {
        Ok(mut seen) => {
            let changed = |path: &PathBuf| match files.get(path) {
                Some(was) => Stamp::of(path) != *was,
                // Only the second look has found it.
                None => !stands_since(path, began),
            };
            let is_steady = |one: &T::Wrong| match T::file(one) {
                _ if watch.is_file => is_same,
                Some(path) => !changed(&path),
                None => true,
            };
            seen.doubt(&|one| is_steady(one) && (is_same || wrong.contains(one)));
            Ok(seen)
        }
        Err(error) if !is_same && is_about_it(&error) => {
            Err(Error::new(Kind::Changed, format!("{CHANGED}: {error}")).hint(AGAIN))
        }
        other => other,
    }
}

/// Whether a file has been the same since a moment; of one that is not there, whether its folder has.
fn stands_since(path: &Path, moment: SystemTime) -> bool {
    let folder = || Stamp::of(path.parent().filter(|folder| *folder != Path::new(""))?);
    let Some(stamp) = Stamp::of(path).or_else(folder) else { return false };
    let Ok(moment) = moment.duration_since(SystemTime::UNIX_EPOCH) else { return false };
    let (seconds, nanoseconds) = stamp.changed;
    let Ok(seconds) = u64::try_from(seconds) else { return false };
    let changed = Duration::new(seconds, u32::try_from(nanoseconds).unwrap_or_default());
    changed + CLOCK_STEP < moment
}

/// Whether an error says something of the destination.
fn is_about_it(error: &Error) -> bool {
    !error.is_unconfirmed() && !matches!(error.kind(), Kind::Interrupted | Kind::Usage)
}

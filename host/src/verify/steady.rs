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

use super::found::Found;
use super::object::{Object, Status};
use super::{Verification, is_unconfirmed};
use crate::cancel::Cancel;
use crate::error::{Error, Kind, Result};
use crate::image::layout::{INDEX, MARKER};
use crate::image::saved::{CATALOG, LIST};
use crate::output::target::Endpoint;

/// What is said of a thing that another process has changed during both looks.
pub const CHANGED: &str = "changed while it was read";

/// What to do about it.
const AGAIN: &str = "run it again when no other process writes there";

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

    /// A destination; `None` where it is not in the file system.
    #[must_use]
    pub fn endpoint(endpoint: &Endpoint) -> Option<Self> {
        match endpoint {
            Endpoint::Directory(path) => Some(Self::directory(path)),
            Endpoint::TaggedDirectory(path, _) => Some(Self::layout(path)),
            Endpoint::File(path) => Some(Self::file(path)),
            Endpoint::Repository(..) | Endpoint::Engine(..) | Endpoint::Web(..) => None,
        }
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
    !is_unconfirmed(error) && !matches!(error.kind(), Kind::Interrupted | Kind::Usage)
}

/// Something wrong with an object: where, which way, and both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongObject {
    location: String,
    status: &'static str,
    expected: Option<String>,
    found: Option<String>,
    message: String,
}

fn wrong(object: &Object) -> Option<WrongObject> {
    object.status.is_bad().then(|| WrongObject {
        location: object.location.clone(),
        status: object.status.name(),
        expected: object.expected.clone(),
        found: object.found.clone(),
        message: object.message.clone(),
    })
}

/// Makes an object one that could not be looked at, because another process has changed it.
pub fn doubt(object: &mut Object, message: &str, hint: &str) {
    object.blame(Status::Unchecked, None, None, message);
    object.repair = None;
    object.hint = Some(hint.to_owned());
}

impl Look for Verification {
    type Wrong = WrongObject;

    fn wrong(&self) -> Vec<WrongObject> {
        self.objects.iter().filter_map(wrong).collect()
    }

    fn file(wrong: &WrongObject) -> Option<PathBuf> {
        Some(PathBuf::from(&wrong.location))
    }

    fn doubt(&mut self, counts: &dyn Fn(&WrongObject) -> bool) {
        for object in &mut self.objects {
            if wrong(object).is_some_and(|one| !counts(&one)) {
                doubt(object, CHANGED, AGAIN);
            }
        }
    }
}

impl Look for Vec<Found> {
    type Wrong = WrongObject;

    fn wrong(&self) -> Vec<WrongObject> {
        self.iter().flat_map(|found| found.verification.wrong()).collect()
    }

    fn file(wrong: &WrongObject) -> Option<PathBuf> {
        Verification::file(wrong)
    }

    fn doubt(&mut self, counts: &dyn Fn(&WrongObject) -> bool) {
        self.iter_mut().for_each(|found| found.verification.doubt(counts));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::verify::{Level, Outcome};

    /// A layout's index, and a blob of it.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
        std::fs::write(folder.path().join("blobs/sha256/x"), "x").unwrap();
        std::fs::write(folder.path().join(INDEX), "0").unwrap();
        folder
    }

    /// As another process: the index is a new file.
    fn commit(folder: &Path, what: &str) {
        std::fs::write(folder.join("new"), what).unwrap();
        std::fs::rename(folder.join("new"), folder.join(INDEX)).unwrap();
    }

    fn seen(wrong: &[(PathBuf, Status, String)]) -> Verification {
        let object = |(path, status, found): &(PathBuf, Status, String)| {
            let mut object = Object::at(path.display().to_string());
            object.blame(*status, None, Some(found.clone()), "is wrong");
            object
        };
        Verification::new(Level::Full, wrong.iter().map(object).collect())
    }

    #[test]
    fn what_is_wrong_is_read_once_more_where_something_changed_and_excused_where_it_changed_again()
    {
        use Outcome::{Failed, Unconfirmed, Verified};
        let folder = folder();
        let (index, blob) = (folder.path().join(INDEX), folder.path().join("blobs/sha256/x"));
        let gone = folder.path().join("blobs/sha256/gone");
        // What changes in how many looks, what each look finds wrong, how many looks there are.
        let wrong =
            |path: &Path, found: &str| (path.to_owned(), Status::DigestMismatch, found.to_owned());
        for (what, commits, first, second, looks, outcome) in [
            ("damage where nothing changes", 0, vec![wrong(&blob, "y")], vec![], 1, Failed),
            ("a list that was changed once", 1, vec![wrong(&index, "1")], vec![], 2, Verified),
            (
                "damage, and a list that was changed once",
                1,
                vec![wrong(&blob, "y")],
                vec![wrong(&blob, "y")],
                2,
                Failed,
            ),
            (
                "a list that is changed in every look",
                2,
                vec![wrong(&index, "1")],
                vec![wrong(&index, "2")],
                2,
                Unconfirmed,
            ),
            (
                "damage that only the second look reaches",
                1,
                vec![wrong(&index, "1")],
                vec![wrong(&blob, "y"), wrong(&gone, "")],
                2,
                Failed,
            ),
            (
                "damage in a busy destination",
                2,
                vec![wrong(&blob, "y")],
                vec![wrong(&blob, "y")],
                2,
                Failed,
            ),
            (
                "a loss in a busy destination",
                2,
                vec![wrong(&gone, "")],
                vec![wrong(&gone, "")],
                2,
                Failed,
            ),
            (
                "another thing in each look",
                2,
                vec![wrong(&index, "1")],
                vec![wrong(&blob, "y")],
                2,
                Unconfirmed,
            ),
            ("nothing wrong in a busy destination", 2, vec![], vec![], 1, Verified),
        ] {
            let count = Cell::new(0);
            let watch = Watch::layout(folder.path());
            let seen = look(Some(&watch), &Cancel::default(), || {
                count.set(count.get() + 1);
                if count.get() <= commits {
                    commit(folder.path(), &count.get().to_string());
                }
                let found = if count.get() == 1 { &first } else { &second };
                let mut seen = seen(found);
                seen.objects.push(Object::at("fine".to_owned()));
                Ok(seen)
            });
            let seen = seen.unwrap();
            assert_eq!(
                (count.get(), seen.outcome()),
                (looks, outcome),
                "{what}: {:?}",
                seen.objects
            );
            let is_said = seen.objects.iter().any(|object| object.message == CHANGED);
            assert_eq!(is_said, outcome == Unconfirmed, "{what}");
        }
    }

    #[test]
    fn damage_counts_where_the_list_could_not_be_read_at_first_and_not_where_the_file_changes() {
        for (is_changing, outcome) in [(false, Outcome::Failed), (true, Outcome::Unconfirmed)] {
            let folder = folder();
            let blob = folder.path().join("blobs/sha256/x");
            let count = Cell::new(0);
            let seen = look(Some(&Watch::layout(folder.path())), &Cancel::default(), || {
                count.set(count.get() + 1);
                if count.get() == 1 {
                    commit(folder.path(), "1");
                    return Err(Error::source("ends in the middle"));
                }
                if is_changing {
                    std::fs::write(&blob, "z").unwrap();
                }
                Ok(seen(&[(blob.clone(), Status::DigestMismatch, "y".to_owned())]))
            });
            assert_eq!(seen.unwrap().outcome(), outcome, "{is_changing}");
        }
    }

    #[test]
    fn an_archive_that_is_written_in_place_is_not_called_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.tar");
        std::fs::write(&path, "").unwrap();
        for (commits, kind) in [(0, Kind::Source), (1, Kind::Source), (2, Kind::Changed)] {
            let count = Cell::new(0);
            let outcome = look(Some(&Watch::file(&path)), &Cancel::default(), || {
                count.set(count.get() + 1);
                if count.get() <= commits {
                    let more = std::fs::File::options().append(true).open(&path).unwrap();
                    std::io::Write::write_all(&mut &more, b"more").unwrap();
                }
                Err::<Verification, _>(Error::source("ends in the middle"))
            });
            assert_eq!(outcome.err().map(|error| error.kind()), Some(kind), "{commits}");
        }
    }
}

//! Decides which flaws count where another process changed the destination during the verification.

use std::path::PathBuf;

use crate::verdict::flaw::{Difference, Flaw, Hint, Reason, Status};
use crate::verdict::found::Found;
use crate::verdict::object::{CheckedObject, Verification};
use occystrap_images::steady::{CheckResult, Watch};
use occystrap_output::write::target::Endpoint;

/// Returns the files of a destination that a commit changes. `None` where it is not in the file system.
#[must_use]
pub fn watch(endpoint: &Endpoint) -> Option<Watch> {
    match endpoint {
        Endpoint::Directory(path) => Some(Watch::directory(path)),
        Endpoint::TaggedDirectory(path, _) => Some(Watch::layout(path)),
        Endpoint::File(path) => Some(Watch::file(path)),
        Endpoint::Repository(..) | Endpoint::Engine(..) | Endpoint::Web(..) => None,
    }
}

/// A flaw of an object and its location. Equal in two looks, it is the same flaw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongObject {
    location: String,
    status: Status,
    reason: Option<Reason>,
    difference: Option<Difference>,
}

fn wrong(object: &CheckedObject) -> Option<WrongObject> {
    object.status.is_bad().then(|| WrongObject {
        location: object.location.clone(),
        status: object.status,
        reason: object.reason.clone(),
        difference: object.difference.clone(),
    })
}

/// Marks an object as unchecked because another process has changed it.
pub fn excuse(object: &mut CheckedObject, reason: Reason, hint: Hint) {
    object.record(Flaw::new(Status::Unchecked, reason).hint(hint));
    object.repair = None;
}

impl CheckResult for Verification {
    type Wrong = WrongObject;

    fn wrong(&self) -> Vec<WrongObject> {
        self.objects.iter().filter_map(wrong).collect()
    }

    fn file(wrong: &WrongObject) -> Option<PathBuf> {
        Some(PathBuf::from(&wrong.location))
    }

    fn mark_unchecked(&mut self, counts: &dyn Fn(&WrongObject) -> bool) {
        for object in &mut self.objects {
            if wrong(object).is_some_and(|one| !counts(&one)) {
                excuse(object, Reason::Changed, Hint::RunAgain);
            }
        }
    }
}

impl CheckResult for Found {
    type Wrong = WrongObject;

    fn wrong(&self) -> Vec<WrongObject> {
        self.verification.wrong()
    }

    fn file(wrong: &WrongObject) -> Option<PathBuf> {
        Verification::file(wrong)
    }

    fn mark_unchecked(&mut self, counts: &dyn Fn(&WrongObject) -> bool) {
        self.verification.mark_unchecked(counts);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::Path;

    use super::*;
    use crate::verdict::outcome::Outcome;
    use occystrap_base::cancel::Cancel;
    use occystrap_base::error::{Error, Kind};
    use occystrap_base::oci::layout::INDEX;
    use occystrap_images::level::Level;
    use occystrap_images::steady::check;

    /// A layout's index, and a blob of it.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
        std::fs::write(folder.path().join("blobs/sha256/x"), "x").unwrap();
        std::fs::write(folder.path().join(INDEX), "0").unwrap();
        // A file that was written just now counts as one that another process is writing.
        std::thread::sleep(std::time::Duration::from_millis(60));
        folder
    }

    /// As another process: the index is a new file.
    fn commit(folder: &Path, what: &str) {
        std::fs::write(folder.join("new"), what).unwrap();
        std::fs::rename(folder.join("new"), folder.join(INDEX)).unwrap();
    }

    fn seen(wrong: &[(PathBuf, Status, String)]) -> Verification {
        let object = |(path, status, found): &(PathBuf, Status, String)| {
            let mut object = CheckedObject::at(path.display().to_string());
            let sides = Difference::Value { expected: None, found: Some(found.clone()) };
            object.record(Flaw::new(*status, Reason::OtherContent).between(sides));
            object
        };
        Verification::new(Level::Full, wrong.iter().map(object).collect())
    }

    #[test]
    fn a_flaw_is_read_again_after_a_change_and_excused_after_another() {
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
            let seen = check(Some(&watch), &Cancel::default(), || {
                count.set(count.get() + 1);
                if count.get() <= commits {
                    commit(folder.path(), &count.get().to_string());
                }
                let found = if count.get() == 1 { &first } else { &second };
                let mut seen = seen(found);
                seen.objects.push(CheckedObject::at("fine".to_owned()));
                Ok(seen)
            });
            let seen = seen.unwrap();
            assert_eq!(
                (count.get(), seen.outcome()),
                (looks, outcome),
                "{what}: {:?}",
                seen.objects
            );
            let is_said = seen.objects.iter().any(|object| object.reason == Some(Reason::Changed));
            assert_eq!(is_said, outcome == Unconfirmed, "{what}");
        }
    }

    #[test]
    fn damage_counts_where_the_list_could_not_be_read_at_first_and_not_where_the_file_changes() {
        for (is_changing, outcome) in [(false, Outcome::Failed), (true, Outcome::Unconfirmed)] {
            let folder = folder();
            let blob = folder.path().join("blobs/sha256/x");
            let count = Cell::new(0);
            let seen = check(Some(&Watch::layout(folder.path())), &Cancel::default(), || {
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
            let outcome = check(Some(&Watch::file(&path)), &Cancel::default(), || {
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

    #[test]
    fn an_archive_that_a_process_has_emptied_just_before_the_check_is_read_once_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.tar");
        std::fs::write(&path, "").unwrap();
        let count = Cell::new(0);
        let outcome = check(Some(&Watch::file(&path)), &Cancel::default(), || {
            count.set(count.get() + 1);
            match count.get() {
                1 => Err(Error::source("is empty")),
                _ => Ok(seen(&[])),
            }
        });
        assert!(outcome.is_ok());
        assert_eq!(count.get(), 2);
    }
}

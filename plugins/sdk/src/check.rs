//! Verification that every output of files needs: the files of a receipt exist, with their size and digest.

use crate::storage::{Directory, EntryKind};
use crate::verifier::{Finding, Level, Problem};
use crate::writer::{Expectation, Place};

/// Returns a finding: a difference between the receipt and the destination.
#[must_use]
pub fn finding(
    subject: &str,
    problem: Problem,
    expected: Option<String>,
    found: Option<String>,
    message: &str,
) -> Finding {
    Finding { subject: subject.to_owned(), problem, expected, found, message: message.to_owned() }
}

/// Checks that every file, and every part of a file, exists with its size and, at [`Level::Full`], with
/// its digest. Returns one finding for each difference.
///
/// Expectations of other places are ignored: entries of shared JSON files, because only the plugin knows
/// their format, and objects in a repository or an engine, because they are not files.
#[must_use]
pub fn check_expectations(
    directory: &Directory,
    expectations: &[Expectation],
    level: Level,
) -> Vec<Finding> {
    expectations.iter().filter_map(|expectation| check(directory, expectation, level)).collect()
}

fn check(directory: &Directory, expectation: &Expectation, level: Level) -> Option<Finding> {
    let (path, subject, offset, whole) = match &expectation.place {
        Place::File(path) => (path, path.clone(), 0, true),
        Place::Part(part) => {
            (&part.path, format!("{}:{}", part.path, part.member), part.offset, false)
        }
        _ => return None,
    };
    let size = expectation.size?;
    let stat = match directory.stat(path) {
        Ok(Some(stat)) if stat.kind == EntryKind::File => stat,
        Ok(Some(_)) => {
            return Some(finding(
                &subject,
                Problem::Unreadable,
                None,
                None,
                "is not a regular file",
            ));
        }
        Ok(None) => {
            return Some(finding(&subject, Problem::Missing, None, None, "is not there"));
        }
        Err(_) => return Some(unreadable(&subject)),
    };
    let end = offset.saturating_add(size);
    if if whole { stat.size != size } else { stat.size < end } {
        return Some(finding(
            &subject,
            Problem::SizeMismatch,
            Some(format!("{} bytes", if whole { size } else { end })),
            Some(format!("{} bytes", stat.size)),
            "has another size",
        ));
    }
    let digest = expectation.digest.as_ref().filter(|_| level == Level::Full)?;
    match directory.digest(path, offset, Some(size)) {
        Ok(found) if found == *digest => None,
        Ok(found) => Some(finding(
            &subject,
            Problem::DigestMismatch,
            Some(digest.clone()),
            Some(found),
            "has other content",
        )),
        Err(_) => Some(unreadable(&subject)),
    }
}

fn unreadable(subject: &str) -> Finding {
    finding(subject, Problem::Unreadable, None, None, "cannot be read")
}

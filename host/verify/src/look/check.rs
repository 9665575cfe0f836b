//! The host's own look at every expectation that it understands.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read};

use super::document::{self, Flaw};
use super::files::{Files, NOWHERE};
use crate::verdict::object::{CheckedObject, Status};
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Result, io_reason};
use occystrap_base::oci::layout::{LARGEST_CATALOG, LONGEST_STRING};
use occystrap_base::oci::text_stream::TextStream;
use occystrap_base::oci::{Digest, json, reading};
use occystrap_base::parallel::{cores, in_parallel};
use occystrap_images::level::Level;
use occystrap_output::destination::hash_memo::HashMemo;
use occystrap_output::receipt::step::{Found, Trouble};
use occystrap_output::receipt::{Expectation, Place, Role, Step, WrittenFile, step};

/// Bytes of JSON that is parsed as a whole, or of one element of a list: parsed it takes some ten times
/// its size.
const LARGEST_JSON: u64 = 16 * 1024 * 1024;

/// Bytes of a shared file that are read at once.
const SHARED_PIECE: usize = 64 * 1024;

/// Bytes of a file that several images share. One that leads to its entry by keys alone is never held as
/// a whole; of a list, the elements are.
pub fn largest_shared(steps: &[Step]) -> u64 {
    if leads_by_keys(steps) { LARGEST_CATALOG } else { LARGEST_JSON }
}

fn leads_by_keys(steps: &[Step]) -> bool {
    steps.iter().all(|step| matches!(step, Step::Key(_)))
}

/// A JSON file that several images share.
enum Shared {
    /// It is read as a stream.
    File(File),
    /// It is small enough to be held.
    Bytes(Vec<u8>),
}

impl Shared {
    /// Whether it is held, and other readers than Go's refuse it.
    fn is_doubtful(&self) -> bool {
        matches!(self, Self::Bytes(bytes) if !json::is_utf8(bytes))
    }

    fn find(self, steps: &[Step]) -> std::result::Result<Found, Trouble> {
        match self {
            Self::File(file) => {
                let pieces = BufReader::with_capacity(SHARED_PIECE, file);
                step::find(steps, BufReader::new(TextStream::new(pieces, LONGEST_STRING)))
            }
            Self::Bytes(bytes) => {
                reading::distinct(&bytes).map_err(Trouble::TwoReadings)?;
                let simple = json::simplified(&bytes).map_err(|_| Trouble::NotJson)?;
                step::find(steps, &simple[..])
            }
        }
    }
}

/// What is said of a file that this user may not read.
pub const DENIED: &str = "cannot be read: permission denied";

/// Path, offset and length of bytes that have a digest.
type Span<'a> = (&'a str, u64, u64);

/// Look at everything. At [`Level::Full`], all that will be compared is hashed first, on all
/// cores, each byte once.
pub fn objects(
    expectations: &[Expectation],
    journal: &[WrittenFile],
    files: &dyn Files,
    level: Level,
    memory: &HashMemo,
    cancel: &Cancel,
) -> Result<Vec<CheckedObject>> {
    let framed = framed_paths(expectations);
    if level == Level::Full {
        hash_all(&wanted(expectations, journal, &framed), files, memory, cancel)?;
    }
    let checker = Checker { files, level, memory };
    let look = |expectation| cancel.check().map(|()| checker.check(expectation));
    let mut objects: Vec<CheckedObject> = expectations.iter().map(look).collect::<Result<_>>()?;
    for path in framed {
        cancel.check()?;
        let parts = named_parts(expectations, path);
        checker.check_framing(journal, path, &parts, &mut objects);
    }
    Ok(objects)
}

/// Files that consist of parts: what stands between the parts is checked as well.
pub fn framed_paths(expectations: &[Expectation]) -> BTreeSet<&str> {
    let parts = expectations.iter().filter(|expectation| match &expectation.place {
        Place::Part { .. } => true,
        Place::File { .. } => expectation.digest.is_none(),
        _ => false,
    });
    parts.filter_map(|expectation| expectation.place.path()).collect()
}

/// Offset and length of the parts of a file that are compared by themselves.
fn named_parts(expectations: &[Expectation], file: &str) -> BTreeSet<(u64, u64)> {
    let named = expectations.iter().filter(|expectation| expectation.digest.is_some());
    named
        .filter_map(|expectation| match &expectation.place {
            Place::Part { path, offset, .. } if path == file => Some((*offset, expectation.size?)),
            _ => None,
        })
        .collect()
}

/// Path, offset and length of all that has a digest to compare with. The length is part of the key:
/// a member without content starts where its neighbour does.
fn wanted<'a>(
    expectations: &'a [Expectation],
    journal: &'a [WrittenFile],
    framed: &BTreeSet<&'a str>,
) -> BTreeSet<Span<'a>> {
    let named = expectations.iter().filter(|expectation| expectation.digest.is_some());
    let named = named.filter_map(|expectation| match &expectation.place {
        Place::File { path } => Some((path.as_str(), 0, expectation.size?)),
        Place::Part { path, offset, .. } => Some((path.as_str(), *offset, expectation.size?)),
        _ => None,
    });
    let files = journal.iter().filter(|file| framed.contains(file.path.as_str()));
    let extents = files.flat_map(|file| {
        file.extents.iter().map(|extent| (file.path.as_str(), extent.offset, extent.size))
    });
    named.chain(extents).collect()
}

fn hash_all(
    wanted: &BTreeSet<Span>,
    files: &dyn Files,
    memory: &HashMemo,
    cancel: &Cancel,
) -> Result<()> {
    // Largest first, so that no core is left with one at the end.
    let mut jobs: Vec<_> = wanted.iter().collect();
    jobs.sort_by_key(|(_, _, size)| std::cmp::Reverse(*size));
    let unknown = jobs.iter().filter(|(path, at, size)| memory.recall(path, *at, *size).is_none());
    memory.progress().more(unknown.map(|(_, _, size)| *size).fold(0, u64::saturating_add));
    in_parallel(&jobs, cores(), |(path, offset, size)| {
        if memory.recall(path, *offset, *size).is_some() {
            return;
        }
        // What cannot be read is found and named again when it is compared.
        if let Ok(file) = files.open(path) {
            let _ = memory.hash(&file, path, *offset, *size, cancel);
        }
    });
    cancel.check()
}

struct Checker<'a> {
    files: &'a dyn Files,
    level: Level,
    memory: &'a HashMemo,
}

impl Checker<'_> {
    fn check(&self, expectation: &Expectation) -> CheckedObject {
        let location = self.files.display(&expectation.place.subject());
        let mut object = CheckedObject::expected(expectation, location);
        match &expectation.place {
            Place::File { path } => {
                if let Some(size) = self.stat(path, &mut object)
                    && self.compare_size(expectation.size, size, &mut object)
                {
                    self.compare_digest(
                        path,
                        0,
                        expectation.size.unwrap_or(size),
                        expectation.digest,
                        &mut object,
                    );
                    self.parse(path, 0, size, expectation.role, &mut object);
                }
            }
            Place::Part { offset: NOWHERE, .. } => {
                object.blame(Status::Missing, None, None, "is not there");
            }
            Place::Part { path, offset, .. } => {
                let len = expectation.size.unwrap_or_default();
                if let Some(size) = self.stat(path, &mut object) {
                    let end = offset.saturating_add(len);
                    if size < end {
                        let side = |size: u64| {
                            Some(format!("{} bytes", size.saturating_sub(*offset).min(len)))
                        };
                        object.blame(
                            Status::SizeMismatch,
                            side(end),
                            side(size),
                            "the archive ends too early",
                        );
                    } else {
                        self.compare_digest(path, *offset, len, expectation.digest, &mut object);
                        self.parse(path, *offset, len, expectation.role, &mut object);
                    }
                }
            }
            Place::Entry { path, steps, value } => {
                self.check_entry(path, steps, value, &mut object);
            }
            _ => object.misplaced(),
        }
        object
    }

    /// Size of a regular file; otherwise the object says what is wrong.
    fn stat(&self, path: &str, object: &mut CheckedObject) -> Option<u64> {
        match self.files.size(path) {
            Ok(Some(size)) => match self.files.open(path) {
                Err(cause) if is_denied(&cause) => {
                    blame_denied(object);
                    None
                }
                // Another failure is one of what is read.
                _ => Some(size),
            },
            Ok(None) => {
                object.blame(Status::Unreadable, None, None, "is not a regular file");
                None
            }
            Err(cause) => {
                blame_io(object, &cause);
                None
            }
        }
    }

    fn compare_size(&self, expected: Option<u64>, found: u64, object: &mut CheckedObject) -> bool {
        match expected {
            Some(expected) if expected != found => {
                let side = |size: u64| Some(format!("{size} bytes"));
                object.blame(Status::SizeMismatch, side(expected), side(found), "has another size");
                false
            }
            _ => true,
        }
    }

    fn compare_digest(
        &self,
        path: &str,
        offset: u64,
        len: u64,
        expected: Option<Digest>,
        object: &mut CheckedObject,
    ) {
        let Some(expected) = expected.filter(|_| self.level == Level::Full) else { return };
        match self.memory.recall(path, offset, len) {
            Some(found) if found == expected => {}
            Some(found) => object.blame(
                Status::DigestMismatch,
                Some(expected.to_string()),
                Some(found.to_string()),
                "has other content",
            ),
            None => object.blame(Status::Unreadable, None, None, "cannot be read to its end"),
        }
    }

    /// Configs and manifests are JSON; an artifact's config need not be, and is right when it is
    /// what was written.
    fn parse(&self, path: &str, offset: u64, len: u64, role: Role, object: &mut CheckedObject) {
        if !matches!(role, Role::Config | Role::Manifest) || object.status != Status::Ok {
            return;
        }
        let bytes = match self.read(path, offset, len) {
            Ok(bytes) => bytes,
            Err(cause) => return blame_io(object, &cause),
        };
        let (expected, found) = (object.digest, Digest::of(&bytes));
        if expected == Some(found) {
            return;
        }
        if let Some(flaw) = Flaw::of(&bytes) {
            return flaw.blame_sound(object);
        }
        // It was read for its JSON: of a few kilobytes the digest costs nothing, fast or not.
        if let Some(expected) = expected {
            let (expected, found) = (Some(expected.to_string()), Some(found.to_string()));
            object.blame(Status::DigestMismatch, expected, found, "has other content");
            object.host_only = true;
        }
    }

    fn check_entry(&self, path: &str, steps: &[Step], value: &str, object: &mut CheckedObject) {
        if self.stat(path, object).is_none() {
            return;
        }
        let text = match self.shared(path, steps) {
            Ok(text) => text,
            Err(cause) => return blame_io(object, &cause),
        };
        let Some(text) = text else {
            let message = "has more bytes than are read of it";
            return object.blame(Status::Unchecked, None, None, message);
        };
        let entry = step::display(steps);
        let is_doubtful = text.is_doubtful();
        match text.find(steps) {
            Err(Trouble::Io(cause)) => blame_io(object, &cause),
            Err(Trouble::NotJson) => {
                object.blame(Status::Unreadable, None, None, "is not valid JSON");
            }
            Err(Trouble::TwoReadings(why)) => {
                let why = format!("can be read in two ways: {why}");
                object.host_only = true;
                object.blame(Status::DigestMismatch, None, None, &why);
            }
            Err(Trouble::Ambiguous) => object.blame(
                Status::DigestMismatch,
                Some(value.to_owned()),
                None,
                &format!("has several entries '{entry}'"),
            ),
            Ok(Found::Text(found)) if found == value => {
                if is_doubtful {
                    object.host_only = true;
                    object.blame(Status::Unchecked, None, None, document::OTHER_BYTES);
                }
            }
            Ok(Found::Text(found)) => object.blame(
                Status::DigestMismatch,
                Some(value.to_owned()),
                Some(occystrap_base::error::printable(&found)),
                &format!("the entry '{entry}' names something else"),
            ),
            Ok(Found::Other | Found::Nothing) => object.blame(
                Status::Missing,
                Some(value.to_owned()),
                None,
                &format!("has no entry '{entry}'"),
            ),
        }
    }

    /// What stands between the parts of an archive: headers and padding.
    fn check_framing(
        &self,
        journal: &[WrittenFile],
        path: &str,
        parts: &BTreeSet<(u64, u64)>,
        objects: &mut Vec<CheckedObject>,
    ) {
        let Some(written) = journal.iter().find(|file| file.path == path) else { return };
        let location = self.files.display(path);
        let at = match objects.iter().position(|object| object.location == location) {
            Some(at) => at,
            None => {
                objects.push(CheckedObject::at(location));
                objects.len() - 1
            }
        };
        let object = &mut objects[at];
        if object.status != Status::Ok {
            return;
        }
        let Some(size) = self.stat(path, object) else { return };
        if !self.compare_size(Some(written.size), size, object) || self.level == Level::Fast {
            return;
        }
        let framing = written.extents.iter();
        let framing = framing.filter(|extent| !parts.contains(&(extent.offset, extent.size)));
        let mut damaged = framing.filter(|extent| {
            self.memory.recall(path, extent.offset, extent.size) != Some(extent.digest)
        });
        if let Some(extent) = damaged.next() {
            let found = self.memory.recall(path, extent.offset, extent.size);
            object.blame(
                Status::DigestMismatch,
                Some(extent.digest.to_string()),
                found.map(|digest| digest.to_string()),
                &format!(
                    "between its members, {} bytes at {} have other content",
                    extent.size, extent.offset
                ),
            );
            // Only the journal knows what stood there.
            object.host_only = true;
        }
    }

    /// A file that other processes may replace at any time: the one that it is at one moment. `None`
    /// where it is larger than is read.
    fn shared(&self, path: &str, steps: &[Step]) -> io::Result<Option<Shared>> {
        let mut file = self.files.open(path)?;
        if file.metadata()?.len() > largest_shared(steps) {
            return Ok(None);
        }
        if leads_by_keys(steps) {
            return Ok(Some(Shared::File(file)));
        }
        let mut bytes = Vec::new();
        file.by_ref().take(LARGEST_JSON + 1).read_to_end(&mut bytes)?;
        Ok((bytes.len() as u64 <= LARGEST_JSON).then_some(Shared::Bytes(bytes)))
    }

    fn read(&self, path: &str, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        if len > LARGEST_JSON {
            return Err(io::Error::other("too large to be JSON of ours"));
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
        std::os::unix::fs::FileExt::read_exact_at(&self.files.open(path)?, &mut bytes, offset)?;
        Ok(bytes)
    }
}

/// Whether the system does not let this user read a file. A path that leads out of its destination is
/// cap-std's to refuse, by the same name and without a number.
pub fn is_denied(cause: &io::Error) -> bool {
    cause.kind() == io::ErrorKind::PermissionDenied && cause.raw_os_error().is_some()
}

/// A file that this user may not read.
pub fn blame_denied(object: &mut CheckedObject) {
    object.blame(Status::Unchecked, None, None, DENIED);
    object.hint = Some("run it as a user who may read that".to_owned());
}

fn blame_io(object: &mut CheckedObject, cause: &io::Error) {
    match cause.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            object.blame(Status::Missing, None, None, "is not there");
        }
        // Nothing wrong was seen.
        _ if is_denied(cause) => blame_denied(object),
        _ => object.blame(
            Status::Unreadable,
            None,
            None,
            &format!("cannot be read: {}", io_reason(cause)),
        ),
    }
}

//! Compares the files of a destination, and the parts of an archive, with expectations.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read};

use super::checker::Compare;
use super::files::{Files, NOWHERE};
use crate::verdict::document;
use crate::verdict::flaw::{Difference, Flaw, Hint, Reason, Status, Unread};
use crate::verdict::object::CheckedObject;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Result, io_reason, printable};
use occystrap_base::oci::layout::{LARGEST_CATALOG, LONGEST_STRING};
use occystrap_base::oci::text_stream::TextStream;
use occystrap_base::oci::{Digest, json, reading};
use occystrap_base::parallel::{cores, in_parallel};
use occystrap_images::level::Level;
use occystrap_output::destination::hash_memo::HashMemo;
use occystrap_output::receipt::step::{StepResult, Trouble};
use occystrap_output::receipt::{Expectation, Place, Role, Step, WrittenFile, step};

/// Largest JSON that is parsed as a whole, in bytes; also the largest element of a list. Parsed JSON takes about ten
/// times its size.
const LARGEST_JSON: u64 = 16 * 1024 * 1024;

/// Bytes of a shared file that are read at a time.
const SHARED_PIECE: usize = 64 * 1024;

/// Returns how many bytes are read of a file that several images share. A file whose entry is found by keys alone is
/// read as a stream; the elements of a list are held in memory.
pub fn largest_shared(steps: &[Step]) -> u64 {
    if leads_by_keys(steps) { LARGEST_CATALOG } else { LARGEST_JSON }
}

fn leads_by_keys(steps: &[Step]) -> bool {
    steps.iter().all(|step| matches!(step, Step::Key(_)))
}

/// A JSON file that several images share.
enum Shared {
    /// A file that is read as a stream.
    File(File),
    /// A file that is held in memory.
    Bytes(Vec<u8>),
}

impl Shared {
    /// Returns whether the file is held in memory and is not UTF-8, which only Go's parser accepts.
    fn is_doubtful(&self) -> bool {
        matches!(self, Self::Bytes(bytes) if !json::is_utf8(bytes))
    }

    fn find(self, steps: &[Step]) -> std::result::Result<StepResult, Trouble> {
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

/// Path, offset and length of bytes that have a digest.
type Span<'a> = (&'a str, u64, u64);

/// Checks all expectations. At [`Level::Full`], everything that will be compared is hashed first, on all cores, each
/// byte once.
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
    let stored = StoredFiles { files, level, memory };
    let look = |expectation| cancel.check().map(|()| stored.check(expectation));
    let mut objects: Vec<CheckedObject> = expectations.iter().map(look).collect::<Result<_>>()?;
    for path in framed {
        cancel.check()?;
        let parts = named_parts(expectations, path);
        stored.check_framing(journal, path, &parts, &mut objects);
    }
    Ok(objects)
}

/// Returns the files that consist of parts: the bytes between the parts are checked as well.
pub fn framed_paths(expectations: &[Expectation]) -> BTreeSet<&str> {
    let parts = expectations.iter().filter(|expectation| match &expectation.place {
        Place::Part { .. } => true,
        Place::File { .. } => expectation.digest.is_none(),
        _ => false,
    });
    parts.filter_map(|expectation| expectation.place.path()).collect()
}

/// Returns offset and length of the parts of a file that are compared alone.
fn named_parts(expectations: &[Expectation], file: &str) -> BTreeSet<(u64, u64)> {
    let named = expectations.iter().filter(|expectation| expectation.digest.is_some());
    named
        .filter_map(|expectation| match &expectation.place {
            Place::Part { path, offset, .. } if path == file => Some((*offset, expectation.size?)),
            _ => None,
        })
        .collect()
}

/// Returns path, offset and length of everything with a digest to compare with. The length is part of the key, because
/// an empty member starts where the next member does.
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
    // The largest first, so that no core works alone at the end.
    let mut jobs: Vec<_> = wanted.iter().collect();
    jobs.sort_by_key(|(_, _, size)| std::cmp::Reverse(*size));
    let unknown = jobs.iter().filter(|(path, at, size)| memory.recall(path, *at, *size).is_none());
    memory.progress().more(unknown.map(|(_, _, size)| *size).fold(0, u64::saturating_add));
    in_parallel(&jobs, cores(), |(path, offset, size)| {
        if memory.recall(path, *offset, *size).is_some() {
            return;
        }
        // A failed read is found and reported when the bytes are compared.
        if let Ok(file) = files.open(path) {
            let _ = memory.hash(&file, path, *offset, *size, cancel);
        }
    });
    cancel.check()
}

/// The files of a destination, or of an archive.
struct StoredFiles<'a> {
    files: &'a dyn Files,
    level: Level,
    memory: &'a HashMemo,
}

impl Compare for StoredFiles<'_> {
    fn location(&self, expectation: &Expectation) -> String {
        self.files.display(&expectation.place.subject())
    }

    fn compare(&self, expectation: &Expectation, object: &mut CheckedObject) {
        match &expectation.place {
            Place::File { path } => {
                if let Some(size) = self.stat(path, object)
                    && self.compare_size(expectation.size, size, object)
                {
                    self.compare_digest(
                        path,
                        0,
                        expectation.size.unwrap_or(size),
                        expectation.digest,
                        object,
                    );
                    self.parse(path, 0, size, expectation.role, object);
                }
            }
            Place::Part { offset: NOWHERE, .. } => {
                object.fail(Status::Missing, Reason::NotThere);
            }
            Place::Part { path, offset, .. } => {
                let len = expectation.size.unwrap_or_default();
                if let Some(size) = self.stat(path, object) {
                    let end = offset.saturating_add(len);
                    if size < end {
                        let of_part = |size: u64| size.saturating_sub(*offset).min(len);
                        let (expected, found) = (of_part(end), of_part(size));
                        let flaw = Flaw::new(Status::SizeMismatch, Reason::ArchiveEnds);
                        object.record(flaw.between(Difference::Size { expected, found }));
                    } else {
                        self.compare_digest(path, *offset, len, expectation.digest, object);
                        self.parse(path, *offset, len, expectation.role, object);
                    }
                }
            }
            Place::Entry { path, steps, value } => {
                self.check_entry(path, steps, value, object);
            }
            _ => object.misplaced(),
        }
    }
}

impl StoredFiles<'_> {
    /// Returns the size of a regular file. Otherwise records what is wrong.
    fn stat(&self, path: &str, object: &mut CheckedObject) -> Option<u64> {
        match self.files.size(path) {
            Ok(Some(size)) => match self.files.open(path) {
                Err(cause) if is_denied(&cause) => {
                    fail_denied(object);
                    None
                }
                // Other failures are reported when the file is read.
                _ => Some(size),
            },
            Ok(None) => {
                object.fail(Status::Unreadable, Reason::NotRegularFile);
                None
            }
            Err(cause) => {
                fail_io(object, &cause);
                None
            }
        }
    }

    fn compare_size(&self, expected: Option<u64>, found: u64, object: &mut CheckedObject) -> bool {
        match expected {
            Some(expected) if expected != found => {
                object.record(Flaw::size(expected, found));
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
            Some(found) => object.record(Flaw::content(expected, found)),
            None => object.fail(Status::Unreadable, Reason::Incomplete),
        }
    }

    /// Checks that configs and manifests are JSON. The config of an artifact need not be JSON; it is right when it has
    /// the bytes that were written.
    fn parse(&self, path: &str, offset: u64, len: u64, role: Role, object: &mut CheckedObject) {
        if !matches!(role, Role::Config | Role::Manifest) || object.status != Status::Ok {
            return;
        }
        let bytes = match self.read(path, offset, len) {
            Ok(bytes) => bytes,
            Err(cause) => return fail_io(object, &cause),
        };
        let (expected, found) = (object.digest, Digest::of(&bytes));
        if expected == Some(found) {
            return;
        }
        if let Some(flaw) = document::check(&bytes) {
            return object.record_if_ok(flaw);
        }
        // The bytes were read for their JSON. The digest of a few kilobytes costs nothing, at any level.
        if let Some(expected) = expected {
            object.record(Flaw::content(expected, found));
            object.host_only = true;
        }
    }

    fn check_entry(&self, path: &str, steps: &[Step], value: &str, object: &mut CheckedObject) {
        if self.stat(path, object).is_none() {
            return;
        }
        let text = match self.shared(path, steps) {
            Ok(text) => text,
            Err(cause) => return fail_io(object, &cause),
        };
        let Some(text) = text else {
            return object.mark_unchecked(Reason::TooLarge);
        };
        let entry = step::display(steps);
        let is_doubtful = text.is_doubtful();
        let sides = |found| Difference::Value { expected: Some(value.to_owned()), found };
        match text.find(steps) {
            Err(Trouble::Io(cause)) => fail_io(object, &cause),
            Err(Trouble::NotJson) => {
                object.fail(Status::Unreadable, Reason::NotJson);
            }
            Err(Trouble::TwoReadings(why)) => {
                object.host_only = true;
                object.fail(Status::DigestMismatch, Reason::TwoReadings { why });
            }
            Err(Trouble::Ambiguous) => object.record(
                Flaw::new(Status::DigestMismatch, Reason::SeveralEntries { entry })
                    .between(sides(None)),
            ),
            Ok(StepResult::Text(found)) if found == value => {
                if is_doubtful {
                    object.host_only = true;
                    object.mark_unchecked(Reason::NotUtf8);
                }
            }
            Ok(StepResult::Text(found)) => object.record(
                Flaw::new(Status::DigestMismatch, Reason::OtherEntry { entry })
                    .between(sides(Some(printable(&found)))),
            ),
            Ok(StepResult::Other | StepResult::Nothing) => object
                .record(Flaw::new(Status::Missing, Reason::NoEntry { entry }).between(sides(None))),
        }
    }

    /// Checks the bytes between the parts of an archive: headers and padding.
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
            let reason = Reason::OtherFraming { size: extent.size, offset: extent.offset };
            let sides = Difference::Digest { expected: Some(extent.digest), found };
            object.record(Flaw::new(Status::DigestMismatch, reason).between(sides));
            // Only the journal has the digest of these bytes.
            object.host_only = true;
        }
    }

    /// Opens a shared file, which other processes may replace at any time, once. `None` where it is larger than the
    /// limit.
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

/// Returns whether the system denies this user to read a file. cap-std refuses a path that leads out of its destination
/// with the same kind of error, but without a system error number.
pub fn is_denied(cause: &io::Error) -> bool {
    cause.kind() == io::ErrorKind::PermissionDenied && cause.raw_os_error().is_some()
}

/// Marks a file as unchecked that this user may not read.
pub fn fail_denied(object: &mut CheckedObject) {
    object.record(Flaw::new(Status::Unchecked, Reason::Denied).hint(Hint::OtherUser));
}

fn fail_io(object: &mut CheckedObject, cause: &io::Error) {
    match cause.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            object.fail(Status::Missing, Reason::NotThere);
        }
        // No flaw was seen.
        _ if is_denied(cause) => fail_denied(object),
        _ => {
            let reason = Reason::Unread(Unread::Because(io_reason(cause)));
            object.fail(Status::Unreadable, reason);
        }
    }
}

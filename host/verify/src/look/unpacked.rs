//! Decompresses layers in files, and compares them with the config of the image.
//!
//! Each layer is read once, for its digest and its diff-id. This module does not report what the check of the file
//! itself finds (missing, another size, other bytes); such results are only remembered.

use std::io;
use std::sync::Arc;

use super::files::Files;
use crate::verdict::claims::Claims;
use crate::verdict::flaw::{Difference, Flaw, Reason, Status};
use crate::verdict::object::CheckedObject;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Result};
use occystrap_base::files::Section;
use occystrap_base::oci::{Compression, Digest};
use occystrap_base::parallel::{cores, in_parallel};
use occystrap_images::source::members::compression;
use occystrap_layer::blob::{Stored, checked};
use occystrap_layer::image::Layer;
use occystrap_output::destination::hash_memo::HashMemo;
use occystrap_output::receipt::{Expectation, Place};

/// A layer that is not what the config promises: the index of its expectation, and the error.
pub type Wrong = (usize, Error);

/// A layer that is to be decompressed.
struct Job<'a> {
    index: usize,
    path: &'a str,
    /// The offset of the layer in the file, in bytes.
    offset: u64,
    /// The digest of the stored layer, where it is promised.
    digest: Option<Digest>,
    size: u64,
    diff_id: Digest,
}

impl<'a> Job<'a> {
    fn of(index: usize, one: &'a Expectation, diff_id: Digest) -> Option<Self> {
        let (path, offset) = match &one.place {
            Place::File { path } => (path, 0),
            Place::Part { path, offset, .. } => (path, *offset),
            _ => return None,
        };
        Some(Self { index, path, offset, digest: one.digest, size: one.size?, diff_id })
    }
}

/// Decompresses every layer that the config promises, the largest first, on all cores. Errors when the user interrupts.
pub fn layers(
    expectations: &[Expectation],
    claims: &Claims,
    files: &dyn Files,
    memory: &HashMemo,
    cancel: &Cancel,
) -> Result<Vec<Wrong>> {
    let mut jobs: Vec<Job> = expectations
        .iter()
        .enumerate()
        .filter_map(|(index, one)| {
            let diff_id = claims.diff_id(one.role)?;
            Job::of(index, one, diff_id)
        })
        .collect();
    jobs.sort_by_key(|job| std::cmp::Reverse(job.size));
    let due = jobs.iter().filter(|job| is_due(job, files, memory));
    memory.progress().more(due.map(|job| job.size).fold(0, u64::saturating_add));
    let wrong = in_parallel(&jobs, cores(), |job| {
        let error = unpack(job, files, memory, cancel).err()?;
        Some((job.index, error))
    });
    cancel.check()?;
    Ok(wrong.into_iter().flatten().collect())
}

/// Compares the digest of each plain layer with the diff-id that the config names. Such a layer has one digest, so that
/// no byte of it needs to be read. Compressed layers are the task of [`layers`].
pub fn compare_plain(
    expectations: &[Expectation],
    claims: &Claims,
    files: &dyn Files,
    objects: &mut [CheckedObject],
) {
    for (one, object) in expectations.iter().zip(objects) {
        let (Some(diff_id), Some(digest)) = (claims.diff_id(one.role), one.digest) else {
            continue;
        };
        if diff_id == digest || object.status != Status::Ok {
            continue;
        }
        let is_plain = Job::of(0, one, diff_id).is_some_and(|job| {
            let section = section(&job, files);
            section.is_ok_and(|found| {
                compression(&found, job.path).is_ok_and(|found| found == Compression::None)
            })
        });
        if is_plain {
            let flaw = Flaw::new(Status::DigestMismatch, Reason::OtherPlainLayer);
            object.record(flaw.between(Difference::digests(diff_id, digest)));
            object.host_only = true;
        }
    }
}

/// Records the errors of layers that have no flaw so far.
pub fn record(wrong: Vec<Wrong>, objects: &mut [CheckedObject]) {
    for (index, error) in wrong {
        let ok = |object: &&mut CheckedObject| object.status == Status::Ok;
        if let Some(object) = objects.get_mut(index).filter(ok) {
            let status = match error.difference() {
                Some(_) => Status::DigestMismatch,
                None => Status::Unreadable,
            };
            object.fail_with(status, &error);
        }
    }
}

/// Errors when a layer with the right stored bytes has other content.
fn unpack(job: &Job, files: &dyn Files, memory: &HashMemo, cancel: &Cancel) -> Result<()> {
    let place = files.display(job.path);
    // A file that cannot be opened, or has another size, is found by the check of the file.
    let Ok(section) = section(job, files) else { return Ok(()) };
    if let Some(digest) = job.digest
        && compression(&section, &place)? == Compression::None
    {
        // A plain layer has one digest, which the check of the file compares as well.
        return match digest == job.diff_id {
            true => Ok(()),
            false => Err(other_content(&place, job.diff_id, digest)),
        };
    }
    // An image may have a layer twice, and images share layers.
    if let Some(found) = memory.recall_unpacked(job.path, job.offset, job.size) {
        return match found == job.diff_id {
            true => Ok(()),
            false => Err(other_content(&place, job.diff_id, found)),
        };
    }
    let layer =
        Layer::in_file(section.clone(), job.diff_id, job.digest, Compression::None, place.clone());
    // Nothing is remembered of a layer without a promised digest.
    let is_stored = |found: Option<Digest>| {
        if let (Some(_), Some(found)) = (job.digest, found) {
            memory.remember_at(job.path, job.offset, job.size, found);
        }
    };
    let error =
        match checked(&layer, Stored::file(&layer, &section, cancel).showing(memory.progress())) {
            Ok(()) => {
                is_stored(job.digest);
                memory.remember_unpacked(job.path, job.offset, job.size, job.diff_id);
                return Ok(());
            }
            Err(error) => error,
        };
    let (expected, found) = error.difference().map_or((None, None), |(expected, found)| {
        (Digest::of_side(expected), Digest::of_side(found))
    });
    match found {
        // The check of the file reports other bytes than the manifest promises.
        Some(_) if job.digest.is_some() && expected == job.digest => {
            is_stored(found);
            Ok(())
        }
        Some(found) if expected == Some(job.diff_id) => {
            is_stored(job.digest);
            memory.remember_unpacked(job.path, job.offset, job.size, found);
            Err(other_content(&place, job.diff_id, found))
        }
        _ => Err(error),
    }
}

/// Returns whether the layer will be read here.
fn is_due(job: &Job, files: &dyn Files, memory: &HashMemo) -> bool {
    let compressed = |section| compression(&section, job.path).ok() != Some(Compression::None);
    memory.recall_unpacked(job.path, job.offset, job.size).is_none()
        && section(job, files).is_ok_and(compressed)
}

fn section(job: &Job, files: &dyn Files) -> io::Result<Section> {
    let there = files.size(job.path)?.and_then(|size| size.checked_sub(job.offset));
    // A file holds the layer alone; an archive holds more.
    let fits = there.is_some_and(|size| size == job.size || (job.offset > 0 && size > job.size));
    match fits {
        true => Ok(Section::new(Arc::new(files.open(job.path)?), job.offset, job.size)),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn other_content(place: &str, expected: Digest, found: Digest) -> Error {
    let what = format!("{place}: is, unpacked, not what the image's config says");
    Error::mismatch(what, expected, found)
}

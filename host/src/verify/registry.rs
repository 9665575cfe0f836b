//! The host's own look at what a registry holds.
//!
//! What cannot be looked at, because the network or the login is gone, is *unchecked*; everything
//! else that is not as it must be is a finding.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Level;
use super::memory::Memory;
use super::object::{Object, Status};
use crate::context::Context;
use crate::error::Result;
use crate::image::Digest;
use crate::output::remote::Remote;
use crate::receipt::{Expectation, Place};

/// Look at everything, as many things side by side as the user wants, each once.
pub fn objects(
    expectations: &[Expectation],
    remote: &Remote,
    level: Level,
    memory: &Memory,
    context: &Context,
) -> Result<Vec<Object>> {
    // A blob that an image has twice is looked at once.
    let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, expectation) in expectations.iter().enumerate() {
        places.entry(expectation.place.subject()).or_default().push(index);
    }
    let jobs: Vec<Vec<usize>> = places.into_values().collect();
    let checker = Checker { remote, level, memory };
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if context.cancel.check().is_err() {
                break;
            }
            let objects: Vec<_> =
                job.iter().map(|index| (*index, checker.check(&expectations[*index]))).collect();
            found.lock().unwrap_or_else(PoisonError::into_inner).extend(objects);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..context.parallel.min(jobs.len()) {
            scope.spawn(work);
        }
        work();
    });
    context.cancel.check()?;
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(index, _)| *index);
    Ok(found.into_iter().map(|(_, object)| object).collect())
}

struct Checker<'a> {
    remote: &'a Remote,
    level: Level,
    memory: &'a Memory,
}

impl Checker<'_> {
    fn check(&self, expectation: &Expectation) -> Object {
        let location = self.remote.display(&expectation.place.subject());
        let mut object = Object::at(location).for_role(expectation.role);
        (object.digest, object.size) = (expectation.digest, expectation.size);
        match &expectation.place {
            Place::Blob { digest } => self.check_blob(*digest, expectation.size, &mut object),
            Place::Manifest { reference } => self.check_manifest(reference, &mut object),
            _ => object.misplaced(),
        }
        object
    }

    fn check_blob(&self, digest: Digest, expected: Option<u64>, object: &mut Object) {
        let known = self.memory.recall_size(digest);
        let size = match known.map_or_else(|| self.remote.stat_blob(digest), Ok) {
            Ok(size) => size,
            Err(error) => return object.blame_error(Status::Unreadable, &error),
        };
        self.memory.remember_size(digest, size);
        let Some(size) = size else {
            return object.blame(Status::Missing, None, None, "the registry does not have it");
        };
        if expected.is_some_and(|expected| expected != size) {
            let side = |size: u64| format!("{size} bytes");
            let (expected, found) = (expected.map(side), Some(side(size)));
            return object.blame(Status::SizeMismatch, expected, found, "has another size");
        }
        if self.level == Level::Fast {
            return;
        }
        let name = digest.to_string();
        let known = self.memory.recall(&name, 0, size);
        match known.map_or_else(|| self.remote.hash_blob(digest, size), Ok) {
            Ok(found) => {
                self.memory.remember(&name, size, found);
                if found != digest {
                    let (expected, found) = (Some(name), Some(found.to_string()));
                    object.blame(Status::DigestMismatch, expected, found, "has other content");
                }
            }
            // Its head was there a moment ago.
            Err(error) => object.blame_error(Status::Unreadable, &error),
        }
    }

    /// By the name that people pull it by; its digest is that of every byte.
    fn check_manifest(&self, reference: &str, object: &mut Object) {
        let known = self.memory.recall_manifest(reference);
        let manifest = match known.map_or_else(|| self.remote.manifest(reference), Ok) {
            Ok(manifest) => manifest,
            Err(error) => return object.blame_error(Status::DigestMismatch, &error),
        };
        self.memory.remember_manifest(reference, manifest.clone());
        match (manifest, object.digest) {
            (None, _) => object.blame(
                Status::Missing,
                None,
                None,
                "the registry has no manifest of that name",
            ),
            (Some(manifest), Some(expected)) if manifest.digest != expected => object.blame(
                Status::DigestMismatch,
                Some(expected.to_string()),
                Some(manifest.digest.to_string()),
                "is another manifest",
            ),
            _ => {}
        }
    }
}

//! Compares what a registry holds with expectations.
//!
//! An object that cannot be checked because of the network or the login is *unchecked*; any other difference is a flaw.

use std::sync::PoisonError;

use super::checker::{Checker, Compare};
use crate::verdict::claims::Claims;
use crate::verdict::flaw::{Difference, Flaw, Hint, Reason, Status};
use crate::verdict::object::CheckedObject;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::config::LARGEST_CONFIG;
use occystrap_base::oci::{Descriptor, Digest};
use occystrap_images::level::Level;
use occystrap_net::context::Context;
use occystrap_net::registry::{BlobProof, FetchedManifest, KnownBlob};
use occystrap_output::destination::hash_memo::HashMemo;
use occystrap_output::destination::remote::{RepositoryReader, StoredLayer};
use occystrap_output::receipt::{Expectation, Place, Role};

/// A repository, and what is known of it.
pub struct QueriedRepository<'a> {
    /// The repository.
    pub remote: &'a RepositoryReader,
    /// What the registry has answered.
    pub memory: &'a HashMemo,
    /// The context of the run.
    pub context: &'a Context,
    /// The digest that the user gave, which clients resolve. They always resolve tags.
    pub named: Option<&'a str>,
}

/// Checks all expectations, as many in parallel as the user allows, each once.
pub fn objects(
    expectations: &[Expectation],
    claims: &Claims,
    level: Level,
    asked: &QueriedRepository,
) -> Result<Vec<CheckedObject>> {
    let checker = Checker::of(expectations);
    let QueriedRepository { remote, memory, context, named } = *asked;
    if level == Level::Full {
        memory.progress().more(due(checker.firsts(), memory));
    }
    let repository = CheckedRepository { remote, level, memory, context, claims, named };
    checker.check(&repository, claims, context)
}

/// Checks the blobs of an image before a manifest names them. Returns those that are not as promised. Errors when the
/// user interrupts.
pub fn blobs_before_commit(
    expectations: &[Expectation],
    level: Level,
    asked: &QueriedRepository,
) -> Result<Vec<CheckedObject>> {
    let is_blob = |one: &&Expectation| matches!(one.place, Place::Blob { .. });
    let blobs: Vec<Expectation> = expectations.iter().filter(is_blob).cloned().collect();
    // Whether it is an image, the verification after the commit finds out.
    let claims = claims(&blobs, asked.remote, asked.memory).or_artifact();
    let mut checked = objects(&blobs, &claims, level, asked)?;
    checked.retain(|object| object.status != Status::Ok && !object.is_elsewhere);
    Ok(checked)
}

/// Returns what the config promises, as the registry serves it.
pub fn claims(
    expectations: &[Expectation],
    remote: &RepositoryReader,
    memory: &HashMemo,
) -> Claims {
    let config = expectations.iter().find_map(|one| match (one.role, &one.place, one.size) {
        (Role::Config, Place::Blob { digest }, Some(size)) => Some((*digest, size)),
        _ => None,
    });
    let Some((digest, size)) = config else { return Claims::default() };
    if let Some(bytes) = memory.recall_config(digest) {
        return Claims::of(&bytes);
    }
    let what = Descriptor { media_type: String::new(), digest, size };
    match remote.blob_bytes(&what, LARGEST_CONFIG) {
        Ok(bytes) => {
            memory.remember_config(digest, bytes.clone());
            memory.remember_size(digest, Some(size));
            memory.remember(&digest.to_string(), size, digest);
            Claims::of(&bytes)
        }
        Err(error) if error.kind() == Kind::Source && !is_about_size(&error) => {
            Claims::of_wrong(error)
        }
        Err(_) => Claims::default(),
    }
}

/// Returns the bytes that will be read.
fn due<'a>(each: impl Iterator<Item = &'a Expectation>, memory: &HashMemo) -> u64 {
    each.filter_map(|one| match (&one.place, one.size) {
        (Place::Blob { digest }, Some(size)) => {
            memory.recall(&digest.to_string(), 0, size).is_none().then_some(size)
        }
        _ => None,
    })
    .fold(0, u64::saturating_add)
}

/// A repository whose blobs and manifests are compared.
struct CheckedRepository<'a> {
    remote: &'a RepositoryReader,
    level: Level,
    memory: &'a HashMemo,
    context: &'a Context,
    claims: &'a Claims,
    named: Option<&'a str>,
}

impl Compare for CheckedRepository<'_> {
    fn location(&self, expectation: &Expectation) -> String {
        self.remote.display(&expectation.place.subject())
    }

    fn compare(&self, expectation: &Expectation, object: &mut CheckedObject) {
        match &expectation.place {
            Place::Blob { digest } => {
                let diff_id = self.claims.diff_id(expectation.role);
                let level = match self.remote.is_suspect(*digest) {
                    true => Level::Full,
                    false => self.level,
                };
                if self.is_proved(*digest, expectation.size, diff_id, level) {
                    return self.memory.remember_size(*digest, expectation.size);
                }
                self.check_blob(*digest, expectation.size, diff_id, level, object);
                self.note(*digest, expectation.size, diff_id, level, object);
            }
            Place::Manifest { reference } => self.check_manifest(reference, object),
            _ => object.misplaced(),
        }
    }
}

impl CheckedRepository<'_> {
    /// Returns whether this run has already verified the blob here, as thoroughly as now: for another image, or right
    /// after it was mounted.
    fn is_proved(
        &self,
        digest: Digest,
        expected: Option<u64>,
        diff_id: Option<Digest>,
        level: Level,
    ) -> bool {
        let Some(known) = self.remote.proved_blob(digest) else { return false };
        let is_enough = match level {
            Level::Fast => known.proof >= BlobProof::Seen,
            Level::Full => known.proof == BlobProof::Read && known.diff_id == diff_id,
        };
        is_enough && Some(known.size) == expected
    }

    /// Notes what was found of a blob, for the images of this run that have it too.
    fn note(
        &self,
        digest: Digest,
        expected: Option<u64>,
        diff_id: Option<Digest>,
        level: Level,
        object: &CheckedObject,
    ) {
        match expected.filter(|_| object.status == Status::Ok) {
            Some(size) => {
                let proof = match level {
                    Level::Fast => BlobProof::Seen,
                    Level::Full => BlobProof::Read,
                };
                self.remote.note_blob(digest, KnownBlob { size, proof, diff_id });
            }
            None => self.remote.forget_blob(digest),
        }
    }

    fn check_blob(
        &self,
        digest: Digest,
        expected: Option<u64>,
        diff_id: Option<Digest>,
        level: Level,
        object: &mut CheckedObject,
    ) {
        let known = self.memory.recall_size(digest);
        let size = match known.map_or_else(|| self.remote.find_blob(digest, expected), Ok) {
            Ok(size) => {
                self.memory.remember_size(digest, size);
                size
            }
            // Reading the whole blob shows more than the request for its end.
            Err(error) if level == Level::Full && error.is_unconfirmed() && expected.is_some() => {
                expected
            }
            Err(error) => return fail_unread(object, &error),
        };
        let Some(size) = size else {
            return object.fail(Status::Missing, Reason::NotAtRegistry);
        };
        if let Some(expected) = expected.filter(|expected| *expected != size) {
            return object.record(Flaw::size(expected, size));
        }
        if level == Level::Fast {
            return;
        }
        if let Some(diff_id) = diff_id {
            return self.check_layer(digest, size, diff_id, object);
        }
        let name = digest.to_string();
        let known = self.memory.recall(&name, 0, size);
        match known.map_or_else(|| self.remote.hash_blob(digest, size), Ok) {
            Ok(found) => {
                if known.is_none() {
                    self.memory.progress().add(size);
                }
                self.memory.remember(&name, size, found);
                if found != digest {
                    object.record(Flaw::content(digest, found));
                }
            }
            // The blob was there when its size was requested.
            Err(error) => fail_unread(object, &error),
        }
    }

    /// Checks a layer as it is stored and as it is uncompressed, in one download.
    fn check_layer(&self, digest: Digest, size: u64, diff_id: Digest, object: &mut CheckedObject) {
        // A layer that an image has twice has the same bytes.
        let name = digest.to_string();
        if self.memory.recall_unpacked(&name, 0, size) == Some(diff_id) {
            return;
        }
        let layer = StoredLayer { digest, size, diff_id, place: object.location.clone() };
        match self.remote.check_layer(layer, self.memory.progress(), self.context) {
            Ok(()) => {
                self.memory.remember(&name, size, digest);
                self.memory.remember_unpacked(&name, 0, size, diff_id);
            }
            Err(error) if is_about_size(&error) => fail_unread(object, &error),
            Err(error) => {
                let found = match Difference::of(&error) {
                    Some(Difference::Digest { expected, found }) if expected == Some(digest) => {
                        found
                    }
                    _ => None,
                };
                if error.kind() == Kind::Source {
                    self.memory.remember(&name, size, found.unwrap_or(digest));
                }
                match found {
                    Some(found) => object.record(Flaw::content(digest, found)),
                    None if error.difference().is_some() => {
                        object.fail_with(Status::DigestMismatch, &error);
                        object.host_only = true;
                    }
                    None => {
                        object.fail_with(Status::Unreadable, &error);
                        object.host_only = error.kind() == Kind::Source;
                    }
                }
            }
        }
    }

    /// Checks a manifest under the name that clients pull it by, with each kind of request that they make.
    fn check_manifest(&self, reference: &str, object: &mut CheckedObject) {
        let known = self.memory.recall_manifest(reference);
        let fetched = match known.map_or_else(|| self.remote.manifest(reference), Ok) {
            Ok(fetched) => fetched,
            Err(error) => return object.fail_with(status_of(&error), &error),
        };
        self.memory.remember_manifest(reference, fetched.clone());
        let Some(fetched) = fetched else {
            return object.fail(Status::Missing, Reason::NoManifest);
        };
        let found = fetched.manifest.digest;
        if let Some(expected) = object.digest.filter(|expected| *expected != found) {
            let flaw = Flaw::new(Status::DigestMismatch, Reason::OtherManifest);
            return object.record(flaw.between(Difference::digests(expected, found)));
        }
        if let Err(error) = self.check_clients(reference, &fetched) {
            object.fail_with(status_of(&error), &error);
            // A plugin only sees the bytes.
            object.host_only = true;
        }
    }

    /// Errors when a client of the registry does not get the manifest that a GET gives.
    fn check_clients(&self, reference: &str, fetched: &FetchedManifest) -> Result<()> {
        let is_listed = reference.parse::<Digest>().is_ok() && self.named != Some(reference);
        if is_listed {
            return self.remote.check_headers(reference, fetched);
        }
        if let Some(known) = self.memory.recall_resolved(reference) {
            return known;
        }
        // A registry answers alike for all tags of a repository: one of several tasks tests it, and the others wait.
        let agreement = self.remote.agreement();
        let mut agreed =
            agreement.as_ref().map(|known| known.lock().unwrap_or_else(PoisonError::into_inner));
        if agreed.as_deref() == Some(&true) {
            return self.remote.check_headers(reference, fetched);
        }
        let outcome = self.remote.check_resolved(reference, fetched);
        if let Some(agreed) = &mut agreed {
            **agreed = outcome.is_ok();
        }
        drop(agreed);
        self.memory.remember_resolved(reference, outcome.clone());
        outcome
    }
}

/// Returns the status of a manifest that an error is about.
fn status_of(error: &Error) -> Status {
    match error.difference() {
        Some((expected, _)) if Digest::of_side(expected).is_some() => Status::DigestMismatch,
        _ => Status::Unreadable,
    }
}

/// Returns whether an error names two sizes, and not two digests.
fn is_about_size(error: &Error) -> bool {
    error.difference().is_some_and(|(expected, _)| Digest::of_side(expected).is_none())
}

/// Records the error of a blob that cannot be read to its end, or not as the registry announces it.
fn fail_unread(object: &mut CheckedObject, error: &Error) {
    let status = match is_about_size(error) {
        true => Status::SizeMismatch,
        false => Status::Unreadable,
    };
    object.fail_with(status, error);
    if object.status == Status::SizeMismatch {
        object.hint = Some(Hint::DeleteFirst);
    }
}

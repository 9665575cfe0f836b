//! The host's own look at what a registry holds.
//!
//! What cannot be looked at, because the network or the login is gone, is *unchecked*; everything
//! else that is not as it must be is a finding.

use super::in_parallel::Places;
use crate::verdict::claims::Claims;
use crate::verdict::object::{CheckedObject, Status};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::config::LARGEST_CONFIG;
use occystrap_base::oci::{Descriptor, Digest};
use occystrap_images::level::Level;
use occystrap_layer::blob::checked;
use occystrap_layer::blob::open_one;
use occystrap_layer::image::{Content, Layer};
use occystrap_net::context::Context;
use occystrap_net::registry::{DELETE_FIRST, FetchedManifest};
use occystrap_output::destination::hash_memo::HashMemo;
use occystrap_output::destination::remote::BlockingRepository;
use occystrap_output::receipt::{Expectation, Place, Role};

/// A repository that is asked, and what is known of it.
pub struct Asked<'a> {
    /// The repository.
    pub remote: &'a BlockingRepository,
    /// What it has answered.
    pub memory: &'a HashMemo,
    /// What the work is done with.
    pub context: &'a Context,
    /// A digest that the user gave, so that clients resolve it. Of tags that is always so.
    pub named: Option<&'a str>,
}

/// Looks at everything, as many things side by side as the user wants, each once.
pub fn objects(
    expectations: &[Expectation],
    claims: &Claims,
    level: Level,
    asked: &Asked,
) -> Result<Vec<CheckedObject>> {
    let places = Places::of(expectations);
    let Asked { remote, memory, context, named } = *asked;
    if level == Level::Full {
        memory.progress().more(due(places.firsts(), memory));
    }
    let checker = Checker { remote, level, memory, context, claims, named };
    places.look(claims, context, |expectation| checker.check(expectation))
}

/// What the config says, as the registry gives it.
pub fn claims(
    expectations: &[Expectation],
    remote: &BlockingRepository,
    memory: &HashMemo,
) -> Claims {
    let config = expectations.iter().find_map(|one| match (one.role, &one.place, one.size) {
        (Role::Config, Place::Blob { digest }, Some(size)) => Some((*digest, size)),
        _ => None,
    });
    let Some((digest, size)) = config else { return Claims::default() };
    // One that was lost is not waited for; it is found where it is looked at.
    match remote.find_blob(digest, Some(size)) {
        Ok(found) => memory.remember_size(digest, found),
        Err(_) => return Claims::default(),
    }
    if memory.recall_size(digest) != Some(Some(size)) {
        return Claims::default();
    }
    let what = Descriptor { media_type: String::new(), digest, size };
    match remote.blob_bytes(&what, LARGEST_CONFIG) {
        Ok(bytes) => {
            memory.remember(&digest.to_string(), size, digest);
            Claims::of(&bytes)
        }
        Err(error) if error.kind() == Kind::Source => Claims::of_wrong(error),
        Err(_) => Claims::default(),
    }
}

/// Bytes that will be read.
fn due<'a>(each: impl Iterator<Item = &'a Expectation>, memory: &HashMemo) -> u64 {
    each.filter_map(|one| match (&one.place, one.size) {
        (Place::Blob { digest }, Some(size)) => {
            memory.recall(&digest.to_string(), 0, size).is_none().then_some(size)
        }
        _ => None,
    })
    .fold(0, u64::saturating_add)
}

struct Checker<'a> {
    remote: &'a BlockingRepository,
    level: Level,
    memory: &'a HashMemo,
    context: &'a Context,
    claims: &'a Claims,
    named: Option<&'a str>,
}

impl Checker<'_> {
    fn check(&self, expectation: &Expectation) -> CheckedObject {
        let location = self.remote.display(&expectation.place.subject());
        let mut object = CheckedObject::expected(expectation, location);
        match &expectation.place {
            Place::Blob { digest } => {
                let diff_id = self.claims.diff_id(expectation.role);
                self.check_blob(*digest, expectation.size, diff_id, &mut object);
            }
            Place::Manifest { reference } => self.check_manifest(reference, &mut object),
            _ => object.misplaced(),
        }
        object
    }

    fn check_blob(
        &self,
        digest: Digest,
        expected: Option<u64>,
        diff_id: Option<Digest>,
        object: &mut CheckedObject,
    ) {
        let known = self.memory.recall_size(digest);
        let size = match known.map_or_else(|| self.remote.find_blob(digest, expected), Ok) {
            Ok(size) => {
                self.memory.remember_size(digest, size);
                size
            }
            // Reading all of it says more than the look for its end.
            Err(error)
                if self.level == Level::Full && error.is_unconfirmed() && expected.is_some() =>
            {
                expected
            }
            Err(error) => return blame_unread(object, &error),
        };
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
                    let (expected, found) = (Some(name), Some(found.to_string()));
                    object.blame(Status::DigestMismatch, expected, found, "has other content");
                }
            }
            // Its head was there a moment ago.
            Err(error) => blame_unread(object, &error),
        }
    }

    /// A layer, as it is stored and as it is uncompressed, in one reading.
    fn check_layer(&self, digest: Digest, size: u64, diff_id: Digest, object: &mut CheckedObject) {
        // A layer that an image has twice holds the same.
        let name = digest.to_string();
        if self.memory.recall_unpacked(&name, 0, size) == Some(diff_id) {
            return;
        }
        let layer = Layer {
            diff_id,
            digest: Some(digest),
            size,
            media_type: String::new(),
            content: Content::Registry(self.remote.repository().strict()),
            place: object.location.clone(),
            opaque: false,
        };
        let opened = open_one(&layer, self.context).ok_or_else(Error::interrupted);
        let shown = opened.map(|stored| stored.showing(self.memory.progress()));
        match shown.and_then(|stored| checked(&layer, stored)) {
            Ok(()) => {
                self.memory.remember(&name, size, digest);
                self.memory.remember_unpacked(&name, 0, size, diff_id);
            }
            Err(error) if is_about_size(&error) => blame_unread(object, &error),
            Err(error) => {
                let stored = error
                    .difference()
                    .filter(|(expected, _)| Digest::of_side(expected) == Some(digest));
                let found = stored.and_then(|(_, found)| Digest::of_side(found));
                if error.kind() == Kind::Source {
                    self.memory.remember(&name, size, found.unwrap_or(digest));
                }
                match found {
                    Some(found) => object.blame(
                        Status::DigestMismatch,
                        Some(name),
                        Some(found.to_string()),
                        "has other content",
                    ),
                    None if error.difference().is_some() => {
                        object.blame_error(Status::DigestMismatch, &error);
                        object.host_only = true;
                    }
                    None => {
                        object.blame_error(Status::Unreadable, &error);
                        object.host_only = error.kind() == Kind::Source;
                    }
                }
            }
        }
    }

    /// Looks at a manifest by the name that clients pull it by, in each way in which they do.
    fn check_manifest(&self, reference: &str, object: &mut CheckedObject) {
        let known = self.memory.recall_manifest(reference);
        let fetched = match known.map_or_else(|| self.remote.manifest(reference), Ok) {
            Ok(fetched) => fetched,
            Err(error) => return object.blame_error(status_of(&error), &error),
        };
        self.memory.remember_manifest(reference, fetched.clone());
        let Some(fetched) = fetched else {
            let message = "the registry has no manifest of that name";
            return object.blame(Status::Missing, None, None, message);
        };
        let found = fetched.manifest.digest;
        if let Some(expected) = object.digest.filter(|expected| *expected != found) {
            let (expected, found) = (Some(expected.to_string()), Some(found.to_string()));
            return object.blame(Status::DigestMismatch, expected, found, "is another manifest");
        }
        if let Err(error) = self.check_clients(reference, &fetched) {
            object.blame_error(status_of(&error), &error);
            // A plugin sees the bytes alone.
            object.host_only = true;
        }
    }

    /// Errors when a client of the registry does not get the manifest that a GET gives.
    fn check_clients(&self, reference: &str, fetched: &FetchedManifest) -> Result<()> {
        let is_listed = reference.parse::<Digest>().is_ok() && self.named != Some(reference);
        if is_listed {
            return self.remote.repository().check_headers(reference, fetched);
        }
        if let Some(known) = self.memory.recall_resolved(reference) {
            return known;
        }
        let outcome = self.remote.check_resolved(reference, fetched);
        self.memory.remember_resolved(reference, outcome.clone());
        outcome
    }
}

/// The status of a manifest that an error is about.
fn status_of(error: &Error) -> Status {
    match error.difference() {
        Some((expected, _)) if expected.is_digest() => Status::DigestMismatch,
        _ => Status::Unreadable,
    }
}

/// Whether an error names two sizes, and not two digests.
fn is_about_size(error: &Error) -> bool {
    error.difference().is_some_and(|(expected, _)| !expected.is_digest())
}

/// A blob that cannot be read to its end, or not as the registry announces it.
fn blame_unread(object: &mut CheckedObject, error: &Error) {
    let status = match is_about_size(error) {
        true => Status::SizeMismatch,
        false => Status::Unreadable,
    };
    object.blame_error(status, error);
    if object.status == Status::SizeMismatch {
        object.hint = Some(DELETE_FIRST.to_owned());
    }
}

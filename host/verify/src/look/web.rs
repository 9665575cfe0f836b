//! The host's own look at what is on a web server.
//!
//! What cannot be looked at, because the network or the login is gone, is *unchecked*; everything
//! else that is not as it must be is a finding.

use std::io::BufRead as _;

use url::Url;

use super::in_parallel::Places;
use crate::verdict::claims::Claims;
use crate::verdict::object::{CheckedObject, Status};
use occystrap_base::error::{Error, Kind, Result, Side};
use occystrap_base::oci::Digest;
use occystrap_base::oci::config::LARGEST_CONFIG;
use occystrap_images::level::Level;
use occystrap_layer::blob::{Stored, from_io, unpacked};
use occystrap_net::context::Context;
use occystrap_output::destination::hash_memo::HashMemo;
use occystrap_output::destination::site::BlockingSite;
use occystrap_output::receipt::{Expectation, Place, Role};

/// Look at everything, as many things side by side as the user wants, each once.
pub fn objects(
    expectations: &[Expectation],
    claims: &Claims,
    site: &BlockingSite,
    level: Level,
    memory: &HashMemo,
    context: &Context,
) -> Result<Vec<CheckedObject>> {
    let places = Places::of(expectations);
    if level == Level::Full {
        let sizes = places.firsts().filter_map(|one| one.size);
        memory.progress().more(sizes.fold(0, u64::saturating_add));
    }
    let checker = Checker { site, level, memory, context, claims };
    places.look(claims, context, |expectation| checker.check(expectation))
}

/// What the config says, as the server gives it.
pub fn claims(expectations: &[Expectation], site: &BlockingSite, memory: &HashMemo) -> Claims {
    let config = expectations.iter().find(|one| one.role == Role::Config);
    let Some((place, size, digest)) = config.and_then(promised) else { return Claims::default() };
    let Some(url) = site.url_of(place).filter(|_| size <= LARGEST_CONFIG) else {
        return Claims::default();
    };
    match site.bytes(&url, size, digest) {
        Ok(bytes) => {
            memory.remember_content(url.as_str(), Some((size, digest)));
            Claims::of(&bytes)
        }
        // What is wrong with it is found where it is looked at.
        Err(_) => Claims::default(),
    }
}

fn promised(one: &Expectation) -> Option<(&str, u64, Digest)> {
    match &one.place {
        Place::File { path } => Some((path, one.size?, one.digest?)),
        _ => None,
    }
}

struct Checker<'a> {
    site: &'a BlockingSite,
    level: Level,
    memory: &'a HashMemo,
    context: &'a Context,
    claims: &'a Claims,
}

impl Checker<'_> {
    fn check(&self, one: &Expectation) -> CheckedObject {
        let location = self.site.display(&one.place.subject());
        let mut object = CheckedObject::expected(one, location);
        let Some((path, size, digest)) = promised(one) else {
            object.misplaced();
            return object;
        };
        let Some(url) = self.site.url_of(path) else {
            object.misplaced();
            return object;
        };
        match self.level {
            Level::Fast => self.check_size(&url, size, &mut object),
            // What comes decides, not what is said of it.
            Level::Full => self.check_content(&url, size, digest, one.role, &mut object),
        }
        object
    }

    fn check_size(&self, url: &Url, size: u64, object: &mut CheckedObject) {
        match self.site.stat(url) {
            Ok(None) => object.blame(Status::Missing, None, None, "the server does not have it"),
            Ok(Some(Some(found))) if found != size => {
                let side = |size: u64| Some(format!("{size} bytes"));
                object.blame(Status::SizeMismatch, side(size), side(found), "has another size");
            }
            Ok(Some(Some(_))) => {}
            Ok(Some(None)) => {
                let why = "the server does not say how large it is";
                object.blame(Status::Unchecked, None, None, why);
            }
            Err(error) => object.blame_error(Status::Unreadable, &error),
        }
    }

    /// Every byte: of a layer, as it is stored and as it is uncompressed, in one reading.
    fn check_content(
        &self,
        url: &Url,
        size: u64,
        digest: Digest,
        role: Role,
        object: &mut CheckedObject,
    ) {
        let diff_id = self.claims.diff_id(role);
        let known = self.memory.recall_content(url.as_str()) == Some(Some((size, digest)));
        match diff_id {
            None if known => return,
            Some(diff_id)
                if self.memory.recall_unpacked(url.as_str(), 0, size) == Some(diff_id) =>
            {
                return;
            }
            _ => {}
        }
        let outcome = match diff_id {
            Some(diff_id) => self.unpack(url, size, digest, diff_id, object),
            None => self.read(url, size, digest),
        };
        match outcome {
            Ok(()) => {
                self.memory.remember_content(url.as_str(), Some((size, digest)));
                if let Some(diff_id) = diff_id {
                    self.memory.remember_unpacked(url.as_str(), 0, size, diff_id);
                }
            }
            Err(error) => self.blame(&error, url, size, digest, object),
        }
    }

    fn read(&self, url: &Url, size: u64, digest: Digest) -> Result<()> {
        let mut reader = self.site.read(url, size, digest);
        loop {
            self.context.cancel.check()?;
            let piece = reader.fill_buf().map_err(|cause| from_io(cause, url.as_str()))?.len();
            if piece == 0 {
                return Ok(());
            }
            reader.consume(piece);
            self.memory.progress().add(piece as u64);
        }
    }

    fn unpack(
        &self,
        url: &Url,
        size: u64,
        digest: Digest,
        diff_id: Digest,
        object: &CheckedObject,
    ) -> Result<()> {
        let place = &object.location;
        let reader = Box::new(self.site.read(url, size, digest));
        let stored = Stored::stream(reader, place.clone(), &self.context.cancel);
        let found = unpacked(stored.showing(self.memory.progress()), place)?;
        match found == diff_id {
            true => Ok(()),
            false => {
                let what = format!("{place}: digest of the uncompressed layer (its diff-id)");
                Err(Error::mismatch(what, diff_id, found))
            }
        }
    }

    fn blame(
        &self,
        error: &Error,
        url: &Url,
        size: u64,
        digest: Digest,
        object: &mut CheckedObject,
    ) {
        if error.kind() == Kind::NotFound {
            self.memory.remember_content(url.as_str(), None);
        }
        if error.is_unconfirmed() || error.kind() == Kind::NotFound {
            return object.blame_error(Status::Unreadable, error);
        }
        match error.difference() {
            // Of the bytes themselves.
            Some((expected, found)) if Digest::of_side(expected) == Some(digest) => {
                if let Some(found) = Digest::of_side(found) {
                    self.memory.remember_content(url.as_str(), Some((size, found)));
                }
                let (expected, found) = (expected.to_string(), found.to_string());
                object.blame(
                    Status::DigestMismatch,
                    Some(expected),
                    Some(found),
                    "has other content",
                );
            }
            Some((expected, found)) if *expected == Side::Bytes(size) => {
                let (expected, found) = (expected.to_string(), found.to_string());
                object.blame(Status::SizeMismatch, Some(expected), Some(found), "has another size");
            }
            // Of what they unpack to.
            sides => {
                let status = match sides {
                    Some(_) => Status::DigestMismatch,
                    None => Status::Unreadable,
                };
                object.blame_error(status, error);
                object.host_only = error.kind() == Kind::Source;
            }
        }
    }
}

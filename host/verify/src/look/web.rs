//! Compares what a web server holds with expectations.
//!
//! An object that cannot be checked because of the network or the login is *unchecked*; any other difference is a flaw.

use std::io::BufRead as _;

use url::Url;

use super::checker::{Checker, Compare};
use crate::verdict::claims::Claims;
use crate::verdict::flaw::{Difference, Flaw, Reason, Status};
use crate::verdict::object::CheckedObject;
use occystrap_base::error::{Error, Kind, Result, Side};
use occystrap_base::oci::Digest;
use occystrap_base::oci::config::LARGEST_CONFIG;
use occystrap_images::level::Level;
use occystrap_layer::blob::{Stored, from_io, unpacked};
use occystrap_net::context::Context;
use occystrap_output::destination::hash_memo::HashMemo;
use occystrap_output::destination::site::SiteReader;
use occystrap_output::receipt::{Expectation, Place, Role};

/// Checks all expectations, as many in parallel as the user allows, each once.
pub fn objects(
    expectations: &[Expectation],
    claims: &Claims,
    site: &SiteReader,
    level: Level,
    memory: &HashMemo,
    context: &Context,
) -> Result<Vec<CheckedObject>> {
    let checker = Checker::of(expectations);
    if level == Level::Full {
        let sizes = checker.firsts().filter_map(|one| one.size);
        memory.progress().more(sizes.fold(0, u64::saturating_add));
    }
    let site = CheckedSite { site, level, memory, context, claims };
    checker.check(&site, claims, context)
}

/// Returns what the config promises, as the server serves it.
pub fn claims(expectations: &[Expectation], site: &SiteReader, memory: &HashMemo) -> Claims {
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
        // The check of the config finds its flaw.
        Err(_) => Claims::default(),
    }
}

fn promised(one: &Expectation) -> Option<(&str, u64, Digest)> {
    match &one.place {
        Place::File { path } => Some((path, one.size?, one.digest?)),
        _ => None,
    }
}

/// A web server whose files are compared.
struct CheckedSite<'a> {
    site: &'a SiteReader,
    level: Level,
    memory: &'a HashMemo,
    context: &'a Context,
    claims: &'a Claims,
}

impl Compare for CheckedSite<'_> {
    fn location(&self, one: &Expectation) -> String {
        self.site.display(&one.place.subject())
    }

    fn compare(&self, one: &Expectation, object: &mut CheckedObject) {
        let Some((path, size, digest)) = promised(one) else { return object.misplaced() };
        let Some(url) = self.site.url_of(path) else { return object.misplaced() };
        match self.level {
            Level::Fast => self.check_size(&url, size, object),
            // The bytes that arrive decide, not the headers.
            Level::Full => self.check_content(&url, size, digest, one.role, object),
        }
    }
}

impl CheckedSite<'_> {
    fn check_size(&self, url: &Url, size: u64, object: &mut CheckedObject) {
        match self.site.stat(url) {
            Ok(None) => object.fail(Status::Missing, Reason::NotOnServer),
            Ok(Some(Some(found))) if found != size => {
                object.record(Flaw::size(size, found));
            }
            Ok(Some(Some(_))) => {}
            Ok(Some(None)) => object.mark_unchecked(Reason::SizeNotSaid),
            Err(error) => object.fail_with(Status::Unreadable, &error),
        }
    }

    /// Checks every byte. A layer is checked as it is stored and as it is uncompressed, in one download.
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
            Err(error) => self.fail(&error, url, size, digest, object),
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

    fn fail(
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
            return object.fail_with(Status::Unreadable, error);
        }
        match (Difference::of(error), error.difference()) {
            // The stored bytes are other ones.
            (Some(Difference::Digest { expected: Some(expected), found: Some(found) }), _)
                if expected == digest =>
            {
                self.memory.remember_content(url.as_str(), Some((size, found)));
                object.record(Flaw::content(expected, found));
            }
            (Some(difference), Some((Side::Bytes(expected), _))) if *expected == size => {
                let flaw = Flaw::new(Status::SizeMismatch, Reason::OtherSize);
                object.record(flaw.between(difference));
            }
            // The unpacked bytes are other ones.
            (difference, _) => {
                let status = match difference {
                    Some(_) => Status::DigestMismatch,
                    None => Status::Unreadable,
                };
                object.fail_with(status, error);
                object.host_only = error.kind() == Kind::Source;
            }
        }
    }
}

//! Checks the images that an index lists. The receipt of an index promises only the index, and a name that stands for
//! an index is worth nothing without its images.

use std::collections::HashSet;

use super::format::DestinationFormat;
use super::manifest_chain;
use crate::derive::layout;
use crate::derive::registry;
use crate::derive::store::{ListedManifest, Store};
use crate::derive::tree;
use crate::verdict::document;
use crate::verdict::flaw::{Flaw, Reason, Status};
use crate::verdict::object::CheckedObject;

use crate::verdict::outcome::{Outcome, Outcomes};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::Descriptor;
use occystrap_images::level::Level;
use occystrap_images::source::content_store::parse_index;
use occystrap_net::context::Context;
use occystrap_output::destination::ReadAccess;
use occystrap_output::destination::hash_memo::HashMemo;
use occystrap_output::receipt::{Expectation, Receipt, Role};

/// Returns the store in which the host finds manifests by digest. `None` where only a plugin knows the places.
#[must_use]
pub fn store<'a>(
    format: &DestinationFormat,
    access: &'a ReadAccess,
    memory: &HashMemo,
    context: &'a Context,
) -> Option<Box<dyn Store + 'a>> {
    match access {
        ReadAccess::Repository(remote) => Some(Box::new(registry::store(remote, memory, context))),
        ReadAccess::Storage(destination) if matches!(format, DestinationFormat::Layout(_)) => {
            Some(Box::new(layout::store(destination, memory, context)))
        }
        _ => None,
    }
}

/// The check of what the index of a receipt lists.
pub struct Beneath<'a> {
    /// The receipt of the index.
    pub receipt: &'a Receipt,
    /// The destination.
    pub access: &'a ReadAccess,
    /// What was hashed and requested so far.
    pub memory: &'a HashMemo,
    /// The verdicts on manifests that were verified before.
    pub looked: &'a Outcomes,
}

impl Beneath<'_> {
    /// Checks the listed images and adds the findings to those about the receipt's own objects: whether the listed
    /// manifests are there, and at [`Level::Full`] everything that they lead to. Errors when the user interrupts, or a
    /// limit stops the store.
    pub fn check(
        &self,
        store: Option<&dyn Store>,
        level: Level,
        objects: &mut Vec<CheckedObject>,
    ) -> Result<()> {
        let (expectations, id) = (&self.receipt.expectations, self.receipt.image.id);
        let is = |one: &Expectation| one.role == Role::Manifest && one.digest == Some(id);
        let Some(at) = expectations.iter().position(is) else { return Ok(()) };
        let Some(object) = objects.get_mut(at).filter(|one| one.status == Status::Ok) else {
            return Ok(());
        };
        object.host_only = true;
        let Some((size, entries)) = self.entries(&expectations[at], object) else { return Ok(()) };
        let Some(store) = store else {
            if self.outcomes(&entries).filter(|one| *one == Outcome::Verified).count()
                < entries.len()
            {
                object.mark_unchecked(Reason::PlacesUnknown);
            }
            return Ok(());
        };
        let found = match level {
            Level::Fast => {
                if let Some(flaw) = tree::sum(entries.len(), self.outcomes(&entries)) {
                    object.record(flaw);
                }
                Ok(entries.iter().filter_map(|entry| absent(store, entry)).collect())
            }
            Level::Full => self.walk(store, size, object),
        };
        match found {
            Ok(found) => add(found, objects),
            Err(error) if matches!(error.kind(), Kind::Interrupted | Kind::Plugin) => {
                return Err(error);
            }
            Err(error) => object.fail_with(Status::Unreadable, &error),
        }
        Ok(())
    }

    /// Returns the size of the index and its entries. `None` where they cannot be read, which is recorded in `object`.
    fn entries(
        &self,
        index: &Expectation,
        object: &mut CheckedObject,
    ) -> Option<(u64, Vec<ListedManifest>)> {
        let Some((_, bytes)) = manifest_chain::document(index, self.access, self.memory) else {
            object.mark_unchecked(Reason::ChangedMeanwhile);
            return None;
        };
        if let Some(flaw) = document::check(&bytes) {
            object.record_if_ok(flaw);
            return None;
        }
        let place = &object.location;
        let entries: Result<Vec<ListedManifest>> = parse_index(&bytes, place).and_then(|index| {
            if index.schema_version.is_none() && index.manifests.is_empty() {
                return Err(Error::source("has no field of an index"));
            }
            index.manifests.iter().map(|entry| ListedManifest::entry(entry, place)).collect()
        });
        let is_moved = |entry: &ListedManifest| {
            let left_out = &self.receipt.image.left_out;
            !entry.promised.as_ref().is_some_and(|known| left_out.contains(&known.digest))
        };
        let entries = entries.map(|all| all.into_iter().filter(is_moved).collect::<Vec<_>>());
        match entries {
            Ok(entries) if entries.is_empty() => object.mark_unchecked(Reason::Empty),
            Ok(entries) => return Some((bytes.len() as u64, entries)),
            Err(_) => object.fail(Status::Unreadable, Reason::NotAnIndex),
        }
        None
    }

    /// Returns the verdicts on the entries with receipts of their own.
    fn outcomes(&self, entries: &[ListedManifest]) -> impl Iterator<Item = Outcome> {
        let promised = entries.iter().filter_map(|entry| entry.promised.as_ref());
        promised.filter_map(|known| self.looked.get(&known.digest).copied())
    }

    /// Checks everything that the index leads to. A flaw of the index itself is recorded in `object`.
    fn walk(
        &self,
        store: &dyn Store,
        size: u64,
        object: &mut CheckedObject,
    ) -> Result<Vec<CheckedObject>> {
        let digest = self.receipt.image.id;
        let promised = Some(Descriptor { media_type: String::new(), digest, size });
        let root = ListedManifest { reference: digest.to_string(), promised, platform: None };
        let (name, looked) = (self.receipt.image.image_name(), self.looked);
        let left_out = self.receipt.image.left_out.iter().copied().collect();
        let mut found =
            tree::verify_without(store, root, &name, &[], Level::Full, looked, &left_out)?;
        let itself = found.pop().and_then(|found| found.verification.objects.into_iter().next());
        if let Some(itself) = itself.filter(|itself| itself.status != Status::Ok) {
            object.status = itself.status;
            (object.reason, object.difference) = (itself.reason, itself.difference);
        }
        Ok(found.into_iter().flat_map(|image| image.verification.objects).collect())
    }
}

/// Adds findings. An object without a flaw is added once for each location.
fn add(found: Vec<CheckedObject>, objects: &mut Vec<CheckedObject>) {
    let mut known: HashSet<String> = objects.iter().map(|object| object.location.clone()).collect();
    for mut object in found {
        let is_new = known.insert(object.location.clone());
        if object.status != Status::Ok || is_new {
            object.host_only = true;
            objects.push(object);
        }
    }
}

/// Returns the finding about a manifest that is not there, or not as the index says.
fn absent(store: &dyn Store, what: &ListedManifest) -> Option<CheckedObject> {
    let flaw = match store.manifest(what) {
        Ok(Some(_)) => Flaw::of_error(Status::Unreadable, &store.refused(what)?),
        Ok(None) => Flaw::new(Status::Missing, Reason::NotThere),
        Err(error) if error.difference().is_some() => {
            Flaw::of_error(Status::DigestMismatch, &error)
        }
        Err(error) => Flaw::of_error(Status::Unreadable, &error),
    };
    let mut object = CheckedObject::at(store.display(what)).for_role(Role::Manifest);
    object.record(flaw);
    Some(object)
}

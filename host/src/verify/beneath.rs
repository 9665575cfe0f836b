//! What an index leads to. A receipt of one promises the index alone: without what it lists, a name
//! that stands for it stands for nothing.

use std::collections::{BTreeSet, HashSet};

use super::Level;
use super::format::Format;
use super::layout;
use super::object::{Object, Status};
use super::published;
use super::reader;
use super::tree::{self, Listed, Shelf};
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::image::{Descriptor, Digest};
use crate::input::shelf::parse_index;
use crate::memory::Memory;
use crate::output::Grant;
use crate::receipt::{Receipt, Role};

/// How far to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What it lists is there.
    Listed,
    /// So is everything that this lists, as far as a level goes.
    All(Level),
}

/// Where the host looks for what has a digest; `None` where only a plugin knows.
#[must_use]
pub fn shelf<'a>(
    format: &Format,
    grant: &'a Grant,
    memory: &Memory,
    context: &'a Context,
) -> Option<Box<dyn Shelf + 'a>> {
    match grant {
        Grant::Repository(remote) => Some(Box::new(published::shelf(remote, memory, context))),
        Grant::Storage(destination) if matches!(format, Format::Layout(_)) => {
            Some(Box::new(layout::shelf(destination, memory, context)))
        }
        _ => None,
    }
}

/// A look at what a receipt's index lists.
pub struct Beneath<'a> {
    /// Of an index.
    pub receipt: &'a Receipt,
    /// Where it is.
    pub grant: &'a Grant,
    /// What was seen of it.
    pub memory: &'a Memory,
    /// Manifests that were looked at already, with all that they list, and are right.
    pub verified: &'a BTreeSet<Digest>,
}

impl Beneath<'_> {
    /// Look, and add what was found to what is known of the receipt's own things. Errors where the
    /// user interrupts, or the shelf gives up.
    pub fn judge(
        &self,
        shelf: Option<&dyn Shelf>,
        depth: Depth,
        objects: &mut Vec<Object>,
    ) -> Result<()> {
        let (expectations, id) = (&self.receipt.expectations, self.receipt.image.id);
        let is = |one: &crate::receipt::Expectation| {
            one.role == Role::Manifest && one.digest == Some(id)
        };
        let Some(at) = expectations.iter().position(is) else { return Ok(()) };
        let Some(object) = objects.get_mut(at).filter(|one| one.status == Status::Ok) else {
            return Ok(());
        };
        object.host_only = true;
        let Some((_, bytes)) = reader::document(&expectations[at], self.grant, self.memory) else {
            object.blame(Status::Unchecked, None, None, "changed while it was looked at");
            return Ok(());
        };
        let place = object.location.clone();
        let entries = parse_index(&bytes, &place).and_then(|index| {
            index.manifests().iter().map(|entry| Listed::entry(entry, &place)).collect()
        });
        let entries: Vec<Listed> = match entries {
            Ok(entries) => entries,
            Err(_) => {
                object.blame(Status::Unreadable, None, None, "is not an index of images");
                return Ok(());
            }
        };
        if entries.is_empty() {
            object.blame(Status::Unchecked, None, None, "lists no image");
            return Ok(());
        }
        let known = |entry: &Listed| {
            entry.promised.as_ref().is_some_and(|known| self.verified.contains(&known.digest))
        };
        if entries.iter().all(known) {
            return Ok(());
        }
        let Some(shelf) = shelf else {
            let why = "where the images are that it lists, only the plugin knows";
            object.blame(Status::Unchecked, None, None, why);
            return Ok(());
        };
        let found = match depth {
            Depth::Listed => Ok(entries.iter().filter_map(|entry| absent(shelf, entry)).collect()),
            Depth::All(level) => {
                let size = bytes.len() as u64;
                let promised = Descriptor { media_type: String::new(), digest: id, size };
                let root =
                    Listed { reference: id.to_string(), promised: Some(promised), platform: None };
                self.walk(shelf, root, level)
            }
        };
        let found: Vec<Object> = match found {
            Ok(found) => found,
            Err(error) if matches!(error.kind(), Kind::Interrupted | Kind::Plugin) => {
                return Err(error);
            }
            Err(error) => {
                object.blame_error(Status::Unreadable, &error);
                return Ok(());
            }
        };
        // At another level somebody else tells of what is right.
        let all = depth == Depth::All(Level::Full);
        let mut told: HashSet<String> =
            objects.iter().map(|object| object.location.clone()).collect();
        for mut object in found {
            let is_ok = object.status == Status::Ok;
            let is_new = told.insert(object.location.clone());
            if is_ok && !(all && is_new) {
                continue;
            }
            object.host_only = true;
            objects.push(object);
        }
        Ok(())
    }

    fn walk(&self, shelf: &dyn Shelf, root: Listed, level: Level) -> Result<Vec<Object>> {
        let found = tree::verify(shelf, root, &self.receipt.image.image_name(), &[], level)?;
        Ok(found.into_iter().flat_map(|image| image.verification.objects).collect())
    }
}

/// A finding about a manifest that is not there, or not as the index says.
fn absent(shelf: &dyn Shelf, what: &Listed) -> Option<Object> {
    let blame = |status: Status, error: Option<&Error>| {
        let mut object = Object::at(shelf.display(what)).for_role(Role::Manifest);
        match error {
            Some(error) => object.blame_error(status, error),
            None => object.blame(status, None, None, "is not there"),
        }
        Some(object)
    };
    match shelf.manifest(what) {
        Ok(Some(_)) => None,
        Ok(None) => blame(Status::Missing, None),
        Err(error) if error.sides().is_some() => blame(Status::DigestMismatch, Some(&error)),
        Err(error) => blame(Status::Unreadable, Some(&error)),
    }
}

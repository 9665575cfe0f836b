//! The chain of an image in `docker save` form: the digest of the config is its name, and the config has the diff-ids of
//! the layers.
//!
//! Sizes are not recorded there (`tar_length` reads them from the layers), and headers of an archive have no digest: only
//! a receipt covers them.

use bytes::Bytes;

use crate::look::files::Files;
use crate::look::{check, tar_length, unpacked};
use crate::verdict::claims::Claims;
use crate::verdict::document;
use crate::verdict::flaw::{Flaw, Reason, Status};
use crate::verdict::found::Found;
use crate::verdict::object::{CheckedObject, Verification};
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::{Compression, Digest, ImageName, PlatformPart, config, reading};
use occystrap_images::level::Level;
use occystrap_images::source::docker_save::{self, SavedEntry};
use occystrap_images::source::members::{ArchiveMembers, cleaned, compression};
use occystrap_net::context::Context;
use occystrap_output::destination::hash_memo::HashMemo;
use occystrap_output::receipt::{Expectation, Place, Role};

/// Expectations, and the flaws that are known before anything is compared.
pub(super) struct Chain<'a> {
    members: &'a dyn ArchiveMembers,
    level: Level,
    context: &'a Context,
    expectations: Vec<Expectation>,
    /// The index of an expectation, and its flaw.
    flaws: Vec<(usize, Flaw)>,
    /// What the config promises about the layers.
    claims: Claims,
    id: Option<Digest>,
    bytes: u64,
}

impl<'a> Chain<'a> {
    /// Follows an entry of the list to its layers. `place` returns the place of a member. Errors when the user interrupts.
    pub(super) fn of(
        members: &'a dyn ArchiveMembers,
        entry: &SavedEntry,
        place: impl Fn(&str) -> Place,
        level: Level,
        context: &'a Context,
    ) -> Result<Self> {
        let (expectations, flaws, claims) = (Vec::new(), Vec::new(), Claims::default());
        let (id, bytes) = (None, 0);
        let mut chain = Self { members, level, context, expectations, flaws, claims, id, bytes };
        chain.claims = Claims::of_layers(chain.config(entry, place(&cleaned(entry.config()))));
        for (index, layer) in entry.layers().iter().enumerate() {
            chain.layer(index, layer, place(&cleaned(layer)))?;
        }
        Ok(chain)
    }

    pub(super) fn expect(
        &mut self,
        role: Role,
        place: Place,
        size: Option<u64>,
        digest: Option<Digest>,
    ) {
        self.expectations.push(Expectation { role, place, size, digest });
    }

    /// Returns the image ID that the name of the config promises, or that the config has. `None` where it cannot be read.
    pub(super) fn id(&self) -> Option<Digest> {
        self.id
    }

    /// Records what is known of the last expectation.
    fn fail(&mut self, status: Status, reason: Reason) {
        self.flaw(Flaw::new(status, reason));
    }

    /// Records an error about the last expectation. Its text is reported whole.
    pub(super) fn quote(&mut self, status: Status, error: Error) {
        self.fail(status, Reason::Quoted(error));
    }

    /// Records a flaw of the last expectation.
    pub(super) fn flaw(&mut self, flaw: Flaw) {
        self.flaws.push((self.expectations.len() - 1, flaw));
    }

    /// Returns the diff-ids that the config lists.
    fn config(&mut self, entry: &SavedEntry, place: Place) -> Vec<Digest> {
        let promised = docker_save::promised(entry.config());
        let limit = config::LARGEST_CONFIG;
        let bytes = match self.members.require_bytes(entry.config(), "config", limit) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.expect(Role::Config, place, None, promised);
                self.quote(absent_or(self.members, entry.config()), error);
                return Vec::new();
            }
        };
        let (size, id) = (bytes.len() as u64, Digest::of(&bytes));
        (self.id, self.bytes) = (promised.or(Some(id)), size);
        let rewritten =
            promised.is_some_and(|expected| expected != id) && docker_save::is_rewritten(&bytes);
        self.expect(Role::Config, place, Some(size), promised.filter(|_| !rewritten));
        if rewritten {
            self.fail(Status::Unchecked, Reason::Rewritten);
        } else if promised.is_none() {
            self.fail(Status::Unchecked, Reason::NoDigest);
        }
        self.diff_ids(&bytes, entry.layers().len())
    }

    fn diff_ids(&mut self, config: &Bytes, listed: usize) -> Vec<Digest> {
        let parsed = match config::parse_as_clients(config, self.members.place()) {
            Ok(parsed) => parsed,
            Err(error) => {
                match reading::config(config) {
                    Ok(()) => self.flaw(document::check_config(config, &error)),
                    Err(why) => {
                        let why = why.to_string();
                        self.fail(Status::Unreadable, Reason::TwoReadings { why });
                    }
                }
                return Vec::new();
            }
        };
        if let Some(flaw) = document::check(config) {
            self.flaw(flaw);
        }
        let said = parsed.diff_ids.len();
        if said != listed {
            let reason = Reason::LayersListed { config: said, manifest: listed };
            self.fail(Status::DigestMismatch, reason);
        }
        parsed.diff_ids
    }

    fn layer(&mut self, index: usize, name: &str, place: Place) -> Result<()> {
        let role = Role::Layer(u32::try_from(index).unwrap_or(u32::MAX));
        let diff_id = self.claims.diff_id(role);
        let section = match self.members.require(name, "layer") {
            Ok(section) => section,
            Err(error) => {
                self.expect(role, place, None, diff_id);
                self.quote(absent_or(self.members, name), error);
                return Ok(());
            }
        };
        self.bytes += section.size;
        let plain = matches!(compression(&section, name), Ok(Compression::None));
        let named = docker_save::promised(name).filter(|_| name.starts_with("blobs/"));
        let digest = if plain { diff_id } else { named };
        self.expect(role, place, Some(section.size), digest);
        if section.size == 0 && diff_id.is_some_and(|id| id != Digest::of(b"")) {
            self.fail(Status::SizeMismatch, Reason::EmptyLayer);
        } else if digest.or(diff_id).is_none() {
            self.fail(Status::Unchecked, Reason::ContentUnknown);
        } else if plain && self.level == Level::Fast {
            if let Some(flaw) = tar_length::check(&section, &self.context.cancel)? {
                self.flaw(flaw);
            }
        } else if self.level == Level::Fast {
            self.fail(Status::Unchecked, Reason::SizeUnknown);
        }
        Ok(())
    }

    /// Checks everything. Errors when the user interrupts.
    pub(super) fn verify(
        self,
        name: ImageName,
        entry: &SavedEntry,
        files: &dyn Files,
    ) -> Result<Found> {
        let (level, cancel) = (self.level, &self.context.cancel);
        let memory = HashMemo::showing(&self.context.progress);
        let wrong = match level {
            Level::Fast => Vec::new(),
            Level::Full => {
                unpacked::layers(&self.expectations, &self.claims, files, &memory, cancel)?
            }
        };
        let mut objects = check::objects(&self.expectations, &[], files, level, &memory, cancel)?;
        unpacked::record(wrong, &mut objects);
        for (index, flaw) in self.flaws {
            // A file that is not there has no other flaw.
            let known = |object: &&mut CheckedObject| {
                object.status.is_bad() && flaw.status != Status::Missing
            };
            if let Some(object) = objects.get_mut(index).filter(|object| !known(object)) {
                object.replace(flaw);
            }
        }
        Ok(Found {
            name,
            part: PlatformPart::Whole,
            platform: None,
            layers: entry.layers().len(),
            bytes: self.bytes,
            verification: Verification::new(level, objects),
        })
    }
}

/// Returns the status of a file that could not be read: *missing*, or *unreadable* where it is there.
pub(super) fn absent_or(members: &dyn ArchiveMembers, name: &str) -> Status {
    match members.section(&cleaned(name)) {
        Ok(None) => Status::Missing,
        _ => Status::Unreadable,
    }
}

//! The chain of an image in `docker save` form: the config's digest is its name, the diff-ids of the
//! layers are in the config.
//!
//! Sizes are not recorded there (`extent` asks the layers themselves), and headers of an archive
//! have no digest: only a receipt covers them.

use bytes::Bytes;

use crate::look::document::Flaw;
use crate::look::files::Files;
use crate::look::{check, tar_length, unpacked};
use crate::verdict::claims::Claims;
use crate::verdict::found::Found;
use crate::verdict::object::{CheckedObject, Status, Verification};
use occystrap_base::error::Result;
use occystrap_base::oci::{Compression, Digest, ImageName, Part, config, reading};
use occystrap_images::level::Level;
use occystrap_images::source::docker_save::{self, SavedEntry};
use occystrap_images::source::members::{Members, cleaned, compression};
use occystrap_net::context::Context;
use occystrap_output::destination::hash_memo::HashMemo;
use occystrap_output::receipt::{Expectation, Place, Role};

/// Expectations, and what is known about some of them before anyone looks.
pub(super) struct Chain<'a> {
    members: &'a dyn Members,
    level: Level,
    context: &'a Context,
    expectations: Vec<Expectation>,
    /// Which expectation, and what is said of it.
    verdicts: Vec<(usize, Flaw)>,
    /// What the config says of the layers.
    claims: Claims,
    id: Option<Digest>,
    bytes: u64,
}

impl<'a> Chain<'a> {
    /// From an entry of the list to its layers. `place` is where a member is. Errors when the user
    /// interrupts.
    pub(super) fn of(
        members: &'a dyn Members,
        entry: &SavedEntry,
        place: impl Fn(&str) -> Place,
        level: Level,
        context: &'a Context,
    ) -> Result<Self> {
        let (expectations, verdicts, claims) = (Vec::new(), Vec::new(), Claims::default());
        let (id, bytes) = (None, 0);
        let mut chain = Self { members, level, context, expectations, verdicts, claims, id, bytes };
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

    /// The image ID that the config's name promises, or that it has; `None` where it cannot be read.
    pub(super) fn id(&self) -> Option<Digest> {
        self.id
    }

    /// Something is known of the last expectation.
    pub(super) fn doubt(&mut self, status: Status, why: &str) {
        self.flaw(Flaw::new(status, why));
    }

    /// The same, with both sides where it has them.
    pub(super) fn flaw(&mut self, flaw: Flaw) {
        self.verdicts.push((self.expectations.len() - 1, flaw));
    }

    /// Returns what the config says of the layers.
    fn config(&mut self, entry: &SavedEntry, place: Place) -> Vec<Digest> {
        let promised = docker_save::promised(entry.config());
        let limit = config::LARGEST_CONFIG;
        let bytes = match self.members.require_bytes(entry.config(), "config", limit) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.expect(Role::Config, place, None, promised);
                self.doubt(absent_or(self.members, entry.config()), &error.to_string());
                return Vec::new();
            }
        };
        let (size, id) = (bytes.len() as u64, Digest::of(&bytes));
        (self.id, self.bytes) = (promised.or(Some(id)), size);
        let rewritten =
            promised.is_some_and(|expected| expected != id) && docker_save::is_rewritten(&bytes);
        self.expect(Role::Config, place, Some(size), promised.filter(|_| !rewritten));
        if rewritten {
            self.doubt(Status::Unchecked, docker_save::REWRITTEN);
        } else if promised.is_none() {
            self.doubt(Status::Unchecked, "its name promises no digest");
        }
        self.diff_ids(&bytes, entry.layers().len())
    }

    fn diff_ids(&mut self, config: &Bytes, listed: usize) -> Vec<Digest> {
        let parsed = match config::parse_as_clients(config, self.members.place()) {
            Ok(parsed) => parsed,
            Err(error) => {
                match reading::config(config) {
                    Ok(()) => self.flaw(Flaw::of_config(config, &error)),
                    Err(why) => {
                        self.doubt(Status::Unreadable, &format!("can be read in two ways: {why}"));
                    }
                }
                return Vec::new();
            }
        };
        if let Some(flaw) = Flaw::of(config) {
            self.flaw(flaw);
        }
        let said = parsed.diff_ids.len();
        if said != listed {
            let why = format!("lists {said} layers, the manifest {listed}");
            self.doubt(Status::DigestMismatch, &why);
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
                self.doubt(absent_or(self.members, name), &error.to_string());
                return Ok(());
            }
        };
        self.bytes += section.size;
        let plain = matches!(compression(&section, name), Ok(Compression::None));
        let named = docker_save::promised(name).filter(|_| name.starts_with("blobs/"));
        let digest = if plain { diff_id } else { named };
        self.expect(role, place, Some(section.size), digest);
        if section.size == 0 && diff_id.is_some_and(|id| id != Digest::of(b"")) {
            self.doubt(Status::SizeMismatch, "is empty");
        } else if digest.or(diff_id).is_none() {
            let why = "what it must hold is not known: the config cannot be read";
            self.doubt(Status::Unchecked, why);
        } else if plain && self.level == Level::Fast {
            if let Some((status, why)) = tar_length::doubt(&section, &self.context.cancel)? {
                self.doubt(status, &why);
            }
        } else if self.level == Level::Fast {
            let why = "how large it must be is not recorded; a full verification reads it";
            self.doubt(Status::Unchecked, why);
        }
        Ok(())
    }

    /// Look at everything. Errors when the user interrupts.
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
        unpacked::judge(wrong, &mut objects);
        for (index, flaw) in self.verdicts {
            // Of what is not there, nothing else can be said.
            let known = |object: &&mut CheckedObject| object.status.is_bad() && !flaw.is_absence();
            if let Some(object) = objects.get_mut(index).filter(|object| !known(object)) {
                flaw.blame(object);
            }
        }
        Ok(Found {
            name,
            part: Part::Whole,
            platform: None,
            layers: entry.layers().len(),
            bytes: self.bytes,
            verification: Verification::new(level, objects),
        })
    }
}

/// What to say of a file that could not be read: that it is not there, or the other thing.
pub(super) fn absent_or(members: &dyn Members, name: &str) -> Status {
    match members.section(&cleaned(name)) {
        Ok(None) => Status::Missing,
        _ => Status::Unreadable,
    }
}

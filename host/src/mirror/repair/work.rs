//! What all parts of a repair share: the ledger, the services, the sources of FILE, and what became of what was bad.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::super::place::Places;
use super::super::services::Services;
use super::super::verify::DAMAGED;
use occystrap_base::error::{Error, Result};
use occystrap_mirror::expand::{MirrorItem, MirrorSource};
use occystrap_mirror::ledger::Ledger;
use occystrap_mirror::ledger::holding::{BlobCheck, LedgerBlob};
use occystrap_mirror::ledger::record::{ItemCheck, ItemError, ItemObject, LedgerItem, RunId};
use occystrap_net::registry::Reference;
use occystrap_verify::receipt::plugins::Plugins;

/// Class of the error of an object that its registry keeps damaged.
const KEPT_DAMAGED: &str = "kept-damaged";

/// Receiver of the events of a repair.
pub trait RepairEvents: Sync {
    /// An object was sent again, read back, and is right.
    fn repaired(&self, place: &str);
    /// An object was read, and is right already.
    fn right(&self, place: &str);
    /// An object is still bad: the registry keeps the damaged bytes.
    fn kept(&self, place: &str, found: &str, hint: &str);
    /// An object is still bad: it could not be sent again or read.
    fn failed(&self, place: &str, why: &Error);
}

/// Counts of a repair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct RepairCounts {
    /// Sent again, read back, and right.
    pub repaired: u64,
    /// Right before anything was sent.
    pub right: u64,
    /// Still bad: the registry keeps the damaged bytes.
    pub kept_damaged: u64,
    /// Still bad for another reason.
    pub failed: u64,
}

/// A repair that has ended.
pub struct EndedRepair {
    /// Its number.
    pub run: RunId,
    /// What became of what was bad.
    pub counts: RepairCounts,
    /// Whether the user stopped it.
    pub is_interrupted: bool,
    /// How long it took.
    pub took: Duration,
}

impl EndedRepair {
    /// Returns the last line.
    #[must_use]
    pub fn line(&self) -> String {
        let RepairCounts { repaired, right, kept_damaged, failed } = self.counts;
        let mut parts = vec![format!("{repaired} repaired")];
        let mut add = |count: u64, what: &str| {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        };
        add(right, "right already");
        add(kept_damaged, "KEPT DAMAGED");
        add(failed, "FAILED");
        format!("Repair: {} in {:.1}s", parts.join(", "), self.took.as_secs_f64())
    }

    /// Returns the exit code: 130 for an interruption, 1 while something is bad.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.is_interrupted {
            true => Error::interrupted().exit_code(),
            false => u8::from(self.counts.kept_damaged + self.counts.failed > 0),
        }
    }
}

/// A repair in work.
pub struct Repair<'r, L> {
    /// The ledger.
    pub ledger: &'r L,
    /// What all runs share.
    pub services: &'r Services<'r>,
    /// Repositories of registries.
    pub places: Places<'r, L>,
    /// Plugins that read what they wrote.
    pub plugins: Plugins<'r>,
    /// The number of the run.
    pub run: RunId,
    sources: &'r [MirrorSource<'r>],
    again: &'r str,
    events: &'r dyn RepairEvents,
    counts: Mutex<RepairCounts>,
}

impl<'r, L: Ledger> Repair<'r, L> {
    /// Creates a repair for a run of the ledger.
    pub fn new(
        ledger: &'r L,
        services: &'r Services<'r>,
        sources: &'r [MirrorSource<'r>],
        again: &'r str,
        events: &'r dyn RepairEvents,
        run: RunId,
    ) -> Self {
        let places = Places::new(ledger, services);
        let plugins = Plugins::new(&services.catalog);
        let counts = Mutex::default();
        Self { ledger, services, places, plugins, run, sources, again, events, counts }
    }

    /// Returns the counts so far.
    pub fn counts(&self) -> MutexGuard<'_, RepairCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the image of FILE for an item of the ledger.
    pub fn of_file(&self, item: &LedgerItem) -> Option<MirrorItem<'_>> {
        let reference = Reference::parse(&item.source).ok()?;
        let is_of = |source: &&MirrorSource<'_>| {
            source.reference.host == reference.host
                && source.reference.repository == reference.repository
        };
        let made = self.sources.iter().filter(is_of).filter_map(|source| match source.rules {
            Some(_) => source.item(reference.tag.as_deref()).ok(),
            None => source.item(None).ok(),
        });
        let mut fitting = made.filter(|made| made.destination.name == item.destination);
        fitting.next()
    }

    /// Notes that an object is right: `is_sent` says that it was sent again.
    pub fn right(&self, place: &str, is_sent: bool) {
        match is_sent {
            true => {
                self.counts().repaired += 1;
                self.events.repaired(place);
            }
            false => {
                self.counts().right += 1;
                self.events.right(place);
            }
        }
    }

    /// Records that a registry keeps a damaged blob. `files` are what its operator must remove.
    pub fn keep_blob(
        &self,
        blob: &LedgerBlob,
        place: &str,
        found: &str,
        files: &[String],
    ) -> Result<()> {
        self.counts().kept_damaged += 1;
        self.events.kept(place, found, &self.remove_first(files));
        let bad = BlobCheck::Bad(format!("{KEPT_DAMAGED}: {found}"));
        self.ledger.record_blob(self.run, &blob.host, &blob.digest, &bad)?;
        Ok(())
    }

    /// Leaves a blob bad, because it could not be sent or read.
    pub fn leave_blob(&self, blob: &LedgerBlob, place: &str, why: &Error) -> Result<()> {
        self.counts().failed += 1;
        self.events.failed(place, why);
        self.ledger.record_blob(self.run, &blob.host, &blob.digest, &BlobCheck::Unchecked)?;
        Ok(())
    }

    /// Records that a destination keeps a damaged image. `files` are what its operator must remove.
    pub fn keep_image(
        &self,
        item: &LedgerItem,
        found: &str,
        files: &[String],
        mut objects: Vec<ItemObject>,
    ) -> Result<()> {
        for object in &mut objects {
            KEPT_DAMAGED.clone_into(&mut object.status);
        }
        let hint = match files {
            [] => format!("remove it at the destination, then run: {}", self.again),
            _ => self.remove_first(files),
        };
        let error = ItemError {
            class: KEPT_DAMAGED.to_owned(),
            message: found.to_owned(),
            hint: Some(hint.clone()),
        };
        self.ledger.record_item(self.run, item.id, &ItemCheck::Bad { error, objects })?;
        self.counts().kept_damaged += 1;
        self.events.kept(&item.destination, found, &hint);
        Ok(())
    }

    /// Records that an image could not be sent or read.
    pub fn leave_image(&self, item: &LedgerItem, why: &Error) -> Result<()> {
        let error = ItemError {
            class: DAMAGED.to_owned(),
            message: why.to_string(),
            hint: why.hint_text().map(str::to_owned),
        };
        let objects = self.ledger.objects(item.id)?;
        self.ledger.record_item(self.run, item.id, &ItemCheck::Bad { error, objects })?;
        self.counts().failed += 1;
        self.events.failed(&item.destination, why);
        Ok(())
    }

    /// Returns what the operator of a registry must do.
    fn remove_first(&self, files: &[String]) -> String {
        format!(
            "remove {} from the storage of the registry, restart it if it caches, then run: {}",
            files.join(" and "),
            self.again
        )
    }
}

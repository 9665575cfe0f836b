//! The report of a run: for programs, for CI, for monitoring, and for people.
//!
//! It is made from the ledger alone, at any time, so that `mirror report` says what the run itself said. Items are read in
//! pages: the memory of a report does not depend on the number of images.
//!
//! | module | format |
//! | --- | --- |
//! | `json` | one document |
//! | `junit` | a test case for each image |
//! | `prometheus` | a text file for the exporter of a node |
//! | `html` | one page without scripts |
//! | `target` | the files of `--report` |
//!
//! What it refuses: to show a count that was not established. It is `null`.

mod html;
pub mod json;
mod junit;
mod prometheus;
mod report_file;

use std::ops::ControlFlow;

use std::io;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::file::MirrorFile;
use occystrap_base::error::{Error, Result};
use occystrap_mirror::document::HostLimits;
use occystrap_mirror::ledger::holding::{Coverage, Host, HostAnswers, ItemFilter, Moved, Totals};
use occystrap_mirror::ledger::record::{
    ItemError, ItemObject, LedgerItem, LedgerRun, Outcome, RunId, RunKind, RunState, Verdict,
};
use occystrap_mirror::ledger::state::State;
use occystrap_mirror::ledger::{Ledger, each_item, last_that_moved};

pub use report_file::ReportFile;

const DAY: u64 = 86_400;

/// Limits of the ages by which a report groups images and blobs, in seconds.
const AGES: [u64; 4] = [DAY, 7 * DAY, 30 * DAY, 90 * DAY];

/// Number of ages in [`AGES`] that are within 30 days.
const WITHIN_30_DAYS: usize = 3;

/// States of items that ended without what the file wants.
const FAILURES: [State; 3] = [State::Failed, State::Blocked, State::Dead];

/// Why a report could not be written.
#[derive(Debug)]
pub enum ReportFault {
    /// The ledger could not be read.
    Ledger(Error),
    /// The report could not be written.
    Write(io::Error),
}

impl From<Error> for ReportFault {
    fn from(error: Error) -> Self {
        Self::Ledger(error)
    }
}

impl From<io::Error> for ReportFault {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

/// A run, as its report shows it.
pub struct MirrorReport<'l> {
    ledger: &'l dyn Ledger,
    /// Name of the mirror.
    mirror: String,
    run: LedgerRun,
    /// The last run that moved images: this one, or one before it.
    moved: Option<LedgerRun>,
    /// Counts of the items that the report is about.
    totals: Totals,
    /// Counts of all items of the mirror.
    all: Totals,
    answers: Vec<HostAnswers>,
    unlisted: Vec<ItemError>,
    hosts: Vec<Host>,
    limits: Vec<HostLimits>,
    coverage: Coverage,
    now: i64,
    more: Vec<ItemError>,
}

/// Images by the age of their last proof.
#[derive(Debug, Default, PartialEq, Eq)]
struct Proofs {
    /// Images proved within each of [`AGES`] and not within the one before, then older ones.
    by_age: [u64; AGES.len() + 1],
    /// Images without a proof.
    never: u64,
    /// Seconds since the oldest proof.
    oldest: Option<u64>,
}

/// How an image stands, for tests and for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It was read at the destination, and is wrong.
    Wrong,
    /// It is not there, or the run has not come to it.
    NotDone,
    /// It was written and could not be read.
    Unconfirmed,
    /// It is as the file wants it.
    Good,
}

impl<'l> MirrorReport<'l> {
    /// Returns the report of the last run; `None` where there was none.
    pub fn last(ledger: &'l dyn Ledger, file: &MirrorFile) -> Result<Option<Self>> {
        match ledger.runs(1)?.pop() {
            Some(run) => Self::of(ledger, file, run).map(Some),
            None => Ok(None),
        }
    }

    /// Returns the report of a run.
    pub fn of(ledger: &'l dyn Ledger, file: &MirrorFile, run: LedgerRun) -> Result<Self> {
        let all = ledger.totals_of_all()?;
        let totals = match names_items(run.kind) {
            true => ledger.totals(run.id)?,
            false => all,
        };
        let moved = match run.kind.moves_images() {
            true => Some(run.clone()),
            false => last_that_moved(ledger)?,
        };
        Ok(Self {
            ledger,
            mirror: file.name(),
            totals,
            all,
            answers: ledger.answers(Some(run.id))?,
            // A verification lists nothing; what the run before it could not list is still not there.
            unlisted: ledger.unlisted(moved.as_ref().map_or(run.id, |run| run.id))?,
            hosts: ledger.hosts()?,
            limits: file.document.hosts.clone(),
            coverage: ledger.coverage(&AGES)?,
            now: ledger.now()?,
            moved,
            run,
            more: Vec::new(),
        })
    }

    /// Adds failures that belong to no image, such as blobs that a verification found damaged.
    #[must_use]
    pub fn with_failures(mut self, failures: Vec<ItemError>) -> Self {
        self.more.extend(failures);
        self
    }

    /// Returns the run whose items the report is about; `None` for all items of the mirror.
    fn named(&self) -> Option<RunId> {
        names_items(self.run.kind).then_some(self.run.id)
    }

    /// Calls a function with each of these items, in the order of their numbers.
    fn each(
        &self,
        run: Option<RunId>,
        states: &[State],
        act: &mut dyn FnMut(&LedgerItem) -> Result<ControlFlow<()>, ReportFault>,
    ) -> Result<(), ReportFault> {
        let filter = ItemFilter { run, states, ..ItemFilter::default() };
        each_item(self.ledger, &filter, |item| act(&item))
    }

    /// Returns the failures that belong to no image.
    fn other_failures(&self) -> impl Iterator<Item = &ItemError> {
        self.unlisted.iter().chain(&self.more)
    }

    /// Returns the objects of an item that are not right.
    fn objects(&self, item: &LedgerItem) -> Result<Vec<ItemObject>> {
        self.ledger.objects(item.id)
    }

    fn moved_ever(&self) -> Result<Moved> {
        self.ledger.moved()
    }

    fn answers_ever(&self) -> Result<Vec<HostAnswers>> {
        self.ledger.answers(None)
    }

    /// Returns images by the age of their last proof; those that no rule names any more are not counted.
    fn proofs(&self) -> Result<Proofs, ReportFault> {
        let mut proofs = Proofs::default();
        self.each(None, &[], &mut |item| {
            if item.state == State::Extra {
                return Ok(ControlFlow::Continue(()));
            }
            match item.proof.and_then(|proof| proof.age(self.now)) {
                Some(age) => {
                    let group = AGES.iter().position(|most| age <= *most).unwrap_or(AGES.len());
                    proofs.by_age[group] += 1;
                    proofs.oldest = Some(proofs.oldest.map_or(age, |oldest| oldest.max(age)));
                }
                None => proofs.never += 1,
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(proofs)
    }

    /// Returns the seconds of the run, so far or in all.
    fn seconds(&self) -> u64 {
        let end = self.run.finished.unwrap_or(self.now);
        u64::try_from(end.saturating_sub(self.run.started)).unwrap_or(0)
    }

    /// Returns whether the plan of the run is complete, so that the number of its images is known.
    fn is_planned(&self) -> bool {
        self.run.state != RunState::Planned
    }

    /// Returns whether the run looked at the whole file, so that extra images are known.
    fn covers_all(&self) -> bool {
        self.is_planned() && self.run.selection.is_empty() && self.unlisted.is_empty()
    }

    /// Returns the share of bytes that were read in full within 30 days; `None` where there are no bytes.
    fn read_within_30d(&self) -> Option<f64> {
        let read: u64 = self.coverage.by_age.iter().take(WITHIN_30_DAYS).map(|sum| sum.bytes).sum();
        let all = self.coverage.all.bytes;
        (all > 0).then(|| (read as f64 / all as f64 * 1e4).round() / 1e4)
    }
}

/// Whether runs of a kind name the items that they are about.
fn names_items(kind: RunKind) -> bool {
    match kind {
        RunKind::Mirror | RunKind::Repair | RunKind::Import => true,
        RunKind::Verify | RunKind::Prune | RunKind::Export => false,
    }
}

/// Returns how an item stands.
fn standing(item: &LedgerItem) -> Standing {
    match (item.state, item.verdict) {
        (State::Done, Some(Verdict::Unconfirmed)) => Standing::Unconfirmed,
        (State::Done | State::Extra, _) => Standing::Good,
        (State::Failed, Some(Verdict::Failed)) => Standing::Wrong,
        _ => Standing::NotDone,
    }
}

/// Returns the state of an item in a word, as docs/mirroring.md explains it.
fn word(item: &LedgerItem) -> &'static str {
    match item.state {
        State::Planned | State::Leased => "not done",
        State::Retry => "waits",
        State::Failed if item.verdict == Some(Verdict::Failed) => "FAILED",
        State::Done if item.verdict == Some(Verdict::Unconfirmed) => "UNCONFIRMED",
        State::Done if item.outcome == Some(Outcome::Kept) => "kept",
        State::Done if item.proof.is_some() => "proved",
        State::Done => "not verified",
        state => state.word(),
    }
}

/// Returns a time as RFC 3339, in UTC.
fn at(utc: i64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(utc).ok()?.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests;

//! The ledger of a mirror: which image belongs where, what was done with it, and what was proved when.
//!
//! [`Ledger`] is what a store must promise; [`sqlite`] is the store in a file. [`state`] is the state machine, the same for
//! every store. The ledger asks no registry and moves no image. It never begins anew where a ledger was before: a ledger
//! that is missing, damaged, of a later version or of another mirror is an error.
//!
//! All functions may be called from several threads. None returns more than [`LONGEST_PAGE`] rows; lists continue after the
//! last row of a page. Each call that writes is one transaction: after an error it has changed nothing.

pub mod clock;
pub mod export;
pub mod holding;
pub mod lock;
pub mod place;
pub mod record;
pub mod sqlite;
pub mod state;
mod words;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use occystrap_base::error::{Error, Result};
use occystrap_base::oci::digest::Digest;

use self::export::Exports;
use self::holding::{
    BlobCheck, BlobLink, BlobSum, Coverage, DueBlobs, DueRequest, Event, HeldBlob, Host,
    HostAnswers, HostNote, ItemFilter, LedgerBlob, Moved, NewEvent, Totals,
};
use self::record::{
    BegunRun, ClaimRequest, ClaimedItem, FinishedItem, ItemCheck, ItemError, ItemId, ItemObject,
    Lease, LeaseWrite, LedgerItem, LedgerRun, OpenItems, PlanChanges, PlanScope, PlannedItem,
    RunEnd, RunId, RunRequest, UnnamedItems,
};

pub use self::words::UnknownWord;

#[cfg(test)]
mod tests;

/// Rows that one call returns at most. A page of items is then a few megabytes.
pub const LONGEST_PAGE: usize = 2_000;

/// Seconds after the last heartbeat after which a lease ends.
pub const LEASE_SECONDS: i64 = 120;

/// Seconds between two heartbeats of a worker: three of them may fail.
pub const HEARTBEAT_SECONDS: u64 = 30;

/// Runs and the items that wait in them.
pub trait Queue {
    /// Begins a run, or continues the last one where it is of the same kind, FILE and selection, and was not
    /// finished. Runs that verify do not count between those that change destinations. Takes back the leases of
    /// processes that cannot be alive: their claims count. A run that is not continued is `stopped`.
    fn begin_run(&self, request: &RunRequest<'_>) -> Result<BegunRun>;

    /// Names items in a run. Those that are in it already keep their state, unless their source or content is another
    /// one; those of earlier runs become `planned`, keep their proof unless their content changed, and lose their error.
    /// The caller gives a plan in as many calls as it likes; a call is one transaction.
    fn plan(&self, run: RunId, items: &[PlannedItem]) -> Result<PlanChanges>;

    /// Ends the plan of a run. After a whole plan, items that it does not name are extra, where they are at the
    /// destination, or forgotten. Errors, and forgets what the plan added, where the ledger has items and a whole plan
    /// names none of them: then FILE is of another mirror.
    fn end_plan(&self, run: RunId, scope: PlanScope) -> Result<UnnamedItems>;

    /// Claims items that may be worked on now: `planned` ones in the order of the plan, evenly over pairs of hosts, then
    /// those that wait for another attempt. No host has more items in work than its limit, and a paused host gets none.
    /// Takes back leases without a heartbeat before.
    fn claim(&self, request: &ClaimRequest<'_>) -> Result<Vec<ClaimedItem>>;

    /// Prolongs leases. Returns those that are stale: their workers must drop the work.
    fn heartbeat(&self, leases: &[Lease]) -> Result<Vec<Lease>>;

    /// Ends an attempt and records all that belongs to it.
    fn finish(&self, lease: Lease, record: &FinishedItem) -> Result<LeaseWrite>;

    /// Ends several attempts, in their order.
    fn finish_all(&self, records: &[(Lease, &FinishedItem)]) -> Result<Vec<LeaseWrite>>;

    /// Returns all leases of this process, for SIGTERM: their claims do not count. Returns their number.
    fn give_back(&self) -> Result<u64>;

    /// Records the result of verifying an item. A bad one is on the disk when this returns. Returns false, and changes
    /// nothing, where the item is open, extra, or failed for another reason than its verification.
    fn record_item(&self, run: RunId, item: ItemId, check: &ItemCheck) -> Result<bool>;

    /// Returns how many items are open in a run, and when the next one is ready.
    fn open_items(&self, run: RunId) -> Result<OpenItems>;

    /// Closes a run with the totals of the caller, as JSON. Of several callers exactly one gets [`RunEnd::Closed`].
    fn finish_run(&self, run: RunId, totals: &str) -> Result<RunEnd>;

    /// Marks a run as stopped. A later [`Queue::begin_run`] continues it.
    fn stop_run(&self, run: RunId) -> Result<()>;
}

/// Blobs at hosts, and when they were read.
pub trait Holdings {
    /// Notes that hosts have blobs in repositories. What is known of them from verification stays.
    fn note_blobs(&self, blobs: &[HeldBlob]) -> Result<()>;

    /// Forgets that a repository has a blob; and the blob, where no other repository of the host has it.
    fn forget_blob(&self, host: &str, repo: &str, digest: &Digest) -> Result<()>;

    /// Returns what is known of a blob at a host.
    fn blob(&self, host: &str, digest: &Digest) -> Result<Option<LedgerBlob>>;

    /// Returns repositories of a host that have a blob, in the order of their names, after a name. A blob that is bad is
    /// returned as well: the caller that mounts asks [`Holdings::repos_to_mount`].
    fn repos(&self, host: &str, digest: &Digest, after: &str, most: usize) -> Result<Vec<String>>;

    /// Returns at most `most` repositories of a host from which a blob can be mounted, the latest first: none where the blob
    /// is known to be bad.
    fn repos_to_mount(&self, host: &str, digest: &Digest, most: usize) -> Result<Vec<String>>;

    /// Returns the blobs of a repository, in the order of their digests, after a digest.
    fn links(
        &self,
        host: &str,
        repo: &str,
        after: Option<&Digest>,
        most: usize,
    ) -> Result<Vec<BlobLink>>;

    /// Returns a page of the blobs that are due for verification: bad, never read, oldest.
    fn due_blobs(&self, request: &DueRequest<'_>) -> Result<DueBlobs>;

    /// Returns number and size of all that is due; `after` and `most` do not count.
    fn sum_due(&self, request: &DueRequest<'_>) -> Result<BlobSum>;

    /// Records the result of reading a blob. A bad one is on the disk when this returns. Returns false where the ledger
    /// does not know the blob.
    fn record_blob(
        &self,
        run: RunId,
        host: &str,
        digest: &Digest,
        check: &BlobCheck,
    ) -> Result<bool>;
}

/// What was learnt and need not be asked for again.
pub trait Facts {
    /// Returns the creation dates of configs that are known, in seconds since 1970-01-01 UTC; `None` for a config without a
    /// date. A config is named by its digest, so that this never changes.
    fn created(&self, configs: &[Digest]) -> Result<BTreeMap<Digest, Option<i64>>>;

    /// Notes creation dates of configs.
    fn note_created(&self, configs: &[(Digest, Option<i64>)]) -> Result<()>;

    /// Returns the seconds since the referrers of a manifest were asked for; `None` for never.
    fn referrers_age(&self, host: &str, repo: &str, subject: &Digest) -> Result<Option<u64>>;

    /// Notes that the referrers of a manifest were asked for now.
    fn note_referrers(&self, host: &str, repo: &str, subject: &Digest) -> Result<()>;

    /// Returns what is known of a host; a host without notes has only its name.
    fn host(&self, name: &str) -> Result<Host>;

    /// Returns all hosts with notes, in the order of their names.
    fn hosts(&self) -> Result<Vec<Host>>;

    /// Notes something about a host.
    fn note_host(&self, name: &str, note: HostNote) -> Result<()>;
}

/// What reports and `status` read, also while another process writes.
pub trait Accounts {
    /// Returns the latest runs, the newest first.
    fn runs(&self, most: usize) -> Result<Vec<LedgerRun>>;

    /// Returns counts and sums of a run, from one statement. For a run that is not the latest, items that a later run named
    /// are not in it: its recorded totals are in [`LedgerRun::totals`].
    fn totals(&self, run: RunId) -> Result<Totals>;

    /// Returns how much was read in full, with limits of age in seconds, ascending.
    fn coverage(&self, limits: &[u64]) -> Result<Coverage>;

    /// Returns a page of items, in the order of their numbers, after a number.
    fn items(
        &self,
        filter: &ItemFilter<'_>,
        after: Option<ItemId>,
        most: usize,
    ) -> Result<Vec<LedgerItem>>;

    /// Returns an item by its destination.
    fn item(&self, destination: &str) -> Result<Option<LedgerItem>>;

    /// Returns what the ledger has of destinations, in their order: for `mirror plan`, which writes nothing. At most
    /// [`LONGEST_PAGE`] at a time; the others are left out.
    fn known(&self, destinations: &[&str]) -> Result<Vec<Option<LedgerItem>>>;

    /// Returns the objects of an item that are not right, at most [`LONGEST_PAGE`].
    fn objects(&self, item: ItemId) -> Result<Vec<ItemObject>>;

    /// Returns the receipt of an item.
    fn receipt(&self, item: ItemId) -> Result<Option<String>>;

    /// Forgets an extra item that `mirror prune` deleted. Returns false where it is not extra.
    fn forget_extra(&self, item: ItemId) -> Result<bool>;

    /// Appends events, in one transaction.
    fn append_events(&self, events: &[NewEvent<'_>]) -> Result<()>;

    /// Returns events after a number.
    fn events(&self, after: i64, most: usize) -> Result<Vec<Event>>;

    /// Returns the time of the ledger's clock, in seconds since 1970-01-01 UTC. Ages are counted from it.
    fn now(&self) -> Result<i64>;
}

/// What a run leaves for its report beside its items.
pub trait Traces {
    /// Adds answers of hosts and bytes to those of a run: several processes may work on it, one after the other.
    fn note_traffic(&self, run: RunId, answers: &[HostAnswers], moved: Moved) -> Result<()>;

    /// Returns the answers of hosts, in the order of hosts and statuses, at most [`LONGEST_PAGE`]: of one run, or of all.
    fn answers(&self, run: Option<RunId>) -> Result<Vec<HostAnswers>>;

    /// Returns the bytes that all runs moved.
    fn moved(&self) -> Result<Moved>;

    /// Records the sources that a run could not list, or of which the rules select nothing. They replace those that it had
    /// before. Those after the first [`LONGEST_PAGE`] are left out.
    fn note_unlisted(&self, run: RunId, errors: &[ItemError]) -> Result<()>;

    /// Returns these sources, in the order of FILE.
    fn unlisted(&self, run: RunId) -> Result<Vec<ItemError>>;

    /// Returns counts and sums of all items, whatever run named them last.
    fn totals_of_all(&self) -> Result<Totals>;
}

/// Calls a function with each item that a filter lets through, in the order of their numbers, until it breaks off. Items
/// are read in pages of [`LONGEST_PAGE`]. Errors with those of the ledger and of the function.
pub fn each_item<E: From<Error>>(
    ledger: &(impl Accounts + ?Sized),
    filter: &ItemFilter<'_>,
    mut act: impl FnMut(LedgerItem) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    let mut after = None;
    loop {
        let page = ledger.items(filter, after, LONGEST_PAGE)?;
        let is_last = page.len() < LONGEST_PAGE;
        after = page.last().map(|item| item.id);
        for item in page {
            if act(item)?.is_break() {
                return Ok(());
            }
        }
        if is_last {
            return Ok(());
        }
    }
}

/// Returns the latest run that moved images, of the last [`LONGEST_PAGE`] runs; `None` where none did.
pub fn last_that_moved(ledger: &(impl Accounts + ?Sized)) -> Result<Option<LedgerRun>> {
    Ok(ledger.runs(LONGEST_PAGE)?.into_iter().find(|run| run.kind.moves_images()))
}

/// A store of a ledger.
pub trait Ledger: Queue + Holdings + Facts + Accounts + Traces + Exports + Send + Sync {}

impl<L: Queue + Holdings + Facts + Accounts + Traces + Exports + Send + Sync> Ledger for L {}

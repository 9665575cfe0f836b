//! What the ledger holds of runs and items, and what callers give it.

use occystrap_base::oci::digest::Digest;

use super::clock::age;
use super::state::State;
use super::words::words;

/// Number of a run. Later runs have higher numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct RunId(pub i64);

/// Number of an item. An item keeps it for as long as the ledger knows its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct ItemId(pub i64);

words! {
    /// What a run does.
    RunKind {
        /// `mirror run` and `mirror retry`.
        Mirror = "mirror",
        /// `mirror verify`.
        Verify = "verify",
        /// `mirror repair`.
        Repair = "repair",
        /// `mirror prune`.
        Prune = "prune",
        /// `mirror export`.
        Export = "export",
        /// `mirror import`.
        Import = "import",
    }
}

impl RunKind {
    /// Returns whether a run of this kind moves the images of the mirror.
    #[must_use]
    pub fn moves_images(self) -> bool {
        matches!(self, Self::Mirror | Self::Import)
    }
}

words! {
    /// State of a run.
    RunState {
        /// Its plan is not complete.
        Planned = "planned",
        /// Its plan is complete and items are open.
        Running = "running",
        /// All its items ended, and its totals are recorded.
        Finished = "finished",
        /// It was stopped, or another FILE replaced it. A run with the same FILE continues it, unless there is a later one.
        Stopped = "stopped",
    }
}

words! {
    /// What was done with an item that is `done`.
    Outcome {
        /// Its content was sent, in full or in part.
        Copied = "copied",
        /// Source and destination had the digest that was proved before.
        Unchanged = "unchanged",
        /// Damaged content was sent again and read back.
        Repaired = "repaired",
        /// The destination has another digest, and `on-conflict: keep` leaves it.
        Kept = "kept",
        /// The destination had the content, and the ledger did not know.
        AlreadyThere = "already-there",
    }
}

words! {
    /// Result of the verification of an item.
    Verdict {
        /// The destination was read, and is right.
        Verified = "verified",
        /// The destination was read, and is wrong.
        Failed = "failed",
        /// The destination could not be read.
        Unconfirmed = "unconfirmed",
        /// The destination was not read in this run.
        NotVerified = "not-verified",
    }
}

words! {
    /// How much of an item was read to prove it.
    Level {
        /// Manifests and configs in full, and the existence and size of layers.
        Fast = "fast",
        /// Every byte.
        Full = "full",
    }
}

/// A run of one of the commands of [`RunKind`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LedgerRun {
    /// Its number.
    pub id: RunId,
    /// What it does.
    pub kind: RunKind,
    /// Its state.
    pub state: RunState,
    /// Digest of the bytes of FILE.
    pub file_digest: Digest,
    /// The part of FILE that it covers, as the caller spelled it in [`RunRequest::selection`]; empty for all of FILE.
    pub selection: String,
    /// When it began, in seconds since 1970-01-01 UTC.
    pub started: i64,
    /// When it was finished or stopped.
    pub finished: Option<i64>,
    /// Totals that were recorded when it finished: JSON of the caller.
    pub totals: Option<String>,
}

/// What [`super::Queue::begin_run`] needs to know.
#[derive(Debug, Clone, Copy)]
pub struct RunRequest<'a> {
    /// What the run does.
    pub kind: RunKind,
    /// Digest of the bytes of FILE.
    pub file_digest: Digest,
    /// The part of FILE that it covers (`--only`, `--shard`), in one spelling; empty for all of FILE. A run with
    /// another selection is not continued.
    pub selection: &'a str,
    /// The process, for events and leases: host, process number and what else makes it unique.
    pub worker: &'a str,
}

/// A run that began or continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BegunRun {
    /// Its number.
    pub id: RunId,
    /// Whether an interrupted run continues.
    pub resumed: bool,
    /// Number of items that are open in it: 0 in a new run.
    pub left: u64,
    /// Number of leases that were taken back from processes that died.
    pub taken_back: u64,
    /// Number of those that had their last attempt, and are `dead`.
    pub dead: u64,
}

/// An item as a plan names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedItem {
    /// Reference of the source.
    pub source: String,
    /// Reference or URI of the destination, in one spelling: it identifies the item.
    pub destination: String,
    /// Host of the source, for limits.
    pub src_host: String,
    /// Host of the destination, for limits; for a folder of this machine any fixed text.
    pub dst_host: String,
    /// Repository of the destination at its host.
    pub dst_repo: String,
    /// Number of the rule in FILE.
    pub rule: u32,
    /// What decides the content beside the source: platforms, filters, form of the index. Where it changes, an older
    /// proof no longer counts.
    pub content: String,
    /// Digest that the source must have, where it is pinned or was asked for.
    pub want_digest: Option<Digest>,
}

/// Whether a plan names all items of FILE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanScope {
    /// It names all items: an item that it does not name is extra.
    Whole,
    /// It names a part of the items (`--only`, or a repository could not be listed): other items stay as they are.
    Part,
}

/// What a plan changed, in items.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct PlanChanges {
    /// The ledger did not know their destination.
    pub new: u64,
    /// They have another source or another content than before.
    pub changed: u64,
    /// They are as before; a proof that they have is kept.
    pub same: u64,
    /// They were extra or had ended earlier in this run: their state is kept.
    pub ended: u64,
}

impl std::ops::AddAssign for PlanChanges {
    fn add_assign(&mut self, other: Self) {
        self.new += other.new;
        self.changed += other.changed;
        self.same += other.same;
        self.ended += other.ended;
    }
}

/// What happened to items that a whole plan does not name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct UnnamedItems {
    /// They are at the destination, and are extra from now on.
    pub extra: u64,
    /// They never arrived at the destination. The ledger has forgotten them.
    pub forgotten: u64,
    /// They were extra before.
    pub extra_before: u64,
}

/// When an item was proved at its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Proof {
    /// Digest of the manifest or index that was proved.
    pub digest: Digest,
    /// How much was read.
    pub level: Level,
    /// When, in seconds since 1970-01-01 UTC.
    pub verified_at: i64,
}

impl Proof {
    /// Returns whether the proof is at most `most` seconds old. A proof that is more than a day in the future has no age.
    #[must_use]
    pub fn is_younger(&self, now: i64, most: u64) -> bool {
        self.age(now).is_some_and(|age| age <= most)
    }

    /// Returns its age in seconds; `None` for a proof that is more than a day in the future.
    #[must_use]
    pub fn age(&self, now: i64) -> Option<u64> {
        age(now, self.verified_at)
    }
}

/// Error of an item, as it is reported.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ItemError {
    /// Class for programs, for example `source-missing`.
    pub class: String,
    /// The message: one line.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// An item: one image of the mirror at its destination, and what the ledger knows of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LedgerItem {
    /// Its number.
    pub id: ItemId,
    /// The run that named it last.
    pub run: RunId,
    /// Reference of the source.
    pub source: String,
    /// Reference or URI of the destination.
    pub destination: String,
    /// Host of the source.
    pub src_host: String,
    /// Host of the destination.
    pub dst_host: String,
    /// Repository of the destination.
    pub dst_repo: String,
    /// Number of the rule in FILE.
    pub rule: u32,
    /// What decides the content beside the source.
    pub content: String,
    /// Its state.
    pub state: State,
    /// Claims that count in this run.
    pub attempt: u32,
    /// When it may be claimed again, where it waits.
    pub not_before: i64,
    /// Digest that the source must have or had when it was asked for.
    pub want_digest: Option<Digest>,
    /// When it was proved, and what.
    pub proof: Option<Proof>,
    /// What its run did with it.
    pub outcome: Option<Outcome>,
    /// Result of its verification in its run.
    pub verdict: Option<Verdict>,
    /// Its last error in its run.
    pub error: Option<ItemError>,
    /// Bytes that its run sent.
    pub bytes_sent: u64,
    /// Bytes that its run mounted.
    pub bytes_mounted: u64,
    /// The last run that changed the destination.
    pub changed_run: Option<RunId>,
    /// When it ended in its run.
    pub ended: Option<i64>,
}

/// Right to work on an item. It becomes stale when another worker claims the item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The item.
    pub item: ItemId,
    /// Generation: each claim of an item has a higher one.
    pub generation: i64,
}

/// An item that a worker has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedItem {
    /// The lease, which every function that writes about the item needs.
    pub lease: Lease,
    /// The item.
    pub item: LedgerItem,
}

/// What a worker asks for.
#[derive(Debug, Clone, Copy)]
pub struct ClaimRequest<'a> {
    /// The run.
    pub run: RunId,
    /// The worker.
    pub worker: &'a str,
    /// Number of items that it can take.
    pub most: usize,
    /// Number of items in work at most, for hosts that have a limit. An item counts for its source and its destination.
    pub host_limits: &'a std::collections::BTreeMap<String, u32>,
}

/// Why nothing can be claimed just now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenItems {
    /// Items that wait for their first claim.
    pub planned: u64,
    /// Items in work.
    pub leased: u64,
    /// Items that wait for another attempt.
    pub retry: u64,
    /// Seconds until an item of `planned` or `retry` may be claimed, with the pauses of its hosts; 0 if one may be
    /// claimed now. The limits of hosts do not count.
    pub next_in: Option<u64>,
}

impl OpenItems {
    /// Returns the number of open items.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.planned + self.leased + self.retry
    }
}

/// How an item ended, or why it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It is as FILE wants it.
    Done(Outcome, Verdict),
    /// A lasting error. The verdict is `Failed` where the destination was read and is wrong.
    Failed(Verdict),
    /// A policy forbids the change.
    Blocked,
    /// A passing error. It is tried again after the usual wait, or after the seconds that the server asked for, whichever
    /// is longer; after the last attempt it is dead.
    Retry {
        /// Seconds that the server asked for.
        asked_wait: Option<u64>,
    },
}

/// What becomes of the proof of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofChange {
    /// It stays.
    Keep,
    /// The destination was proved now.
    Proved(Digest, Level),
    /// The destination is known to be wrong, or was changed and not proved.
    Drop,
}

/// An object of an item that is not right.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ItemObject {
    /// What it is for the image: `manifest`, `config`, `layer 3`, `signature`.
    pub role: String,
    /// Its digest.
    pub digest: Option<Digest>,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// What is wrong: `missing`, `damaged`, `kept-damaged`, `unchecked`.
    pub status: String,
    /// What was found instead.
    pub found: Option<String>,
}

/// Everything that is recorded when a worker ends an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedItem {
    /// How it ended.
    pub ending: Ending,
    /// Digest of the source, where it was asked for.
    pub want_digest: Option<Digest>,
    /// What becomes of the proof.
    pub proof: ProofChange,
    /// Bytes that this attempt sent.
    pub bytes_sent: u64,
    /// Bytes that this attempt mounted.
    pub bytes_mounted: u64,
    /// Receipt, as JSON; `None` keeps an older one.
    pub receipt: Option<String>,
    /// Error of the attempt.
    pub error: Option<ItemError>,
    /// Objects that are not right. They replace those of earlier attempts.
    pub objects: Vec<ItemObject>,
}

impl FinishedItem {
    /// Creates a record with an ending, which keeps the proof and moved nothing.
    #[must_use]
    pub fn new(ending: Ending) -> Self {
        Self {
            ending,
            want_digest: None,
            proof: ProofChange::Keep,
            bytes_sent: 0,
            bytes_mounted: 0,
            receipt: None,
            error: None,
            objects: Vec::new(),
        }
    }
}

/// Result of verifying an item that is not in work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemCheck {
    /// The destination was read and is right. A failed item whose verification FAILED is done again.
    Good {
        /// Digest of the manifest or index.
        digest: Digest,
        /// How much was read.
        level: Level,
    },
    /// The destination was wrong, was written again, and was read and is right.
    Repaired {
        /// Digest of the manifest or index.
        digest: Digest,
        /// How much was read.
        level: Level,
        /// Receipt, as JSON; `None` keeps an older one.
        receipt: Option<String>,
    },
    /// The destination was read and is wrong. The item has failed, and has no proof.
    Bad {
        /// What is wrong.
        error: ItemError,
        /// Objects that are not right.
        objects: Vec<ItemObject>,
    },
}

/// Effect of a write that needs a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseWrite {
    /// It was recorded, and the item has this state.
    Recorded(State),
    /// It was recorded, and the item waits this number of seconds for another attempt.
    Postponed(i64),
    /// The lease is stale. Nothing was recorded; the worker drops its work.
    Stale,
}

/// How [`super::Queue::finish_run`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// The caller has closed it, and writes the report.
    Closed,
    /// It was closed before.
    WasClosed,
    /// Items are open; nothing was changed.
    ItemsLeft(u64),
}

//! What the ledger holds of blobs, hosts and their history, and what callers give it.

use occystrap_base::oci::digest::Digest;

use super::record::{ItemId, RunId};
use super::state::State;
use super::words::words;

/// A blob in a repository of a host, as a caller notes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBlob {
    /// The host.
    pub host: String,
    /// The repository.
    pub repo: String,
    /// Digest of the blob.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

words! {
    /// What is known of a blob at a host.
    BlobState {
        /// It was wrong or missing when it was read last, in full or at its end in one of the repositories.
        Bad = "bad",
        /// It was never read in full.
        New = "new",
        /// It was read in full and was right.
        Good = "good",
    }
}

impl BlobState {
    /// Returns the place in the order of verification: bad ones first, then new ones.
    #[must_use]
    pub fn rank(self) -> i64 {
        match self {
            Self::Bad => 0,
            Self::New => 1,
            Self::Good => 2,
        }
    }
}

/// A blob at a host, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LedgerBlob {
    /// The host.
    pub host: String,
    /// Digest of the blob.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// What is known of it.
    pub state: BlobState,
    /// When it was last read in full, in seconds since 1970-01-01 UTC.
    pub verified_at: Option<i64>,
    /// What was found instead, if the blob is bad.
    pub found: Option<String>,
}

/// Which part of all blobs a verification reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Subset {
    /// All of them.
    #[default]
    All,
    /// One of `of` parts, by digest. All parts together have each blob once.
    Part {
        /// The number of the part, from 1 to `of`.
        index: u32,
        /// The number of parts; at least 1.
        of: u32,
    },
    /// A share of all blobs by digest, in ten-thousandths. Each `turn` reads the share that follows the share of the
    /// turn before. With a share of 500 (5 %), twenty turns read all blobs.
    Share {
        /// The size of the share, from 1 to 10,000.
        ten_thousandths: u32,
        /// The number of the verification, for example of its run.
        turn: u64,
    },
}

/// Which blobs a verification reads.
#[derive(Debug, Clone, Copy)]
pub struct DueRequest<'a> {
    /// The run that verifies. A blob that it has recorded is not due in it again.
    pub run: RunId,
    /// Only blobs of one host.
    pub host: Option<&'a str>,
    /// A part by digest. Bad blobs are in each part.
    pub subset: Subset,
    /// Only blobs that were not read in full within these seconds. Bad blobs are always due.
    pub older_than: Option<u64>,
    /// Only bad blobs (`--failed`).
    pub only_bad: bool,
    /// Where the last page ended.
    pub after: Option<DueMark>,
    /// Length of a page; at most [`super::LONGEST_PAGE`].
    pub most: usize,
}

/// The place of a blob in the order of verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueMark {
    pub(crate) rank: i64,
    pub(crate) verified_at: i64,
    pub(crate) id: i64,
}

/// A page of blobs that are due.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DueBlobs {
    /// The blobs, in the order in which to read them: bad, never read, oldest.
    pub blobs: Vec<LedgerBlob>,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<DueMark>,
}

/// Number and size of blobs that are due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct BlobSum {
    /// Their number.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl BlobSum {
    /// Returns the sum of two sums.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { blobs: self.blobs + other.blobs, bytes: self.bytes + other.bytes }
    }
}

/// Result of reading a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobCheck {
    /// Every byte was read and the digest is right.
    Good,
    /// It is missing or wrong; the text says what was found, for example its size and digest.
    Bad(String),
    /// It could not be read. What was known of it stays.
    Unchecked,
}

/// A blob in a repository, as [`super::Holdings::links`] returns it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BlobLink {
    /// Digest of the blob.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// What is known of the blob at the host.
    pub state: BlobState,
}

/// What is known of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Whether it has the referrers API, where that is known.
    pub has_referrers: Option<bool>,
    /// Seconds until it may be asked again; 0 where it is not paused.
    pub paused_for: u64,
    /// Pulls that are left, as it said last.
    pub pulls_left: Option<u64>,
}

/// Something that was learnt about a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostNote {
    /// Whether it has the referrers API.
    HasReferrers(bool),
    /// It must not be asked for these seconds; 0 ends a pause.
    PausedFor(u64),
    /// Pulls that are left.
    PullsLeft(u64),
}

/// An event, as it is appended.
#[derive(Debug, Clone, Copy)]
pub struct NewEvent<'a> {
    /// Its run.
    pub run: RunId,
    /// Its item.
    pub item: Option<ItemId>,
    /// The process.
    pub worker: &'a str,
    /// What happened, in one word: `copied`, `retry`, `paused`.
    pub what: &'a str,
    /// More about it, as JSON or as one line.
    pub detail: &'a str,
}

/// An event of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Event {
    /// Its number: later events have higher ones.
    pub id: i64,
    /// When, in seconds since 1970-01-01 UTC.
    pub at: i64,
    /// Its run.
    pub run: RunId,
    /// Its item.
    pub item: Option<ItemId>,
    /// The process.
    pub worker: String,
    /// What happened, in one word.
    pub what: String,
    /// More about it.
    pub detail: String,
}

/// Counts of the items of a run, and sums of their bytes. Every item is in exactly one of the first eight counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[allow(missing_docs, reason = "each is a count of the state, outcome or verdict of its name")]
pub struct Totals {
    pub planned: u64,
    pub leased: u64,
    pub retry: u64,
    pub done: u64,
    pub failed: u64,
    pub blocked: u64,
    pub dead: u64,
    /// Extra items of the whole mirror; they belong to no run.
    pub extra: u64,
    pub copied: u64,
    pub unchanged: u64,
    pub repaired: u64,
    pub kept: u64,
    pub already_there: u64,
    pub verified: u64,
    pub verified_failed: u64,
    pub unconfirmed: u64,
    pub not_verified: u64,
    /// Claims beyond the first of each item.
    pub retries: u64,
    pub bytes_sent: u64,
    pub bytes_mounted: u64,
}

impl Totals {
    /// Returns the number of items that the run names.
    #[must_use]
    pub fn items(&self) -> u64 {
        self.open() + self.done + self.failures()
    }

    /// Returns the number of items with work left.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.planned + self.leased + self.retry
    }

    /// Returns the number of items that ended without what FILE wants.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failed + self.blocked + self.dead
    }
}

/// How much of a mirror was read in full, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Coverage {
    /// All blobs.
    pub all: BlobSum,
    /// Blobs that were never read in full, or at a time that cannot be.
    pub never: BlobSum,
    /// Blobs that were bad when they were last read.
    pub bad: BlobSum,
    /// Good blobs by age: those of each limit that the caller gave (at most so many seconds old, and older than the limit
    /// before), then those older than the last.
    pub by_age: Vec<BlobSum>,
    /// Seconds since the oldest good blob was read.
    pub oldest: Option<u64>,
}

/// Answers of a host with one status.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HostAnswers {
    /// The host, with its port.
    pub host: String,
    /// Status of the answers (RFC 9110, 15); 0 for requests that had no answer.
    pub code: u16,
    /// Their number.
    pub number: u64,
}

/// Bytes of blobs that reached destinations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Moved {
    /// Bytes that were sent.
    pub sent: u64,
    /// Bytes that a registry mounted from another repository.
    pub mounted: u64,
}

/// Which items a page has. Empty conditions do not restrict.
#[derive(Debug, Clone, Copy, Default)]
pub struct ItemFilter<'a> {
    /// Only items of a run.
    pub run: Option<RunId>,
    /// Only items in one of these states.
    pub states: &'a [State],
    /// Only items of a repository: host and repository.
    pub repo: Option<(&'a str, &'a str)>,
    /// Only items that a later run than this has changed (`--since RUN`).
    pub changed_after: Option<RunId>,
}

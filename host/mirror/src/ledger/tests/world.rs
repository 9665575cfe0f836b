//! A store for tests, with clocks that tests set.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use occystrap_base::oci::digest::Digest;

use crate::ledger::clock::Clock;
use crate::ledger::record::{
    BegunRun, ClaimRequest, ClaimedItem, Ending, FinishedItem, Level, Outcome, PlannedItem,
    ProofChange, RunId, RunKind, RunRequest, Verdict,
};
use crate::ledger::sqlite::{LedgerAccess, Opening, Sqlite};
use crate::ledger::{Ledger, holding::HeldBlob};

/// Clocks that stand still until a test moves them.
#[derive(Debug)]
pub struct TestClock {
    utc: AtomicI64,
    monotonic: AtomicU64,
}

impl TestClock {
    pub fn new() -> Self {
        Self { utc: AtomicI64::new(1_800_000_000), monotonic: AtomicU64::new(0) }
    }

    /// Lets time pass.
    pub fn pass(&self, seconds: u64) {
        self.jump(i64::try_from(seconds).unwrap());
        self.monotonic.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Sets UTC to another time, as a time server does.
    pub fn jump(&self, seconds: i64) {
        self.utc.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn utc(&self) -> i64 {
        self.utc.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.monotonic.load(Ordering::Relaxed))
    }
}

/// A place for one ledger.
pub trait World {
    type Store: Ledger;

    fn new() -> Self;
    fn clock(&self) -> &TestClock;
    /// Opens the ledger, and creates it the first time. The one that was open before is dropped by then; its process counts
    /// as dead.
    fn open(&self) -> Self::Store;
}

pub struct SqliteWorld {
    pub folder: tempfile::TempDir,
    pub clock: Arc<TestClock>,
}

impl SqliteWorld {
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mirror.yaml.ledger")
    }

    pub fn opening<'a>(&self, path: &'a std::path::Path, access: LedgerAccess) -> Opening<'a> {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        Opening { clock, ..Opening::new(path, "mirror.yaml", file(0), access) }
    }
}

impl World for SqliteWorld {
    type Store = Sqlite;

    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: Arc::new(TestClock::new()) }
    }

    fn clock(&self) -> &TestClock {
        &self.clock
    }

    fn open(&self) -> Sqlite {
        Sqlite::open(&self.opening(&self.path(), LedgerAccess::Create)).unwrap()
    }
}

/// Makes a module of tests for each store from functions that take a [`World`].
macro_rules! for_each_store {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            use crate::ledger::tests::world::{SqliteWorld, World};

            $(#[test] fn $name() { super::$name(&SqliteWorld::new()); })+
        }
    };
}

pub(crate) use for_each_store;

/// The digest of the file number `n`.
pub fn file(n: u32) -> Digest {
    Digest::of(format!("file {n}").as_bytes())
}

pub fn digest(n: u32) -> Digest {
    Digest::of(&n.to_be_bytes())
}

pub fn begin(ledger: &impl Ledger, n: u32) -> BegunRun {
    begin_kind(ledger, n, RunKind::Mirror)
}

pub fn begin_kind(ledger: &impl Ledger, n: u32, kind: RunKind) -> BegunRun {
    let request = RunRequest { kind, file_digest: file(n), selection: "", worker: "test" };
    ledger.begin_run(&request).unwrap()
}

/// The item number `n`: from one of three hosts, in repositories of ten.
pub fn item(n: u32) -> PlannedItem {
    PlannedItem {
        source: format!("source-{}.example/library/image-{}:{n}", n % 3, n / 10),
        destination: format!("mirror.example/library/image-{}:{n}", n / 10),
        src_host: format!("source-{}.example", n % 3),
        dst_host: "mirror.example".to_owned(),
        dst_repo: format!("library/image-{}", n / 10),
        rule: n / 100,
        content: "all".to_owned(),
        want_digest: None,
    }
}

pub fn items(numbers: impl IntoIterator<Item = u32>) -> Vec<PlannedItem> {
    numbers.into_iter().map(item).collect()
}

pub fn claim(ledger: &impl Ledger, run: RunId, most: usize) -> Vec<ClaimedItem> {
    claim_within(ledger, run, most, &BTreeMap::new())
}

pub fn claim_within(
    ledger: &impl Ledger,
    run: RunId,
    most: usize,
    host_limits: &BTreeMap<String, u32>,
) -> Vec<ClaimedItem> {
    ledger.claim(&ClaimRequest { run, worker: "test", most, host_limits }).unwrap()
}

pub fn held(repo: &str, n: u32, size: u64) -> HeldBlob {
    HeldBlob { host: "mirror.example".into(), repo: repo.into(), digest: digest(n), size }
}

/// The record of an item that was copied and verified.
pub fn done() -> FinishedItem {
    let proof = ProofChange::Proved(digest(1), Level::Fast);
    FinishedItem { proof, ..FinishedItem::new(Ending::Done(Outcome::Copied, Verdict::Verified)) }
}

/// Claims and ends all items of a run.
pub fn work_all(ledger: &impl Ledger, run: RunId) {
    for claimed in claim(ledger, run, 1_000) {
        ledger.finish(claimed.lease, &done()).unwrap();
    }
}

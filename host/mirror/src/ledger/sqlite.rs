//! The ledger in an SQLite file, for one process that writes and any number that read.
//!
//! What a power failure may lose: the last five seconds. A commit in a write-ahead log is on the disk only after a sync, and
//! a sync for each of 2,000 commits a second is more than most disks do. So SQLite does not sync usual commits
//! (`synchronous = NORMAL`), and every five seconds one commit is synced with all before it. What is synced at once: the end
//! of a plan, the end of a run, and each blob that is bad. A ledger after a power failure is a whole earlier state; items
//! that it does not know as done are found at the destination and verified again. The end of a process, also by SIGKILL,
//! loses nothing.

mod accounts;
mod begin;
mod check;
mod claim;
mod coverage;
mod due;
mod exports;
mod facts;
mod fault;
mod finish;
mod holdings;
mod open;
mod plan;
mod queue;
mod rows;
mod schema;
mod traces;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use occystrap_base::error::{Error, Kind, Result};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use self::fault::StoreFault;
use super::clock::Clock;
use super::lock::RunLock;

pub use self::open::{LedgerAccess, Opening};

/// Time after which a commit is synced, with all before it.
const SYNC_EVERY: Duration = Duration::from_secs(5);

/// A ledger in an SQLite file.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    patience: Duration,
    is_reader: bool,
    store: Mutex<Store>,
    /// Leases of this process: item, then generation and last heartbeat by the monotonic clock.
    leases: Mutex<HashMap<i64, (i64, Duration)>>,
    /// Held for as long as this value lives.
    _lock: Option<RunLock>,
}

#[derive(Debug)]
struct Store {
    connection: Connection,
    /// When the last commit was synced, by the monotonic clock.
    synced: Duration,
}

/// Whether a commit must be on the disk when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sync {
    Now,
    Soon,
}

impl Sqlite {
    /// Opens a ledger, or creates one. Errors, and never begins anew, where the file is missing though there was a ledger,
    /// damaged, of another program, of a later version, of another mirror, on a network file system, or where another
    /// process writes it.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        let file = open::open(opening)?;
        let synced = opening.clock.monotonic();
        Ok(Self {
            path: file.path,
            clock: Arc::clone(&opening.clock),
            patience: opening.patience,
            is_reader: opening.access == LedgerAccess::Read,
            store: Mutex::new(Store { connection: file.connection, synced }),
            leases: Mutex::new(HashMap::new()),
            _lock: file.lock,
        })
    }

    /// Returns the path of the file, with links followed.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        // A transaction that a panic left is rolled back when it is dropped.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leases(&self) -> MutexGuard<'_, HashMap<i64, (i64, Duration)>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a transaction that writes. `doing` is a verb with its object, for errors.
    fn write<T>(
        &self,
        doing: &str,
        sync: Sync,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreFault>,
    ) -> Result<T> {
        if self.is_reader {
            let message = format!("cannot {doing}: the ledger is open for reading only");
            return Err(Error::new(Kind::Destination, message));
        }
        let mut store = self.store();
        self.transact(&mut store, sync, work)
            .map_err(|fault| fault.into_error(&self.path, doing, self.patience))
    }

    fn transact<T>(
        &self,
        store: &mut Store,
        sync: Sync,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreFault>,
    ) -> Result<T, StoreFault> {
        let now = self.clock.monotonic();
        let is_synced = sync == Sync::Now || now.saturating_sub(store.synced) >= SYNC_EVERY;
        if is_synced {
            store.connection.pragma_update(None, "synchronous", "FULL")?;
        }
        let done = Self::commit(&mut store.connection, work);
        if is_synced {
            store.connection.pragma_update(None, "synchronous", "NORMAL")?;
            store.synced = now;
        }
        done
    }

    fn commit<T>(
        connection: &mut Connection,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreFault>,
    ) -> Result<T, StoreFault> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = work(&transaction)?;
        transaction.commit()?;
        Ok(value)
    }

    /// Runs statements that read one state of the ledger.
    fn read<T>(
        &self,
        doing: &str,
        work: impl FnOnce(&Connection) -> Result<T, StoreFault>,
    ) -> Result<T> {
        let mut store = self.store();
        let run = || {
            let transaction = store.connection.transaction()?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|fault: StoreFault| fault.into_error(&self.path, doing, self.patience))
    }
}

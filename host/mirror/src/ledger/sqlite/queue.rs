//! The queue of the ledger in SQLite.

use occystrap_base::error::Result;

use super::{Sqlite, Sync, begin, check, claim, finish, plan};
use crate::ledger::record::{
    BegunRun, ClaimRequest, ClaimedItem, FinishedItem, ItemCheck, ItemId, Lease, LeaseWrite,
    OpenItems, PlanChanges, PlanScope, PlannedItem, RunEnd, RunId, RunRequest, UnnamedItems,
};
use crate::ledger::{LEASE_SECONDS, Queue};

impl Sqlite {
    /// Returns the leases of this process that had no heartbeat for the time of a lease, by the monotonic clock.
    fn expired(&self) -> Vec<(i64, i64)> {
        let now = self.clock.monotonic();
        let most = std::time::Duration::from_secs(LEASE_SECONDS.unsigned_abs());
        let leases = self.leases();
        let ended = leases.iter().filter(|(_, (_, beat))| now.saturating_sub(*beat) > most);
        ended.map(|(item, (generation, _))| (*item, *generation)).collect()
    }

    fn forget_leases(&self, leases: &[(i64, i64)]) {
        let mut own = self.leases();
        for (item, generation) in leases {
            if own.get(item).is_some_and(|(known, _)| known == generation) {
                own.remove(item);
            }
        }
    }
}

impl Queue for Sqlite {
    fn begin_run(&self, request: &RunRequest<'_>) -> Result<BegunRun> {
        let now = self.clock.utc();
        let begun = self.write("begin a run", Sync::Now, |transaction| {
            begin::begin_run(transaction, request, now)
        })?;
        self.leases().clear();
        Ok(begun)
    }

    fn plan(&self, run: RunId, items: &[PlannedItem]) -> Result<PlanChanges> {
        self.write("plan items", Sync::Soon, |transaction| plan::plan(transaction, run, items))
    }

    fn end_plan(&self, run: RunId, scope: PlanScope) -> Result<UnnamedItems> {
        self.write("end the plan", Sync::Now, |transaction| {
            plan::end_plan(transaction, run, scope)
        })?
    }

    fn claim(&self, request: &ClaimRequest<'_>) -> Result<Vec<ClaimedItem>> {
        let (now, expired) = (self.clock.utc(), self.expired());
        let claimed = self.write("claim items", Sync::Soon, |transaction| {
            if !expired.is_empty() {
                begin::take_back(transaction, Some(&expired), now)?;
            }
            claim::claim(transaction, request, now)
        })?;
        self.forget_leases(&expired);
        let beat = self.clock.monotonic();
        let leases =
            claimed.iter().map(|claimed| (claimed.lease.item.0, (claimed.lease.generation, beat)));
        self.leases().extend(leases);
        Ok(claimed)
    }

    fn heartbeat(&self, leases: &[Lease]) -> Result<Vec<Lease>> {
        let (now, beat) = (self.clock.utc(), self.clock.monotonic());
        let held = self.write("prolong leases", Sync::Soon, |transaction| {
            claim::prolong(transaction, leases, now)
        })?;
        let mut own = self.leases();
        let mut stale = Vec::new();
        for (lease, is_held) in leases.iter().zip(held) {
            if is_held {
                own.insert(lease.item.0, (lease.generation, beat));
            } else {
                stale.push(*lease);
            }
        }
        Ok(stale)
    }

    fn finish(&self, lease: Lease, record: &FinishedItem) -> Result<LeaseWrite> {
        let now = self.clock.utc();
        let written = self.write("finish an item", Sync::Soon, |transaction| {
            finish::finish(transaction, lease, record, now)
        })?;
        self.forget_leases(&[(lease.item.0, lease.generation)]);
        Ok(written)
    }

    fn finish_all(&self, records: &[(Lease, &FinishedItem)]) -> Result<Vec<LeaseWrite>> {
        let now = self.clock.utc();
        let written = self.write("finish items", Sync::Soon, |transaction| {
            let each = records.iter();
            each.map(|(lease, record)| finish::finish(transaction, *lease, record, now)).collect()
        })?;
        let ended = records.iter().map(|(lease, _)| (lease.item.0, lease.generation));
        self.forget_leases(&ended.collect::<Vec<_>>());
        Ok(written)
    }

    fn give_back(&self) -> Result<u64> {
        let own: Vec<_> =
            self.leases().iter().map(|(item, (generation, _))| (*item, *generation)).collect();
        let returned = self
            .write("return leases", Sync::Now, |transaction| claim::give_back(transaction, &own))?;
        self.forget_leases(&own);
        Ok(returned)
    }

    fn record_item(&self, run: RunId, item: ItemId, check: &ItemCheck) -> Result<bool> {
        let now = self.clock.utc();
        let sync = if matches!(check, ItemCheck::Bad { .. }) { Sync::Now } else { Sync::Soon };
        self.write("record an item", sync, |transaction| {
            check::record(transaction, run, item, check, now)
        })
    }

    fn open_items(&self, run: RunId) -> Result<OpenItems> {
        let now = self.clock.utc();
        self.read("count open items", |connection| claim::open_items(connection, run, now))
    }

    fn finish_run(&self, run: RunId, totals: &str) -> Result<RunEnd> {
        let now = self.clock.utc();
        self.write("finish the run", Sync::Now, |transaction| {
            begin::finish_run(transaction, run, totals, now)
        })
    }

    fn stop_run(&self, run: RunId) -> Result<()> {
        let now = self.clock.utc();
        self.write("stop the run", Sync::Now, |transaction| begin::stop_run(transaction, run, now))
    }
}

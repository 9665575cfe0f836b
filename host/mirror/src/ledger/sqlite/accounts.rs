//! What reports and `status` read, in SQLite.

use occystrap_base::error::Result;
use rusqlite::{Connection, OptionalExtension, ToSql, params};

use super::fault::StoreFault;
use super::rows::{DigestText, ITEM, RUN, item as read_item, page, run as read_run, words};
use super::{Sqlite, Sync, coverage};
use crate::ledger::holding::{Coverage, Event, ItemFilter, NewEvent, Totals};
use crate::ledger::record::{ItemId, ItemObject, LedgerItem, LedgerRun, RunId};
use crate::ledger::state::State;
use crate::ledger::{Accounts, LONGEST_PAGE};

fn items(
    connection: &Connection,
    filter: &ItemFilter<'_>,
    after: Option<ItemId>,
    most: usize,
) -> Result<Vec<LedgerItem>, StoreFault> {
    let mut conditions = "id > ?".to_owned();
    let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(after.map_or(i64::MIN, |after| after.0))];
    if let Some(run) = filter.run {
        conditions.push_str(" AND run = ?");
        values.push(Box::new(run.0));
    }
    if !filter.states.is_empty() {
        let list = words(filter.states.iter());
        conditions.push_str(&format!(" AND state IN ({list})"));
        if filter.states.iter().all(|state| state.is_failure()) {
            // Implied, and said so that the index of failures can be used.
            conditions.push_str(" AND state IN ('failed', 'blocked', 'dead')");
        }
    }
    if let Some((host, repo)) = filter.repo {
        conditions.push_str(" AND dst_host = ? AND dst_repo = ?");
        values.push(Box::new(host.to_owned()));
        values.push(Box::new(repo.to_owned()));
    }
    if let Some(run) = filter.changed_after {
        conditions.push_str(" AND changed_run > ?");
        values.push(Box::new(run.0));
    }
    let most = page(most);
    let select = format!("SELECT {ITEM} FROM item WHERE {conditions} ORDER BY id LIMIT {most}");
    let mut statement = connection.prepare_cached(&select)?;
    let values = rusqlite::params_from_iter(values.iter().map(|value| &**value));
    let rows = statement.query_map(values, read_item)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn objects(connection: &Connection, item: ItemId) -> Result<Vec<ItemObject>, StoreFault> {
    let select = "SELECT role, digest, size, status, found FROM object WHERE item = ?1 ORDER BY number LIMIT ?2";
    let mut statement = connection.prepare_cached(select)?;
    let rows = statement.query_map(params![item.0, page(usize::MAX)], |row| {
        Ok(ItemObject {
            role: row.get(0)?,
            digest: row.get::<_, Option<DigestText>>(1)?.map(|text| text.0),
            size: row.get::<_, Option<i64>>(2)?.and_then(|size| u64::try_from(size).ok()),
            status: row.get(3)?,
            found: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn events(connection: &Connection, after: i64, most: usize) -> Result<Vec<Event>, StoreFault> {
    let select = "SELECT id, at, run, item, worker, what, detail FROM event WHERE id > ?1 ORDER BY id LIMIT ?2";
    let mut statement = connection.prepare_cached(select)?;
    let rows = statement.query_map(params![after, page(most)], |row| {
        Ok(Event {
            id: row.get(0)?,
            at: row.get(1)?,
            run: RunId(row.get(2)?),
            item: row.get::<_, Option<i64>>(3)?.map(ItemId),
            worker: row.get(4)?,
            what: row.get(5)?,
            detail: row.get(6)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

impl Accounts for Sqlite {
    fn runs(&self, most: usize) -> Result<Vec<LedgerRun>> {
        let select = format!("SELECT {RUN} FROM run ORDER BY id DESC LIMIT ?1");
        self.read("list runs", |connection| {
            let mut statement = connection.prepare_cached(&select)?;
            let rows = statement.query_map([page(most)], read_run)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    fn totals(&self, run: RunId) -> Result<Totals> {
        self.read("count items", |connection| coverage::totals(connection, Some(run)))
    }

    fn coverage(&self, limits: &[u64]) -> Result<Coverage> {
        let now = self.clock.utc();
        self.read("sum blobs", |connection| coverage::coverage(connection, limits, now))
    }

    fn items(
        &self,
        filter: &ItemFilter<'_>,
        after: Option<ItemId>,
        most: usize,
    ) -> Result<Vec<LedgerItem>> {
        self.read("list items", |connection| items(connection, filter, after, most))
    }

    fn item(&self, destination: &str) -> Result<Option<LedgerItem>> {
        let select = format!("SELECT {ITEM} FROM item WHERE destination = ?1");
        self.read("find an item", |connection| {
            Ok(connection
                .prepare_cached(&select)?
                .query_row([destination], read_item)
                .optional()?)
        })
    }

    fn known(&self, destinations: &[&str]) -> Result<Vec<Option<LedgerItem>>> {
        let select = format!("SELECT {ITEM} FROM item WHERE destination = ?1");
        self.read("find items", |connection| {
            let mut statement = connection.prepare_cached(&select)?;
            let asked = destinations.iter().take(LONGEST_PAGE);
            let found = asked.map(|name| statement.query_row([name], read_item).optional());
            Ok(found.collect::<rusqlite::Result<_>>()?)
        })
    }

    fn objects(&self, item: ItemId) -> Result<Vec<ItemObject>> {
        self.read("list objects", |connection| objects(connection, item))
    }

    fn receipt(&self, item: ItemId) -> Result<Option<String>> {
        let select = "SELECT body FROM receipt WHERE item = ?1";
        self.read("find a receipt", |connection| {
            let mut statement = connection.prepare_cached(select)?;
            Ok(statement.query_row([item.0], |row| row.get(0)).optional()?)
        })
    }

    fn forget_extra(&self, item: ItemId) -> Result<bool> {
        self.write("forget an item", Sync::Soon, |transaction| {
            let delete = "DELETE FROM item WHERE id = ?1 AND state = ?2";
            let changed =
                transaction.prepare_cached(delete)?.execute(params![item.0, State::Extra])?;
            Ok(changed == 1)
        })
    }

    fn append_events(&self, events: &[NewEvent<'_>]) -> Result<()> {
        let now = self.clock.utc();
        let insert = "INSERT INTO event (at, run, item, worker, what, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        self.write("append events", Sync::Soon, |transaction| {
            let mut statement = transaction.prepare_cached(insert)?;
            for event in events {
                let item = event.item.map(|item| item.0);
                let row = params![now, event.run.0, item, event.worker, event.what, event.detail];
                statement.execute(row)?;
            }
            Ok(())
        })
    }

    fn events(&self, after: i64, most: usize) -> Result<Vec<Event>> {
        self.read("list events", |connection| events(connection, after, most))
    }

    fn now(&self) -> Result<i64> {
        Ok(self.clock.utc())
    }
}

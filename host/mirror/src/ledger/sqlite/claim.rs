//! Claiming items: which ones, within the limits of hosts.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::fault::StoreFault;
use super::rows::{ITEM, count, item as read_item};
use crate::ledger::LEASE_SECONDS;
use crate::ledger::record::{ClaimRequest, ClaimedItem, Lease, LedgerItem, OpenItems, RunId};
use crate::ledger::state::{State, StateChange};

/// Items in work by host, and the limits.
struct Room<'a> {
    used: HashMap<String, u32>,
    limits: &'a BTreeMap<String, u32>,
    paused: HashMap<String, i64>,
}

impl Room<'_> {
    fn has(&self, host: &str) -> bool {
        let used = self.used.get(host).copied().unwrap_or(0);
        !self.paused.contains_key(host) && self.limits.get(host).is_none_or(|limit| used < *limit)
    }

    fn take(&mut self, source: &str, destination: &str) -> bool {
        if !self.has(source) || !self.has(destination) {
            return false;
        }
        *self.used.entry(source.to_owned()).or_default() += 1;
        if source != destination {
            *self.used.entry(destination.to_owned()).or_default() += 1;
        }
        true
    }
}

/// Claims items.
pub fn claim(
    transaction: &Transaction<'_>,
    request: &ClaimRequest<'_>,
    now: i64,
) -> Result<Vec<ClaimedItem>, StoreFault> {
    let mut room = Room {
        used: used(transaction)?,
        limits: request.host_limits,
        paused: pauses(transaction, now)?,
    };
    let mut chosen = planned(transaction, request, &mut room)?;
    if chosen.len() < request.most {
        let left = request.most - chosen.len();
        chosen.extend(retries(transaction, request.run, now, left, &mut room)?);
    }
    let mut claimed = Vec::with_capacity(chosen.len());
    for id in chosen {
        claimed.extend(take(transaction, id, request.worker, now)?);
    }
    Ok(claimed)
}

/// Returns the number of items in work for each host.
fn used(transaction: &Transaction<'_>) -> Result<HashMap<String, u32>, StoreFault> {
    let mut used = HashMap::new();
    let select = "SELECT src_host, dst_host FROM item WHERE state = 'leased'";
    let mut statement = transaction.prepare_cached(select)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (source, destination): (String, String) = (row.get(0)?, row.get(1)?);
        if source != destination {
            *used.entry(source).or_default() += 1;
        }
        *used.entry(destination).or_default() += 1;
    }
    Ok(used)
}

/// Returns the seconds for which each paused host is paused. A pause that begins in the future is over: the clock went
/// back.
fn pauses(connection: &Connection, now: i64) -> Result<HashMap<String, i64>, StoreFault> {
    let select =
        "SELECT name, paused_until - ?1 FROM host WHERE paused_until > ?1 AND paused_since <= ?1";
    let mut statement = connection.prepare_cached(select)?;
    let rows = statement.query_map([now], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

const FIRST_PAIR: &str = "SELECT src_host, dst_host FROM item WHERE run = ?1 AND state = 'planned'
    ORDER BY src_host, dst_host LIMIT 1";

/// The next destination of the same source. One condition on both columns would read all items of the pair.
const NEXT_DESTINATION: &str =
    "SELECT src_host, dst_host FROM item WHERE run = ?1 AND state = 'planned'
    AND src_host = ?2 AND dst_host > ?3 ORDER BY dst_host LIMIT 1";

const NEXT_SOURCE: &str = "SELECT src_host, dst_host FROM item WHERE run = ?1 AND state = 'planned'
    AND src_host > ?2 ORDER BY src_host, dst_host LIMIT 1";

const FIRST_OF_PAIR: &str =
    "SELECT id FROM item WHERE run = ?1 AND state = 'planned' AND src_host = ?2 AND dst_host = ?3
    ORDER BY id LIMIT ?4";

/// Calls a function with each pair of hosts, source and destination, that has planned items. It costs a step in the index
/// for each pair, and none for each item.
fn pairs(
    connection: &Connection,
    run: RunId,
    mut visit: impl FnMut(&str, &str) -> Result<(), StoreFault>,
) -> Result<(), StoreFault> {
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let mut destinations = connection.prepare_cached(NEXT_DESTINATION)?;
    let mut sources = connection.prepare_cached(NEXT_SOURCE)?;
    let mut pair: Option<(String, String)> =
        connection.prepare_cached(FIRST_PAIR)?.query_row([run.0], read).optional()?;
    while let Some((source, destination)) = pair {
        visit(&source, &destination)?;
        let values = params![run.0, source, destination];
        pair = destinations.query_row(values, read).optional()?;
        if pair.is_none() {
            pair = sources.query_row(params![run.0, source], read).optional()?;
        }
    }
    Ok(())
}

/// Chooses planned items: first the first of each pair of hosts, then the second of each, so that no host waits for the
/// items of another one.
fn planned(
    transaction: &Transaction<'_>,
    request: &ClaimRequest<'_>,
    room: &mut Room<'_>,
) -> Result<Vec<i64>, StoreFault> {
    let mut first = transaction.prepare_cached(FIRST_OF_PAIR)?;
    let most = i64::try_from(request.most).unwrap_or(i64::MAX);
    // Place in its pair, then number: the order in which to take.
    let mut candidates = Vec::new();
    pairs(transaction, request.run, |source, destination| {
        if !room.has(source) || !room.has(destination) {
            return Ok(());
        }
        let row = params![request.run.0, source, destination, most];
        let ids = first.query_map(row, |row| row.get::<_, i64>(0))?;
        for (place, id) in ids.enumerate() {
            candidates.push((place, id?, source.to_owned(), destination.to_owned()));
        }
        Ok(())
    })?;
    candidates.sort_unstable();
    let mut chosen = Vec::new();
    for (_, id, source, destination) in candidates {
        if chosen.len() == request.most {
            break;
        }
        if room.take(&source, &destination) {
            chosen.push(id);
        }
    }
    Ok(chosen)
}

/// Items whose wait is over, or began in the future: the clock went back.
const READY: &str = "SELECT id, src_host, dst_host FROM item WHERE run = ?1 AND state = 'retry'
    AND (not_before <= ?2 OR since > ?2) ORDER BY not_before";

fn retries(
    transaction: &Transaction<'_>,
    run: RunId,
    now: i64,
    most: usize,
    room: &mut Room<'_>,
) -> Result<Vec<i64>, StoreFault> {
    let mut statement = transaction.prepare_cached(READY)?;
    let mut rows = statement.query(params![run.0, now])?;
    let mut chosen = Vec::new();
    while chosen.len() < most
        && let Some(row) = rows.next()?
    {
        let (source, destination): (String, String) = (row.get(1)?, row.get(2)?);
        if room.take(&source, &destination) {
            chosen.push(row.get(0)?);
        }
    }
    Ok(chosen)
}

/// Gives an item to a worker.
fn take(
    transaction: &Transaction<'_>,
    id: i64,
    worker: &str,
    now: i64,
) -> Result<Option<ClaimedItem>, StoreFault> {
    let select = format!("SELECT {ITEM}, lease_gen FROM item WHERE id = ?1");
    let read = |row: &rusqlite::Row<'_>| Ok((read_item(row)?, row.get::<_, i64>("lease_gen")?));
    let (item, generation): (LedgerItem, i64) =
        transaction.prepare_cached(&select)?.query_row([id], read)?;
    let Some(state) = item.state.after(StateChange::Claim, item.attempt) else { return Ok(None) };
    let (generation, attempt) = (generation + 1, item.attempt + 1);
    let set = "UPDATE item SET state = ?2, attempt = ?3, lease_by = ?4, lease_gen = ?5, lease_until = ?6 WHERE id = ?1";
    let until = now.saturating_add(LEASE_SECONDS);
    transaction
        .prepare_cached(set)?
        .execute(params![id, state, attempt, worker, generation, until])?;
    let lease = Lease { item: item.id, generation };
    Ok(Some(ClaimedItem { lease, item: LedgerItem { state, attempt, ..item } }))
}

/// Prolongs the leases that are not stale. Returns whether each one still holds.
pub fn prolong(
    transaction: &Transaction<'_>,
    leases: &[Lease],
    now: i64,
) -> Result<Vec<bool>, StoreFault> {
    let set =
        "UPDATE item SET lease_until = ?3 WHERE id = ?1 AND lease_gen = ?2 AND state = 'leased'";
    let mut statement = transaction.prepare_cached(set)?;
    let until = now.saturating_add(LEASE_SECONDS);
    let mut held = Vec::with_capacity(leases.len());
    for lease in leases {
        held.push(statement.execute(params![lease.item.0, lease.generation, until])? == 1);
    }
    Ok(held)
}

/// Returns leases uncounted. Returns their number.
pub fn give_back(transaction: &Transaction<'_>, leases: &[(i64, i64)]) -> Result<u64, StoreFault> {
    let find = "SELECT attempt FROM item WHERE id = ?1 AND lease_gen = ?2 AND state = 'leased'";
    let set = "UPDATE item SET state = ?2, attempt = ?3, since = 0, not_before = 0, lease_by = NULL, lease_until = NULL
        WHERE id = ?1";
    let mut returned = 0;
    for (item, generation) in leases {
        let attempt: Option<u32> = transaction
            .prepare_cached(find)?
            .query_row([item, generation], |row| row.get(0))
            .optional()?;
        let Some(attempt) = attempt else { continue };
        let Some(state) = State::Leased.after(StateChange::GiveBack, attempt) else { continue };
        let row = params![item, state, attempt.saturating_sub(1)];
        transaction.prepare_cached(set)?.execute(row)?;
        returned += 1;
    }
    Ok(returned)
}

/// Returns the open items of a run, and when the next one is ready.
pub fn open_items(connection: &Connection, run: RunId, now: i64) -> Result<OpenItems, StoreFault> {
    let select = "SELECT (SELECT count(*) FROM item WHERE run = ?1 AND state = 'planned'),
        (SELECT count(*) FROM item WHERE run = ?1 AND state = 'leased'),
        (SELECT count(*) FROM item WHERE run = ?1 AND state = 'retry')";
    let read = |row: &rusqlite::Row<'_>| Ok((count(row, 0)?, count(row, 1)?, count(row, 2)?));
    let (planned, leased, retry) = connection.prepare_cached(select)?.query_row([run.0], read)?;
    let pauses = pauses(connection, now)?;
    let wait = |source: &str, destination: &str| {
        let of = |host| pauses.get(host).copied().unwrap_or(0);
        of(source).max(of(destination))
    };
    let mut next_in = None::<i64>;
    let mut offer = |wait: i64| next_in = Some(next_in.map_or(wait, |next| next.min(wait)));
    pairs(connection, run, |source, destination| {
        offer(wait(source, destination));
        Ok(())
    })?;
    let waits =
        "SELECT src_host, dst_host, min(iif(since > ?2, 0, max(0, not_before - ?2))) FROM item
        WHERE run = ?1 AND state = 'retry' GROUP BY src_host, dst_host";
    let mut statement = connection.prepare_cached(waits)?;
    let mut rows = statement.query(params![run.0, now])?;
    while let Some(row) = rows.next()? {
        let (source, destination): (String, String) = (row.get(0)?, row.get(1)?);
        offer(wait(&source, &destination).max(row.get(2)?));
    }
    let next_in = next_in.and_then(|wait| u64::try_from(wait).ok());
    Ok(OpenItems { planned, leased, retry, next_in })
}

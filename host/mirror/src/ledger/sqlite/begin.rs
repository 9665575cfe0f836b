//! The beginning and the end of runs, and the leases of processes that died.

use rusqlite::{OptionalExtension, Transaction, params};

use super::fault::StoreFault;
use super::rows::{RUN, count, run as read_run, words};
use crate::ledger::record::{BegunRun, LedgerRun, RunEnd, RunId, RunKind, RunRequest, RunState};
use crate::ledger::state::{State, StateChange};

/// Number of runs whose events are kept. It is a month of nightly runs.
const KEPT_RUNS: i64 = 30;

/// Begins a run, or continues the last one of its kind, FILE and selection.
pub fn begin_run(
    transaction: &Transaction<'_>,
    request: &RunRequest<'_>,
    now: i64,
) -> Result<BegunRun, StoreFault> {
    let (taken_back, dead) = take_back(transaction, None, now)?;
    let last = last_run(transaction, request.kind)?;
    let fits = |run: &LedgerRun| {
        run.state != RunState::Finished
            && run.kind == request.kind
            && run.file_digest == request.file_digest
            && run.selection == request.selection
    };
    if let Some(run) = last.filter(fits) {
        let left = open_count(transaction, run.id)?;
        let set = "UPDATE run SET state = ?2, worker = ?3, finished = NULL WHERE id = ?1";
        transaction.prepare_cached(set)?.execute(params![
            run.id.0,
            RunState::Planned,
            request.worker
        ])?;
        return Ok(BegunRun { id: run.id, resumed: true, left, taken_back, dead });
    }
    transaction.execute(
        "UPDATE run SET state = ?1, finished = coalesce(finished, ?2) WHERE state IN (?3, ?4)",
        params![RunState::Stopped, now, RunState::Planned, RunState::Running],
    )?;
    transaction.execute(
        "INSERT INTO run (kind, state, file_digest, selection, worker, started) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            request.kind,
            RunState::Planned,
            request.file_digest.to_string(),
            request.selection,
            request.worker,
            now
        ],
    )?;
    let id = RunId(transaction.last_insert_rowid());
    transaction.execute("DELETE FROM event WHERE run <= ?1", [id.0 - KEPT_RUNS])?;
    Ok(BegunRun { id, resumed: false, left: 0, taken_back, dead })
}

/// Returns the latest run of a kind. Kinds that change destinations count as one: their order matters.
fn last_run(transaction: &Transaction<'_>, kind: RunKind) -> Result<Option<LedgerRun>, StoreFault> {
    let kinds: &[RunKind] = match kind {
        RunKind::Mirror | RunKind::Repair | RunKind::Import => {
            &[RunKind::Mirror, RunKind::Repair, RunKind::Import]
        }
        RunKind::Verify => &[RunKind::Verify],
        RunKind::Prune => &[RunKind::Prune],
        RunKind::Export => &[RunKind::Export],
    };
    let kinds = words(kinds.iter());
    let select = format!("SELECT {RUN} FROM run WHERE kind IN ({kinds}) ORDER BY id DESC LIMIT 1");
    Ok(transaction.prepare_cached(&select)?.query_row([], read_run).optional()?)
}

/// Returns the number of open items of a run.
fn open_count(transaction: &Transaction<'_>, run: RunId) -> Result<u64, StoreFault> {
    let select = "SELECT (SELECT count(*) FROM item WHERE run = ?1 AND state = 'planned')
        + (SELECT count(*) FROM item WHERE run = ?1 AND state = 'retry')
        + (SELECT count(*) FROM item WHERE run = ?1 AND state = 'leased')";
    Ok(transaction.prepare_cached(select)?.query_row([run.0], |row| count(row, 0))?)
}

/// Takes leases back, counted: those of the given items and generations, or all. Returns their number, and how many of the
/// items are dead now.
///
/// All is right at the beginning of a run: the caller has the lock of the ledger, so that each process which had a lease is
/// dead.
pub fn take_back(
    transaction: &Transaction<'_>,
    only: Option<&[(i64, i64)]>,
    now: i64,
) -> Result<(u64, u64), StoreFault> {
    let (mut taken, mut dead) = (0, 0);
    for (item, generation, attempt) in leased(transaction)? {
        let is_meant = only.is_none_or(|only| only.contains(&(item, generation)));
        let Some(state) = State::Leased.after(StateChange::Lose, attempt).filter(|_| is_meant)
        else {
            continue;
        };
        let set = "UPDATE item SET state = ?2, since = ?3, not_before = ?3, ended = ?4,
            lease_by = NULL, lease_until = NULL, error_class = ?5, error = ?6 WHERE id = ?1";
        let is_dead = state == State::Dead;
        let (class, message) = ("worker-lost", "the process that worked on it ended");
        let error = is_dead.then_some((class, message)).unzip();
        let ended = is_dead.then_some(now);
        transaction
            .prepare_cached(set)?
            .execute(params![item, state, now, ended, error.0, error.1])?;
        taken += 1;
        dead += u64::from(is_dead);
    }
    Ok((taken, dead))
}

/// Returns all leases: item, generation, attempt. Their number is that of the workers.
pub fn leased(transaction: &Transaction<'_>) -> Result<Vec<(i64, i64, u32)>, StoreFault> {
    let mut statement = transaction
        .prepare_cached("SELECT id, lease_gen, attempt FROM item WHERE state = 'leased'")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Closes a run, unless items are open or it is closed.
pub fn finish_run(
    transaction: &Transaction<'_>,
    run: RunId,
    totals: &str,
    now: i64,
) -> Result<RunEnd, StoreFault> {
    let left = open_count(transaction, run)?;
    if left > 0 {
        return Ok(RunEnd::ItemsLeft(left));
    }
    let set = "UPDATE run SET state = ?2, finished = ?3, totals = ?4 WHERE id = ?1 AND state <> ?2";
    let changed = transaction.prepare_cached(set)?.execute(params![
        run.0,
        RunState::Finished,
        now,
        totals
    ])?;
    Ok(if changed == 1 { RunEnd::Closed } else { RunEnd::WasClosed })
}

/// Marks a run as stopped, unless it is finished.
pub fn stop_run(transaction: &Transaction<'_>, run: RunId, now: i64) -> Result<(), StoreFault> {
    let set = "UPDATE run SET state = ?2, finished = ?3 WHERE id = ?1 AND state <> ?4";
    transaction.prepare_cached(set)?.execute(params![
        run.0,
        RunState::Stopped,
        now,
        RunState::Finished
    ])?;
    Ok(())
}

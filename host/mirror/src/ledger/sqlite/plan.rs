//! Plans: which items a run has.

use occystrap_base::error::Error;
use rusqlite::{CachedStatement, OptionalExtension, Transaction, params};

use super::fault::StoreFault;
use super::rows::{count, words};
use crate::ledger::record::{PlanChanges, PlanScope, PlannedItem, RunId, RunState, UnnamedItems};
use crate::ledger::state::{State, StateChange};

/// What the ledger has of an item before it is named.
struct Before {
    id: i64,
    run: i64,
    state: State,
    attempt: u32,
    is_same: bool,
    is_same_content: bool,
}

const FIND: &str = "SELECT id, run, state, attempt, source = ?2 AND content = ?3, content = ?3
    FROM item WHERE destination = ?1";

const INSERT: &str = "INSERT INTO item (run, added_run, source, destination, src_host, dst_host, dst_repo, rule, content,
    state, want_digest) VALUES (?1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

/// Begins an item anew in a run. The proof, and the digest that the source had then, go where the content (`?11`) is
/// another one.
const RENEW: &str = "UPDATE item SET run = ?2, source = ?3, src_host = ?4, dst_host = ?5, dst_repo = ?6, rule = ?7,
    content = ?8, state = ?9, want_digest = coalesce(?10, iif(?11, want_digest, NULL)), attempt = 0, since = 0, not_before = 0, outcome = NULL, verdict = NULL,
    error_class = NULL, error = NULL, hint = NULL, bytes_sent = 0, bytes_mounted = 0, ended = NULL,
    have_digest = iif(?11, have_digest, NULL), level = iif(?11, level, NULL), verified_at = iif(?11, verified_at, NULL)
    WHERE id = ?1";

/// Names items in a run.
pub fn plan(
    transaction: &Transaction<'_>,
    run: RunId,
    items: &[PlannedItem],
) -> Result<PlanChanges, StoreFault> {
    let mut find = transaction.prepare_cached(FIND)?;
    let mut insert = transaction.prepare_cached(INSERT)?;
    let mut renew = transaction.prepare_cached(RENEW)?;
    let mut unobject = transaction.prepare_cached("DELETE FROM object WHERE item = ?1")?;
    let mut changes = PlanChanges::default();
    for item in items {
        let want = item.want_digest.map(|digest| digest.to_string());
        let Some(before) = before(&mut find, item)? else {
            insert.execute(params![
                run.0,
                item.source,
                item.destination,
                item.src_host,
                item.dst_host,
                item.dst_repo,
                item.rule,
                item.content,
                State::Planned,
                want
            ])?;
            changes.new += 1;
            continue;
        };
        let is_kept = before.run == run.0 && before.is_same && before.state != State::Extra;
        let next = before.state.after(StateChange::Name, before.attempt).filter(|_| !is_kept);
        let Some(state) = next else {
            // What is in work stays; a source that moved meanwhile is found by the next run.
            match before.state {
                State::Planned | State::Retry | State::Leased => changes.same += 1,
                _ => changes.ended += 1,
            }
            continue;
        };
        renew.execute(params![
            before.id,
            run.0,
            item.source,
            item.src_host,
            item.dst_host,
            item.dst_repo,
            item.rule,
            item.content,
            state,
            want,
            before.is_same_content
        ])?;
        unobject.execute([before.id])?;
        if before.is_same {
            changes.same += 1;
        } else {
            changes.changed += 1;
        }
    }
    Ok(changes)
}

fn before(
    find: &mut CachedStatement<'_>,
    item: &PlannedItem,
) -> Result<Option<Before>, StoreFault> {
    let row = params![item.destination, item.source, item.content];
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Before {
            id: row.get(0)?,
            run: row.get(1)?,
            state: row.get(2)?,
            attempt: row.get(3)?,
            is_same: row.get(4)?,
            is_same_content: row.get(5)?,
        })
    };
    Ok(find.query_row(row, read).optional()?)
}

/// Ends the plan of a run. The inner error is that of a FILE of another mirror; what its plan added is forgotten then.
pub fn end_plan(
    transaction: &Transaction<'_>,
    run: RunId,
    scope: PlanScope,
) -> Result<Result<UnnamedItems, Error>, StoreFault> {
    let unnamed = match scope {
        PlanScope::Part => UnnamedItems::default(),
        PlanScope::Whole => match unname(transaction, run) {
            Err(StoreFault::Refused(error)) => {
                forget_plan(transaction, run)?;
                return Ok(Err(error));
            }
            unnamed => unnamed?,
        },
    };
    let set = "UPDATE run SET state = ?2 WHERE id = ?1 AND state = ?3";
    transaction.execute(set, params![run.0, RunState::Running, RunState::Planned])?;
    Ok(Ok(unnamed))
}

/// Makes what a plan does not name extra, or forgets it where it never arrived.
fn unname(transaction: &Transaction<'_>, run: RunId) -> Result<UnnamedItems, StoreFault> {
    let possible = words(StateChange::Unname.from());
    let counts = "SELECT count(*) FILTER (WHERE run <> ?1 AND state = 'extra'),
        count(*) FILTER (WHERE run <> ?1 AND state <> 'extra'), count(*) FILTER (WHERE run = ?1) FROM item";
    let (extra_before, unnamed, named) = transaction
        .query_row(counts, [run.0], |row| Ok((count(row, 0)?, count(row, 1)?, count(row, 2)?)))?;
    if unnamed == 0 {
        return Ok(UnnamedItems { extra_before, ..UnnamedItems::default() });
    }
    let known = "SELECT 1 FROM item WHERE run = ?1 AND added_run < ?1";
    if named > 0 && !transaction.prepare_cached(known)?.exists([run.0])? {
        return Err(StoreFault::Refused(of_another(transaction, run, named, unnamed)?));
    }
    let is_there = "(have_digest IS NOT NULL OR changed_run IS NOT NULL)";
    let forget =
        format!("DELETE FROM item WHERE run <> ?1 AND state IN ({possible}) AND NOT {is_there}");
    let forgotten = transaction.execute(&forget, [run.0])?;
    let set = format!(
        "UPDATE item SET state = ?2, outcome = NULL, verdict = NULL, error_class = NULL, error = NULL, hint = NULL
         WHERE run <> ?1 AND state IN ({possible})"
    );
    let extra = transaction.execute(&set, params![run.0, State::Extra])?;
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    Ok(UnnamedItems { extra: number(extra), forgotten: number(forgotten), extra_before })
}

/// Returns the error for a plan that names nothing of what the ledger has.
fn of_another(
    transaction: &Transaction<'_>,
    run: RunId,
    named: u64,
    unnamed: u64,
) -> Result<Error, StoreFault> {
    let example: String = transaction.query_row(
        "SELECT destination FROM item WHERE run <> ?1 AND state <> 'extra' LIMIT 1",
        [run.0],
        |row| row.get(0),
    )?;
    let message = format!(
        "the ledger is of another mirror: none of its {unnamed} destinations, for example '{example}', is among the {named} of the file"
    );
    Ok(Error::usage(message).hint("name a ledger of its own with --ledger PATH"))
}

/// Forgets what a plan that was refused has added.
fn forget_plan(transaction: &Transaction<'_>, run: RunId) -> Result<(), StoreFault> {
    transaction.execute(
        "DELETE FROM item WHERE run = ?1 AND added_run = ?1 AND state = 'planned'",
        [run.0],
    )?;
    transaction.execute(
        "DELETE FROM run WHERE id = ?1
        AND NOT EXISTS (SELECT 1 FROM item WHERE run = ?1)",
        [run.0],
    )?;
    Ok(())
}

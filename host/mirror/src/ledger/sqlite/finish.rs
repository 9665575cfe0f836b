//! Ending an attempt, with all that is recorded of it.

use rusqlite::{OptionalExtension, Transaction, params};

use super::fault::StoreFault;
use super::rows::stored;
use crate::ledger::record::{
    Ending, FinishedItem, ItemId, ItemObject, Lease, LeaseWrite, Outcome, ProofChange, Verdict,
};
use crate::ledger::state::{State, StateChange, backoff};

/// Columns that an ending decides.
struct Ended {
    state: State,
    outcome: Option<Outcome>,
    verdict: Option<Verdict>,
    not_before: i64,
}

const FIND: &str =
    "SELECT attempt, run FROM item WHERE id = ?1 AND lease_gen = ?2 AND state = 'leased'";

const END: &str = "UPDATE item SET state = ?2, outcome = ?3, verdict = ?4, since = ?5, not_before = ?6,
    lease_by = NULL, lease_until = NULL, want_digest = coalesce(?7, want_digest), error_class = ?8, error = ?9, hint = ?10,
    bytes_sent = bytes_sent + ?11, bytes_mounted = bytes_mounted + ?12, ended = ?13,
    changed_run = coalesce(?14, changed_run) WHERE id = ?1";

/// Ends an attempt. Changes nothing where the lease is stale.
pub fn finish(
    transaction: &Transaction<'_>,
    lease: Lease,
    record: &FinishedItem,
    now: i64,
) -> Result<LeaseWrite, StoreFault> {
    let row = params![lease.item.0, lease.generation];
    let found = transaction
        .prepare_cached(FIND)?
        .query_row(row, |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((attempt, run)): Option<(u32, i64)> = found else { return Ok(LeaseWrite::Stale) };
    let Some(ended) = ended(lease, &record.ending, attempt, now) else {
        return Ok(LeaseWrite::Stale);
    };
    let is_changed = matches!(ended.outcome, Some(Outcome::Copied | Outcome::Repaired));
    let error = record.error.as_ref();
    transaction.prepare_cached(END)?.execute(params![
        lease.item.0,
        ended.state,
        ended.outcome,
        ended.verdict,
        now,
        ended.not_before,
        record.want_digest.map(|digest| digest.to_string()),
        error.map(|error| &error.class),
        error.map(|error| &error.message),
        error.and_then(|error| error.hint.as_ref()),
        stored(record.bytes_sent),
        stored(record.bytes_mounted),
        (!ended.state.is_open()).then_some(now),
        is_changed.then_some(run),
    ])?;
    change_proof(transaction, lease, record.proof, now)?;
    if let Some(receipt) = &record.receipt {
        keep_receipt(transaction, lease.item, receipt)?;
    }
    replace_objects(transaction, lease.item, &record.objects)?;
    Ok(match ended.state {
        State::Retry => LeaseWrite::Postponed(ended.not_before.saturating_sub(now)),
        state => LeaseWrite::Recorded(state),
    })
}

/// Keeps the receipt of an item, in the place of an older one.
pub fn keep_receipt(
    transaction: &Transaction<'_>,
    item: ItemId,
    receipt: &str,
) -> Result<(), StoreFault> {
    let insert = "INSERT INTO receipt (item, body) VALUES (?1, ?2)
        ON CONFLICT (item) DO UPDATE SET body = excluded.body";
    transaction.prepare_cached(insert)?.execute(params![item.0, receipt])?;
    Ok(())
}

fn ended(lease: Lease, ending: &Ending, attempt: u32, now: i64) -> Option<Ended> {
    let step = match ending {
        Ending::Done(..) => StateChange::Finish,
        Ending::Failed(_) => StateChange::Fail,
        Ending::Blocked => StateChange::Block,
        Ending::Retry { .. } => StateChange::Postpone,
    };
    let state = State::Leased.after(step, attempt)?;
    let (outcome, verdict) = match ending {
        Ending::Done(outcome, verdict) => (Some(*outcome), Some(*verdict)),
        Ending::Failed(verdict) => (None, Some(*verdict)),
        Ending::Blocked | Ending::Retry { .. } => (None, None),
    };
    let not_before = match ending {
        Ending::Retry { asked_wait } if state == State::Retry => {
            // Neighbours in a plan return at different times.
            let spread = lease.item.0.unsigned_abs().wrapping_mul(619);
            now.saturating_add(backoff(attempt, *asked_wait, spread))
        }
        _ => 0,
    };
    Some(Ended { state, outcome, verdict, not_before })
}

fn change_proof(
    transaction: &Transaction<'_>,
    lease: Lease,
    proof: ProofChange,
    now: i64,
) -> Result<(), StoreFault> {
    let set = "UPDATE item SET have_digest = ?2, level = ?3, verified_at = ?4 WHERE id = ?1";
    let mut statement = transaction.prepare_cached(set)?;
    let none: Option<String> = None;
    match proof {
        ProofChange::Keep => {}
        ProofChange::Proved(digest, level) => {
            statement.execute(params![lease.item.0, digest.to_string(), level, now])?;
        }
        ProofChange::Drop => {
            statement.execute(params![lease.item.0, none, none, none])?;
        }
    }
    Ok(())
}

/// Replaces the objects of an item that are not right.
pub fn replace_objects(
    transaction: &Transaction<'_>,
    item: ItemId,
    objects: &[ItemObject],
) -> Result<(), StoreFault> {
    transaction.prepare_cached("DELETE FROM object WHERE item = ?1")?.execute([item.0])?;
    let insert = "INSERT INTO object (item, number, role, digest, size, status, found) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let mut statement = transaction.prepare_cached(insert)?;
    for (number, object) in (0_i64..).zip(objects) {
        statement.execute(params![
            item.0,
            number,
            object.role,
            object.digest.map(|digest| digest.to_string()),
            object.size.map(stored),
            object.status,
            object.found
        ])?;
    }
    Ok(())
}

//! Recording what a verification or a repair found of an item that is not in work.

use rusqlite::{OptionalExtension, Transaction, params};

use super::fault::StoreFault;
use super::finish::{keep_receipt, replace_objects};
use crate::ledger::record::{ItemCheck, ItemId, Outcome, RunId, Verdict};
use crate::ledger::state::{State, StateChange};

const FIND: &str = "SELECT state, verdict FROM item WHERE id = ?1";

/// An item that was done keeps its outcome, unless it was repaired.
const GOOD: &str = "UPDATE item SET state = ?2, outcome = coalesce(?3, outcome, ?4), verdict = ?5, have_digest = ?6,
    level = ?7, verified_at = ?8, changed_run = coalesce(?9, changed_run), error_class = NULL, error = NULL, hint = NULL
    WHERE id = ?1";

const BAD: &str =
    "UPDATE item SET state = ?2, outcome = NULL, verdict = ?3, have_digest = NULL, level = NULL,
    verified_at = NULL, error_class = ?4, error = ?5, hint = ?6, ended = ?7 WHERE id = ?1";

/// Records a check. Returns false where the item is not one whose destination was verified.
pub fn record(
    transaction: &Transaction<'_>,
    run: RunId,
    item: ItemId,
    check: &ItemCheck,
    now: i64,
) -> Result<bool, StoreFault> {
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let found: Option<(State, Option<Verdict>)> =
        transaction.prepare_cached(FIND)?.query_row([item.0], read).optional()?;
    let Some((before, verdict)) = found else { return Ok(false) };
    if before == State::Failed && verdict != Some(Verdict::Failed) {
        return Ok(false);
    }
    let step = match check {
        ItemCheck::Bad { .. } => StateChange::Doubt,
        ItemCheck::Good { .. } | ItemCheck::Repaired { .. } => StateChange::Confirm,
    };
    let Some(state) = before.after(step, 1) else { return Ok(false) };
    match check {
        ItemCheck::Good { digest, level } => {
            let outcome: Option<Outcome> = None;
            let changed: Option<i64> = None;
            let row = params![
                item.0,
                state,
                outcome,
                Outcome::Unchanged,
                Verdict::Verified,
                digest.to_string(),
                level,
                now,
                changed
            ];
            transaction.prepare_cached(GOOD)?.execute(row)?;
            replace_objects(transaction, item, &[])?;
        }
        ItemCheck::Repaired { digest, level, receipt } => {
            let row = params![
                item.0,
                state,
                Outcome::Repaired,
                Outcome::Repaired,
                Verdict::Verified,
                digest.to_string(),
                level,
                now,
                run.0
            ];
            transaction.prepare_cached(GOOD)?.execute(row)?;
            replace_objects(transaction, item, &[])?;
            if let Some(receipt) = receipt {
                keep_receipt(transaction, item, receipt)?;
            }
        }
        ItemCheck::Bad { error, objects } => {
            let row = params![
                item.0,
                state,
                Verdict::Failed,
                error.class,
                error.message,
                error.hint,
                now
            ];
            transaction.prepare_cached(BAD)?.execute(row)?;
            replace_objects(transaction, item, objects)?;
        }
    }
    Ok(true)
}

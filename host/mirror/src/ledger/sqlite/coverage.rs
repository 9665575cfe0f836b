//! Counts and sums for reports.

use rusqlite::{Connection, params};

use super::fault::StoreFault;
use super::rows::{count, stored};
use crate::ledger::clock::{MOST_FUTURE, age};
use crate::ledger::holding::{BlobState, BlobSum, Coverage, Totals};
use crate::ledger::record::{Outcome, RunId, Verdict};
use crate::ledger::state::State;

const TOTALS: &str =
    "SELECT state, outcome, verdict, count(*), coalesce(sum(max(attempt - 1, 0)), 0),
    coalesce(sum(bytes_sent), 0), coalesce(sum(bytes_mounted), 0)
    FROM item WHERE ?1 IS NULL OR run = ?1 OR state = 'extra' GROUP BY state, outcome, verdict";

/// Returns counts and sums of a run, or of all items.
pub fn totals(connection: &Connection, run: Option<RunId>) -> Result<Totals, StoreFault> {
    let mut statement = connection.prepare_cached(TOTALS)?;
    let mut rows = statement.query([run.map(|run| run.0)])?;
    let mut totals = Totals::default();
    while let Some(row) = rows.next()? {
        let number = count(row, 3)?;
        let state: State = row.get(0)?;
        *of_state(&mut totals, state) += number;
        if state == State::Extra {
            continue;
        }
        if let Some(outcome) = row.get(1)? {
            *of_outcome(&mut totals, outcome) += number;
        }
        match row.get(2)? {
            // What failed was not verified either, and is counted once.
            None | Some(Verdict::NotVerified) if state != State::Done => {}
            Some(verdict) => *of_verdict(&mut totals, verdict) += number,
            None => {}
        }
        totals.retries += count(row, 4)?;
        totals.bytes_sent += count(row, 5)?;
        totals.bytes_mounted += count(row, 6)?;
    }
    Ok(totals)
}

fn of_state(totals: &mut Totals, state: State) -> &mut u64 {
    match state {
        State::Planned => &mut totals.planned,
        State::Leased => &mut totals.leased,
        State::Done => &mut totals.done,
        State::Failed => &mut totals.failed,
        State::Blocked => &mut totals.blocked,
        State::Retry => &mut totals.retry,
        State::Dead => &mut totals.dead,
        State::Extra => &mut totals.extra,
    }
}

fn of_outcome(totals: &mut Totals, outcome: Outcome) -> &mut u64 {
    match outcome {
        Outcome::Copied => &mut totals.copied,
        Outcome::Unchanged => &mut totals.unchanged,
        Outcome::Repaired => &mut totals.repaired,
        Outcome::Kept => &mut totals.kept,
        Outcome::AlreadyThere => &mut totals.already_there,
    }
}

fn of_verdict(totals: &mut Totals, verdict: Verdict) -> &mut u64 {
    match verdict {
        Verdict::Verified => &mut totals.verified,
        Verdict::Failed => &mut totals.verified_failed,
        Verdict::Unconfirmed => &mut totals.unconfirmed,
        Verdict::NotVerified => &mut totals.not_verified,
    }
}

const OF_RANK: &str = "SELECT count(*), coalesce(sum(size), 0) FROM blob WHERE rank = ?1";

/// Good blobs whose age in seconds is above `?2` and at most `?3`; those from the near future have the age 0.
const OF_AGE: &str = "SELECT count(*), coalesce(sum(size), 0) FROM blob
    WHERE rank = ?1 AND verified_at >= ?2 AND verified_at < ?3";

/// Returns how much was read in full, by age.
pub fn coverage(connection: &Connection, limits: &[u64], now: i64) -> Result<Coverage, StoreFault> {
    let sum =
        |row: &rusqlite::Row<'_>| Ok(BlobSum { blobs: count(row, 0)?, bytes: count(row, 1)? });
    let of_rank =
        |state: BlobState| connection.prepare_cached(OF_RANK)?.query_row([state.rank()], sum);
    let between = |from: i64, to: i64| {
        let row = params![BlobState::Good.rank(), from, to];
        connection.prepare_cached(OF_AGE)?.query_row(row, sum)
    };
    let (mut never, bad, good) =
        (of_rank(BlobState::New)?, of_rank(BlobState::Bad)?, of_rank(BlobState::Good)?);
    let latest = now.saturating_add(MOST_FUTURE).saturating_add(1);
    let mut by_age = Vec::with_capacity(limits.len() + 1);
    let mut to = latest;
    for limit in limits {
        let from = now.saturating_sub(stored(*limit));
        by_age.push(between(from, to)?);
        to = from.min(to);
    }
    by_age.push(between(i64::MIN, to)?);
    never = never.plus(between(latest, i64::MAX)?);
    let oldest = "SELECT min(verified_at) FROM blob WHERE rank = ?1";
    let oldest: Option<i64> =
        connection.prepare_cached(oldest)?.query_row([BlobState::Good.rank()], |row| row.get(0))?;
    let all = of_rank(BlobState::New)?.plus(bad).plus(good);
    let oldest = oldest.and_then(|oldest| age(now, oldest));
    Ok(Coverage { all, never, bad, by_age, oldest })
}

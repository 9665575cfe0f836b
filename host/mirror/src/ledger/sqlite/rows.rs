//! Rows as values, and values as parameters.

use occystrap_base::oci::digest::Digest;
use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, Type, ValueRef};

use crate::ledger::LONGEST_PAGE;
use crate::ledger::holding::{BlobState, LedgerBlob};
use crate::ledger::record::{ItemError, ItemId, LedgerItem, LedgerRun, Proof, RunId};

/// A digest that a column holds as text.
#[derive(Debug, Clone, Copy)]
pub struct DigestText(pub Digest);

impl FromSql for DigestText {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Self).map_err(FromSqlError::other)
    }
}

/// Returns a number of a column that cannot be negative. Errors where it is.
pub fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let found: i64 = row.get(column)?;
    u64::try_from(found).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, found))
}

/// Returns a number as SQLite stores it. What does not fit, which is more bytes than there are, becomes the largest.
pub fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Returns the length of a page: what the caller asked for, within [`LONGEST_PAGE`].
pub fn page(most: usize) -> i64 {
    i64::try_from(most.min(LONGEST_PAGE)).unwrap_or(0)
}

/// Columns of an item, in the order in which [`item`] reads them.
pub const ITEM: &str = "item.id, item.run, source, destination, src_host, dst_host, dst_repo, rule, content, item.state, \
    attempt, not_before, want_digest, have_digest, level, verified_at, outcome, verdict, error_class, error, hint, \
    bytes_sent, bytes_mounted, changed_run, ended";

/// Reads the columns [`ITEM`].
pub fn item(row: &Row<'_>) -> rusqlite::Result<LedgerItem> {
    let digest = |column| {
        Ok::<_, rusqlite::Error>(row.get::<_, Option<DigestText>>(column)?.map(|text| text.0))
    };
    let proof = match (digest(13)?, row.get(14)?, row.get(15)?) {
        (Some(digest), Some(level), Some(verified_at)) => {
            Some(Proof { digest, level, verified_at })
        }
        _ => None,
    };
    let error = match (row.get(18)?, row.get(19)?) {
        (Some(class), Some(message)) => Some(ItemError { class, message, hint: row.get(20)? }),
        _ => None,
    };
    Ok(LedgerItem {
        id: ItemId(row.get(0)?),
        run: RunId(row.get(1)?),
        source: row.get(2)?,
        destination: row.get(3)?,
        src_host: row.get(4)?,
        dst_host: row.get(5)?,
        dst_repo: row.get(6)?,
        rule: row.get(7)?,
        content: row.get(8)?,
        state: row.get(9)?,
        attempt: row.get(10)?,
        not_before: row.get(11)?,
        want_digest: digest(12)?,
        proof,
        outcome: row.get(16)?,
        verdict: row.get(17)?,
        error,
        bytes_sent: count(row, 21)?,
        bytes_mounted: count(row, 22)?,
        changed_run: row.get::<_, Option<i64>>(23)?.map(RunId),
        ended: row.get(24)?,
    })
}

/// Columns of a run, in the order in which [`run`] reads them.
pub const RUN: &str = "id, kind, state, file_digest, selection, started, finished, totals";

/// Reads the columns [`RUN`].
pub fn run(row: &Row<'_>) -> rusqlite::Result<LedgerRun> {
    Ok(LedgerRun {
        id: RunId(row.get(0)?),
        kind: row.get(1)?,
        state: row.get(2)?,
        file_digest: row.get::<_, DigestText>(3)?.0,
        selection: row.get(4)?,
        started: row.get(5)?,
        finished: row.get(6)?,
        totals: row.get(7)?,
    })
}

/// Returns the error for a column whose text is not what it must be.
pub fn unreadable(
    column: usize,
    cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, cause.into())
}

/// Returns words as a list for SQL: `'planned', 'retry'`. They are constants of the program and have no quotes.
pub fn words(list: impl Iterator<Item = impl std::fmt::Display>) -> String {
    list.map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", ")
}

/// Columns of a blob, in the order in which [`read_blob`] reads them.
pub const BLOB: &str = "host, digest, size, rank, verified_at, found";

/// Reads the columns [`BLOB`].
pub fn read_blob(row: &Row<'_>) -> rusqlite::Result<LedgerBlob> {
    let verified_at: i64 = row.get(4)?;
    Ok(LedgerBlob {
        host: row.get(0)?,
        digest: row.get::<_, DigestText>(1)?.0,
        size: count(row, 2)?,
        state: blob_state(row, 3)?,
        verified_at: (verified_at != 0).then_some(verified_at),
        found: row.get(5)?,
    })
}

/// Reads what is known of a blob from the column of its rank.
pub fn blob_state(row: &Row<'_>, column: usize) -> rusqlite::Result<BlobState> {
    let rank: i64 = row.get(column)?;
    let found = BlobState::ALL.iter().copied().find(|state| state.rank() == rank);
    found.ok_or_else(|| unreadable(column, format!("{rank} is not a state of a blob")))
}

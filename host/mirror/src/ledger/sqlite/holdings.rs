//! Blobs and links in SQLite.

use occystrap_base::error::Result;
use occystrap_base::oci::digest::Digest;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::fault::StoreFault;
use super::rows::{BLOB, DigestText, blob_state, count, page, read_blob, stored};
use super::{Sqlite, Sync, due};
use crate::ledger::Holdings;
use crate::ledger::holding::{
    BlobCheck, BlobLink, BlobState, BlobSum, DueBlobs, DueRequest, HeldBlob, LedgerBlob,
};
use crate::ledger::record::RunId;

/// Returns the first 31 bits of a digest. SHA-256 spreads them evenly.
fn bucket(digest: &str) -> i64 {
    let hex = digest.trim_start_matches("sha256:").get(..8).unwrap_or("0");
    i64::from(u32::from_str_radix(hex, 16).unwrap_or(0) >> 1)
}

fn note_blobs(
    transaction: &Transaction<'_>,
    blobs: &[HeldBlob],
    now: i64,
) -> Result<(), StoreFault> {
    // The update makes RETURNING say the number of a blob that is known.
    let insert = "INSERT INTO blob (host, digest, size, bucket) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (host, digest) DO UPDATE SET size = excluded.size RETURNING id";
    let link = "INSERT INTO link (blob, repo, noted) VALUES (?1, ?2, ?3)
        ON CONFLICT (blob, repo) DO UPDATE SET noted = excluded.noted";
    let mut insert = transaction.prepare_cached(insert)?;
    let mut link = transaction.prepare_cached(link)?;
    for blob in blobs {
        let digest = blob.digest.to_string();
        let row = params![blob.host, digest, stored(blob.size), bucket(&digest)];
        let id: i64 = insert.query_row(row, |row| row.get(0))?;
        link.execute(params![id, blob.repo, now])?;
    }
    Ok(())
}

fn forget_blob(
    transaction: &Transaction<'_>,
    host: &str,
    repo: &str,
    digest: &Digest,
) -> Result<(), StoreFault> {
    let digest = digest.to_string();
    let unlink = "DELETE FROM link WHERE repo = ?2
        AND blob = (SELECT id FROM blob WHERE host = ?1 AND digest = ?3)";
    transaction.prepare_cached(unlink)?.execute(params![host, repo, digest])?;
    let forget = "DELETE FROM blob WHERE host = ?1 AND digest = ?2
        AND NOT EXISTS (SELECT 1 FROM link WHERE link.blob = blob.id)";
    transaction.prepare_cached(forget)?.execute(params![host, digest])?;
    Ok(())
}

fn names(
    connection: &Connection,
    select: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<String>, StoreFault> {
    let mut statement = connection.prepare_cached(select)?;
    let rows = statement.query_map(values, |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn record_blob(
    transaction: &Transaction<'_>,
    run: RunId,
    (host, digest): (&str, &Digest),
    check: &BlobCheck,
    now: i64,
) -> Result<bool, StoreFault> {
    let digest = digest.to_string();
    let changed = match check {
        BlobCheck::Unchecked => {
            let set = "UPDATE blob SET checked_run = ?3 WHERE host = ?1 AND digest = ?2";
            transaction.prepare_cached(set)?.execute(params![host, digest, run.0])?
        }
        BlobCheck::Good | BlobCheck::Bad(_) => {
            let (state, found) = match check {
                BlobCheck::Bad(found) => (BlobState::Bad, Some(found)),
                _ => (BlobState::Good, None),
            };
            let set = "UPDATE blob SET checked_run = ?3, rank = ?4, verified_at = ?5, found = ?6
                WHERE host = ?1 AND digest = ?2";
            let row = params![host, digest, run.0, state.rank(), now, found];
            transaction.prepare_cached(set)?.execute(row)?
        }
    };
    Ok(changed == 1)
}

impl Holdings for Sqlite {
    fn note_blobs(&self, blobs: &[HeldBlob]) -> Result<()> {
        let now = self.clock.utc();
        self.write("note blobs", Sync::Soon, |transaction| note_blobs(transaction, blobs, now))
    }

    fn forget_blob(&self, host: &str, repo: &str, digest: &Digest) -> Result<()> {
        self.write("forget a blob", Sync::Soon, |transaction| {
            forget_blob(transaction, host, repo, digest)
        })
    }

    fn blob(&self, host: &str, digest: &Digest) -> Result<Option<LedgerBlob>> {
        let select = format!("SELECT {BLOB} FROM blob WHERE host = ?1 AND digest = ?2");
        self.read("find a blob", |connection| {
            let mut statement = connection.prepare_cached(&select)?;
            Ok(statement.query_row(params![host, digest.to_string()], read_blob).optional()?)
        })
    }

    fn repos(&self, host: &str, digest: &Digest, after: &str, most: usize) -> Result<Vec<String>> {
        let select = "SELECT repo FROM link WHERE blob = (SELECT id FROM blob WHERE host = ?1 AND digest = ?2)
            AND repo > ?3 ORDER BY repo LIMIT ?4";
        let values = params![host, digest.to_string(), after, page(most)];
        self.read("find repositories", |connection| names(connection, select, values))
    }

    fn repos_to_mount(&self, host: &str, digest: &Digest, most: usize) -> Result<Vec<String>> {
        let select = "SELECT repo FROM link
            WHERE blob = (SELECT id FROM blob WHERE host = ?1 AND digest = ?2 AND rank <> ?4)
            ORDER BY noted DESC, repo LIMIT ?3";
        let values = params![host, digest.to_string(), page(most), BlobState::Bad.rank()];
        self.read("find repositories", |connection| names(connection, select, values))
    }

    fn links(
        &self,
        host: &str,
        repo: &str,
        after: Option<&Digest>,
        most: usize,
    ) -> Result<Vec<BlobLink>> {
        let select = "SELECT digest, size, rank FROM link JOIN blob ON blob.id = link.blob
            WHERE repo = ?2 AND host = ?1 AND digest > ?3 ORDER BY digest LIMIT ?4";
        let after = after.map(Digest::to_string).unwrap_or_default();
        let read = |row: &Row<'_>| {
            let digest = row.get::<_, DigestText>(0)?.0;
            Ok(BlobLink { digest, size: count(row, 1)?, state: blob_state(row, 2)? })
        };
        self.read("list blobs", |connection| {
            let mut statement = connection.prepare_cached(select)?;
            let rows = statement.query_map(params![host, repo, after, page(most)], read)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    fn due_blobs(&self, request: &DueRequest<'_>) -> Result<DueBlobs> {
        let now = self.clock.utc();
        self.read("choose blobs", |connection| due::due_blobs(connection, request, now))
    }

    fn sum_due(&self, request: &DueRequest<'_>) -> Result<BlobSum> {
        let now = self.clock.utc();
        self.read("count blobs", |connection| due::sum_due(connection, request, now))
    }

    fn record_blob(
        &self,
        run: RunId,
        host: &str,
        digest: &Digest,
        check: &BlobCheck,
    ) -> Result<bool> {
        let now = self.clock.utc();
        let sync = if matches!(check, BlobCheck::Bad(_)) { Sync::Now } else { Sync::Soon };
        self.write("record a blob", sync, |transaction| {
            record_blob(transaction, run, (host, digest), check, now)
        })
    }
}

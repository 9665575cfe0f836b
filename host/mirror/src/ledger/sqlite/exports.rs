//! Exports and imports, in SQLite.

use occystrap_base::error::Result;
use occystrap_base::oci::digest::Digest;
use rusqlite::{OptionalExtension, Row, params};

use super::rows::{DigestText, page, words};
use super::{Sqlite, Sync};
use crate::ledger::export::{ExportMark, Exports, ImportMark, NewExport};
use crate::ledger::record::RunId;

const MARK: &str = "SELECT at, run, since, place, digest FROM export";

fn read_mark(row: &Row<'_>) -> rusqlite::Result<ExportMark> {
    Ok(ExportMark {
        at: row.get(0)?,
        run: RunId(row.get(1)?),
        since: row.get::<_, Option<i64>>(2)?.map(RunId),
        place: row.get(3)?,
        digest: row.get::<_, Option<DigestText>>(4)?.map(|text| text.0),
    })
}

/// Returns runs as SQL has them in a list.
fn list(runs: &[RunId]) -> String {
    words(runs.iter().map(|run| run.0))
}

impl Exports for Sqlite {
    fn note_export(&self, export: &NewExport<'_>) -> Result<()> {
        let (now, run) = (self.clock.utc(), export.run.0);
        self.write("record an export", Sync::Now, |transaction| {
            for table in ["export", "carried", "exported"] {
                transaction.execute(&format!("DELETE FROM {table} WHERE run = ?1"), [run])?;
            }
            let insert =
                "INSERT INTO export (at, run, since, place, digest) VALUES (?1, ?2, ?3, ?4, ?5)";
            let since = export.since.map(|since| since.0);
            let digest = export.digest.to_string();
            transaction.execute(insert, params![now, run, since, export.place, digest])?;
            let insert = "INSERT OR IGNORE INTO carried (run, digest, repo) VALUES (?1, ?2, ?3)";
            let mut statement = transaction.prepare(insert)?;
            for (digest, repo) in export.carried {
                statement.execute(params![run, digest.to_string(), repo])?;
            }
            let insert = "INSERT INTO exported (run, destination, content) VALUES (?1, ?2, ?3)";
            let mut statement = transaction.prepare(insert)?;
            for (destination, content) in export.images {
                statement.execute(params![run, destination, content.to_string()])?;
            }
            Ok(())
        })
    }

    fn exports(&self, most: usize) -> Result<Vec<ExportMark>> {
        let select = format!("{MARK} ORDER BY id DESC LIMIT ?1");
        self.read("list exports", |connection| {
            let mut statement = connection.prepare_cached(&select)?;
            let rows = statement.query_map([page(most)], read_mark)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    fn export(&self, run: RunId) -> Result<Option<ExportMark>> {
        let select = format!("{MARK} WHERE run = ?1");
        self.read("find an export", |connection| {
            Ok(connection.prepare_cached(&select)?.query_row([run.0], read_mark).optional()?)
        })
    }

    fn carrier(&self, runs: &[RunId], digest: &Digest) -> Result<Option<String>> {
        let select = format!(
            "SELECT repo FROM carried WHERE digest = ?1 AND run IN ({}) ORDER BY run DESC LIMIT 1",
            list(runs)
        );
        self.read("find a blob of an export", |connection| {
            let mut statement = connection.prepare_cached(&select)?;
            Ok(statement.query_row([digest.to_string()], |row| row.get(0)).optional()?)
        })
    }

    fn exported(&self, runs: &[RunId], destination: &str) -> Result<Option<Digest>> {
        let select = format!(
            "SELECT content FROM exported WHERE destination = ?1 AND run IN ({}) ORDER BY run DESC LIMIT 1",
            list(runs)
        );
        self.read("find an image of an export", |connection| {
            let mut statement = connection.prepare_cached(&select)?;
            let found: Option<DigestText> =
                statement.query_row([destination], |row| row.get(0)).optional()?;
            Ok(found.map(|text| text.0))
        })
    }

    fn note_import(&self, export: Digest, run: RunId, destination: &str) -> Result<()> {
        let now = self.clock.utc();
        let insert = "INSERT INTO import (at, export, run, destination) VALUES (?1, ?2, ?3, ?4)";
        self.write("record an import", Sync::Now, |transaction| {
            transaction.execute(insert, params![now, export.to_string(), run.0, destination])?;
            Ok(())
        })
    }

    fn imports(&self, destination: &str, most: usize) -> Result<Vec<ImportMark>> {
        let select = "SELECT at, export, run, destination FROM import WHERE destination = ?1
            ORDER BY id DESC LIMIT ?2";
        self.read("list imports", |connection| {
            let mut statement = connection.prepare_cached(select)?;
            let rows = statement.query_map(params![destination, page(most)], |row| {
                Ok(ImportMark {
                    at: row.get(0)?,
                    export: row.get::<_, DigestText>(1)?.0,
                    run: RunId(row.get(2)?),
                    destination: row.get(3)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}

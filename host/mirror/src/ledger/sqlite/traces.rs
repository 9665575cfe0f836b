//! What a run leaves for its report beside its items, in SQLite.

use occystrap_base::error::Result;
use rusqlite::params;

use super::rows::{count, page, stored};
use super::{Sqlite, Sync, coverage};
use crate::ledger::Traces;
use crate::ledger::holding::{HostAnswers, Moved, Totals};
use crate::ledger::record::{ItemError, RunId};

impl Traces for Sqlite {
    fn note_traffic(&self, run: RunId, answers: &[HostAnswers], moved: Moved) -> Result<()> {
        let add = "INSERT INTO request (run, host, code, number) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (run, host, code) DO UPDATE SET number = number + excluded.number";
        let add_moved = "INSERT INTO moved (run, sent, mounted) VALUES (?1, ?2, ?3)
            ON CONFLICT (run) DO UPDATE SET sent = sent + excluded.sent, mounted = mounted + excluded.mounted";
        self.write("note requests", Sync::Soon, |transaction| {
            let mut statement = transaction.prepare_cached(add)?;
            for one in answers {
                statement.execute(params![run.0, one.host, one.code, stored(one.number)])?;
            }
            let row = params![run.0, stored(moved.sent), stored(moved.mounted)];
            transaction.prepare_cached(add_moved)?.execute(row)?;
            Ok(())
        })
    }

    fn answers(&self, run: Option<RunId>) -> Result<Vec<HostAnswers>> {
        let select = "SELECT host, code, sum(number) FROM request WHERE ?1 IS NULL OR run = ?1
            GROUP BY host, code ORDER BY host, code LIMIT ?2";
        self.read("count requests", |connection| {
            let mut statement = connection.prepare_cached(select)?;
            let row = params![run.map(|run| run.0), page(usize::MAX)];
            let rows = statement.query_map(row, |row| {
                Ok(HostAnswers { host: row.get(0)?, code: row.get(1)?, number: count(row, 2)? })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    fn moved(&self) -> Result<Moved> {
        let select = "SELECT coalesce(sum(sent), 0), coalesce(sum(mounted), 0) FROM moved";
        self.read("sum bytes", |connection| {
            let mut statement = connection.prepare_cached(select)?;
            Ok(statement
                .query_row([], |row| Ok(Moved { sent: count(row, 0)?, mounted: count(row, 1)? }))?)
        })
    }

    fn note_unlisted(&self, run: RunId, errors: &[ItemError]) -> Result<()> {
        let insert =
            "INSERT INTO unlisted (run, number, class, error, hint) VALUES (?1, ?2, ?3, ?4, ?5)";
        self.write("note sources", Sync::Soon, |transaction| {
            transaction.execute("DELETE FROM unlisted WHERE run = ?1", [run.0])?;
            let mut statement = transaction.prepare_cached(insert)?;
            for (number, error) in (0..page(usize::MAX)).zip(errors) {
                let ItemError { class, message, hint } = error;
                statement.execute(params![run.0, number, class, message, hint])?;
            }
            Ok(())
        })
    }

    fn unlisted(&self, run: RunId) -> Result<Vec<ItemError>> {
        let select = "SELECT class, error, hint FROM unlisted WHERE run = ?1 ORDER BY number";
        self.read("list sources", |connection| {
            let mut statement = connection.prepare_cached(select)?;
            let rows = statement.query_map([run.0], |row| {
                Ok(ItemError { class: row.get(0)?, message: row.get(1)?, hint: row.get(2)? })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    fn totals_of_all(&self) -> Result<Totals> {
        self.read("count items", |connection| coverage::totals(connection, None))
    }
}

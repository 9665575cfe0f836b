//! Facts that need not be asked for again, in SQLite.

use std::collections::BTreeMap;

use occystrap_base::error::Result;
use occystrap_base::oci::digest::Digest;
use rusqlite::{OptionalExtension, Row, params};

use super::rows::{page, stored};
use super::{Sqlite, Sync};
use crate::ledger::Facts;
use crate::ledger::clock::age;
use crate::ledger::holding::{Host, HostNote};

const HOST: &str = "SELECT name, has_referrers, paused_since, paused_until, pulls_left FROM host";

fn read_host(row: &Row<'_>, now: i64) -> rusqlite::Result<Host> {
    let (since, until): (i64, i64) = (row.get(2)?, row.get(3)?);
    // A pause that begins in the future is over: the clock went back.
    let paused = if since > now { 0 } else { until.saturating_sub(now) };
    Ok(Host {
        name: row.get(0)?,
        has_referrers: row.get(1)?,
        paused_for: u64::try_from(paused).unwrap_or(0),
        pulls_left: row.get::<_, Option<i64>>(4)?.and_then(|left| u64::try_from(left).ok()),
    })
}

impl Facts for Sqlite {
    fn created(&self, configs: &[Digest]) -> Result<BTreeMap<Digest, Option<i64>>> {
        self.read("find creation dates", |connection| {
            let mut statement =
                connection.prepare_cached("SELECT at FROM created WHERE config = ?1")?;
            let mut known = BTreeMap::new();
            for config in configs {
                let found =
                    statement.query_row([config.to_string()], |row| row.get(0)).optional()?;
                known.extend(found.map(|at: Option<i64>| (*config, at)));
            }
            Ok(known)
        })
    }

    fn note_created(&self, configs: &[(Digest, Option<i64>)]) -> Result<()> {
        self.write("note creation dates", Sync::Soon, |transaction| {
            let insert = "INSERT INTO created (config, at) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            let mut statement = transaction.prepare_cached(insert)?;
            for (config, at) in configs {
                statement.execute(params![config.to_string(), at])?;
            }
            Ok(())
        })
    }

    fn referrers_age(&self, host: &str, repo: &str, subject: &Digest) -> Result<Option<u64>> {
        let select =
            "SELECT asked_at FROM referrers WHERE host = ?1 AND repo = ?2 AND subject = ?3";
        let now = self.clock.utc();
        self.read("find referrers", |connection| {
            let mut statement = connection.prepare_cached(select)?;
            let row = params![host, repo, subject.to_string()];
            let asked: Option<i64> = statement.query_row(row, |row| row.get(0)).optional()?;
            Ok(asked.and_then(|asked| age(now, asked)))
        })
    }

    fn note_referrers(&self, host: &str, repo: &str, subject: &Digest) -> Result<()> {
        let now = self.clock.utc();
        let insert = "INSERT INTO referrers (host, repo, subject, asked_at) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (host, repo, subject) DO UPDATE SET asked_at = excluded.asked_at";
        self.write("note referrers", Sync::Soon, |transaction| {
            let row = params![host, repo, subject.to_string(), now];
            transaction.prepare_cached(insert)?.execute(row)?;
            Ok(())
        })
    }

    fn host(&self, name: &str) -> Result<Host> {
        let now = self.clock.utc();
        let select = format!("{HOST} WHERE name = ?1");
        self.read("find a host", |connection| {
            let mut statement = connection.prepare_cached(&select)?;
            let found = statement.query_row([name], |row| read_host(row, now)).optional()?;
            Ok(found.unwrap_or_else(|| Host { name: name.to_owned(), ..Host::default() }))
        })
    }

    fn hosts(&self) -> Result<Vec<Host>> {
        let now = self.clock.utc();
        let select = format!("{HOST} ORDER BY name LIMIT {}", page(usize::MAX));
        self.read("list hosts", |connection| {
            let mut statement = connection.prepare_cached(&select)?;
            let rows = statement.query_map([], |row| read_host(row, now))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    fn note_host(&self, name: &str, note: HostNote) -> Result<()> {
        let now = self.clock.utc();
        self.write("note a host", Sync::Soon, |transaction| {
            let insert = "INSERT INTO host (name) VALUES (?1) ON CONFLICT DO NOTHING";
            transaction.prepare_cached(insert)?.execute([name])?;
            let (set, value) = match note {
                HostNote::HasReferrers(has) => ("has_referrers = ?2", i64::from(has)),
                HostNote::PausedFor(seconds) => {
                    ("paused_since = ?3, paused_until = ?2", now.saturating_add(stored(seconds)))
                }
                HostNote::PullsLeft(left) => ("pulls_left = ?2", stored(left)),
            };
            // `?3` is named in each, so that all have the same parameters.
            let update = format!("UPDATE host SET {set} WHERE name = ?1 AND ?3 = ?3");
            transaction.prepare_cached(&update)?.execute(params![name, value, now])?;
            Ok(())
        })
    }
}

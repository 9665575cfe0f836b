//! The versions of the tables, and how an older ledger becomes a newer one.

use std::path::Path;

use occystrap_base::error::Error;
use rusqlite::{Connection, TransactionBehavior};

use super::fault::StoreFault;

/// Number in the header of the file that says that it is a ledger of occystrap: "OCLG".
pub const APPLICATION_ID: i32 = 0x4F43_4C47;

/// Statements that make each version from the one before. The first makes version 1 from an empty file. A released entry
/// never changes.
const VERSIONS: &[&str] = &[include_str!("schema.sql"), include_str!("schema-2.sql")];

/// The version that this program writes.
pub fn newest() -> i64 {
    i64::try_from(VERSIONS.len()).unwrap_or(i64::MAX)
}

/// Brings a ledger to the newest version, in one transaction: all of it, or nothing. Errors when its version is later than
/// this program knows.
pub fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreFault> {
    migrate_with(connection, path, VERSIONS)
}

fn migrate_with(
    connection: &mut Connection,
    path: &Path,
    versions: &[&str],
) -> Result<(), StoreFault> {
    let newest = i64::try_from(versions.len()).unwrap_or(i64::MAX);
    if version(connection)? == newest {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Read again: the lock of the transaction is held now.
    let found = version(&transaction)?;
    refuse_later(found, newest, path)?;
    for statements in versions.iter().skip(usize::try_from(found).unwrap_or(usize::MAX)) {
        transaction.execute_batch(statements)?;
    }
    transaction.pragma_update(None, "user_version", newest)?;
    transaction.commit()?;
    Ok(())
}

/// Returns the version of a ledger.
pub fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Errors when a version is later than the newest that is known, or none.
pub fn refuse_later(found: i64, newest: i64, path: &Path) -> Result<(), StoreFault> {
    if (0..=newest).contains(&found) {
        return Ok(());
    }
    let message = format!(
        "the ledger '{}' has a later version: expected at most {newest}, found {found}",
        path.display()
    );
    Err(StoreFault::Refused(
        Error::usage(message).hint("run the command with the newer occystrap that wrote it"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_version_is_made_in_one_transaction_or_not_at_all() {
        let path = Path::new("m.ledger");
        let mut connection = Connection::open_in_memory().unwrap();
        migrate_with(&mut connection, path, &["CREATE TABLE a (x)"]).unwrap();
        let two = ["CREATE TABLE a (x)", "CREATE TABLE b (x); INSERT INTO nowhere VALUES (1)"];
        assert!(matches!(migrate_with(&mut connection, path, &two), Err(StoreFault::Sql(_))));
        assert_eq!(version(&connection).unwrap(), 1);
        let is_there = |name: &str| {
            connection
                .prepare("SELECT 1 FROM sqlite_schema WHERE name = ?1")
                .unwrap()
                .exists([name])
                .unwrap()
        };
        assert!(is_there("a") && !is_there("b"));
        migrate_with(&mut connection, path, &["", "CREATE TABLE b (x)"]).unwrap();
        assert_eq!(version(&connection).unwrap(), 2);
        let Err(StoreFault::Refused(error)) = migrate_with(&mut connection, path, &[""]) else {
            panic!()
        };
        insta::assert_snapshot!(error, @"the ledger 'm.ledger' has a later version: expected at most 1, found 2");
    }
}

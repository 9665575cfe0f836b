//! Errors of SQLite as errors for users.

use std::path::Path;
use std::time::Duration;

use occystrap_base::error::{Error, Kind};
use occystrap_base::terminal::shell::quote;
use rusqlite::{ErrorCode, ffi};

/// Reason why a transaction failed.
#[derive(Debug)]
pub enum StoreFault {
    /// SQLite failed, or a stored value cannot be.
    Sql(rusqlite::Error),
    /// A rule of the ledger forbids it.
    Refused(Error),
}

impl From<rusqlite::Error> for StoreFault {
    fn from(cause: rusqlite::Error) -> Self {
        Self::Sql(cause)
    }
}

impl StoreFault {
    /// Returns the error for users. `doing` is a verb with its object: `claim items`.
    pub fn into_error(self, path: &Path, doing: &str, patience: Duration) -> Error {
        match self {
            Self::Sql(cause) => error(path, doing, &cause, patience),
            Self::Refused(error) => error,
        }
    }
}

/// Returns the error for a ledger whose content cannot be.
pub fn damaged(path: &Path, reason: &str) -> Error {
    let place = path.display();
    let message = format!("the ledger '{place}' is damaged: {reason}");
    let [from, to, lock, log, shared] =
        ["", ".damaged", ".lock", "-wal", "-shm"].map(|end| quote(&format!("{place}{end}")));
    Error::new(Kind::Destination, message).hint(format!(
        "restore it from a backup; or begin a new one, which finds and verifies what is there: mv {from} {to}; rm -f {lock} {log} {shared}"
    ))
}

/// Returns the error for a failure of SQLite.
pub fn error(path: &Path, doing: &str, cause: &rusqlite::Error, patience: Duration) -> Error {
    let place = path.display();
    let new = |reason: &str| {
        Error::new(Kind::Destination, format!("cannot {doing} in the ledger '{place}': {reason}"))
    };
    let code = match cause {
        rusqlite::Error::FromSqlConversionFailure(_, _, cause) => {
            return damaged(path, &cause.to_string());
        }
        rusqlite::Error::InvalidColumnType(_, column, found) => {
            return damaged(
                path,
                &format!("the column '{column}' has a value of the type {found}"),
            );
        }
        rusqlite::Error::Utf8Error(column, _) => {
            return damaged(path, &format!("a text in column {column} is not UTF-8"));
        }
        rusqlite::Error::IntegralValueOutOfRange(_, value) => {
            return damaged(path, &format!("the number {value} is out of range"));
        }
        _ => cause.sqlite_error_code(),
    };
    let extended = cause.sqlite_error().map_or(0, |error| error.extended_code);
    match code {
        Some(ErrorCode::DatabaseCorrupt) => damaged(path, "its pages do not fit together"),
        Some(ErrorCode::NotADatabase) => damaged(path, "it does not begin as an SQLite file"),
        Some(ErrorCode::SystemIoFailure) if extended == ffi::SQLITE_IOERR_SHORT_READ => {
            damaged(path, "it ends in the middle of a page")
        }
        Some(ErrorCode::DiskFull) => new("no space is left").hint(
            "free some space there and run the command again: what was recorded before is kept, and the run continues",
        ),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            new(&format!("another program has locked it for {} s", patience.as_secs())).hint(format!(
                "close that program (`fuser '{place}'` names it) and run the command again"
            ))
        }
        Some(ErrorCode::ReadOnly) => new("it cannot be written")
            .hint(format!("check the permissions of '{place}' and of its folder")),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => {
            new("it cannot be opened")
                .hint(format!("check the permissions of '{place}' and of its folder"))
        }
        Some(ErrorCode::SystemIoFailure) => new(&format!("the disk failed ({cause})")).hint(
            "look for free space, quotas and errors of the disk, and run the command again: what was recorded before is kept",
        ),
        _ => new(&cause.to_string()),
    }
}

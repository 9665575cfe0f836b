//! Opening and creating the file of a ledger.
//!
//! | what is at the path | for `run` | for others |
//! | --- | --- | --- |
//! | nothing, and no sign that there was a ledger | a new one | an error |
//! | nothing, but a lock file that knows of one, or a log | an error | an error |
//! | an empty, truncated or damaged file, or one of another program | an error | an error |
//! | a ledger of an older version | is migrated | is migrated; for readers an error |
//! | a ledger of a later version, or of another mirror | an error | an error |
//!
//! A new ledger is built beside its name and renamed, so that a file with that name is always whole. `PRAGMA quick_check`
//! reads the whole file at each opening for writing: about 0.2 s for 100,000 items, once a run. It finds truncated files
//! and damaged pages; a flipped bit inside a text is found where that text is read, and a digest that it changes no longer
//! equals that of the image, which is then verified again.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::new_file::folder;
use occystrap_base::files::temporary::random_name;
use occystrap_base::oci::digest::Digest;
use occystrap_base::terminal::shell::quote;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::fault::{StoreFault, damaged, error};
use super::schema;
use crate::ledger::clock::{Clock, SystemClock};
use crate::ledger::lock::{RunLock, beside, lock_path};
use crate::ledger::place::{FileSystemOf, file_system, refuse_network};

/// Time for which a lock of another program is waited for. A backup with `sqlite3 .backup` holds it for less.
const PATIENCE: Duration = Duration::from_secs(10);

/// Memory for pages, in KiB. A run works on items in the order of their numbers, so that it needs few pages at a time.
const CACHE_KIB: i64 = 4 * 1024;

/// Bytes to which the write-ahead log is cut after a checkpoint.
const LONGEST_LOG: i64 = 16 * 1024 * 1024;

/// What a caller does with a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerAccess {
    /// It writes, and creates a ledger where there was none: `mirror run`.
    Create,
    /// It writes into one that exists: `mirror verify`.
    Write,
    /// It only reads, also while another process writes: `mirror status`.
    Read,
}

/// How a ledger is opened.
#[derive(Debug, Clone)]
pub struct Opening<'a> {
    /// Path of the file.
    pub path: &'a Path,
    /// Name of the mirror: the file name of FILE. A ledger belongs to the mirror that created it; it also accepts another
    /// name for a FILE with a digest that it has seen, because then FILE was only renamed.
    pub mirror: &'a str,
    /// Digest of the bytes of FILE.
    pub file_digest: Digest,
    /// What the caller does with it.
    pub access: LedgerAccess,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// How the type of a file system is found.
    pub file_system: FileSystemOf,
    /// Time for which a lock of another program is waited for.
    pub patience: Duration,
}

impl<'a> Opening<'a> {
    /// Creates an opening with the clocks and the file systems of the machine.
    #[must_use]
    pub fn new(path: &'a Path, mirror: &'a str, file_digest: Digest, access: LedgerAccess) -> Self {
        let clock = Arc::new(SystemClock);
        Self { path, mirror, file_digest, access, clock, file_system, patience: PATIENCE }
    }
}

/// An open file.
#[derive(Debug)]
pub struct OpenFile {
    /// The connection.
    pub connection: Connection,
    /// The lock of the ledger, for writers.
    pub lock: Option<RunLock>,
    /// The path, with links followed.
    pub path: PathBuf,
}

/// Opens the file of a ledger, and creates it where that is asked for.
pub fn open(opening: &Opening<'_>) -> Result<OpenFile> {
    let path = std::fs::canonicalize(opening.path).unwrap_or_else(|_| opening.path.to_owned());
    refuse_network(opening.path, folder(&path), opening.file_system)?;
    let is_writer = opening.access != LedgerAccess::Read;
    let mut lock = None;
    if is_writer {
        // Before the lock, so that a wrong path leaves no lock file behind.
        if opening.access == LedgerAccess::Write && is_missing(&path)? {
            refuse_missing(opening, &path, lock_path(&path).exists())?;
        }
        check_header(&path)?;
        lock = Some(RunLock::take(&path, opening.clock.utc())?);
    }
    if is_missing(&path)? {
        let had_one = lock.as_ref().is_some_and(RunLock::has_ledger);
        refuse_missing(opening, &path, had_one)?;
        create(opening, &path)?;
    }
    check_header(&path)?;
    let mut connection = connect(opening, &path)?;
    let prepared = prepare(&mut connection, opening, &path);
    prepared.map_err(|fault| fault.into_error(&path, "open", opening.patience))?;
    if let Some(lock) = &mut lock {
        lock.note_ledger()?;
    }
    Ok(OpenFile { connection, lock, path })
}

fn is_missing(path: &Path) -> Result<bool> {
    match std::fs::metadata(path) {
        Ok(_) => Ok(false),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(true),
        Err(cause) => Err(Error::io(Kind::Destination, "find the ledger", path.display(), &cause)),
    }
}

/// Errors where a missing file must not become a new ledger.
fn refuse_missing(opening: &Opening<'_>, path: &Path, had_one: bool) -> Result<()> {
    let place = path.display();
    let log = beside(path, "-wal");
    if had_one || log.exists() {
        let sign = if had_one { beside(path, ".lock") } else { log };
        let message =
            format!("the ledger '{place}' is gone: '{}' says that there was one", sign.display());
        let [lock, log, shared] =
            [".lock", "-wal", "-shm"].map(|end| quote(&format!("{place}{end}")));
        return Err(Error::new(Kind::NotFound, message).hint(format!(
            "restore it from a backup; or begin a new one, which finds and verifies what is there: rm -f {lock} {log} {shared}"
        )));
    }
    if opening.access == LedgerAccess::Create {
        return Ok(());
    }
    let message = format!("the ledger '{place}' does not exist");
    Err(Error::new(Kind::NotFound, message)
        .hint(format!("`occystrap mirror run {}` creates it", opening.mirror)))
}

/// Bytes of the header of an SQLite file (sqlite.org/fileformat.html).
const HEADER: u64 = 100;
const MAGIC: &[u8] = b"SQLite format 3\0";
/// Place of `application_id` in the header.
const APPLICATION_AT: std::ops::Range<usize> = 68..72;

/// Errors when a file is not one of a ledger. It is read before SQLite opens it, because SQLite takes an empty file for a
/// new database, and writes into files of other programs.
fn check_header(path: &Path) -> Result<()> {
    let failed = |cause| Error::io(Kind::Destination, "read the ledger", path.display(), &cause);
    if is_missing(path)? {
        // The caller decides what that means.
        return Ok(());
    }
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        let message = format!("the ledger '{}' is not a regular file", path.display());
        return Err(Error::usage(message).hint("name a file with --ledger PATH"));
    }
    let mut header = Vec::new();
    File::open(path).and_then(|file| file.take(HEADER).read_to_end(&mut header)).map_err(failed)?;
    if header.is_empty() {
        return Err(damaged(path, "it is empty"));
    }
    // The hint for a damaged ledger is to move it away. The file of the mirror, or another text, must stay.
    let is_text = std::str::from_utf8(&header).is_ok_and(|text| !text.contains("\0"));
    if is_text && !MAGIC.starts_with(&header) {
        let message = format!("'{}' is a text file, and not a ledger", path.display());
        return Err(Error::usage(message).hint("name another file with --ledger PATH"));
    }
    if !header.starts_with(MAGIC) || header.len() < 100 {
        return Err(damaged(path, "it does not begin as an SQLite file"));
    }
    if header[APPLICATION_AT] != schema::APPLICATION_ID.to_be_bytes() {
        let message =
            format!("'{}' is an SQLite file of another program, and not a ledger", path.display());
        return Err(Error::usage(message).hint("name another file with --ledger PATH"));
    }
    check_length(path, &header, metadata.len())
}

/// Errors when a file is shorter than its header says. SQLite reads what is missing as zeros. With a log beside it, the file
/// may be behind: then only SQLite knows.
fn check_length(path: &Path, header: &[u8], found: u64) -> Result<()> {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    let page = match number(&header[16..18]) {
        1 => 65_536,
        page => page,
    };
    let expected = page * number(&header[28..32]);
    let has_log = std::fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
    if has_log || (found >= expected && page != 0 && found.is_multiple_of(page)) {
        return Ok(());
    }
    Err(damaged(path, &format!("its length: expected {expected} bytes, found {found}")))
}

/// Builds an empty ledger beside its name and gives it its name. The caller has the lock.
fn create(opening: &Opening<'_>, path: &Path) -> Result<()> {
    let new = folder(path).join(random_name(".ledger-new"));
    let built = build(opening, &new)
        .map_err(|fault| fault.into_error(path, "create tables", opening.patience));
    let named = built.and_then(|()| {
        let renamed = File::open(&new)
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::rename(&new, path))
            .and_then(|()| File::open(folder(path))?.sync_all());
        renamed.map_err(|cause| {
            Error::io(Kind::Destination, "create the ledger", path.display(), &cause)
        })
    });
    if named.is_err() {
        for ending in ["", "-wal", "-shm", "-journal"] {
            // What cannot be removed has a name that no run uses.
            let _ = std::fs::remove_file(beside(&new, ending));
        }
    }
    named
}

fn build(opening: &Opening<'_>, new: &Path) -> Result<(), StoreFault> {
    let mut connection = Connection::open(new)?;
    connection.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
    schema::migrate(&mut connection, new)?;
    let row = params![opening.mirror, opening.clock.utc()];
    connection.execute("INSERT INTO mirror (one, name, created) VALUES (1, ?1, ?2)", row)?;
    // Stored in the file; closing it removes the log.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.close().map_err(|(_, cause)| cause)?;
    Ok(())
}

fn connect(opening: &Opening<'_>, path: &Path) -> Result<Connection> {
    let failed = |cause: &rusqlite::Error| error(path, "read", cause, opening.patience);
    let (write, read) = (OpenFlags::SQLITE_OPEN_READ_WRITE, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let open = |flags| Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX);
    // A reader also writes: into the index of the log, which tells the writer what it still needs.
    let mut connection = match (open(write), opening.access) {
        (Err(_), LedgerAccess::Read) => open(read),
        (opened, _) => opened,
    };
    let cannot_read = |connection: &Connection| schema::version(connection).is_err();
    if opening.access == LedgerAccess::Read
        && connection.as_ref().is_ok_and(cannot_read)
        && !beside(path, "-wal").exists()
    {
        // The folder cannot be written, and no process writes the file: it is read without the index.
        connection = Connection::open_with_flags(as_it_is(path), read | OpenFlags::SQLITE_OPEN_URI);
    }
    let connection = connection.map_err(|cause| failed(&cause))?;
    let is_read_only = connection.is_readonly("main").map_err(|cause| failed(&cause))?;
    if is_read_only && opening.access != LedgerAccess::Read {
        let place = path.display();
        return Err(Error::new(
            Kind::Destination,
            format!("the ledger '{place}' cannot be written"),
        )
        .hint(format!("check the permissions of '{place}' and of its folder")));
    }
    connection.busy_timeout(opening.patience).map_err(|cause| failed(&cause))?;
    Ok(connection)
}

/// Returns the URI of a file that does not change while it is read (sqlite.org/uri.html).
fn as_it_is(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for character in path.to_string_lossy().chars() {
        match character {
            '%' => uri.push_str("%25"),
            '?' => uri.push_str("%3f"),
            '#' => uri.push_str("%23"),
            character => uri.push(character),
        }
    }
    uri.push_str("?immutable=1");
    uri
}

/// Checks what is in the file, and sets the connection up.
fn prepare(
    connection: &mut Connection,
    opening: &Opening<'_>,
    path: &Path,
) -> Result<(), StoreFault> {
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // All statements of the ledger fit.
    connection.set_prepared_statement_cache_capacity(96);
    let found = schema::version(connection)?;
    schema::refuse_later(found, schema::newest(), path)?;
    if opening.access == LedgerAccess::Read {
        connection.pragma_update(None, "query_only", true)?;
        if found < schema::newest() {
            let message = format!(
                "the ledger '{}' has an older version: expected {}, found {found}",
                path.display(),
                schema::newest()
            );
            let hint = format!("`occystrap mirror run {}` migrates it", opening.mirror);
            return Err(StoreFault::Refused(Error::usage(message).hint(hint)));
        }
    } else {
        let mode: String =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        if !mode.eq_ignore_ascii_case("wal") {
            let message = format!(
                "the ledger '{}' is on a file system without shared memory: a write-ahead log is expected, found the journal mode '{mode}'",
                path.display()
            );
            let error =
                Error::usage(message).hint("name a path on a local disk with --ledger PATH");
            return Err(StoreFault::Refused(error));
        }
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "journal_size_limit", LONGEST_LOG)?;
        quick_check(connection, path)?;
        schema::migrate(connection, path)?;
    }
    check_mirror(connection, opening, path)
}

fn quick_check(connection: &Connection, path: &Path) -> Result<(), StoreFault> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" {
        return Ok(());
    }
    let first = found.lines().last().unwrap_or("unknown").trim();
    Err(StoreFault::Refused(damaged(path, &format!("quick_check says '{first}'"))))
}

/// Errors when the ledger belongs to another mirror. Stores the new name where FILE was only renamed.
fn check_mirror(
    connection: &Connection,
    opening: &Opening<'_>,
    path: &Path,
) -> Result<(), StoreFault> {
    let name: Option<String> =
        connection.query_row("SELECT name FROM mirror", [], |row| row.get(0)).optional()?;
    let Some(name) = name else {
        return Err(StoreFault::Refused(damaged(path, "it does not say of which mirror it is")));
    };
    if name == opening.mirror {
        return Ok(());
    }
    let digest = opening.file_digest.to_string();
    let is_known =
        connection.prepare("SELECT 1 FROM run WHERE file_digest = ?1")?.exists([digest])?;
    if !is_known {
        let message = format!(
            "the ledger '{}' is of another mirror: expected '{}', found '{name}'",
            path.display(),
            opening.mirror
        );
        let hint = format!(
            "name a ledger of its own with --ledger PATH; if '{name}' was renamed, run it once before you change it"
        );
        return Err(StoreFault::Refused(Error::usage(message).hint(hint)));
    }
    if opening.access != LedgerAccess::Read {
        connection.execute("UPDATE mirror SET name = ?1", [opening.mirror])?;
    }
    Ok(())
}

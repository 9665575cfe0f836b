//! The lock of a ledger: one process writes it at a time.
//!
//! The lock is one of the operating system on a file beside the ledger, so that the end of a process frees it, also by
//! SIGKILL. The file stays: it says who has the lock, and that there was a ledger.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::lock::Locked;

/// Bytes of the file that are read at most. It has about a hundred.
const LONGEST: u64 = 4_096;

/// The process that has a lock, as its file says.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Holder {
    /// Number of the process.
    pub pid: u32,
    /// Name of its machine.
    pub host: String,
    /// When it took the lock: RFC 3339, in UTC.
    pub since: String,
    /// Whether the ledger has been created.
    pub has_ledger: bool,
}

/// A lock that this process has. Dropping it frees it.
#[derive(Debug)]
pub struct RunLock {
    file: Locked,
    path: PathBuf,
    holder: Holder,
}

/// Returns the name of the lock file of a ledger: `LEDGER.lock`.
#[must_use]
pub fn lock_path(ledger: &Path) -> PathBuf {
    beside(ledger, ".lock")
}

/// Returns a path with an ending after its whole name.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Returns the name of this machine, as the kernel has it.
#[must_use]
pub fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "localhost".to_owned() } else { name.trim().to_owned() }
}

/// Returns a time as RFC 3339.
fn spelled(utc: i64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp(utc).ok();
    time.and_then(|time| time.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_else(|| format!("{utc} s after 1970"))
}

impl RunLock {
    /// Takes the lock of a ledger. Errors, naming its holder, when another process has it.
    pub fn take(ledger: &Path, utc: i64) -> Result<Self> {
        let path = lock_path(ledger);
        let failed =
            |cause| Error::io(Kind::Destination, "lock the ledger with", path.display(), &cause);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path).map_err(failed)?;
        let Some(file) = Locked::try_new(file).map_err(failed)? else {
            return Err(held(ledger, File::open(&path).ok().and_then(|file| read(&file))));
        };
        let has_ledger = read(file.file()).is_some_and(|holder| holder.has_ledger);
        let (pid, host, since) = (std::process::id(), machine(), spelled(utc));
        let mut lock = Self { file, path, holder: Holder { pid, host, since, has_ledger } };
        lock.write()?;
        Ok(lock)
    }

    /// Returns whether there was a ledger when this lock, or an earlier one, was held.
    #[must_use]
    pub fn has_ledger(&self) -> bool {
        self.holder.has_ledger
    }

    /// Records that the ledger exists.
    pub fn note_ledger(&mut self) -> Result<()> {
        if self.holder.has_ledger {
            return Ok(());
        }
        self.holder.has_ledger = true;
        self.write()
    }

    fn write(&mut self) -> Result<()> {
        let mut text = serde_json::to_vec(&self.holder).unwrap_or_default();
        text.push(b'\n');
        let length = u64::try_from(text.len()).unwrap_or(0);
        // Written first and cut then: the file is never empty, so that it keeps what it says about the ledger.
        let mut file = self.file.file();
        let written =
            file.rewind().and_then(|()| file.write_all(&text)).and_then(|()| file.set_len(length));
        written.map_err(|cause| {
            Error::io(Kind::Destination, "write the lock", self.path.display(), &cause)
        })
    }
}

fn read(mut file: &File) -> Option<Holder> {
    let mut text = Vec::new();
    file.rewind().ok()?;
    file.take(LONGEST).read_to_end(&mut text).ok()?;
    let line = text.split(|byte| *byte == b'\n').next()?;
    serde_json::from_slice(line).ok()
}

fn held(ledger: &Path, holder: Option<Holder>) -> Error {
    let place = ledger.display();
    let Some(Holder { pid, host, since, .. }) = holder else {
        return Error::new(Kind::Destination, format!("another run has the ledger '{place}'"))
            .hint(format!("wait for it; `fuser '{}'` names it", lock_path(ledger).display()));
    };
    let message =
        format!("another run has the ledger '{place}': process {pid} on {host}, since {since}");
    Error::new(Kind::Destination, message).hint(format!(
        "wait for it, or stop it with `kill {pid}` on {host}: the next run continues it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_learns_who_has_the_lock_and_the_third_one_gets_it() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join("m.ledger");
        let first = RunLock::take(&ledger, 1_760_000_000).unwrap();
        let error = RunLock::take(&ledger, 0).unwrap_err();
        let pid = std::process::id();
        let expected = format!(
            "another run has the ledger '{}': process {pid} on {}, since 2025-10-09T08:53:20Z",
            ledger.display(),
            machine()
        );
        assert_eq!(error.to_string(), expected);
        drop(first);
        RunLock::take(&ledger, 0).unwrap();
    }

    #[test]
    fn a_lock_file_remembers_the_ledger_and_survives_other_content() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join("m.ledger");
        let mut lock = RunLock::take(&ledger, 0).unwrap();
        assert!(!lock.has_ledger());
        lock.note_ledger().unwrap();
        drop(lock);
        assert!(RunLock::take(&ledger, 0).unwrap().has_ledger());
        std::fs::write(lock_path(&ledger), b"\xff garbage").unwrap();
        let lock = RunLock::take(&ledger, 0).unwrap();
        assert!(!lock.has_ledger());
        assert!(RunLock::take(&ledger, 0).unwrap_err().hint_text().is_some());
    }
}

//! The file of a mirror, with its lists, and the path of its ledger.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::Session;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::Digest;
use occystrap_mirror::document::{Document, LARGEST_FILE};
use occystrap_mirror::expand::{LARGEST_LIST, MirrorSource};
use occystrap_mirror::ledger::sqlite::{LedgerAccess, Opening, Sqlite};

/// File of a mirror that was read.
pub struct MirrorFile {
    /// What it says.
    pub document: Document,
    /// Digest of its bytes.
    pub digest: Digest,
    path: PathBuf,
    text: String,
}

impl MirrorFile {
    /// Reads and parses a file. Errors with everything that is wrong, at least one error.
    pub fn read(path: &Path) -> Result<Self, Vec<Error>> {
        let text = read(path, LARGEST_FILE).map_err(|error| vec![error])?;
        let document = Document::parse(&path.display().to_string(), &text)?;
        Ok(Self { document, digest: Digest::of(text.as_bytes()), path: path.to_owned(), text })
    }

    /// Parses the file that an import makes of an export: `name` is that of the mirror, and `digest` that of the export.
    /// Errors with everything that is wrong, at least one error.
    pub fn of_import(name: &str, digest: Digest, text: String) -> Result<Self, Vec<Error>> {
        let document = Document::parse("the export", &text)?;
        Ok(Self { document, digest, path: PathBuf::from(name), text })
    }

    /// Returns its text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the name of the mirror: that of the file.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// Returns its path, as the user typed it.
    #[must_use]
    pub fn path(&self) -> String {
        self.path.display().to_string()
    }

    /// Returns a session that sends each host at most as many requests a second as the file allows.
    #[must_use]
    pub fn limited(&self, session: &Session) -> Session {
        let hosts = self.document.hosts.iter();
        let rates = hosts.filter_map(|host| Some((host.host.clone(), host.requests_per_second?)));
        session.clone().host_rates(rates)
    }

    /// Returns the number of connections that every host allows; `None` where the file limits none.
    #[must_use]
    pub fn connections(&self) -> Option<usize> {
        let limits = self.document.hosts.iter().filter_map(|host| host.connections);
        limits.map(|limit| limit.get() as usize).min()
    }

    /// Returns all sources. Lists are read from the folder of the file.
    pub fn sources(&self) -> Result<Vec<MirrorSource<'_>>, Vec<Error>> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        self.document.sources(&mut |list| read(&folder.join(list), LARGEST_LIST))
    }

    /// Returns the path of the ledger: the one that the user named, or `FILE.ledger` beside the file.
    #[must_use]
    pub fn ledger_path(&self, named: Option<&Path>) -> PathBuf {
        let beside = || {
            let mut name = self.path.clone().into_os_string();
            name.push(".ledger");
            name.into()
        };
        named.map_or_else(beside, Path::to_owned)
    }

    /// Opens the ledger.
    pub fn open_ledger(&self, named: Option<&Path>, access: LedgerAccess) -> Result<Sqlite> {
        let path = self.ledger_path(named);
        Sqlite::open(&Opening::new(&path, &self.name(), self.digest, access))
    }
}

/// Reads the file of another tool, or standard input for `-`. Returns its name for messages, and its text.
pub fn read_other(path: &Path) -> Result<(String, String)> {
    if path != Path::new("-") {
        return Ok((path.display().to_string(), read(path, LARGEST_FILE)?));
    }
    let name = "standard input".to_owned();
    let text = text_of(std::io::stdin().lock(), LARGEST_FILE, &name)?;
    Ok((name, text))
}

/// Reads a text file of at most `most` bytes, and one more, by which the caller sees that it is too large.
fn read(path: &Path, most: usize) -> Result<String> {
    let shown = path.display().to_string();
    let file = File::open(path).map_err(|cause| failed(&shown, &cause))?;
    text_of(file, most, &shown)
}

fn text_of(from: impl std::io::Read, most: usize, shown: &str) -> Result<String> {
    let mut text = String::new();
    from.take(most as u64 + 1).read_to_string(&mut text).map_err(|cause| failed(shown, &cause))?;
    Ok(text)
}

fn failed(shown: &str, cause: &std::io::Error) -> Error {
    match cause.kind() {
        std::io::ErrorKind::NotFound => {
            Error::usage(format!("cannot read '{shown}': no such file or directory"))
        }
        std::io::ErrorKind::InvalidData => Error::usage(format!("'{shown}' is not UTF-8 text")),
        _ => Error::io(Kind::Usage, "read", shown, cause),
    }
}

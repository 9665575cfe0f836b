//! The plugins that a user has added: a folder with a record, [`plugins.toml`](RECORD), and components named by
//! their digests.
//!
//! What it refuses: a component that does not have the recorded digest, a record that other users may write,
//! and two changes at once (a lock that works across processes). Readers take no lock: the record is replaced
//! as a whole, a component is written before the record names it, and is removed after the record no longer
//! does.

pub mod record;

use std::fs::{DirBuilder, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

pub use record::{InstalledPlugin, Record};

use super::{component_file, ownership};
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::lock::{self, Locked};
use occystrap_base::files::regular;
use occystrap_base::limits::LOCK_WAIT;
use occystrap_base::oci::Digest;

/// The record's file name.
pub const RECORD: &str = "plugins.toml";

/// Prefix of temporary files, by which files of a killed process are recognised.
const TEMPORARY: &str = ".occystrap-";

/// The folder of one user. It need not exist.
#[derive(Debug, Clone)]
pub struct Installed {
    folder: PathBuf,
}

impl Installed {
    /// Returns the plugins in a folder that the user named.
    #[must_use]
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Returns the user's own plugins: `$XDG_DATA_HOME/occystrap/plugins`, or that below `~/.local/share`.
    /// `None` where neither is known (XDG base directory specification: relative paths are invalid).
    #[must_use]
    pub fn of_user(environment: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<Self> {
        let absolute =
            |name| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base =
            absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
        Some(Self::at(base.join("occystrap").join("plugins")))
    }

    /// Returns the folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads the record; it is empty when there is no file. Errors when it cannot be read, other users may
    /// write it, or it is not a record.
    pub fn record(&self) -> Result<Record> {
        let path = self.folder.join(RECORD);
        let fail = |cause| Error::io(Kind::Plugin, "read the record", path.display(), &cause);
        let file = match regular::open(&path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Record::default()),
            Err(cause) => return Err(fail(cause)),
        };
        let metadata = file.metadata().map_err(fail)?;
        only_ours(&path, &metadata)?;
        only_ours(&self.folder, &std::fs::metadata(&self.folder).map_err(fail)?)?;
        if metadata.len() > record::LARGEST {
            let (largest, size) = (record::LARGEST, metadata.len());
            let place = path.display();
            let message =
                format!("'{place}': expected at most {largest} bytes, found {size}: no record");
            return Err(Error::new(Kind::Plugin, message));
        }
        let text = io::read_to_string(io::Read::take(file, record::LARGEST)).map_err(fail)?;
        Record::parse(&text, &path.display().to_string())
    }

    /// Reads the component of an entry. Errors when it is missing, or does not have the recorded digest.
    pub fn component(&self, entry: &InstalledPlugin) -> Result<Vec<u8>> {
        let path = self.path(entry.sha256);
        let bytes = component_file::read(&path).map_err(|error| {
            let name = &entry.name;
            error.hint(format!("'occystrap plugin remove {name}', and add it again"))
        })?;
        let found = Digest::of(&bytes);
        if found != entry.sha256 {
            let (name, place) = (&entry.name, path.display());
            let expected = entry.sha256;
            return Err(Error::new(
                Kind::Plugin,
                format!("plugin '{name}': '{place}': expected {expected}, found {found}"),
            )
            .hint(format!(
                "this is not what you added: 'occystrap plugin remove {name}', and add it again"
            )));
        }
        Ok(bytes)
    }

    /// Writes a component and its entry, which replaces an entry of the same name. Errors when the record has
    /// changed so that the entry does not fit any more, and when a file cannot be written: then nothing has
    /// changed.
    pub fn add(&self, entry: InstalledPlugin, component: &[u8], cancel: &Cancel) -> Result<()> {
        let fail =
            |cause| Error::io(Kind::Plugin, "create the folder", self.folder.display(), &cause);
        DirBuilder::new().recursive(true).mode(0o755).create(&self.folder).map_err(fail)?;
        only_ours(&self.folder, &std::fs::metadata(&self.folder).map_err(fail)?)?;
        let lock = self.lock(cancel)?;
        let mut record = self.record()?;
        let path = self.path(entry.sha256);
        record.put(entry)?;
        self.write(&path, component)?;
        self.keep(&record)?;
        self.sweep(&record);
        drop(lock);
        Ok(())
    }

    /// Removes an entry and its component. `None` when there was no such entry.
    pub fn remove(&self, name: &str, cancel: &Cancel) -> Result<Option<InstalledPlugin>> {
        if !self.folder.is_dir() {
            return Ok(None);
        }
        let lock = self.lock(cancel)?;
        let mut record = self.record()?;
        let Some(entry) = record.take(name) else { return Ok(None) };
        self.keep(&record)?;
        self.sweep(&record);
        drop(lock);
        Ok(Some(entry))
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(format!("{}.wasm", digest.hex()))
    }

    fn keep(&self, record: &Record) -> Result<()> {
        self.write(&self.folder.join(RECORD), record.render()?.as_bytes())
    }

    /// Writes a whole file or none. Its content is on the disk before it has its name.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let write = || -> io::Result<()> {
            let mut file = tempfile::Builder::new()
                .prefix(TEMPORARY)
                // The user's umask removes bits of this.
                .permissions(Permissions::from_mode(0o644))
                .tempfile_in(&self.folder)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|failed| failed.error)?;
            Ok(())
        };
        write().map_err(|cause| Error::io(Kind::Plugin, "write", path.display(), &cause))
    }

    /// Removes components that the record does not name, and temporary files of killed processes. Other files
    /// stay. A file that cannot be removed is harmless, because the record does not name it.
    fn sweep(&self, record: &Record) {
        let known = |name: &str| {
            name.strip_suffix(".wasm")
                .and_then(|hex| Digest::from_hex(hex).ok())
                .is_none_or(|digest| record.plugins().iter().any(|entry| entry.sha256 == digest))
        };
        for file in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = file.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.starts_with(TEMPORARY) || !known(name) {
                let _ = std::fs::remove_file(file.path());
            }
        }
    }

    /// Locks the folder itself: no lock file is left, and none can be removed while another process waits for
    /// it.
    fn lock(&self, cancel: &Cancel) -> Result<Locked> {
        lock::folder(Kind::Plugin, &self.folder, LOCK_WAIT, cancel)
    }
}

/// Errors when another user may write a file: the record decides which code runs.
fn only_ours(path: &Path, metadata: &std::fs::Metadata) -> Result<()> {
    ownership::check(path, metadata).map_err(|shared| {
        let place = path.display();
        let message = format!("'{place}' {}, so that its content cannot be trusted", shared.why);
        Error::new(Kind::Plugin, message).hint(format!("{}, and check its content", shared.mend))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_the_users() {
        let of = |variables: &'static [(&str, &str)]| {
            let value = move |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
            };
            Installed::of_user(value).map(|installed| installed.folder)
        };
        let data = of(&[("XDG_DATA_HOME", "/data"), ("HOME", "/home/me")]);
        assert_eq!(data, Some("/data/occystrap/plugins".into()));
        let home = of(&[("XDG_DATA_HOME", "data"), ("HOME", "/home/me")]);
        assert_eq!(home, Some("/home/me/.local/share/occystrap/plugins".into()));
        assert_eq!(of(&[]), None);
    }
}

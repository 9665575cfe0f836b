//! Files that this program keeps where the user says: receipts, a layer cache.
//!
//! What it refuses: to take the place of anything that is not of their kind. A slip on the command line
//! would else cost an image, and, for root, `/dev/null`.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::regular;
use crate::error::{Error, Kind, Result};
use crate::terminal::shell::quote;

/// A kind of file.
pub struct StateFile {
    /// How messages call it: `receipt`.
    pub what: &'static str,
    /// No file of the kind has more bytes.
    pub largest: u64,
    /// Whether bytes are one, of whatever version.
    pub is_one: fn(&[u8]) -> bool,
}

impl StateFile {
    /// Whether one can be written there, before the destination is changed. Errors when it cannot, when
    /// something else stands there, or the image itself will: `output` is the file that the image goes to, where it is
    /// one.
    pub fn check(&self, path: &Path, output: Option<&Path>) -> Result<()> {
        if path.is_dir() {
            let what = self.what;
            let message = format!("cannot write the {what} '{}': is a directory", path.display());
            return Err(Error::destination(message));
        }
        let real = self.free(path)?;
        self.apart(&real, output)?;
        beside(&real).map(drop).map_err(|cause| self.write_failed(path, &cause))
    }

    /// Errors when `path` names the file that the image goes to.
    pub fn apart(&self, path: &Path, output: Option<&Path>) -> Result<()> {
        match output {
            Some(output) if same(path, output) => Err(self.occupied(path, "the image goes there")),
            _ => Ok(()),
        }
    }

    /// What gets it: `path`, or the file that it links to. Errors when something else is there.
    pub fn free(&self, path: &Path) -> Result<PathBuf> {
        let real = match path.symlink_metadata() {
            // The link stays: it may be how others find the latest.
            Ok(found) if found.is_symlink() => path
                .canonicalize()
                .map_err(|_| self.occupied(path, "it is a link that leads to no file"))?,
            _ => path.to_owned(),
        };
        match regular::open(&real) {
            Ok(_) => {}
            // Whether it can be written there is found out otherwise.
            Err(cause) if real.symlink_metadata().is_err() => {
                tracing::debug!(%cause, "no {} is there yet", self.what);
                return match real.as_os_str().as_bytes() {
                    [.., b'/'] => Err(self.occupied(path, "that names a folder")),
                    _ => Ok(real),
                };
            }
            Err(cause) if cause.kind() == io::ErrorKind::InvalidInput || !is_file(&real) => {
                return Err(self.occupied(path, "it is not a regular file"));
            }
            Err(cause) => return Err(self.write_failed(path, &cause)),
        }
        match self.holds_one(&real) {
            Ok(true) => Ok(real),
            Ok(false) => {
                Err(self.occupied(path, &format!("a file that is no {} stands there", self.what)))
            }
            Err(cause) => Err(self.write_failed(path, &cause)),
        }
    }

    /// An empty file is as good: it may have been made to keep the name.
    fn holds_one(&self, path: &Path) -> io::Result<bool> {
        match regular::read(path, self.largest) {
            Ok(bytes) => Ok(bytes.is_empty() || (self.is_one)(&bytes)),
            Err(cause) if cause.kind() == io::ErrorKind::FileTooLarge => Ok(false),
            Err(cause) => Err(cause),
        }
    }

    fn occupied(&self, path: &Path, why: &str) -> Error {
        let what = self.what;
        let message = format!("the {what} cannot be written to '{}': {why}", path.display());
        Error::usage(message)
            .hint(format!("name a file that is not there yet, or an earlier {what}"))
    }

    /// That it could not be written.
    pub fn write_failed(&self, path: &Path, cause: &io::Error) -> Error {
        let action = format!("write the {}", self.what);
        let error = Error::io(Kind::Destination, &action, path.display(), cause);
        let folder = folder(path);
        match error.kind() {
            Kind::NotFound if !folder.exists() => {
                let folder = quote(&folder.to_string_lossy());
                error.hint(format!("make its folder first: mkdir -p {folder}"))
            }
            _ => error,
        }
    }
}

/// Whether two paths name one file, which need not be there.
#[must_use]
pub fn same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| {
        path.canonicalize().or_else(|_| {
            let name = path.file_name().map(OsStr::to_owned).unwrap_or_default();
            folder(path).canonicalize().map(|folder| folder.join(name))
        })
    };
    matches!((real(one), real(other)), (Ok(one), Ok(other)) if one == other)
}

/// A temporary file that can take the name `path`, with the permissions of what has it now.
pub fn beside(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mode = path.metadata().ok().map(|found| found.permissions());
    // The process's mask applies, as to any file that is made.
    let made = mode.clone().unwrap_or_else(|| Permissions::from_mode(0o666));
    let file = tempfile::Builder::new().permissions(made).tempfile_in(folder(path))?;
    if let Some(mode) = mode {
        file.as_file().set_permissions(mode)?;
    }
    Ok(file)
}

/// The folder that a file is in.
#[must_use]
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file())
}

//! Files of this program's own, at paths that the user names: receipts, layer caches.
//!
//! What it refuses: to replace a file of another kind. A mistake on the command line would otherwise destroy an image,
//! and, for root, `/dev/null`.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::new_file::{NewFile, folder};
use super::regular;
use crate::error::{Error, Kind, Result};
use crate::terminal::shell::quote;

/// Kind of file.
pub struct StateFile {
    /// Name of the kind in messages: `receipt`.
    pub what: &'static str,
    /// Bytes of the largest file of the kind.
    pub largest: u64,
    /// Returns whether bytes are a file of the kind, of any version.
    pub is_one: fn(&[u8]) -> bool,
}

impl StateFile {
    /// Checks that a file of the kind can be written to a path, before the destination is changed. Errors when it
    /// cannot be written, when another kind of file is there, and when the image will be written there: `output` is the
    /// file that gets the image, where it goes to one.
    pub fn check(&self, path: &Path, output: Option<&Path>) -> Result<()> {
        if path.is_dir() {
            let what = self.what;
            let message = format!("cannot write the {what} '{}': is a directory", path.display());
            return Err(Error::destination(message));
        }
        let real = self.resolve(path)?;
        self.refuse_if_target(&real, output)?;
        NewFile::at(&real).map(drop).map_err(|cause| self.write_failed(path, &cause))
    }

    /// Errors when `path` names the file that gets the image.
    pub fn refuse_if_target(&self, path: &Path, output: Option<&Path>) -> Result<()> {
        match output {
            Some(output) if same(path, output) => {
                Err(self.occupied(path, "the image is written there"))
            }
            _ => Ok(()),
        }
    }

    /// Returns the path to write to: `path`, or the target of the symbolic link there. Errors when a file of another
    /// kind is there.
    pub fn resolve(&self, path: &Path) -> Result<PathBuf> {
        let real = match path.symlink_metadata() {
            // The link is kept: it may be how other tools find the latest file.
            Ok(found) if found.is_symlink() => path.canonicalize().map_err(|_| {
                self.occupied(path, "it is a symbolic link to a file that does not exist")
            })?,
            _ => path.to_owned(),
        };
        match regular::open(&real) {
            Ok(_) => {}
            // Whether the file can be created is checked later.
            Err(cause) if real.symlink_metadata().is_err() => {
                tracing::debug!(%cause, "no {} is there yet", self.what);
                return match real.as_os_str().as_bytes() {
                    [.., b'/'] => Err(self.occupied(path, "that names a directory")),
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
                Err(self.occupied(path, &format!("the file there is not a {}", self.what)))
            }
            Err(cause) => Err(self.write_failed(path, &cause)),
        }
    }

    /// Returns whether the file is of the kind, or empty: an empty file may have been created to reserve the name.
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
            .hint(format!("name a file that does not exist yet, or an earlier {what}"))
    }

    /// Returns the error of a failed write.
    pub fn write_failed(&self, path: &Path, cause: &io::Error) -> Error {
        let action = format!("write the {}", self.what);
        let error = Error::io(Kind::Destination, &action, path.display(), cause);
        let folder = folder(path);
        match error.kind() {
            Kind::NotFound if !folder.exists() => {
                let folder = quote(&folder.to_string_lossy());
                error.hint(format!("create its directory first: mkdir -p {folder}"))
            }
            _ => error,
        }
    }
}

/// Returns whether two paths name one file, which need not exist.
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

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file())
}

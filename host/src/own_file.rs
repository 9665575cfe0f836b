//! Where a receipt is kept.
//!
//! What it refuses: to take the place of anything that is not a receipt. A slip on the command line
//! would else cost an image, and, for root, `/dev/null`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::LARGEST;
use super::bundle::is_receipt;
use crate::error::{Error, Kind, Result};
use crate::output::{Target, target};
use crate::regular;

/// Whether a receipt can be written there, before the destination is changed. Errors when it cannot,
/// when something else stands there, or the image itself will.
pub fn check(path: &Path, target: &Target) -> Result<()> {
    if path.is_dir() {
        let message = format!("cannot write the receipt '{}': is a directory", path.display());
        return Err(Error::destination(message));
    }
    let real = free(path)?;
    if let target::Place::File(output) = &target.place {
        let output = output.canonicalize().or_else(|_| std::path::absolute(output));
        let same = |real: PathBuf| output.is_ok_and(|output| output == real);
        if std::path::absolute(&real).is_ok_and(same) {
            return Err(occupied(path, "the image goes there"));
        }
    }
    beside(&real).map(drop).map_err(|cause| write_failed(path, &cause))
}

/// What gets the receipt: `path`, or the file that it links to. Errors when something else is there.
pub fn free(path: &Path) -> Result<PathBuf> {
    let real = match path.symlink_metadata() {
        // The link stays: it may be how others find the latest.
        Ok(found) if found.is_symlink() => {
            path.canonicalize().map_err(|_| occupied(path, "it is a link that leads to no file"))?
        }
        _ => path.to_owned(),
    };
    let file = match regular::open(&real) {
        Ok(file) => file,
        // Whether it can be written there is found out otherwise.
        Err(cause) if real.symlink_metadata().is_err() => {
            tracing::debug!(%cause, "no receipt is there yet");
            return Ok(real);
        }
        Err(cause) if cause.kind() == io::ErrorKind::InvalidInput || !is_file(&real) => {
            return Err(occupied(path, "it is not a regular file"));
        }
        Err(cause) => return Err(write_failed(path, &cause)),
    };
    match holds_receipt(&file, &real) {
        Ok(true) => Ok(real),
        Ok(false) => Err(occupied(path, "a file that is no receipt stands there")),
        Err(cause) => Err(write_failed(path, &cause)),
    }
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file())
}

/// An empty file is as good: it may have been made to keep the name.
fn holds_receipt(file: &File, path: &Path) -> io::Result<bool> {
    match file.metadata()?.len() {
        0 => Ok(true),
        length if length > LARGEST => Ok(false),
        _ => Ok(is_receipt(&regular::read(path, LARGEST)?)),
    }
}

/// A temporary file that can take the name `path`.
pub(super) fn beside(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let folder = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    tempfile::NamedTempFile::new_in(folder)
}

fn occupied(path: &Path, why: &str) -> Error {
    let message = format!("the receipt cannot be written to '{}': {why}", path.display());
    Error::usage(message).hint("name a file that is not there yet, or an earlier receipt")
}

pub(super) fn write_failed(path: &Path, cause: &io::Error) -> Error {
    Error::io(Kind::Destination, "write the receipt", path.display(), cause)
}

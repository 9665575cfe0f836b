//! Temporary files in a folder that the user can choose with `--temp-dir`. They have no name, and are gone with the process.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::unnamed_file::UnnamedFile;
use crate::error::{Error, Kind, Result};

/// Creates an empty file.
pub fn create(folder: &Path) -> Result<File> {
    tempfile::tempfile_in(folder).map_err(|cause| failed("create", folder, &cause))
}

/// Creates an empty file that can get a name in the file system of the folder.
pub fn create_unnamed(folder: &Path) -> Result<UnnamedFile> {
    unnamed(folder).map_err(|cause| failed("create", folder, &cause))
}

/// Creates an empty file as [`create_unnamed`] does, for callers that name the file themselves in the error.
pub fn unnamed(folder: &Path) -> io::Result<UnnamedFile> {
    let folder = Dir::open_ambient_dir(folder, ambient_authority())?;
    UnnamedFile::create(&Arc::new(folder))
}

/// Returns the error for a temporary file in this folder. `action` is what failed, such as `write`.
#[must_use]
pub fn failed(action: &str, folder: &Path, cause: &io::Error) -> Error {
    let action = format!("{action} a temporary file in");
    Error::io(Kind::Destination, &action, folder.display(), cause)
        .hint("choose another folder with --temp-dir")
}

//! A file at a path that the user names, which gets its name when it is complete.
//!
//! It is written without a name (`unnamed.rs`), so that a process that is killed leaves nothing behind. On file systems
//! that do not support that, it has a temporary name, which the next run in the directory removes (`temporary.rs`).

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::replace;
use super::unnamed_file::UnnamedFile;

/// A file that is being written.
pub struct NewFile {
    file: UnnamedFile,
    folder: Arc<Dir>,
    name: OsString,
}

impl NewFile {
    /// Creates an empty file that can get the name `path`, with the permissions of the file there. What a killed process
    /// left of an earlier file for this path is removed. Errors when `path` names no file, and when its directory cannot
    /// be written to.
    pub fn at(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let folder = Arc::new(Dir::open_ambient_dir(folder(path), ambient_authority())?);
        // A temporary name that stays is no reason to write no file.
        let _ = replace::recover(&folder, &name);
        // The process's umask applies, as to any new file.
        let file = UnnamedFile::create(&folder)?;
        if let Ok(there) = path.metadata() {
            let mode = there.permissions().mode();
            file.file().set_permissions(Permissions::from_mode(mode))?;
        }
        Ok(Self { file, folder, name })
    }

    /// Returns the file, open for reading and writing.
    #[must_use]
    pub fn file(&self) -> &File {
        self.file.file()
    }

    /// Gives the file its name, in the place of what has it. Errors when a directory has it.
    pub fn publish(self) -> io::Result<()> {
        replace::publish(self.file, &self.folder, &self.name)
    }

    /// Gives the file its name. Errors as *already exists* when something has it.
    pub fn publish_new(mut self) -> io::Result<()> {
        self.file.appear(&self.folder, &self.name)
    }
}

/// Returns the directory of a file.
#[must_use]
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn names(folder: &Path) -> Vec<OsString> {
        folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn a_file_has_no_name_before_it_is_published() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        let new = NewFile::at(&path).unwrap();
        new.file().write_all(b"new").unwrap();
        assert!(names(folder.path()).is_empty());
        new.publish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_file_that_is_replaced_gives_its_permissions_and_is_kept_by_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        std::fs::write(&path, b"old").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o604)).unwrap();
        let kept = NewFile::at(&path).unwrap().publish_new().unwrap_err();
        assert_eq!(kept.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        NewFile::at(&path).unwrap().publish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o604);
        assert_eq!(names(folder.path()), ["a.tar"]);
    }

    #[test]
    fn the_temporary_name_of_a_killed_process_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        let left = folder.path().join(replace::temporary_name("a.tar"));
        std::fs::write(&left, b"half").unwrap();
        drop(NewFile::at(&path).unwrap());
        assert!(names(folder.path()).is_empty());
    }
}

//! Files without a name (`O_TMPFILE`), which may get one later.
//!
//! The crate `cap-tempfile` does not serve here: its handles borrow the directory, and cannot be kept in a list.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use rustix::path::Arg;

use super::identity::{FileIdentity, entry_info};
use super::temporary::{self, TemporaryName};

/// File without a name, in the destination's file system.
pub struct UnnamedFile {
    file: Arc<File>,
    /// Temporary name, on file systems without `O_TMPFILE` (NFS, some FUSE).
    name: Option<TemporaryName>,
}

impl UnnamedFile {
    /// Creates an empty file.
    pub fn create(directory: &Arc<Dir>) -> io::Result<Self> {
        Self::with_mode(directory, 0o666)
    }

    /// Creates an empty file that other users cannot read.
    pub fn private(directory: &Arc<Dir>) -> io::Result<Self> {
        Self::with_mode(directory, 0o600)
    }

    fn with_mode(directory: &Arc<Dir>, mode: u32) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::openat(directory.as_fd(), ".", flags, Mode::from_raw_mode(mode)) {
            Ok(descriptor) => Ok(Self { file: Arc::new(File::from(descriptor)), name: None }),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let (file, name) = temporary::create(directory, mode)?;
                Ok(Self { file: Arc::new(file), name: Some(name) })
            }
            Err(cause) => Err(cause.into()),
        }
    }

    /// Returns the file, open for reading and writing.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Returns the open file, for users who need it after this value is dropped.
    #[must_use]
    pub fn shared(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Returns its identity, which stays the same when it gets a name.
    pub fn identity(&self) -> io::Result<FileIdentity> {
        FileIdentity::of(&self.file)
    }

    /// Returns the file, which will never have a name.
    pub fn into_file(self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Gives the file a name that does not exist yet, in an open directory. Errors as *already exists* where the name
    /// does.
    pub fn appear(&mut self, folder: &Dir, name: impl Arg + Copy) -> io::Result<()> {
        let Some(temporary) = &self.name else { return self.link(folder, name) };
        let (from, at) = (temporary.folder().as_fd(), folder.as_fd());
        let renamed =
            rustix::fs::renameat_with(from, temporary.name(), at, name, RenameFlags::NOREPLACE);
        match renamed {
            // The file system does not know the flag (NFS).
            Err(Errno::INVAL | Errno::NOSYS) => {
                if entry_info(at, name)?.is_some() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                rustix::fs::renameat(from, temporary.name(), at, name)?;
            }
            other => other?,
        }
        self.forget_name();
        Ok(())
    }

    fn link(&self, folder: &Dir, name: impl Arg) -> io::Result<()> {
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let follow = AtFlags::SYMLINK_FOLLOW;
        Ok(rustix::fs::linkat(rustix::fs::CWD, own.as_str(), folder.as_fd(), name, follow)?)
    }

    fn forget_name(&mut self) {
        if let Some(name) = self.name.take() {
            name.forget();
        }
    }
}

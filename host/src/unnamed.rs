//! Files without a name (`O_TMPFILE`), until they get one.
//!
//! Own code instead of `cap-tempfile`, whose handles borrow the directory and so cannot be kept in a
//! list.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, Mode, OFlags};

/// A file without a name, in the destination's file system.
pub struct Unnamed {
    file: File,
    /// On file systems without `O_TMPFILE` (NFS, some FUSE), a name all the same.
    name: Option<(Arc<Dir>, String)>,
}

impl Unnamed {
    /// A new, empty file.
    pub fn create(directory: &Arc<Dir>) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::openat(directory.as_fd(), ".", flags, Mode::from_raw_mode(0o666)) {
            Ok(descriptor) => Ok(Self { file: File::from(descriptor), name: None }),
            Err(
                rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL,
            ) => {
                let name = temporary_name();
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
                let descriptor = rustix::fs::openat(
                    directory.as_fd(),
                    name.as_str(),
                    flags,
                    Mode::from_raw_mode(0o666),
                )?;
                Ok(Self { file: File::from(descriptor), name: Some((Arc::clone(directory), name)) })
            }
            Err(cause) => Err(cause.into()),
        }
    }

    /// The file, open for reading and writing.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The file, which will never have a name.
    pub fn into_file(self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Give it its name, replacing what has it. Both within `root`.
    pub fn publish(mut self, root: &Dir, path: &str) -> io::Result<()> {
        let (parent, name) = match path.rsplit_once('/') {
            Some((parent, name)) => {
                // Opened first: of a link that leads out, creating says only that it exists.
                let folder = match root.open_dir(parent) {
                    Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                        root.create_dir_all(parent)?;
                        root.open_dir(parent)?
                    }
                    other => other?,
                };
                (folder, name)
            }
            None => (root.try_clone()?, path),
        };
        if let Some((directory, temporary)) = self.name.take() {
            return rustix::fs::renameat(directory.as_fd(), temporary, parent.as_fd(), name)
                .map_err(Into::into);
        }
        let own = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&self.file));
        let link = |to: &str| {
            rustix::fs::linkat(
                rustix::fs::CWD,
                own.as_str(),
                parent.as_fd(),
                to,
                AtFlags::SYMLINK_FOLLOW,
            )
        };
        match link(name) {
            // A link does not replace: give it a temporary name and rename that.
            Err(rustix::io::Errno::EXIST) => {
                let temporary = temporary_name();
                link(&temporary)?;
                let renamed =
                    rustix::fs::renameat(parent.as_fd(), temporary.as_str(), parent.as_fd(), name);
                if renamed.is_err() {
                    let _ =
                        rustix::fs::unlinkat(parent.as_fd(), temporary.as_str(), AtFlags::empty());
                }
                renamed.map_err(Into::into)
            }
            other => other.map_err(Into::into),
        }
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if let Some((directory, name)) = self.name.take() {
            let _ = directory.remove_file(name);
        }
    }
}

/// A name that nobody else has.
pub fn temporary_name() -> String {
    format!(".occystrap-{:016x}.tmp", fastrand::u64(..))
}

//! Regular files that the user, or the environment, has named: opened without waiting.
//!
//! What it refuses: FIFOs, because opening one waits until another process writes to it, and Ctrl-C would not end that
//! wait; devices, which may have no end; and directories.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Bytes of the largest file of certificates or keys that is read. The system's bundle has 220 KB.
pub const LARGEST_PEM: u64 = 16 * 1024 * 1024;

/// Opens a regular file for reading. Errors for other files.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    match metadata.is_file() {
        true => Ok(file),
        false if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}

/// Reads a regular file whole. Errors for other files, and when the file has more than `most` bytes.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // The size in its metadata is not used: the file may grow while it is read.
    open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => {
            let reason = format!("more than {most} bytes");
            Err(io::Error::new(io::ErrorKind::FileTooLarge, reason))
        }
        false => Ok(bytes),
    }
}

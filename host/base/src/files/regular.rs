//! Regular files that the user, or the environment, has named: opened without waiting.
//!
//! What it refuses: FIFOs, which are opened when somebody comes to write into them and not before, so
//! that not even Ctrl-C would be heard; devices, which may have no end; and directories.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The largest certificates and keys that are read: the system's bundle has 220 KB.
pub const LARGEST_PEM: u64 = 16 * 1024 * 1024;

/// Open one for reading. Errors when it is none.
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

/// Read one whole. Errors when it is none, or has more bytes than `most`.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // What it says of its size is not asked: it may grow meanwhile.
    open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => {
            let reason = format!("more than {most} bytes");
            Err(io::Error::new(io::ErrorKind::FileTooLarge, reason))
        }
        false => Ok(bytes),
    }
}

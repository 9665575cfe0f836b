//! Writing a layer to a file, and hashing it on the way.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::Hashed;
use occystrap_base::oci::Hasher;

/// Bytes that are written to a file at once, from one multiple to the next. Linux's page cache allocates
/// memory in pieces as large as the write. A virtual machine soon has no free large pieces except those that it
/// gave back to its host, and getting them back made a pull a third slower. Small pieces are available, and
/// cost no more (docs/performance.md).
const AT_ONCE: u64 = 64 * 1024;

/// Writes all bytes to a file, starting at offset `at`.
pub(super) fn put(file: &File, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let room = AT_ONCE - at % AT_ONCE;
        let (now, rest) = bytes.split_at(bytes.len().min(room as usize));
        file.write_all_at(now, at)?;
        at += now.len() as u64;
        bytes = rest;
    }
    Ok(())
}

/// A hasher that also writes the bytes to a file, where there is one.
pub(super) struct Written<'a> {
    file: Option<&'a File>,
    offset: u64,
    size: u64,
    hasher: Hasher,
}

impl<'a> Written<'a> {
    /// Returns an empty one. Bytes go to `file`, starting at `offset`.
    pub(super) fn new(file: Option<&'a File>, offset: u64) -> Self {
        Self { file, offset, size: 0, hasher: Hasher::default() }
    }

    /// Appends bytes.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.write(bytes)
    }

    /// Appends `bytes` here and `theirs` to `other`. Both are hashed at the same time.
    pub(super) fn put_both(
        &mut self,
        bytes: &[u8],
        other: &mut Written<'_>,
        theirs: &[u8],
    ) -> Result<()> {
        self.put_beside(bytes, &mut other.hasher, theirs)?;
        other.write(theirs)
    }

    /// Appends bytes, and updates another hasher with `piece` at the same time.
    pub(super) fn put_beside(
        &mut self,
        bytes: &[u8],
        other: &mut Hasher,
        piece: &[u8],
    ) -> Result<()> {
        Hasher::update_both([&mut self.hasher, other], [bytes, piece]);
        self.write(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(file) = self.file {
            let written = put(file, bytes, self.offset + self.size);
            written.map_err(|cause| write_error(file, &cause))?;
        }
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Returns size and digest of all bytes.
    pub(super) fn finish(self) -> Hashed {
        Hashed { size: self.size, digest: self.hasher.finish() }
    }
}

/// Returns the error for a failed write to a file without a name. It names the folder of the file, which the
/// system knows: that is where the user can free space or choose another one.
pub fn write_error(file: &File, cause: &io::Error) -> Error {
    let own = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
    let path = std::fs::read_link(own).unwrap_or_default();
    let folder = path.parent().map_or_else(String::new, |folder| folder.display().to_string());
    Error::io(Kind::Destination, "write to", folder, cause)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn all_is_written_where_it_belongs() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
        for (at, size) in [(0, 0), (0, 65_536), (7, 65_536), (65_535, 2), (512, bytes.len())] {
            let mut file = tempfile::tempfile().unwrap();
            put(&file, &bytes[..size], at).unwrap();
            let mut found = Vec::new();
            file.read_to_end(&mut found).unwrap();
            let before = if size == 0 { 0 } else { at as usize };
            assert_eq!(found.len(), before + size);
            assert!(
                found[before..] == bytes[..size] && found[..before].iter().all(|byte| *byte == 0)
            );
        }
    }
}

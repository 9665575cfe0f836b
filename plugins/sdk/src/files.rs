//! Functions that read and write whole files, in calls of the size that the host allows.

use crate::blobs::{Blob, Sink, Written};
use crate::storage::Directory;
use crate::types::ErrorCode;
use crate::{storage_edit, writer};

/// The largest number of bytes per call of `read` or `write`.
const CALL: usize = 64 * 1024;

/// A sink that counts the bytes that were written to it.
pub struct FileWriter {
    sink: Sink,
    position: u64,
}

impl FileWriter {
    /// Starts to write a file. It replaces `path` when the session is complete.
    pub fn create(directory: &Directory, path: &str) -> Result<Self, ErrorCode> {
        Ok(Self { sink: storage_edit::create_file(directory, path)?, position: 0 })
    }

    /// Returns the number of bytes that were written so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), ErrorCode> {
        for piece in bytes.chunks(CALL) {
            self.sink.write(piece)?;
        }
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Appends zero bytes up to a multiple of `block`.
    pub fn pad_to(&mut self, block: u64) -> Result<(), ErrorCode> {
        let rest = self.position % block;
        if rest != 0 {
            let len = block - rest;
            self.sink.pad(u32::try_from(len).map_err(|_| ErrorCode::QuotaExceeded)?)?;
            self.position += len;
        }
        Ok(())
    }

    /// Appends a whole blob and returns its size.
    pub fn splice(&mut self, blob: &Blob) -> Result<u64, ErrorCode> {
        let size = self.sink.splice(blob)?;
        self.position += size;
        Ok(size)
    }

    /// Leaves a gap of `len` bytes, such as for a header, and returns its offset.
    pub fn reserve(&mut self, len: u32) -> Result<u64, ErrorCode> {
        let at = self.sink.reserve(len)?;
        self.position += u64::from(len);
        Ok(at)
    }

    /// Fills the gap that [`Self::reserve`] has left at `at`.
    pub fn fill(&mut self, at: u64, bytes: &[u8]) -> Result<(), ErrorCode> {
        self.sink.fill(at, bytes)
    }

    /// Completes the file. It becomes visible when the session is complete.
    pub fn finish(self) -> Result<Written, ErrorCode> {
        Sink::finish(self.sink)
    }
}

/// Returns the whole content of a small blob, such as a config.
pub fn read_blob(blob: &Blob) -> Result<Vec<u8>, ErrorCode> {
    let mut bytes = Vec::new();
    loop {
        let piece = blob.read(bytes.len() as u64, CALL as u32)?;
        if piece.is_empty() {
            return Ok(bytes);
        }
        bytes.extend_from_slice(&piece);
    }
}

/// Returns the whole content of a small file; `None` if the file does not exist. A file of more than
/// `limit` bytes is an error.
pub fn read_to_end(
    directory: &Directory,
    path: &str,
    limit: u64,
) -> Result<Option<Vec<u8>>, writer::Error> {
    let Some(stat) = directory.stat(path)? else { return Ok(None) };
    if stat.size > limit {
        let message = format!("'{path}' has {} bytes, more than the {limit} expected", stat.size);
        return Err(writer::Error::Other(message));
    }
    let mut bytes = Vec::with_capacity(stat.size as usize);
    // Read to the end of the file, not to the size from `stat`: another process may have replaced the
    // file since.
    loop {
        let piece = directory.read(path, bytes.len() as u64, CALL as u32)?;
        bytes.extend_from_slice(&piece);
        if piece.len() < CALL {
            return Ok(Some(bytes));
        }
        if bytes.len() as u64 > limit {
            return Err(writer::Error::Other(format!("'{path}' grows while it is read")));
        }
    }
}

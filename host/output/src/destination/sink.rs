//! What a plugin writes into, wherever it goes: a file, an archive for an engine, or a file for a web server.

use super::engine_image::ArchiveUpload;
pub use super::file_sink::{FileSink, MOST_EXTENTS, SinkError};
use super::uploads::PutFile;

/// A write in progress.
pub enum Sink {
    /// A file.
    File(Box<FileSink>),
    /// An archive for an engine.
    Load(Box<ArchiveUpload>),
    /// A file for a web server.
    Put(Box<PutFile>),
}

impl Sink {
    /// Returns how many bytes of memory it holds.
    #[must_use]
    pub fn held(&self) -> usize {
        match self {
            Self::File(file) => file.held(),
            Self::Put(put) => put.file.held() + put.url.as_str().len(),
            Self::Load(load) => load.held(),
        }
    }

    /// Appends framing bytes.
    pub fn write(&mut self, bytes: Vec<u8>) -> Result<(), SinkError> {
        match self {
            Self::File(file) => file.write(&bytes),
            Self::Put(put) => put.file.write(&bytes),
            Self::Load(load) => load.write(bytes).map_err(SinkError::Failed),
        }
    }

    /// Appends zeros.
    pub fn pad(&mut self, len: u32) -> Result<(), SinkError> {
        match self {
            Self::File(file) => file.pad(len),
            Self::Put(put) => put.file.pad(len),
            Self::Load(load) => load.write(vec![0; len as usize]).map_err(SinkError::Failed),
        }
    }

    /// Leaves a gap, and returns its offset.
    pub fn reserve(&mut self, len: u32) -> Result<u64, SinkError> {
        match self {
            Self::File(file) => file.reserve(len),
            Self::Put(put) => put.file.reserve(len),
            Self::Load(_) => Err(SinkError::Unsupported),
        }
    }

    /// Fills a gap, whole.
    pub fn fill(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        match self {
            Self::File(file) => file.fill(offset, bytes),
            Self::Put(put) => put.file.fill(offset, bytes),
            Self::Load(_) => Err(SinkError::Unsupported),
        }
    }
}

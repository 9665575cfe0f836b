//! A buffered writer for files of the destination. It collects bytes until they fill one call of the host.

use occystrap_plugin::FileWriter;
use occystrap_plugin::storage::Directory;
use occystrap_plugin::types::ErrorCode;
use occystrap_plugin::writer::Error;

use crate::json_stream::{Output, Source};

/// The number of bytes that are collected for one call of the host.
const PIECE: usize = 64 * 1024;

/// A file that is being written, with a buffer.
pub struct Buffered {
    file: FileWriter,
    waiting: Vec<u8>,
}

impl Buffered {
    pub fn create(directory: &Directory, path: &str) -> Result<Self, ErrorCode> {
        let file = FileWriter::create(directory, path)?;
        Ok(Self { file, waiting: Vec::with_capacity(PIECE) })
    }

    pub fn finish(mut self) -> Result<(), Error> {
        self.file.write(&self.waiting)?;
        self.file.finish()?;
        Ok(())
    }
}

impl Output for Buffered {
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while self.waiting.len() + bytes.len() >= PIECE {
            let (first, rest) = bytes.split_at(PIECE - self.waiting.len());
            self.waiting.extend_from_slice(first);
            self.file.write(&self.waiting)?;
            self.waiting.clear();
            bytes = rest;
        }
        self.waiting.extend_from_slice(bytes);
        Ok(())
    }
}

/// A text in memory.
impl Source for &[u8] {
    fn read_at(&mut self, offset: u64) -> Result<Vec<u8>, Error> {
        Ok(self.get(offset as usize..).unwrap_or_default().to_vec())
    }
}

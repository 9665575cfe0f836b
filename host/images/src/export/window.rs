//! Reading a file at many positions. Members that lie close together are read at once.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt;

use occystrap_layer::blob::read_buffered;

/// Bytes that are read at once.
const WINDOW: usize = 64 * 1024;

/// A reader of a file that can be moved.
pub struct Window {
    file: File,
    /// The bytes in memory, their position in the file, and how many of them were read.
    buffer: Vec<u8>,
    start: u64,
    at: usize,
}

impl Window {
    /// Returns a reader at the start of a file.
    #[must_use]
    pub fn new(file: File) -> Self {
        Self { file, buffer: Vec::new(), start: 0, at: 0 }
    }

    /// Moves to a position in bytes from the start of the file.
    pub fn move_to(&mut self, position: u64) {
        let within = position.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        match within.filter(|at| *at <= self.buffer.len()) {
            Some(at) => self.at = at,
            None => {
                self.buffer.clear();
                (self.start, self.at) = (position, 0);
            }
        }
    }
}

impl BufRead for Window {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.buffer.len() {
            self.start += self.buffer.len() as u64;
            self.buffer.resize(WINDOW, 0);
            self.at = 0;
            let read = self.file.read_at(&mut self.buffer, self.start);
            self.buffer.truncate(*read.as_ref().unwrap_or(&0));
            read?;
        }
        Ok(&self.buffer[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Read for Window {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, into)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn every_position_can_be_read() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let mut window = Window::new(file);
        for position in [0, 100, 65_535, 65_536, 3, 199_990, 131_000, 131_100, 65_537] {
            window.move_to(position);
            let mut read = [0; 10];
            window.read_exact(&mut read).unwrap();
            assert_eq!(read, bytes[position as usize..][..10], "{position}");
        }
        window.move_to(200_000);
        assert!(window.fill_buf().unwrap().is_empty());
    }
}

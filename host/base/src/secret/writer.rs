//! Writer of text to a terminal, a pipe or a file, line by line, without secrets.

use std::io::{self, Write};

use super::mask;

/// Bytes of the longest line that is held. A longer one is passed on in pieces.
const LONGEST_LINE: usize = 1024 * 1024;

/// Writer that masks the secrets in every line. A line is held until its end: programs write lines in pieces, and a
/// secret must not be cut in two.
pub struct MaskedLines<W: Write> {
    to: W,
    line: Vec<u8>,
}

impl<W: Write> MaskedLines<W> {
    /// Creates a writer that writes to `to`.
    pub fn new(to: W) -> Self {
        Self { to, line: Vec::new() }
    }

    fn pass_on(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        match std::str::from_utf8(&line) {
            Ok(text) => self.to.write_all(mask(text).as_bytes()),
            Err(_) if super::is_in(&line) => {
                self.to.write_all(mask(&String::from_utf8_lossy(&line)).as_bytes())
            }
            Err(_) => self.to.write_all(&line),
        }
    }
}

impl<W: Write> Write for MaskedLines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // One line at a time, so that the returned number is right when the next one fails.
        let end = bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let taken = end.unwrap_or(bytes.len());
        self.line.extend_from_slice(&bytes[..taken]);
        if end.is_some() || self.line.len() >= LONGEST_LINE {
            self.pass_on()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on()?;
        self.to.flush()
    }
}

impl<W: Write> Drop for MaskedLines<W> {
    fn drop(&mut self) {
        // The last line may have no newline.
        let _ = self.flush();
    }
}

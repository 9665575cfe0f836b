//! Writing a layer that is made from several others, or from none.

use std::fs::File;
use std::io::{self, Write};

use super::io::into_io;
use super::pump::BUFFER;
use super::written::Written;
use occystrap_base::error::Result;
use occystrap_base::files::Hashed;

/// Lets `make` write a file from its start. Returns the result of `make`, and size and digest of what was written.
/// Errors as `make` does, and when the file cannot be written.
pub fn produce<T>(
    file: &File,
    make: impl FnOnce(&mut (dyn Write + Send)) -> Result<T>,
) -> Result<(T, Hashed)> {
    let mut made =
        Made { written: Written::new(Some(file), 0), buffer: Vec::with_capacity(BUFFER) };
    let result = make(&mut made)?;
    made.written.put(&made.buffer)?;
    Ok((result, made.written.finish()))
}

/// A layer that is being made. Headers are small, and are collected before they are hashed and written.
struct Made<'a> {
    written: Written<'a>,
    buffer: Vec<u8>,
}

impl Write for Made<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let amount = bytes.len().min(BUFFER - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..amount]);
        if self.buffer.len() == BUFFER {
            self.written.put(&self.buffer).map_err(into_io)?;
            self.buffer.clear();
        }
        Ok(amount)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use occystrap_base::oci::Digest;

    #[test]
    fn produced_bytes_are_written_and_hashed() {
        for size in [0, 1, BUFFER - 1, BUFFER, 3 * BUFFER + 7] {
            let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let mut file = tempfile::tempfile().unwrap();
            let (seven, hashed) = produce(&file, |to| {
                bytes.chunks(1000).for_each(|piece| to.write_all(piece).unwrap());
                Ok(7)
            })
            .unwrap();
            let mut found = Vec::new();
            file.read_to_end(&mut found).unwrap();
            assert!(found == bytes && seven == 7);
            assert_eq!((hashed.size, hashed.digest), (size as u64, Digest::of(&bytes)));
        }
    }
}

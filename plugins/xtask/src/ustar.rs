//! Tar archives with reproducible bytes (POSIX.1-1988 ustar; owner and time are 0).
//!
//! This module refuses names of more than 100 bytes and files of 8 GiB or more, which ustar cannot represent.

use std::io::{self, Write};

use anyhow::{Result, ensure};

const BLOCK: usize = 512;

/// The type of an entry.
#[derive(Debug, Clone, Copy)]
pub enum Entry<'a> {
    File {
        mode: u32,
        size: u64,
    },
    Folder {
        mode: u32,
    },
    /// A symbolic link. The target is written unchanged.
    Symlink {
        to: &'a str,
    },
    /// A hard link to an earlier entry. It has the mode of that entry, because extractors set the mode again.
    Hardlink {
        to: &'a str,
        mode: u32,
    },
}

/// Returns the header of an entry.
pub fn header(name: &str, entry: Entry<'_>) -> Result<[u8; BLOCK]> {
    let (kind, mode, size, link) = match entry {
        Entry::File { mode, size } => ("0", mode, size, ""),
        Entry::Hardlink { to, mode } => ("1", mode, 0, to),
        Entry::Symlink { to } => ("2", 0o777, 0, to),
        Entry::Folder { mode } => ("5", mode, 0, ""),
    };
    ensure!(name.len() <= 100 && link.len() <= 100, "'{name}' does not fit a ustar header");
    ensure!(size < 1 << 33, "'{name}': ustar supports sizes below 8 GiB");
    let mut block = [0; BLOCK];
    let mut put =
        |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, &format!("{mode:07o}"));
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, "00000000000");
    // The checksum is computed with spaces in its own field.
    put(148, "        ");
    put(156, kind);
    put(157, link);
    put(257, "ustar\0");
    put(263, "00");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}

/// Writes zeros up to the next block after `size` bytes of content. If `last` is set, also writes the end of the
/// archive.
pub fn pad(to: &mut dyn Write, size: u64, last: bool) -> io::Result<()> {
    let block = BLOCK as u64;
    let padding = (block - size % block) % block + if last { 2 * block } else { 0 };
    io::copy(&mut io::Read::take(io::repeat(0), padding), to).map(|_| ())
}

/// An archive in memory.
#[derive(Default)]
pub struct Archive(Vec<u8>);

impl Archive {
    pub fn file(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        let size = content.len() as u64;
        self.0.extend_from_slice(&header(name, Entry::File { mode, size })?);
        self.0.extend_from_slice(content);
        Ok(pad(&mut self.0, size, false)?)
    }

    /// Appends an entry that is not a file.
    pub fn entry(&mut self, name: &str, entry: Entry<'_>) -> Result<()> {
        self.0.extend_from_slice(&header(name, entry)?);
        Ok(())
    }

    pub fn finish(mut self) -> Result<Vec<u8>> {
        pad(&mut self.0, 0, true)?;
        Ok(self.0)
    }
}

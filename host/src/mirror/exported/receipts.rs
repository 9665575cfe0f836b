//! The receipts of an export, which are read one at a time: those of all images together may be large.

use std::os::unix::fs::FileExt as _;

use super::RECEIPTS;
use super::document::ExportReceipt;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::Section;
use occystrap_images::source::exported::ExportFiles;

/// Longest line, in bytes: an index of 1,000 manifests with 100 layers each.
const LONGEST_LINE: usize = 32 * 1024 * 1024;

/// Bytes that are read at a time.
const PIECE: usize = 256 * 1024;

/// The receipts of an export.
pub struct Receipts {
    section: Section,
    /// Offset and length of each line.
    lines: Vec<(u64, usize)>,
    place: String,
}

impl Receipts {
    /// Finds the lines. Errors when the file is missing, or a line is too long.
    pub fn read(files: &ExportFiles) -> Result<Self> {
        let place = format!("{}: '{RECEIPTS}'", files.place());
        let section = files.require(RECEIPTS, "file")?;
        let mut receipts = Self { section, lines: Vec::new(), place };
        let (mut at, mut start) = (0, 0);
        let mut piece = vec![0; PIECE];
        while at < receipts.section.size {
            let left = usize::try_from(receipts.section.size - at).unwrap_or(PIECE);
            let read = &mut piece[..left.min(PIECE)];
            receipts.read_at(read, at)?;
            for (index, byte) in read.iter().enumerate() {
                if *byte == b'\n' {
                    let end = at + index as u64;
                    let length = usize::try_from(end - start).unwrap_or(usize::MAX);
                    receipts.lines.push((start, length));
                    start = end + 1;
                }
            }
            at += read.len() as u64;
        }
        match receipts.lines.iter().find(|(_, length)| *length > LONGEST_LINE) {
            Some((_, length)) => {
                let what = format!("{}: length of a line", receipts.place);
                Err(Error::mismatch(what, format!("at most {LONGEST_LINE} bytes"), *length))
            }
            None => Ok(receipts),
        }
    }

    /// Returns their number.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Reads the receipt of the image with this number in the document.
    pub fn get(&self, number: usize) -> Result<ExportReceipt> {
        let place = &self.place;
        let (offset, length) = self
            .lines
            .get(number)
            .copied()
            .ok_or_else(|| Error::source(format!("{place} has no line {}", number + 1)))?;
        let mut line = vec![0; length];
        self.read_at(&mut line, offset)?;
        serde_json::from_slice(&line).map_err(|cause| {
            let message = format!("{place}: line {} is not a receipt: {cause}", number + 1);
            Error::source(message).hint("copy the export again")
        })
    }

    fn read_at(&self, into: &mut [u8], at: u64) -> Result<()> {
        let read = self.section.file.read_exact_at(into, self.section.offset + at);
        read.map_err(|cause| Error::io(Kind::Source, "read", &self.place, &cause))
    }
}

//! Sparse files: the positions of their content, with holes in between.
//!
//! GNU tar has four forms: its own headers (`S`), and PAX records 0.0, 0.1 and 1.0 (GNU tar manual, "Storing Sparse
//! Files"). All are read into one type, and form 1.0 is written. What it refuses: maps of more than `MOST_PIECES`, and
//! maps that do not fit the size of the file.

use std::io::{self, Read};

use super::BLOCK;
use super::member::Records;
use super::number;
use super::pax;

/// Most pieces of a sparse file. With blocks of 4 KiB, a file of 2 GiB that alternates between data and holes has so
/// many; the list takes 4 MB.
const MOST_PIECES: usize = 256 * 1024;

/// Prefix of all PAX records about sparse files.
pub const PREFIX: &[u8] = b"GNU.sparse.";

/// The positions of the content of a sparse file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sparse {
    /// Offset and length of each piece of content, in bytes, in order and without overlap.
    pieces: Vec<(u64, u64)>,
}

impl Sparse {
    /// Checks pieces against the size of the file and the number of bytes that are stored in the tar. `None` where they
    /// do not fit.
    pub fn new(pieces: Vec<(u64, u64)>, size: u64, stored: u64) -> Option<Self> {
        let mut end = 0;
        let mut sum: u64 = 0;
        for (offset, length) in &pieces {
            if *offset < end {
                return None;
            }
            end = offset.checked_add(*length)?;
            sum = sum.checked_add(*length)?;
        }
        (end <= size && sum == stored).then_some(Self { pieces })
    }

    /// Returns offset and length of each piece of content, in bytes.
    #[must_use]
    pub fn pieces(&self) -> &[(u64, u64)] {
        &self.pieces
    }

    /// Returns the bytes of content, without holes.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.pieces.iter().map(|(_, length)| length).sum()
    }

    /// Returns the map as form 1.0 stores it before the content: decimal numbers, one per line, padded to a block.
    pub(super) fn map(&self) -> Vec<u8> {
        let mut map = format!("{}\n", self.pieces.len());
        for (offset, length) in &self.pieces {
            map.push_str(&format!("{offset}\n{length}\n"));
        }
        let mut map = map.into_bytes();
        map.resize(map.len().next_multiple_of(BLOCK), 0);
        map
    }
}

/// Reads the pieces in a GNU header or in a block that continues it. Returns `false` where the list ends.
pub fn gnu_pieces(entries: &[u8], pieces: &mut Vec<(u64, u64)>) -> Option<bool> {
    for entry in entries.chunks_exact(24) {
        if entry[0] == 0 {
            return Some(false);
        }
        push(pieces, number::parse(&entry[..12])?, number::parse(&entry[12..])?)?;
    }
    Some(true)
}

/// Reads the pieces in records of the forms 0.0 and 0.1: numbers separated by commas. The reader has joined the
/// repeated records of form 0.0 with commas.
pub fn listed_pieces(list: &[u8]) -> Option<Vec<(u64, u64)>> {
    let mut numbers = list.split(|byte| *byte == b',').map(pax::number);
    let mut pieces = Vec::new();
    if list.is_empty() {
        return Some(pieces);
    }
    while let Some(offset) = numbers.next() {
        push(&mut pieces, offset?, numbers.next()??)?;
    }
    Some(pieces)
}

fn push(pieces: &mut Vec<(u64, u64)>, offset: i64, length: i64) -> Option<()> {
    if pieces.len() == MOST_PIECES {
        return None;
    }
    pieces.push((offset.try_into().ok()?, length.try_into().ok()?));
    Some(())
}

/// A parser for the map of form 1.0, block by block.
#[derive(Default)]
pub struct MapReader {
    count: Option<usize>,
    numbers: Vec<i64>,
    digits: Vec<u8>,
}

impl MapReader {
    /// Reads a block. Returns the pieces after the last block; `Err` where the map is damaged.
    pub fn read(&mut self, block: &[u8]) -> Result<Option<Vec<(u64, u64)>>, ()> {
        for byte in block {
            match byte {
                b'0'..=b'9' if self.digits.len() < 20 => self.digits.push(*byte),
                b'\n' => {
                    let number = pax::number(&self.digits).ok_or(())?;
                    self.digits.clear();
                    match self.count {
                        None => {
                            let count = usize::try_from(number).map_err(|_| ())?;
                            if count > MOST_PIECES {
                                return Err(());
                            }
                            self.count = Some(count);
                        }
                        Some(_) => self.numbers.push(number),
                    }
                    if self.count == Some(self.numbers.len() / 2)
                        && self.numbers.len().is_multiple_of(2)
                    {
                        let mut pieces = Vec::new();
                        for pair in self.numbers.chunks_exact(2) {
                            push(&mut pieces, pair[0], pair[1]).ok_or(())?;
                        }
                        return Ok(Some(pieces));
                    }
                }
                _ => return Err(()),
            }
        }
        Ok(None)
    }
}

/// The records of a sparse file.
pub struct SparseRecords {
    /// The name of the file, where the name in the header is a placeholder.
    pub name: Option<Vec<u8>>,
    /// The size of the file in bytes, with holes.
    pub size: u64,
    /// The pieces, in the forms 0.0 and 0.1. In form 1.0 they are stored before the content.
    pub pieces: Option<Vec<(u64, u64)>>,
}

/// Removes the records of a sparse file. `None` where there are none; `Err` where they are not exactly one of the three
/// forms, because readers differ on other combinations.
pub fn take(records: &mut Records) -> Result<Option<SparseRecords>, ()> {
    let mut said: Records = Records::new();
    records.retain(|keyword, value| match keyword.strip_prefix(PREFIX) {
        Some(what) => {
            said.insert(what.to_vec(), std::mem::take(value));
            false
        }
        None => true,
    });
    if said.is_empty() {
        return Ok(None);
    }
    let mut take = |what: &str| said.remove(what.as_bytes());
    let number = |value: Option<Vec<u8>>| {
        pax::number(&value.ok_or(())?).and_then(|number| u64::try_from(number).ok()).ok_or(())
    };
    let (major, minor) = (take("major"), take("minor"));
    let name = take("name");
    let said_of_it = match (major.as_deref(), minor.as_deref()) {
        (Some(b"1"), Some(b"0")) => {
            SparseRecords { name, size: number(take("realsize"))?, pieces: None }
        }
        (None, None) | (Some(b"0"), Some(b"0" | b"1")) => {
            let pieces = listed_pieces(&take("map").ok_or(())?).ok_or(())?;
            if number(take("numblocks"))? != pieces.len() as u64 {
                return Err(());
            }
            SparseRecords { name, size: number(take("size"))?, pieces: Some(pieces) }
        }
        _ => return Err(()),
    };
    // Some readers use additional records, so they are refused.
    if said.is_empty() { Ok(Some(said_of_it)) } else { Err(()) }
}

/// A reader of a sparse file that returns zeros for the holes.
pub struct Expanded<'a, R> {
    from: R,
    pieces: &'a [(u64, u64)],
    at: u64,
    size: u64,
}

impl<'a, R: Read> Expanded<'a, R> {
    /// Returns a reader for a file of `size` bytes. `from` reads the content without holes.
    pub fn new(from: R, sparse: &'a Sparse, size: u64) -> Self {
        Self { from, pieces: &sparse.pieces, at: 0, size }
    }
}

impl<R: Read> Read for Expanded<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some((offset, length)) = self.pieces.first() {
            if self.at < offset + length {
                break;
            }
            self.pieces = &self.pieces[1..];
        }
        let (hole_ends, piece_ends) = self
            .pieces
            .first()
            .map_or((self.size, self.size), |(offset, length)| (*offset, offset + length));
        let room = |end: u64| (end - self.at).min(into.len() as u64) as usize;
        let read = if self.at < hole_ends {
            let zeros = room(hole_ends);
            into[..zeros].fill(0);
            zeros
        } else {
            let wanted = room(piece_ends);
            self.from.read(&mut into[..wanted])?
        };
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_zeros() {
        let sparse = Sparse::new(vec![(2, 3), (7, 1), (10, 0)], 10, 4).unwrap();
        let mut bytes = Vec::new();
        Expanded::new(b"abcd".as_slice(), &sparse, 10).read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"\0\0abc\0\0d\0\0");
        let all = Sparse::new(vec![(0, 2)], 2, 2).unwrap();
        bytes.clear();
        Expanded::new(b"ab".as_slice(), &all, 2).read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"ab");
    }

    #[test]
    fn pieces_are_in_order_and_within_the_file() {
        for (pieces, size, stored) in [
            (vec![(0, 2), (1, 1)], 3, 3),
            (vec![(0, 4)], 3, 4),
            (vec![(0, 1)], 3, 2),
            (vec![(u64::MAX, 1)], u64::MAX, 1),
            (vec![(0, u64::MAX), (u64::MAX, 1)], u64::MAX, 0),
        ] {
            assert_eq!(Sparse::new(pieces, size, stored), None);
        }
    }

    #[test]
    fn a_map_is_read_as_it_was_written() {
        let pieces: Vec<_> = (0..200).map(|n| (n * 4096, 512)).collect();
        let sparse = Sparse::new(pieces.clone(), 1 << 30, 200 * 512).unwrap();
        let map = sparse.map();
        assert_eq!(map.len() % BLOCK, 0);
        let mut reader = MapReader::default();
        let mut found = None;
        for block in map.chunks(BLOCK) {
            assert_eq!(found, None);
            found = reader.read(block).unwrap();
        }
        assert_eq!(found, Some(pieces));
        for bad in ["x", "99999999999999999999999\n", "300000\n", "\n", "1\n-1\n1\n"] {
            assert_eq!(MapReader::default().read(bad.as_bytes()), Err(()), "{bad}");
        }
    }
}

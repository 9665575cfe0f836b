//! Writing members: as USTAR where that loses nothing, with PAX records where they are needed.
//!
//! The same members always give the same bytes: PAX records are sorted by keyword, and headers contain nothing of the
//! machine or the time of writing.

use std::io::{self, BufRead, Write};

use super::header::{USTAR, field};
use super::member::{Member, MemberKind, Records};
use super::{BLOCK, number, padding, pax, sparse};

/// Version of the reader and the writer. It must be raised when the same layer gives other bytes, so that layers that
/// earlier runs wrote are written again.
pub const SPELLING: u32 = 2;

/// The name in a header of PAX records. Readers do not show it.
const PAX_NAME: &[u8] = b"././@PaxHeader";

/// Longest name of an owner, in bytes: 32 with the NUL that POSIX requires.
const LONGEST_OWNER: usize = 31;

/// A writer of members to a stream.
pub struct Writer<W> {
    to: W,
    /// Bytes that were written.
    at: u64,
}

impl<W: Write> Writer<W> {
    /// Returns a writer to a stream. [`Writer::finish`] must be called at the end.
    pub fn new(to: W) -> Self {
        Self { to, at: 0 }
    }

    /// Returns the number of bytes that were written.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Appends a member and its content, without the holes of a sparse file: [`Member::stored`] bytes. Errors when the
    /// stream fails, or the content ends early.
    pub fn append(&mut self, member: &Member, content: &mut dyn BufRead) -> io::Result<()> {
        let (map, size) = map_and_size(member);
        self.put(&head(member))?;
        self.put(&map)?;
        let mut left = size - map.len() as u64;
        while left > 0 {
            let available = content.fill_buf()?;
            if available.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let amount = (available.len() as u64).min(left) as usize;
            self.to.write_all(&available[..amount])?;
            self.at += amount as u64;
            content.consume(amount);
            left -= amount as u64;
        }
        self.pad(size)
    }

    /// Writes the end of the archive, two blocks of zeros, and returns the stream.
    pub fn finish(mut self) -> io::Result<W> {
        self.to.write_all(&[0; 2 * BLOCK])?;
        Ok(self.to)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.to.write_all(bytes)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        self.put(&[0; BLOCK][..padding(size) as usize])
    }
}

/// Returns the map of a sparse member, and the bytes of map and content.
fn map_and_size(member: &Member) -> (Vec<u8>, u64) {
    let map = member.sparse.as_ref().map(sparse::Sparse::map).unwrap_or_default();
    let has_content = member.kind.has_content();
    let size = if has_content { member.stored() + map.len() as u64 } else { 0 };
    (map, size)
}

/// Returns the headers of a member as [`Writer::append`] writes them: everything before the map of a sparse file and the
/// content.
#[must_use]
pub fn head(member: &Member) -> Vec<u8> {
    let (_, size) = map_and_size(member);
    let (records, name) = spell(member, size);
    let mut head = Vec::with_capacity(BLOCK);
    if !records.is_empty() {
        let mut bytes = Vec::new();
        for (keyword, value) in &records {
            pax::write(&mut bytes, keyword, value);
        }
        let mut block = Block::new(b'x', PAX_NAME, 0o644);
        block.number(field::SIZE, bytes.len() as i64);
        head.extend(block.sealed());
        head.extend(&bytes);
        head.resize(head.len() + padding(bytes.len() as u64) as usize, 0);
    }
    head.extend(header(member, &name, size, &records));
    head
}

/// Returns the PAX records that the member needs, and the name for the header.
fn spell(member: &Member, size: u64) -> (Records, Vec<u8>) {
    let mut records = member.records.clone();
    let mut path = member.path.clone();
    if member.kind == MemberKind::Directory && !path.ends_with(b"/") {
        path.push(b'/');
    }
    let mut say = |keyword: &[u8], value: Vec<u8>| {
        records.insert(keyword.to_vec(), value);
    };
    let mut name = path.clone();
    if member.sparse.is_some() {
        for (what, value) in [("major", "1"), ("minor", "0")] {
            say(&[sparse::PREFIX, what.as_bytes()].concat(), value.into());
        }
        say(&[sparse::PREFIX, b"realsize"].concat(), member.size.to_string().into());
        say(&[sparse::PREFIX, b"name"].concat(), path.clone());
        // A reader without support for sparse files must not take this member for the whole file.
        name = b"GNUSparseFile.0/".to_vec();
        name.extend(path.rsplit(|byte| *byte == b'/').next().unwrap_or_default());
        name = shortened(&name);
    } else if split(&path).is_none() {
        say(b"path", path.clone());
        name = shortened(&path);
    }
    if member.link.len() > field::LINK.len() || !member.link.is_ascii() {
        say(b"linkpath", member.link.clone());
    }
    for (keyword, name) in [("uname", &member.owner), ("gname", &member.group)] {
        if name.len() > LONGEST_OWNER || !name.is_ascii() {
            say(keyword.as_bytes(), name.clone());
        }
    }
    for (keyword, value, range) in [
        ("uid", member.uid, field::UID),
        ("gid", member.gid, field::GID),
        ("size", size as i64, field::SIZE),
    ] {
        if !number::write_octal(&mut [0; 12][..range.len()], value) {
            say(keyword.as_bytes(), value.to_string().into());
        }
    }
    let seconds = member.mtime.seconds;
    if member.mtime.nanos != 0 || !number::write_octal(&mut [0; 12], seconds) {
        say(b"mtime", pax::time_text(member.mtime).into());
    }
    let texts = [&path, &member.link, &member.owner, &member.group];
    if texts.iter().any(|text| std::str::from_utf8(text).is_err()) {
        // Without this record, records are UTF-8.
        say(b"hdrcharset", b"BINARY".to_vec());
    }
    (records, name)
}

/// Returns the slash at which a name is split into prefix and name, so that both fit. `None` where they do not fit, or
/// where the name is not ASCII.
fn split(path: &[u8]) -> Option<usize> {
    if !path.is_ascii() {
        return None;
    }
    let (longest, prefix) = (field::NAME.len(), field::PREFIX.len());
    if path.len() <= longest {
        return Some(0);
    }
    let fits = |at: &usize| *at > 0 && path[*at] == b'/' && path.len() - at - 1 <= longest;
    // The part after the slash must not be empty.
    (0..path.len().saturating_sub(1).min(prefix + 1)).rev().find(fits)
}

/// Returns the placeholder for a name that is in the records.
fn shortened(name: &[u8]) -> Vec<u8> {
    let letters = name.iter().take(field::NAME.len());
    letters.map(|byte| if byte.is_ascii() { *byte } else { b'_' }).collect()
}

fn header(member: &Member, name: &[u8], size: u64, records: &Records) -> [u8; BLOCK] {
    let mut header = Block::new(member.kind.flag(), b"", 0);
    let at = split(name).unwrap_or(0);
    if at > 0 {
        header.text(field::PREFIX, &name[..at]);
        header.text(field::NAME, &name[at + 1..]);
    } else {
        header.text(field::NAME, name);
    }
    header.number(field::MODE, i64::from(member.mode));
    // A number in the records is zero here: cut off, it would be another number.
    let number = |keyword: &str, value: i64| match records.contains_key(keyword.as_bytes()) {
        true => 0,
        false => value,
    };
    header.number(field::UID, number("uid", member.uid));
    header.number(field::GID, number("gid", member.gid));
    header.number(field::SIZE, number("size", size as i64));
    let seconds = member.mtime.seconds;
    header.number(field::MTIME, seconds.clamp(0, (1 << 33) - 1));
    header.text(field::LINK, &shortened(&member.link));
    for (range, name) in [(field::OWNER, &member.owner), (field::GROUP, &member.group)] {
        let name = shortened(name);
        header.text(range, &name[..name.len().min(LONGEST_OWNER)]);
    }
    header.number(field::MAJOR, i64::from(member.device.0));
    header.number(field::MINOR, i64::from(member.device.1));
    header.sealed()
}

/// A header that is being written.
struct Block([u8; BLOCK]);

impl Block {
    fn new(flag: u8, name: &[u8], mode: i64) -> Self {
        let mut block = Self([0; BLOCK]);
        block.0[field::FLAG] = flag;
        block.0[field::MAGIC].copy_from_slice(USTAR);
        block.text(field::NAME, name);
        for (range, value) in [
            (field::MODE, mode),
            (field::UID, 0),
            (field::GID, 0),
            (field::SIZE, 0),
            (field::MTIME, 0),
            (field::MAJOR, 0),
            (field::MINOR, 0),
        ] {
            block.number(range, value);
        }
        block
    }

    fn text(&mut self, range: std::ops::Range<usize>, text: &[u8]) {
        let end = range.start + text.len().min(range.len());
        self.0[range.start..end].copy_from_slice(&text[..end - range.start]);
    }

    /// Writes a number, in base 256 where octal digits do not fit. Large modes and devices have no PAX record, and all
    /// readers understand GNU's base 256.
    fn number(&mut self, range: std::ops::Range<usize>, value: i64) {
        let field = &mut self.0[range];
        if !number::write_octal(field, value) {
            number::write_base_256(field, value);
        }
    }

    /// Returns the block with its checksum: six digits, NUL, space.
    fn sealed(mut self) -> [u8; BLOCK] {
        self.0[field::CHECKSUM].fill(b' ');
        let sum: i64 = self.0.iter().map(|byte| i64::from(*byte)).sum();
        number::write_octal(&mut self.0[field::CHECKSUM][..7], sum);
        self.0
    }
}

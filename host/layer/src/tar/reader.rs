//! Reading the members of a layer, in the order of the archive.
//!
//! What it refuses is listed at [`TarReader::next_member`].

use std::io::{self, BufRead, Read};

use super::extension::ExtendedHeader;
use super::header::{Header, TarFormat, field};
use super::member::{Member, MemberKind};
use super::sparse::{self, MapReader, Sparse};
use super::{BLOCK, padding};
use crate::blob::{from_io, into_io, read_buffered};
use occystrap_base::error::{Error, Result};

/// Largest long name or PAX header, in bytes. Go's reader, and so Docker and containerd, accepts no more
/// (`maxSpecialFileSize`).
const LARGEST_EXTENSION: u64 = 1024 * 1024;

/// Most headers of a layer, with those of long names and PAX records. A file system of a million files has two million;
/// more headers than this are an attack.
const MOST_HEADERS: u64 = 20_000_000;

/// A reader of the members in a stream. Each call of [`TarReader::next_member`] skips the unread content of the member
/// before.
pub struct TarReader<R> {
    from: R,
    place: String,
    /// Position of the next block, in bytes from the start of the layer.
    at: u64,
    /// Bytes of the content that were not read yet.
    rest: u64,
    /// Zeros after the content.
    padding: u64,
    /// Start of the headers of the last member.
    started: u64,
    headers: u64,
    /// Name of the last member; empty while a header is read.
    path: Vec<u8>,
    /// Type flag of the last member.
    flag: u8,
    /// Whether there was a header for all members that follow it.
    global: bool,
    ended: bool,
}

impl<R: BufRead> TarReader<R> {
    /// Returns a reader for an uncompressed layer. `place` is named in errors.
    pub fn new(from: R, place: impl Into<String>) -> Self {
        Self {
            from,
            place: place.into(),
            at: 0,
            rest: 0,
            padding: 0,
            started: 0,
            headers: 0,
            path: Vec::new(),
            flag: 0,
            global: false,
            ended: false,
        }
    }

    /// Returns the name of the layer for errors.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Returns the type flag in the header of the last member. Several flags mean a file.
    #[must_use]
    pub fn flag(&self) -> u8 {
        self.flag
    }

    /// Returns whether one of the headers so far is a global one (`g`).
    #[must_use]
    pub fn has_global(&self) -> bool {
        self.global
    }

    /// Returns start and end of the last member, in bytes from the start of the layer.
    #[must_use]
    pub fn span(&self) -> (u64, u64) {
        (self.started, self.at + self.rest + self.padding)
    }

    /// Returns the next member, `None` at the end of the archive. Errors when a header is damaged, an extended header
    /// is larger than `LARGEST_EXTENSION`, readers differ on the headers of a member, there are more than
    /// `MOST_HEADERS`, or the layer ends in the middle of a member, and as the stream does.
    pub fn next_member(&mut self) -> Result<Option<Member>> {
        if self.ended {
            return Ok(None);
        }
        self.skip_content()?;
        self.path.clear();
        self.started = self.at;
        let mut extended = ExtendedHeader::default();
        let mut block = [0; BLOCK];
        loop {
            let at = self.at;
            if !self.read_block(&mut block)? {
                self.ended = true;
                self.check_end(at)?;
                return Ok(None);
            }
            let header = Header(&block);
            if !header.is_sound() {
                return Err(self.damaged(at, "its checksum is wrong"));
            }
            self.headers += 1;
            if self.headers > MOST_HEADERS {
                let what = format!("{}: number of headers", self.place);
                return Err(Error::mismatch(what, format!("at most {MOST_HEADERS}"), "more"));
            }
            if !matches!(header.flag(), b'L' | b'K' | b'x' | b'g') {
                return self.member(&block, extended, at).map(Some);
            }
            let size = header.size().ok_or_else(|| self.damaged(at, "its size is no number"))?;
            let mut bytes = self.extension(size, at)?;
            self.global |= header.flag() == b'g';
            match header.flag() {
                b'x' => extended.records(&bytes),
                b'g' => extended.global(&bytes),
                flag => {
                    let length =
                        bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                    bytes.truncate(length);
                    if flag == b'L' { extended.name(bytes) } else { extended.link(bytes) }
                }
            }
            .map_err(|why| self.damaged(at, why))?;
        }
    }

    /// Returns the content of the last member, without the holes of a sparse file.
    pub fn content(&mut self) -> MemberContent<'_, R> {
        MemberContent { reader: self }
    }

    /// Reads to the end of the stream, and returns the number of bytes after the archive's end that are not zero.
    /// Errors as
    /// [`TarReader::next_member`] does for the members that are left.
    pub fn finish(mut self) -> Result<u64> {
        while self.next_member()?.is_some() {}
        let mut noise = 0;
        loop {
            let bytes = self.from.fill_buf().map_err(|cause| from_io(cause, &self.place))?;
            if bytes.is_empty() {
                return Ok(noise);
            }
            noise += bytes.iter().filter(|byte| **byte != 0).count() as u64;
            let amount = bytes.len();
            self.from.consume(amount);
        }
    }

    fn member(&mut self, block: &[u8; BLOCK], extended: ExtendedHeader, at: u64) -> Result<Member> {
        let header = Header(block);
        self.flag = header.flag();
        let damaged = |what: &str| self.damaged(at, &format!("its {what} makes no sense"));
        let mut member = header.member().map_err(&damaged)?;
        extended.apply(&mut member).map_err(|why| self.damaged(at, why))?;
        // V7 has no type for directories.
        if header.flag() == 0 && member.path.ends_with(b"/") {
            (member.kind, member.size) = (MemberKind::Directory, 0);
        }
        if member.kind == MemberKind::Directory {
            // A slash at the end is not part of the name; the root keeps its slash.
            while member.path.len() > 1 && member.path.ends_with(b"/") {
                member.path.pop();
            }
        }
        let sparse = sparse::take(&mut member.records).map_err(|()| damaged("sparse map"))?;
        // A map before the content is subtracted from this.
        self.rest = if member.kind.has_content() { member.size } else { 0 };
        self.padding = padding(self.rest);
        match (sparse, header.flag()) {
            (Some(sparse), flag) if member.kind == MemberKind::File && flag != b'S' => {
                if let Some(name) = sparse.name {
                    member.path = name;
                }
                member.size = sparse.size;
                let pieces = match sparse.pieces {
                    Some(pieces) => pieces,
                    None => self.read_map(at)?,
                };
                self.set_sparse(&mut member, pieces, at)?;
            }
            (None, b'S') => {
                let stored = member.size;
                let pieces = self.gnu_map(&header, &mut member, at)?;
                self.rest = stored;
                self.set_sparse(&mut member, pieces, at)?;
            }
            (None, _) => {}
            (Some(_), _) => return Err(self.damaged(at, "its sparse map makes no sense")),
        }
        if member.path.contains(&0) || member.link.contains(&0) {
            // Readers differ on the name: some stop at the NUL.
            return Err(self.damaged(at, "its name has a NUL in it"));
        }
        if member.path.is_empty() && member.kind == MemberKind::Directory {
            member.path = b".".to_vec();
        }
        self.path.clone_from(&member.path);
        Ok(member)
    }

    fn set_sparse(&self, member: &mut Member, pieces: Vec<(u64, u64)>, at: u64) -> Result<()> {
        let sparse = Sparse::new(pieces, member.size, self.rest);
        member.sparse = Some(sparse.ok_or_else(|| self.damaged(at, "its sparse map is wrong"))?);
        Ok(())
    }

    /// Reads the map in a GNU header and in the blocks that continue it.
    fn gnu_map(
        &mut self,
        header: &Header<'_>,
        member: &mut Member,
        at: u64,
    ) -> Result<Vec<(u64, u64)>> {
        let wrong = |reader: &Self| reader.damaged(at, "its sparse map is wrong");
        if header.format() != TarFormat::Gnu {
            // star has the same type flag, but its map at another place.
            return Err(wrong(self));
        }
        let real = super::number::parse(&header.0[field::GNU_REAL_SIZE]);
        member.size = real.and_then(|size| size.try_into().ok()).ok_or_else(|| wrong(self))?;
        let mut pieces = Vec::new();
        let first = &header.0[field::GNU_PIECES];
        sparse::gnu_pieces(first, &mut pieces).ok_or_else(|| wrong(self))?;
        let mut continues = header.0[field::GNU_CONTINUES] != 0;
        while continues {
            let mut block = [0; BLOCK];
            self.read_exact(&mut block)?;
            let more = &block[field::MORE_PIECES];
            sparse::gnu_pieces(more, &mut pieces).ok_or_else(|| wrong(self))?;
            continues = block[field::MORE_CONTINUES] != 0;
        }
        Ok(pieces)
    }

    /// Reads the map that form 1.0 has before the content.
    fn read_map(&mut self, at: u64) -> Result<Vec<(u64, u64)>> {
        let mut map = MapReader::default();
        loop {
            let mut block = [0; BLOCK];
            let left = self.rest.checked_sub(BLOCK as u64);
            self.rest = left.ok_or_else(|| self.damaged(at, "its sparse map is wrong"))?;
            self.read_exact(&mut block)?;
            match map.read(&block) {
                Ok(None) => {}
                Ok(Some(pieces)) => return Ok(pieces),
                Err(()) => return Err(self.damaged(at, "its sparse map is wrong")),
            }
        }
    }

    fn extension(&mut self, size: u64, at: u64) -> Result<Vec<u8>> {
        if size > LARGEST_EXTENSION {
            let what = format!("{}: size of the extended header at offset {at}", self.place);
            return Err(Error::mismatch(what, format!("at most {LARGEST_EXTENSION} bytes"), size));
        }
        let mut bytes = vec![0; size as usize];
        self.read_exact(&mut bytes)?;
        self.rest = 0;
        self.padding = padding(size);
        self.skip_content()?;
        Ok(bytes)
    }

    /// Reads a block. Returns `false` at the end of the archive: a block of zeros, or the end of the stream.
    fn read_block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool> {
        let more = self.from.fill_buf().map_err(|cause| from_io(cause, &self.place))?;
        if more.is_empty() {
            return Ok(false);
        }
        self.read_exact(block)?;
        Ok(!Header(block).is_zero())
    }

    /// Checks that a second block of zeros follows. Readers differ on a single one: for some the tar ends there, for
    /// others it goes on, and engines refuse it.
    fn check_end(&mut self, at: u64) -> Result<()> {
        let (mut second, mut length) = ([0; BLOCK], 0);
        while length < BLOCK {
            match self.from.read(&mut second[length..]) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(from_io(cause, &self.place)),
            }
        }
        self.at += length as u64;
        match second[..length].iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => {
                let message = format!(
                    "{}: the tar goes on after a lone block of zeros at offset {at}, where some readers end, and engines refuse it",
                    self.place
                );
                Err(Error::source(message))
            }
        }
    }

    fn skip_content(&mut self) -> Result<()> {
        let mut left = std::mem::take(&mut self.rest) + std::mem::take(&mut self.padding);
        self.at += left;
        while left > 0 {
            let available = self.from.fill_buf().map_err(|cause| from_io(cause, &self.place))?;
            if available.is_empty() {
                return Err(self.cut(self.at - left));
            }
            let amount = (available.len() as u64).min(left) as usize;
            self.from.consume(amount);
            left -= amount as u64;
        }
        Ok(())
    }

    fn read_exact(&mut self, into: &mut [u8]) -> Result<()> {
        match self.from.read_exact(into) {
            Ok(()) => {
                self.at += into.len() as u64;
                Ok(())
            }
            Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => Err(self.cut(self.at)),
            Err(cause) => Err(from_io(cause, &self.place)),
        }
    }

    fn damaged(&self, at: u64, why: &str) -> Error {
        if at == 0 && why.contains("checksum") {
            return Error::source(format!("{}: is no tar archive", self.place));
        }
        Error::source(format!("{}: the tar header at offset {at} is damaged: {why}", self.place))
    }

    fn cut(&self, at: u64) -> Error {
        let place = &self.place;
        let member = match self.path.as_slice() {
            [] => "a header".to_owned(),
            path => format!("'{}'", String::from_utf8_lossy(path)),
        };
        Error::source(format!("{place}: the tar ends in the middle of {member}, after {at} bytes"))
    }
}

/// A reader for the content of one member.
pub struct MemberContent<'a, R> {
    reader: &'a mut TarReader<R>,
}

impl<R: BufRead> BufRead for MemberContent<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let rest = self.reader.rest;
        if rest == 0 {
            return Ok(&[]);
        }
        if self.reader.from.fill_buf()?.is_empty() {
            return Err(into_io(self.reader.cut(self.reader.at)));
        }
        let available = self.reader.from.fill_buf()?;
        let amount = (available.len() as u64).min(rest) as usize;
        Ok(&available[..amount])
    }

    fn consume(&mut self, amount: usize) {
        self.reader.rest -= amount as u64;
        self.reader.at += amount as u64;
        self.reader.from.consume(amount);
    }
}

impl<R: BufRead> Read for MemberContent<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, into)
    }
}

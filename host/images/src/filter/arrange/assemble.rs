//! The canonical form of a layer, as a stream: pieces of the spool in their order, and headers that change.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::Arc;

use super::key;
use super::links::{Becomes, Span};
use super::sort::{Merge, Record, Slice, Sorted};
use super::spell::SYMLINK_MODE;
use super::spooled_member::SpooledMember;
use occystrap_base::error::{Error, Result};
use occystrap_layer::blob::into_io;
use occystrap_layer::tar::writer::head;
use occystrap_layer::tar::{BLOCK, Member, MemberKind, TarReader};

/// The parts of a layer that is assembled.
pub struct LayerParts<'a> {
    /// The members in the spool, in their order.
    pub members: &'a Sorted,
    /// What some members become.
    pub changed: Option<&'a Sorted>,
    /// Headers of folders that no member lists.
    pub folders: Option<&'a Sorted>,
    /// The root, if it is listed.
    pub root: Option<&'a Member>,
    /// The spool.
    pub spool: Arc<File>,
    /// Name of the layer in errors.
    pub place: &'a str,
}

/// A reader of the layer.
pub struct Assembled<'a> {
    members: Merge<'a>,
    changed: Option<Merge<'a>>,
    folders: Option<Merge<'a>>,
    spool: Arc<File>,
    place: &'a str,
    pieces: VecDeque<Piece>,
    is_ended: bool,
}

enum Piece {
    Bytes(io::Cursor<Vec<u8>>),
    Spool(Slice),
}

impl<'a> Assembled<'a> {
    /// Begins to assemble a layer. Errors when a temporary file cannot be read.
    pub fn new(parts: &LayerParts<'a>) -> Result<Self> {
        let read = |sorted: Option<&'a Sorted>| sorted.map(Sorted::read).transpose();
        let mut assembled = Self {
            members: parts.members.read()?,
            changed: read(parts.changed)?,
            folders: read(parts.folders)?,
            spool: Arc::clone(&parts.spool),
            place: parts.place,
            pieces: VecDeque::new(),
            is_ended: false,
        };
        if let Some(root) = parts.root {
            assembled.add(head(root));
        }
        Ok(assembled)
    }

    /// Adds the pieces of the next member.
    fn advance(&mut self) -> Result<()> {
        if let Some(folders) = &mut self.folders
            && let Some(folder) = folders.peek()?
            && self.members.peek()?.is_none_or(|member| folder < member)
        {
            if let Some((_, bytes)) = folders.next()? {
                self.add(bytes);
            }
            return Ok(());
        }
        let Some((numbered, value)) = self.members.next()? else {
            self.add(vec![0; 2 * BLOCK]);
            self.is_ended = true;
            return Ok(());
        };
        let placed = SpooledMember::of(&value);
        if !placed.is_live {
            return Ok(());
        }
        let own = (placed.start, placed.end);
        match self.becomes(&numbered)? {
            None => self.add_spool(own),
            Some(Becomes::File { root, last }) => {
                let (mut member, content) = self.file(root, last)?;
                member.path = key::path(key::parts(&numbered).0);
                self.add(head(&member));
                self.add_spool(content);
            }
            Some(Becomes::Link { to, root, last }) => {
                let (mut member, _) = self.file(root, last)?;
                member.path = key::path(key::parts(&numbered).0);
                member.kind = MemberKind::HardLink;
                (member.size, member.sparse, member.device, member.link) = (0, None, (0, 0), to);
                self.add(head(&member));
            }
            Some(Becomes::Below { to, last }) => {
                let mut member = match last == own {
                    true => self.member(own)?,
                    false => self.file(own, last)?.0,
                };
                member.link = to;
                self.add(head(&member));
            }
        }
        Ok(())
    }

    /// Returns what a member becomes, if that is something else.
    fn becomes(&mut self, numbered: &[u8]) -> Result<Option<Becomes>> {
        let Some(changed) = &mut self.changed else { return Ok(None) };
        match changed.peek()? {
            Some(next) if next == numbered => {
                let record: Option<Record> = changed.next()?;
                Ok(record.map(|(_, value)| Becomes::of(&value)))
            }
            _ => Ok(None),
        }
    }

    /// Returns a file with the metadata of its last name, and where its content is in the spool.
    fn file(&self, root: Span, last: Span) -> Result<(Member, Span)> {
        let mut file = self.member(root)?;
        let content = (root.0 + head(&file).len() as u64, root.1);
        let last = self.member(last)?;
        (file.mode, file.uid, file.gid, file.mtime) = (last.mode, last.uid, last.gid, last.mtime);
        if file.kind == MemberKind::Symlink {
            file.mode = SYMLINK_MODE;
        }
        file.records.extend(last.records);
        Ok((file, content))
    }

    /// Reads the headers of a member in the spool.
    fn member(&self, (at, end): Span) -> Result<Member> {
        let slice = Slice { file: Arc::clone(&self.spool), at, end };
        let member =
            TarReader::new(BufReader::with_capacity(BLOCK, slice), self.place).next_member()?;
        member.ok_or_else(|| {
            Error::destination(format!("{}: its temporary file was changed meanwhile", self.place))
        })
    }

    fn add(&mut self, bytes: Vec<u8>) {
        self.pieces.push_back(Piece::Bytes(io::Cursor::new(bytes)));
    }

    /// Adds a piece of the spool, to the one before if it follows it there.
    fn add_spool(&mut self, (start, end): Span) {
        match self.pieces.back_mut() {
            Some(Piece::Spool(before)) if before.end == start => before.end = end,
            _ if start == end => {}
            _ => {
                let slice = Slice { file: Arc::clone(&self.spool), at: start, end };
                self.pieces.push_back(Piece::Spool(slice));
            }
        }
    }
}

impl Read for Assembled<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            // Several members that follow each other are read at once.
            while !self.is_ended && self.pieces.len() < 2 {
                self.advance().map_err(into_io)?;
                if let Some(Piece::Spool(only)) = self.pieces.front()
                    && only.end - only.at >= into.len() as u64
                {
                    break;
                }
            }
            let read = match self.pieces.front_mut() {
                None => return Ok(0),
                Some(Piece::Bytes(bytes)) => bytes.read(into)?,
                Some(Piece::Spool(slice)) => slice.read(into)?,
            };
            if read > 0 {
                return Ok(read);
            }
            self.pieces.pop_front();
        }
    }
}

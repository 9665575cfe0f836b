//! The uncompressed bytes of a layer, for code that looks into it, and the hash of all that it read.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::SyncSender;

use super::io::{from_io, read_buffered};
use super::pieces::Pieces;
use occystrap_base::error::Result;
use occystrap_base::files::Hashed;
use occystrap_base::oci::Hasher;

/// The uncompressed bytes of a layer, hashed as they are read.
pub struct PlainReader<'a> {
    pieces: Pieces<'a>,
    piece: Vec<u8>,
    at: usize,
    hashing: Hashing,
    size: u64,
}

/// The thread that hashes what is read.
enum Hashing {
    /// This thread: each buffer when it arrives.
    Here(Hasher),
    /// Another thread: each buffer when it is used up.
    Lent(SyncSender<Piece>),
    /// Another thread, which has not given the hasher back.
    Gone,
}

impl<'a> PlainReader<'a> {
    /// Returns a reader of these pieces.
    pub(super) fn new(pieces: Pieces<'a>) -> Self {
        let hashing = Hashing::Here(Hasher::default());
        Self { pieces, piece: Vec::new(), at: 0, hashing, size: 0 }
    }

    /// Lends the hasher to another thread: from now on, used buffers are sent `to` it.
    pub(super) fn lend(&mut self, to: SyncSender<Piece>) -> LentHasher {
        // Everything before is hashed already.
        debug_assert!(self.piece.is_empty());
        let hasher = match std::mem::replace(&mut self.hashing, Hashing::Lent(to)) {
            Hashing::Here(hasher) => hasher,
            Hashing::Lent(_) | Hashing::Gone => Hasher::default(),
        };
        LentHasher { hasher, home: self.pieces.home() }
    }

    /// Stops sending buffers to the other thread.
    pub(super) fn close(&mut self) {
        self.hashing = Hashing::Gone;
    }

    /// Continues to hash here, with the hasher that the other thread gives back.
    pub(super) fn take_back(&mut self, mut hasher: Hasher) {
        hasher.update(&self.piece);
        self.hashing = Hashing::Here(hasher);
    }

    /// Reads the rest, and returns the size of the whole layer, in bytes.
    pub fn read_rest(&mut self, place: &str) -> Result<u64> {
        loop {
            let amount = self.fill_buf().map_err(|cause| from_io(cause, place))?.len();
            if amount == 0 {
                return Ok(self.size);
            }
            self.consume(amount);
        }
    }

    fn next(&mut self, used: Vec<u8>) -> Option<Vec<u8>> {
        if let Hashing::Lent(to) = &self.hashing {
            if !used.is_empty() {
                // A closed channel means that the other thread failed; it reports why.
                to.send(Piece::Used(used)).ok()?;
            }
            return self.pieces.receive();
        }
        let piece = self.pieces.next(used)?;
        if let Hashing::Here(hasher) = &mut self.hashing {
            hasher.update(&piece);
        }
        Some(piece)
    }

    /// Returns size and digest of what was read.
    pub(super) fn finish(self) -> Hashed {
        let digest = match self.hashing {
            Hashing::Here(hasher) => hasher.finish(),
            // It is not given back only after an error, and then the digest is not used.
            Hashing::Lent(_) | Hashing::Gone => Hasher::default().finish(),
        };
        Hashed { size: self.size, digest }
    }
}

impl BufRead for PlainReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.piece.len() {
            self.at = 0;
            let used = std::mem::take(&mut self.piece);
            self.piece = self.next(used).unwrap_or_default();
            self.size += self.piece.len() as u64;
        }
        Ok(&self.piece[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Read for PlainReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, into)
    }
}

/// A buffer that goes to the thread that hashes and writes.
pub(super) enum Piece {
    /// Bytes that were read. The buffer goes back to the reader afterwards.
    Used(Vec<u8>),
    /// Bytes that are to be written.
    Made(Vec<u8>),
}

/// The hash of what was read so far, lent to another thread.
pub(super) struct LentHasher {
    /// Hashes what was read.
    pub(super) hasher: Hasher,
    /// Takes the buffers back.
    pub(super) home: SyncSender<Vec<u8>>,
}

impl LentHasher {
    /// Hashes a buffer that was read, and sends it back.
    pub(super) fn hash(&mut self, piece: Vec<u8>) {
        self.hasher.update(&piece);
        let _ = self.home.try_send(piece);
    }
}

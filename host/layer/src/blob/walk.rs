//! Looking into a layer: its uncompressed bytes for whoever wants to see them, checked against
//! everything that was promised of it.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::SyncSender;

use super::outflow::{Piece, Reading};
use super::pieces::Pieces;
use super::pump::exchange;
use super::transfer::{Failure, check_diff_id, decode};
use super::{Decoder, Stored, from_io};
use crate::image::Layer;
use occystrap_base::error::{Kind, Result};
use occystrap_base::files::Hashed;
use occystrap_base::oci::Hasher;

/// Let `visit` read a layer, uncompressed, on a thread of its own where the layer is read ahead. What
/// it leaves is read as well: nothing is returned of a layer that is not what was promised. Errors when
/// it is not - also where `visit` stumbled over the same bytes - and as `visit` does.
pub fn read_checked<T: Send>(
    layer: &Layer,
    stored: Stored,
    visit: impl FnOnce(&mut PlainReader) -> Result<T> + Send,
) -> Result<T> {
    let walked = decode(layer, stored, |decoded| {
        read(decoded, |pieces| {
            let mut plain = PlainReader::new(pieces);
            let seen = visit(&mut plain);
            match &seen {
                // Whether the bytes are to blame is only known at their end.
                Err(error) if error.kind() != Kind::Source => return Err(error.clone()),
                _ => plain.read_rest(&layer.place)?,
            };
            Ok((seen, plain.finish()))
        })
    });
    let (seen, moved) = walked.map_err(|why| why.of(layer))?;
    check_diff_id(layer, moved)?;
    seen
}

/// Let `visit` read a layer, uncompressed, as above, and tell what all of it is: for those who want to
/// know everything that is wrong with it. The second is an error where it could not be decoded to its
/// end, or its stored form is not what was promised; only then the first may be missing. What the
/// config promises is not looked at.
pub fn read_lenient(
    layer: &Layer,
    stored: Stored,
    visit: impl FnOnce(&mut PlainReader) + Send,
) -> (Option<Hashed>, Result<()>) {
    let mut seen = None;
    let looked = decode(layer, stored, |decoded| {
        seen = Some(read(decoded, |pieces| {
            let mut plain = PlainReader::new(pieces);
            visit(&mut plain);
            plain.read_rest(&layer.place)?;
            Ok(plain.finish())
        })?);
        Ok(())
    });
    (seen, looked.map_err(|why| why.of(layer)))
}

fn read<T: Send>(
    decoded: &mut Decoder<Stored>,
    consume: impl FnOnce(Pieces) -> Result<T> + Send,
) -> Result<T, Failure> {
    match decoded.is_read_ahead() {
        true => exchange(decoded, consume),
        false => Pieces::read_here(decoded, consume),
    }
}

/// The uncompressed bytes of a layer, hashed as they are read.
pub struct PlainReader<'a> {
    pieces: Pieces<'a>,
    piece: Vec<u8>,
    at: usize,
    hashing: Hashing,
    size: u64,
}

/// Who hashes what is read.
enum Hashing {
    /// This thread, each piece as it comes.
    Here(Hasher),
    /// Another one, each piece that was used up.
    Lent(SyncSender<Piece>),
    /// Another one that has not given it back.
    Gone,
}

impl<'a> PlainReader<'a> {
    fn new(pieces: Pieces<'a>) -> Self {
        let hashing = Hashing::Here(Hasher::default());
        Self { pieces, piece: Vec::new(), at: 0, hashing, size: 0 }
    }

    /// From now on, what was used goes `to` a thread that hashes it.
    pub(super) fn lend(&mut self, to: SyncSender<Piece>) -> Reading {
        // What came before is hashed.
        debug_assert!(self.piece.is_empty());
        let hasher = match std::mem::replace(&mut self.hashing, Hashing::Lent(to)) {
            Hashing::Here(hasher) => hasher,
            Hashing::Lent(_) | Hashing::Gone => Hasher::default(),
        };
        Reading { hasher, home: self.pieces.home() }
    }

    /// Nothing more is sent.
    pub(super) fn close(&mut self) {
        self.hashing = Hashing::Gone;
    }

    /// Hash here again, from where the other thread was.
    pub(super) fn take_back(&mut self, mut hasher: Hasher) {
        hasher.update(&self.piece);
        self.hashing = Hashing::Here(hasher);
    }

    /// Read what is left, and return the size of the whole, in bytes.
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
                // Who hashes has failed where it takes no more, and says why.
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

    fn finish(self) -> Hashed {
        let digest = match self.hashing {
            Hashing::Here(hasher) => hasher.finish(),
            // Where it was not given back there was an error, and nobody asks.
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
        let available = self.fill_buf()?;
        let amount = available.len().min(into.len());
        into[..amount].copy_from_slice(&available[..amount]);
        self.consume(amount);
        Ok(amount)
    }
}

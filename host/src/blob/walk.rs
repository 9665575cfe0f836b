//! Looking into a layer: its uncompressed bytes for whoever wants to see them, checked against
//! everything that was promised of it.

use std::io::{self, BufRead, Read};

use super::pump::{Pieces, exchange};
use super::transfer::{Moved, check_diff_id, decode};
use super::{Stored, from_io};
use crate::error::{Kind, Result};
use crate::image::{Hasher, Layer};

/// Let `visit` read a layer, uncompressed, on a thread of its own. What it leaves is read as well:
/// nothing is returned of a layer that is not what was promised. Errors when it is not - also where
/// `visit` stumbled over the same bytes - and as `visit` does.
pub fn walk<T: Send>(
    layer: &Layer,
    stored: Stored,
    visit: impl FnOnce(&mut Plain) -> Result<T> + Send,
) -> Result<T> {
    let walked = decode(layer, stored, |decoded| {
        exchange(decoded, |pieces| {
            let mut plain = Plain::new(pieces);
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

/// Let `visit` read a layer, uncompressed, on a thread of its own, and tell what all of it is: for
/// those who want to know everything that is wrong with it. The second is an error where it could not
/// be decoded to its end, or its stored form is not what was promised; only then the first may be
/// missing. What the config promises is not looked at.
pub fn look(
    layer: &Layer,
    stored: Stored,
    visit: impl FnOnce(&mut Plain) + Send,
) -> (Option<Moved>, Result<()>) {
    let mut seen = None;
    let looked = decode(layer, stored, |decoded| {
        seen = Some(exchange(decoded, |pieces| {
            let mut plain = Plain::new(pieces);
            visit(&mut plain);
            plain.read_rest(&layer.place)?;
            Ok(plain.finish())
        })?);
        Ok(())
    });
    (seen, looked.map_err(|why| why.of(layer)))
}

/// The uncompressed bytes of a layer, hashed as they are read.
pub struct Plain {
    pieces: Pieces,
    piece: Vec<u8>,
    at: usize,
    hasher: Hasher,
    size: u64,
}

impl Plain {
    fn new(pieces: Pieces) -> Self {
        Self { pieces, piece: Vec::new(), at: 0, hasher: Hasher::default(), size: 0 }
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

    fn finish(self) -> Moved {
        Moved { size: self.size, digest: self.hasher.finish() }
    }
}

impl BufRead for Plain {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.piece.len() {
            self.at = 0;
            self.piece = self.pieces.next(std::mem::take(&mut self.piece)).unwrap_or_default();
            self.hasher.update(&self.piece);
            self.size += self.piece.len() as u64;
        }
        Ok(&self.piece[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Read for Plain {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let amount = available.len().min(into.len());
        into[..amount].copy_from_slice(&available[..amount]);
        self.consume(amount);
        Ok(amount)
    }
}

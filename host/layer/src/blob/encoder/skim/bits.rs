//! Reading bytes bit by bit, from the lowest (RFC 1951, 3.1.1).
//!
//! What it refuses: to read after the padding.

use super::Fault;

/// Bytes that must follow a stream: eight are read at a time, starting at any bit.
pub(in crate::blob::encoder) const PADDING: usize = 16;

/// A position in a stream.
#[derive(Clone, Copy)]
pub(super) struct Bits<'a> {
    /// The stream and its padding.
    bytes: &'a [u8],
    /// Position of the next bit.
    at: usize,
}

impl<'a> Bits<'a> {
    pub(super) fn new(padded: &'a [u8]) -> Self {
        Self { bytes: padded, at: 0 }
    }

    /// Returns at least the next 57 bits. The next one is the lowest.
    #[inline(always)]
    pub(super) fn ahead(&self) -> Result<u64, Fault> {
        let next = self.bytes.get(self.at / 8..).and_then(|rest| rest.first_chunk());
        Ok(u64::from_le_bytes(*next.ok_or("it is cut off")?) >> (self.at % 8))
    }

    /// Skips bits.
    #[inline(always)]
    pub(super) fn skip(&mut self, count: u8) {
        self.at += usize::from(count);
    }

    /// Reads a number of up to 16 bits.
    pub(super) fn number(&mut self, count: u8) -> Result<usize, Fault> {
        let number = self.ahead()? & ((1 << count) - 1);
        self.skip(count);
        Ok(number as usize)
    }

    /// Returns the number of bits that were read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Moves to the start of a byte.
    pub(super) fn jump(&mut self, byte: usize) {
        self.at = byte * 8;
    }
}

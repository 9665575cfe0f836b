//! Bytes, read bit by bit from the lowest (RFC 1951, 3.1.1).
//!
//! What it refuses: to read behind the padding.

use super::Fault;

/// Bytes that have to follow a stream: up to seven are read ahead, and eight at a time.
pub(in crate::blob::encoder) const PADDING: usize = 16;

/// A place in a stream.
pub(super) struct Bits<'a> {
    /// The stream and its padding.
    bytes: &'a [u8],
    /// What is to be read next.
    at: usize,
    /// Bits that were read and not skipped, the next one lowest. Those above `count` will be read
    /// once more.
    ahead: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(padded: &'a [u8]) -> Self {
        Self { bytes: padded, at: 0, ahead: 0, count: 0 }
    }

    /// Have at least 56 bits ahead.
    #[inline(always)]
    pub(super) fn refill(&mut self) -> Result<(), Fault> {
        let next = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk());
        self.ahead |= u64::from_le_bytes(*next.ok_or("it is cut off")?) << self.count;
        self.at += (63 - self.count as usize) / 8;
        self.count |= 56;
        Ok(())
    }

    #[inline(always)]
    pub(super) fn ahead(&self) -> u64 {
        self.ahead
    }

    /// Go on by so many of the bits ahead.
    #[inline(always)]
    pub(super) fn skip(&mut self, count: u8) {
        self.ahead >>= count;
        self.count -= u32::from(count);
    }

    /// A number of up to 16 bits.
    pub(super) fn number(&mut self, count: u8) -> Result<usize, Fault> {
        self.refill()?;
        let number = self.ahead & ((1 << count) - 1);
        self.skip(count);
        Ok(number as usize)
    }

    /// How many bits are behind.
    pub(super) fn position(&self) -> usize {
        8 * self.at - self.count as usize
    }

    /// Go to a byte.
    pub(super) fn jump(&mut self, byte: usize) {
        (self.at, self.ahead, self.count) = (byte, 0, 0);
    }
}

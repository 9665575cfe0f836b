//! Finding where the last block of a deflate stream starts and ends (RFC 1951).
//!
//! Codes are read for their lengths; the bytes that they stand for are counted and not produced. That takes about
//! a tenth of the time of compressing. What it refuses: a stream that is cut off, or that uses something that the RFC
//! does not define. It does not notice distances that reach too far back.

mod bits;
mod code;
mod stream;
#[cfg(test)]
mod tests;

pub(super) use bits::PADDING;

use code::{Code, TABLE, TableEntry};
use stream::{Stream, words};

/// The reason why a stream is wrong.
pub(super) type Fault = &'static str;

/// Positions and size that were found in a stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Outline {
    /// Position of the bit that marks the last block.
    pub(super) last: usize,
    /// Number of bits up to the end of the last block.
    pub(super) end: usize,
    /// Bytes that the stream inflates to.
    pub(super) plain: usize,
}

/// Memory for the codes of two streams.
#[derive(Default)]
pub(super) struct Skim([Codes; 2]);

/// Memory for the codes of a block.
struct Codes {
    symbols: Code,
    distances: Code,
    /// Both tables, one after the other: choosing one is then an addition and not a branch, which the processor would
    /// predict wrongly at each match. That saves half of the time.
    table: Box<[TableEntry; 2 * TABLE]>,
}

impl Default for Codes {
    fn default() -> Self {
        let table = Box::new([TableEntry::default(); 2 * TABLE]);
        Self { symbols: Code::new(), distances: Code::new(), table }
    }
}

impl Skim {
    /// Reads a stream up to the end of its last block. `PADDING` zeros follow the stream.
    pub(super) fn outline(&mut self, padded: &[u8]) -> Result<Outline, Fault> {
        let mut stream = Stream::begin(padded, &mut self.0[0])?;
        to_the_end(&mut stream)
    }

    /// Reads two streams at once. A code can only be looked up when the one before it is known; while the processor
    /// waits for that, it works on the other stream.
    pub(super) fn outlines(&mut self, padded: [&[u8]; 2]) -> Result<[Outline; 2], Fault> {
        let [mine, yours] = &mut self.0;
        let mut one = Stream::begin(padded[0], mine)?;
        let mut other = Stream::begin(padded[1], yours)?;
        while one.found().is_none() && other.found().is_none() {
            match words([&mut one, &mut other])? {
                0 => one.next_block()?,
                _ => other.next_block()?,
            }
        }
        Ok([to_the_end(&mut one)?, to_the_end(&mut other)?])
    }
}

fn to_the_end(stream: &mut Stream<'_>) -> Result<Outline, Fault> {
    loop {
        if let Some(found) = stream.found() {
            return Ok(found);
        }
        words([stream])?;
        stream.next_block()?;
    }
}

//! Where the last blocks of deflate streams start and end (RFC 1951).
//!
//! Words are read for their lengths; what they stand for is counted, not put together. It takes
//! about a tenth of the time of compressing. What it refuses: a stream that is cut off or that uses
//! what the RFC does not define. It does not see distances that reach too far.

mod bits;
mod code;
mod stream;
#[cfg(test)]
mod tests;

pub(super) use bits::PADDING;

use code::{Code, Entry, TABLE};
use stream::{Stream, words};

/// What is wrong with a stream.
pub(super) type Fault = &'static str;

/// What was found in a stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Outline {
    /// The bit that says that the last block is the last.
    pub(super) last: usize,
    /// Bits up to the end of the last block.
    pub(super) end: usize,
    /// Bytes that the stream inflates to.
    pub(super) plain: usize,
}

/// Room for the codes of two streams.
#[derive(Default)]
pub(super) struct Skim([Codes; 2]);

/// Room for the codes of a block.
struct Codes {
    symbols: Code,
    distances: Code,
    /// One table after the other, so that which one is used is a number and not a branch, which
    /// the processor would guess wrong at each match: half of the time is saved.
    table: Box<[Entry; 2 * TABLE]>,
}

impl Default for Codes {
    fn default() -> Self {
        let table = Box::new([Entry::default(); 2 * TABLE]);
        Self { symbols: Code::new(), distances: Code::new(), table }
    }
}

impl Skim {
    /// Go through a stream, up to the end of its last block. `PADDING` zeros follow the stream.
    pub(super) fn outline(&mut self, padded: &[u8]) -> Result<Outline, Fault> {
        let mut stream = Stream::begin(padded, &mut self.0[0])?;
        to_the_end(&mut stream)
    }

    /// The same of two at once: each word is found by the one before it, and while the processor
    /// waits for that, it takes one of the other stream.
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

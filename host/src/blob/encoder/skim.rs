//! Where the last block of a deflate stream starts and ends (RFC 1951).
//!
//! Words are read for their lengths; what they stand for is counted, not put together. It takes
//! about a sixth of the time of compressing. What it refuses: a stream that is cut off or that uses
//! what the RFC does not define. It does not see distances that reach too far.

mod bits;
mod code;
#[cfg(test)]
mod tests;

pub(super) use bits::PADDING;

use bits::Bits;
use code::{Code, DISTANCES, Entry, Meaning, TABLE, Then};

/// The order in which the lengths of the words for lengths stand (RFC 1951, 3.2.7).
const ORDER: [u8; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// What is wrong with a stream.
pub(super) type Fault = &'static str;

/// What was found in a stream.
#[derive(Debug, PartialEq)]
pub(super) struct Outline {
    /// The bit that says that the last block is the last.
    pub(super) last: usize,
    /// Bits up to the end of the last block.
    pub(super) end: usize,
    /// Bytes that the stream inflates to.
    pub(super) plain: usize,
}

/// Room for the codes of a block.
pub(super) struct Skim {
    symbols: Code,
    distances: Code,
    /// One table after the other, so that which one is used is a number and not a branch, which
    /// the processor would guess wrong at each match: half of the time is saved.
    table: Box<[Entry; 2 * TABLE]>,
}

impl Skim {
    pub(super) fn new() -> Self {
        let table = Box::new([Entry::default(); 2 * TABLE]);
        Self { symbols: Code::new(), distances: Code::new(), table }
    }

    /// Go through a stream, up to the end of its last block. `PADDING` zeros follow the stream.
    pub(super) fn outline(&mut self, padded: &[u8]) -> Result<Outline, Fault> {
        let mut bits = Bits::new(padded);
        let mut plain = 0;
        loop {
            let header = bits.position();
            let last = bits.number(1)? == 1;
            plain += match bits.number(2)? {
                0 => stored(&mut bits)?,
                1 => {
                    self.fixed()?;
                    self.packed(&mut bits)?
                }
                2 => {
                    self.dynamic(&mut bits)?;
                    self.packed(&mut bits)?
                }
                _ => return Err("a block has a type that is not defined"),
            };
            let end = bits.position();
            if end.div_ceil(8) + PADDING > padded.len() {
                return Err("it is cut off");
            }
            if last {
                return Ok(Outline { last: header, end, plain });
            }
        }
    }

    /// Take the fixed codes (RFC 1951, 3.2.6).
    fn fixed(&mut self) -> Result<(), Fault> {
        let mut lengths = [8; 288];
        lengths[144..256].fill(9);
        lengths[256..280].fill(7);
        self.set(&lengths, &[5; 32])
    }

    /// Read the codes of a block (RFC 1951, 3.2.7).
    fn dynamic(&mut self, bits: &mut Bits<'_>) -> Result<(), Fault> {
        let symbols = bits.number(5)? + 257;
        let distances = bits.number(5)? + 1;
        let ordered = bits.number(4)? + 4;
        let mut lengths = [0; ORDER.len()];
        for &place in &ORDER[..ordered] {
            lengths[usize::from(place)] = bits.number(3)? as u8;
        }
        let mut code = Code::new();
        code.set(&lengths)?;
        let mut all = [0; 288 + 32];
        let all = &mut all[..symbols + distances];
        let mut filled = 0;
        while filled < all.len() {
            bits.refill()?;
            let (symbol, word) = code.symbol(bits.ahead()).ok_or("a length is not defined")?;
            bits.skip(word);
            let (length, times) = match symbol {
                16 if filled == 0 => return Err("a length repeats none"),
                16 => (all[filled - 1], 3 + bits.number(2)?),
                17 => (0, 3 + bits.number(3)?),
                18 => (0, 11 + bits.number(7)?),
                length => (length as u8, 1),
            };
            all.get_mut(filled..filled + times).ok_or("too many lengths")?.fill(length);
            filled += times;
        }
        self.set(&all[..symbols], &all[symbols..])
    }

    fn set(&mut self, symbols: &[u8], distances: &[u8]) -> Result<(), Fault> {
        self.symbols.set(symbols)?;
        self.distances.set(distances)?;
        self.symbols.fill(&mut self.table[..TABLE], code::symbol);
        self.distances.fill(&mut self.table[TABLE..], code::distance);
        Ok(())
    }

    /// Go through a block after its codes. Returns how many bytes it makes.
    fn packed(&self, bits: &mut Bits<'_>) -> Result<usize, Fault> {
        let mut plain = 0;
        let mut table = 0;
        loop {
            bits.refill()?;
            // Two steps need at most 10 + 5 bits and 10 + 13, and there are 56.
            for _ in 0..2 {
                let index = bits.ahead() as usize & (TABLE - 1) | usize::from(table);
                let mut entry = self.table[index & (2 * TABLE - 1)];
                if entry.then != Then::Word {
                    bits.refill()?;
                    entry = self.search(table, bits.ahead())?;
                    if entry.then == Then::Block {
                        bits.skip(entry.bits);
                        return Ok(plain);
                    }
                }
                let more = (bits.ahead() >> entry.word) as usize & usize::from(entry.mask);
                plain += usize::from(entry.size) + more;
                table = entry.table;
                bits.skip(entry.bits);
            }
        }
    }

    /// Find a word of any length.
    #[cold]
    fn search(&self, table: u16, ahead: u64) -> Result<Entry, Fault> {
        let (code, meaning): (_, Meaning) = match table {
            DISTANCES => (&self.distances, code::distance),
            _ => (&self.symbols, code::symbol),
        };
        let entry = code.symbol(ahead).and_then(|(symbol, word)| meaning(symbol, word));
        entry.ok_or("a word is not defined")
    }
}

/// Skip a block that is not compressed (RFC 1951, 3.2.4). Returns how many bytes it has.
fn stored(bits: &mut Bits<'_>) -> Result<usize, Fault> {
    bits.jump(bits.position().div_ceil(8));
    let size = bits.number(16)?;
    if bits.number(16)? != size ^ 0xffff {
        return Err("the size of a stored block is not confirmed");
    }
    bits.jump(bits.position() / 8 + size);
    Ok(size)
}

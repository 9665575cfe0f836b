//! Reading a deflate stream block by block (RFC 1951, 3.2.3).

use super::bits::Bits;
use super::code::{self, Code, DISTANCES, Meaning, TABLE, TableEntry, Then};
use super::{Codes, Fault, Outline, PADDING};

/// Order of the code lengths for the alphabet of code lengths (RFC 1951, 3.2.7).
const ORDER: [u8; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// A stream, positioned before the words of a block or at its end.
pub(super) struct Stream<'a> {
    padded: &'a [u8],
    bits: Bits<'a>,
    codes: &'a mut Codes,
    /// Start of the table for the next word: 0, or `DISTANCES`.
    table: u16,
    /// Bytes that the stream produced so far.
    plain: usize,
    /// Position of the bit that marks this block as the last, if it is.
    last: Option<usize>,
    found: Option<Outline>,
}

impl<'a> Stream<'a> {
    pub(super) fn begin(padded: &'a [u8], codes: &'a mut Codes) -> Result<Self, Fault> {
        let bits = Bits::new(padded);
        let mut stream = Self { padded, bits, codes, table: 0, plain: 0, last: None, found: None };
        stream.next_block()?;
        Ok(stream)
    }

    /// Returns the result, once the stream is at its end.
    pub(super) fn found(&self) -> Option<Outline> {
        self.found
    }

    /// Moves from the end of a block to the words of the next block that has any, or to the end.
    pub(super) fn next_block(&mut self) -> Result<(), Fault> {
        loop {
            let end = self.bits.position();
            if end.div_ceil(8) + PADDING > self.padded.len() {
                return Err("it is cut off");
            }
            if let Some(last) = self.last {
                self.found = Some(Outline { last, end, plain: self.plain });
                return Ok(());
            }
            self.last = (self.bits.number(1)? == 1).then_some(end);
            match self.bits.number(2)? {
                0 => self.plain += stored(&mut self.bits)?,
                1 => return self.codes.fixed(),
                2 => return self.codes.dynamic(&mut self.bits),
                _ => return Err("a block has a type that is not defined"),
            }
        }
    }
}

/// Reads the words of one block of each stream until one of the blocks ends. Returns the index of that stream; the
/// other is somewhere in its block.
pub(super) fn words<const N: usize>(streams: [&mut Stream<'_>; N]) -> Result<usize, Fault> {
    // Local copies: in the streams, the processor would fetch them from memory at each word.
    let mut bits = streams.each_ref().map(|stream| stream.bits);
    let mut table = streams.each_ref().map(|stream| stream.table);
    let mut made = [0; N];
    let ended = 'words: loop {
        let mut ahead = [0; N];
        for lane in 0..N {
            ahead[lane] = bits[lane].ahead()?;
        }
        // Two steps need at most 10 + 5 bits and 10 + 13, and there are 57.
        for _ in 0..2 {
            for lane in 0..N {
                let codes = &*streams[lane].codes;
                let index = ahead[lane] as usize & (TABLE - 1) | usize::from(table[lane]);
                let mut entry = codes.table[index & (2 * TABLE - 1)];
                if entry.then != Then::Word {
                    ahead[lane] = bits[lane].ahead()?;
                    entry = codes.search(table[lane], ahead[lane])?;
                    if entry.then == Then::Block {
                        bits[lane].skip(entry.bits);
                        break 'words lane;
                    }
                }
                let more = (ahead[lane] >> entry.word) as usize & usize::from(entry.mask);
                made[lane] += usize::from(entry.size) + more;
                table[lane] = entry.table;
                bits[lane].skip(entry.bits);
                ahead[lane] >>= entry.bits;
            }
        }
    };
    for lane in 0..N {
        let stream = &mut *streams[lane];
        (stream.bits, stream.table) = (bits[lane], table[lane]);
        stream.plain += made[lane];
    }
    Ok(ended)
}

impl Codes {
    /// Sets the fixed codes (RFC 1951, 3.2.6).
    fn fixed(&mut self) -> Result<(), Fault> {
        let mut lengths = [8; 288];
        lengths[144..256].fill(9);
        lengths[256..280].fill(7);
        self.set(&lengths, &[5; 32])
    }

    /// Reads the codes of a block (RFC 1951, 3.2.7).
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
            let (symbol, word) = code.symbol(bits.ahead()?).ok_or("a length is not defined")?;
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

    /// Looks up a word of any length.
    #[cold]
    fn search(&self, table: u16, ahead: u64) -> Result<TableEntry, Fault> {
        let (code, meaning): (_, Meaning) = match table {
            DISTANCES => (&self.distances, code::distance),
            _ => (&self.symbols, code::symbol),
        };
        let entry = code.symbol(ahead).and_then(|(symbol, word)| meaning(symbol, word));
        entry.ok_or("a word is not defined")
    }
}

/// Skips a block that is not compressed (RFC 1951, 3.2.4). Returns its size in bytes.
fn stored(bits: &mut Bits<'_>) -> Result<usize, Fault> {
    bits.jump(bits.position().div_ceil(8));
    let size = bits.number(16)?;
    if bits.number(16)? != size ^ 0xffff {
        return Err("the size of a stored block is not confirmed");
    }
    bits.jump(bits.position() / 8 + size);
    Ok(size)
}

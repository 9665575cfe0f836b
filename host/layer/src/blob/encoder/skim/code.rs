//! Huffman codes (RFC 1951, 3.2.2), read for the lengths of their words.
//!
//! What it refuses: a code with more words than fit. A code may have fewer.

use super::Fault;

/// Bits of a word that are looked up at once. Longer words are rare: each occurs less than once in 1,024 words.
/// Tables of 9 bits are slower, larger ones are not faster.
pub(super) const BITS: u32 = 10;

/// The longest word (RFC 1951, 3.2.7).
const LONGEST: usize = 15;

/// The largest number of symbols in a code: 5 bits and 257 (RFC 1951, 3.2.7).
const SYMBOLS: usize = 288;

/// The symbol that ends a block; larger ones are lengths (RFC 1951, 3.2.5).
const END: u16 = 256;

/// The step after a word.
#[derive(Clone, Copy, Default, PartialEq)]
pub(super) enum Then {
    /// Read another word.
    Word,
    /// Go to the next block.
    Block,
    /// Search: this is not a word, or it is longer than `BITS`.
    #[default]
    Search,
}

/// The meaning of a word. It has eight bytes, which are addressed faster than seven.
#[derive(Clone, Copy, Default)]
pub(super) struct TableEntry {
    /// Bytes that it produces, without what the extra bits add.
    pub(super) size: u16,
    /// Start of the table for the next word: 0, or `DISTANCES`.
    pub(super) table: u16,
    /// Bits of the word.
    pub(super) word: u8,
    /// Mask of the bits after it that add to the size.
    pub(super) mask: u8,
    /// Bits of the word and of its extra bits.
    pub(super) bits: u8,
    pub(super) then: Then,
}

/// Number of table entries for one code. The index is the next `BITS` bits.
pub(super) const TABLE: usize = 1 << BITS;

/// Start of the table for distances, after the one for literals and lengths.
pub(super) const DISTANCES: u16 = 1 << BITS;

/// Returns the meaning of a symbol whose word has so many bits, `None` where it is not defined.
pub(super) type Meaning = fn(u16, u8) -> Option<TableEntry>;

/// A Huffman code.
pub(super) struct Code {
    /// Number of words of each length.
    counts: [u16; LONGEST + 1],
    /// Symbols in the order of their words.
    symbols: [u16; SYMBOLS],
}

impl Code {
    pub(super) fn new() -> Self {
        Self { counts: [0; LONGEST + 1], symbols: [0; SYMBOLS] }
    }

    /// Sets the lengths of the words of all symbols; 0 is for symbols without a word.
    pub(super) fn set(&mut self, lengths: &[u8]) -> Result<(), Fault> {
        self.counts = [0; LONGEST + 1];
        for &length in lengths {
            self.counts[usize::from(length)] += 1;
        }
        self.counts[0] = 0;
        let mut free = 1_i32;
        let mut places = [0_u16; LONGEST + 2];
        for length in 1..=LONGEST {
            free = 2 * free - i32::from(self.counts[length]);
            if free < 0 {
                return Err("a code has too many words");
            }
            places[length + 1] = places[length] + self.counts[length];
        }
        for (symbol, &length) in (0..).zip(lengths).filter(|(_, length)| **length > 0) {
            let place = &mut places[usize::from(length)];
            self.symbols[usize::from(*place)] = symbol;
            *place += 1;
        }
        Ok(())
    }

    /// Fills a table of `TABLE` entries.
    pub(super) fn fill(&self, table: &mut [TableEntry], meaning: Meaning) {
        table[0] = TableEntry::default();
        let (mut word, mut place) = (0_u32, 0);
        for length in 1..=BITS {
            // A shorter word has the same meaning whatever bits follow it.
            let size = 1 << (length - 1);
            table.copy_within(..size, size);
            for _ in 0..self.counts[length as usize] {
                // A word's first bit is the lowest in the stream.
                let bits = word.reverse_bits() >> (32 - length);
                let entry = meaning(self.symbols[place], length as u8);
                table[bits as usize] = entry.unwrap_or_default();
                word += 1;
                place += 1;
            }
            word <<= 1;
        }
    }

    /// Returns the symbol of the word with which the bits `ahead` begin, and the length of that word.
    pub(super) fn symbol(&self, ahead: u64) -> Option<(u16, u8)> {
        let (mut word, mut first, mut place) = (0_u32, 0_u32, 0_u32);
        for length in 1..=LONGEST {
            word |= (ahead >> (length - 1)) as u32 & 1;
            let count = u32::from(self.counts[length]);
            if word < first + count {
                return Some((self.symbols[(place + word - first) as usize], length as u8));
            }
            place += count;
            first = (first + count) << 1;
            word <<= 1;
        }
        None
    }
}

/// Returns the meaning of a literal, a length or the end of a block (RFC 1951, 3.2.5, first table).
pub(super) fn symbol(symbol: u16, word: u8) -> Option<TableEntry> {
    let entry = TableEntry { word, bits: word, then: Then::Word, ..TableEntry::default() };
    let length = |size, extra: u8| {
        let mask = (1 << extra) - 1;
        Some(TableEntry { size, table: DISTANCES, mask, bits: word + extra, ..entry })
    };
    match symbol {
        0..END => Some(TableEntry { size: 1, ..entry }),
        END => Some(TableEntry { then: Then::Block, ..entry }),
        257..265 => length(symbol - 254, 0),
        265..285 => {
            let (step, extra) = ((symbol - 261) % 4, (symbol - 261) / 4);
            length(((4 + step) << extra) + 3, extra as u8)
        }
        285 => length(258, 0),
        _ => None,
    }
}

/// Returns the meaning of a distance (RFC 1951, 3.2.5, second table). Only its number of bits matters here.
pub(super) fn distance(symbol: u16, word: u8) -> Option<TableEntry> {
    let extra = (symbol / 2).saturating_sub(1) as u8;
    let entry = TableEntry { word, bits: word + extra, then: Then::Word, ..TableEntry::default() };
    (symbol < 30).then_some(entry)
}

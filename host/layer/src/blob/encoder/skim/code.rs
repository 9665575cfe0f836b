//! Huffman codes (RFC 1951, 3.2.2), for how long their words are.
//!
//! What it refuses: more words than there is room for. A code may have fewer.

use super::Fault;

/// Bits of a word that are looked up at once. Longer words are rare: each is expected less than
/// once in 1,024. Tables of 9 bits are slower, larger ones no faster.
pub(super) const BITS: u32 = 10;

/// The longest word (RFC 1951, 3.2.7).
const LONGEST: usize = 15;

/// Most symbols that a code can have: 5 bits and 257 (RFC 1951, 3.2.7).
const SYMBOLS: usize = 288;

/// The symbol that ends a block; those above are lengths (RFC 1951, 3.2.5).
const END: u16 = 256;

/// What is to be done after a word.
#[derive(Clone, Copy, Default, PartialEq)]
pub(super) enum Then {
    /// Another word.
    Word,
    /// The next block.
    Block,
    /// A search: this is no word, or one that is longer than `BITS`.
    #[default]
    Search,
}

/// What a word stands for. Eight bytes, which are found faster than seven.
#[derive(Clone, Copy, Default)]
pub(super) struct Entry {
    /// Bytes that it makes, without what the extra bits add.
    pub(super) size: u16,
    /// Where the table for the next word starts: 0, or `DISTANCES`.
    pub(super) table: u16,
    /// Bits of the word.
    pub(super) word: u8,
    /// Which of the bits after it add to the size.
    pub(super) mask: u8,
    /// Bits of the word and of what belongs to it.
    pub(super) bits: u8,
    pub(super) then: Then,
}

/// Entries of one code, by the bits ahead.
pub(super) const TABLE: usize = 1 << BITS;

/// Where the table for distances starts, after the one for literals and lengths.
pub(super) const DISTANCES: u16 = 1 << BITS;

/// What a symbol with a word of so many bits means, unless it is not defined.
pub(super) type Meaning = fn(u16, u8) -> Option<Entry>;

/// A code.
pub(super) struct Code {
    /// How many words there are of each length.
    counts: [u16; LONGEST + 1],
    /// The symbols in the order of their words.
    symbols: [u16; SYMBOLS],
}

impl Code {
    pub(super) fn new() -> Self {
        Self { counts: [0; LONGEST + 1], symbols: [0; SYMBOLS] }
    }

    /// Become the code whose symbols have words of these lengths; 0 is for those that have none.
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

    /// Write a table of `TABLE` entries.
    pub(super) fn fill(&self, table: &mut [Entry], meaning: Meaning) {
        table[0] = Entry::default();
        let (mut word, mut place) = (0_u32, 0);
        for length in 1..=BITS {
            // Shorter words stand for the same whatever follows them.
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

    /// The symbol that the bits ahead start with, and the length of its word.
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

/// Literals, lengths and the end of a block (RFC 1951, 3.2.5, first table).
pub(super) fn symbol(symbol: u16, word: u8) -> Option<Entry> {
    let entry = Entry { word, bits: word, then: Then::Word, ..Entry::default() };
    let length = |size, extra: u8| {
        let mask = (1 << extra) - 1;
        Some(Entry { size, table: DISTANCES, mask, bits: word + extra, ..entry })
    };
    match symbol {
        0..END => Some(Entry { size: 1, ..entry }),
        END => Some(Entry { then: Then::Block, ..entry }),
        257..265 => length(symbol - 254, 0),
        265..285 => {
            let (step, extra) = ((symbol - 261) % 4, (symbol - 261) / 4);
            length(((4 + step) << extra) + 3, extra as u8)
        }
        285 => length(258, 0),
        _ => None,
    }
}

/// Distances (RFC 1951, 3.2.5, second table). Only their lengths matter here.
pub(super) fn distance(symbol: u16, word: u8) -> Option<Entry> {
    let extra = (symbol / 2).saturating_sub(1) as u8;
    let entry = Entry { word, bits: word + extra, then: Then::Word, ..Entry::default() };
    (symbol < 30).then_some(entry)
}

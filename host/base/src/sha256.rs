//! SHA-256 (FIPS 180-4), of one stream or of two at the same time.
//!
//! The processor's SHA instructions wait for each other within a stream: one stream takes half of what a core can do.
//! Two streams on one thread are hashed in two thirds of the time (`lanes.rs`). The rest is the crate `sha2`'s, which
//! has nothing for two streams; crates that have take whole messages and no streams.

mod lanes;

use sha2::block_api::compress256;

/// Block of 512 bits, which the compression function takes (FIPS 180-4, 5.2.1).
type Block = [u8; 64];

/// Hash value between blocks (FIPS 180-4, 6.2.2: H).
type State = [u32; 8];

/// Hash value at the start (FIPS 180-4, 5.3.3).
const INITIAL: State = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// Hash of a stream, being computed.
#[derive(Clone)]
pub struct Sha256 {
    state: State,
    /// Last bytes of the stream, which do not fill a block yet: the first `length % 64` bytes count.
    begun: Block,
    /// Bytes that were added.
    length: u64,
}

impl Default for Sha256 {
    fn default() -> Self {
        Self { state: INITIAL, begun: [0; 64], length: 0 }
    }
}

impl Sha256 {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let (blocks, rest) = self.head(bytes).as_chunks();
        compress256(&mut self.state, blocks);
        self.begun[..rest.len()].copy_from_slice(rest);
    }

    /// Adds bytes to two streams.
    pub fn update_both(both: [&mut Self; 2], bytes: [&[u8]; 2]) {
        let [one, other] = both;
        let ((mine, rest), (yours, other_rest)) =
            (one.head(bytes[0]).as_chunks(), other.head(bytes[1]).as_chunks());
        let shared = mine.len().min(yours.len());
        let (states, blocks) =
            ([&mut one.state, &mut other.state], [&mine[..shared], &yours[..shared]]);
        lanes::compress(states, blocks);
        compress256(&mut one.state, &mine[shared..]);
        compress256(&mut other.state, &yours[shared..]);
        one.begun[..rest.len()].copy_from_slice(rest);
        other.begun[..other_rest.len()].copy_from_slice(other_rest);
    }

    /// Fills the block that was started. Returns the bytes after it, which are none while it is not full.
    fn head<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        let filled = self.filled();
        self.length = self.length.wrapping_add(bytes.len() as u64);
        if filled > 0 {
            let (head, rest) = bytes.split_at(bytes.len().min(64 - filled));
            self.begun[filled..filled + head.len()].copy_from_slice(head);
            bytes = rest;
            if filled + head.len() == 64 {
                compress256(&mut self.state, &[self.begun]);
            }
        }
        bytes
    }

    /// Returns the hash of all bytes.
    #[must_use]
    pub fn finish(mut self) -> [u8; 32] {
        // FIPS 180-4, 5.1.1: a one, zeros, and the length in bits fill the last block, or two.
        let mut end = [[0; 64]; 2];
        let filled = self.filled();
        end[0][..filled].copy_from_slice(&self.begun[..filled]);
        end[0][filled] = 0x80;
        let blocks = if filled < 56 { 1 } else { 2 };
        end[blocks - 1][56..].copy_from_slice(&self.length.wrapping_mul(8).to_be_bytes());
        compress256(&mut self.state, &end[..blocks]);
        let mut hash = [0; 32];
        for (bytes, word) in hash.as_chunks_mut().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        hash
    }

    fn filled(&self) -> usize {
        (self.length % 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::Digest as _;

    use super::*;

    fn bytes(amount: usize, seed: u64) -> Vec<u8> {
        let mut word = seed | 1;
        let next = || {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            word.to_le_bytes()[3]
        };
        std::iter::repeat_with(next).take(amount).collect()
    }

    fn in_pieces(bytes: &[u8], piece: usize) -> [u8; 32] {
        let mut hash = Sha256::default();
        bytes.chunks(piece).for_each(|piece| hash.update(piece));
        hash.finish()
    }

    /// Hashes the first stream alone, then both as long as both have bytes, then the rest alone.
    fn both(one: &[u8], other: &[u8], pieces: [usize; 2], alone: usize) -> [[u8; 32]; 2] {
        let mut hashes = [Sha256::default(), Sha256::default()];
        let (before, one) = one.split_at(alone.min(one.len()));
        hashes[0].update(before);
        let (mut pairs, mut rest) = (one.chunks(pieces[0]), other.chunks(pieces[1]));
        loop {
            let [a, b] = &mut hashes;
            match (pairs.next(), rest.next()) {
                (Some(x), Some(y)) => Sha256::update_both([a, b], [x, y]),
                (Some(x), None) => a.update(x),
                (None, Some(y)) => b.update(y),
                (None, None) => return hashes.map(Sha256::finish),
            }
        }
    }

    proptest! {
        #[test]
        fn it_is_sha256_whatever_the_pieces(
            amount in prop_oneof![0_usize..300, 0_usize..20_000],
            piece in 1_usize..3_000,
            seed: u64,
        ) {
            let bytes = bytes(amount, seed);
            let expected: [u8; 32] = sha2::Sha256::digest(&bytes).into();
            prop_assert_eq!(in_pieces(&bytes, piece), expected);
        }

        #[test]
        fn two_at_once_are_what_each_is_alone(
            amounts in [0_usize..20_000, 0_usize..20_000],
            pieces in [1_usize..3_000, 1_usize..3_000],
            alone in 0_usize..200,
            seed: u64,
        ) {
            let (one, other) = (bytes(amounts[0], seed), bytes(amounts[1], !seed));
            let expected: [[u8; 32]; 2] =
                [&one, &other].map(|bytes| sha2::Sha256::digest(bytes).into());
            prop_assert_eq!(both(&one, &other, pieces, alone), expected);
        }
    }
}

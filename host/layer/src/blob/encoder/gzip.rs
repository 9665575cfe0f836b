//! Gzip (RFC 1952), one member, deflated by many threads.
//!
//! libdeflate compresses each block alone, and makes a complete stream of each. To join these streams to one, the
//! "last block" mark of each stream is cleared, and an empty stored block moves the next stream to a byte border,
//! as a sync flush does. An empty final block closes the member. Several members would be simpler, but many
//! readers, among them Python occystrap, read only the first one.
//!
//! What it refuses: to write the output of libdeflate, unless [`Skim`] finds a stream that ends where it should
//! and holds as many bytes as the block. Debug builds also inflate it and compare.

use std::array::from_fn;
use std::io::Read;

use flate2::Crc;
use libdeflater::{CompressionLvl, Compressor};

use super::blocks::{AT_ONCE, BLOCK, Block, Work, in_order};
use super::skim::{Fault, Outline, PADDING, Skim};
use crate::blob::io::Failure;
use crate::blob::written::Written;
use occystrap_base::error::{Error, Result};

/// libdeflate's level 4: 2.3 % larger than `gzip -6`, in a quarter of its time; level 5 is only
/// 0.3 % larger, and takes an eighth longer than level 4 (docs/performance.md).
const LEVEL: i32 = 4;

/// RFC 1952, 2.3: magic, deflate, no flags, no time, no extra flags, unknown operating system.
/// A name or a time would make the same content differ.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// A final block with fixed codes that holds only the end-of-block code (RFC 1951, 3.2.6).
const END: [u8; 2] = [3, 0];

/// Bits of a block's header: whether it is the last, and its type (RFC 1951, 3.2.3). They are all zero for a stored
/// block that is not the last.
const BLOCK_HEADER: usize = 3;

/// An empty stored block after its header: its size, and the size inverted (RFC 1951, 3.2.4).
const STORED_NOTHING: [u8; 4] = [0, 0, 0xff, 0xff];

/// Compresses a stream. `plain` hashes the input, `to` gets the output.
pub(super) fn encode(
    from: &mut dyn Read,
    threads: usize,
    plain: &mut Written<'_>,
    to: &mut Written<'_>,
) -> Result<(), Failure> {
    let mut crc = Crc::new();
    let mut size = 0_u32;
    let level = CompressionLvl::new(LEVEL).map_err(|_| Failure::Write(failed("no such level")))?;
    to.put(&HEADER).map_err(Failure::Write)?;
    in_order(from, threads, &|| Deflate::new(level), &mut |block| {
        crc.update(&block.plain);
        // RFC 1952, 2.3.1: the size is counted modulo 2^32.
        size = size.wrapping_add(block.plain.len() as u32);
        to.put_both(&block.packed, plain, &block.plain)
    })?;
    let mut end = END.to_vec();
    end.extend(crc.sum().to_le_bytes());
    end.extend(size.to_le_bytes());
    to.put(&end).map_err(Failure::Write)
}

fn unlike(why: Fault) -> Error {
    failed(&format!("what libdeflate made: {why}"))
}

fn failed(why: &str) -> Error {
    Error::destination(format!("cannot compress a layer: {why}"))
        .hint("this is a bug, in occystrap or in libdeflate; --compression zstd does without both")
}

/// A thread's compressor. It starts afresh with each block; tests compare the results of different numbers of
/// threads.
struct Deflate {
    compressor: Compressor,
    skim: Skim,
    /// One buffer for each stream, large enough for a block that cannot be compressed.
    rooms: [Vec<u8>; AT_ONCE],
}

impl Deflate {
    fn new(level: CompressionLvl) -> Self {
        let mut compressor = Compressor::new(level);
        let room = vec![0; compressor.deflate_compress_bound(BLOCK) + PADDING];
        Self { compressor, skim: Skim::default(), rooms: from_fn(|_| room.clone()) }
    }
}

impl Work for Deflate {
    fn pack(&mut self, blocks: &mut [Block]) -> Result<()> {
        let mut sizes = [0; AT_ONCE];
        for ((block, room), size) in blocks.iter().zip(&mut self.rooms).zip(&mut sizes) {
            let most = room.len() - PADDING;
            let made = self.compressor.deflate_compress(&block.plain, &mut room[..most]);
            *size = made.map_err(|_| failed("a block did not fit"))?;
            room[*size..][..PADDING].fill(0);
        }
        let [one, other] = &mut self.rooms;
        let streams = [&mut one[..sizes[0] + PADDING], &mut other[..sizes[1] + PADDING]];
        match blocks {
            [block] => {
                let [stream, _] = streams;
                let found = self.skim.outline(stream).map_err(unlike)?;
                join(found, stream, block)
            }
            [first, second] => {
                let found = self.skim.outlines([&*streams[0], &*streams[1]]).map_err(unlike)?;
                let [stream, other] = streams;
                join(found[0], stream, first)?;
                join(found[1], other, second)
            }
            _ => Ok(()),
        }
    }
}

/// Turns a complete stream into a block that another one can follow. `PADDING` zeros follow the stream's last byte.
fn join(found: Outline, stream: &mut [u8], block: &mut Block) -> Result<()> {
    block.packed.clear();
    if block.plain.is_empty() {
        return Ok(());
    }
    let (size, end) = (stream.len() - PADDING, found.end.div_ceil(8));
    if (end, found.plain) != (size, block.plain.len()) {
        return Err(failed(&format!(
            "libdeflate made {size} bytes of {}, and the stream in them has {end} bytes and holds {}",
            block.plain.len(),
            found.plain,
        )));
    }
    stream[found.last / 8] &= !(1 << (found.last % 8));
    if !found.end.is_multiple_of(8) {
        // The bits after the stream in its last byte are not defined.
        stream[found.end / 8] &= (1 << (found.end % 8)) - 1;
    }
    block.packed.extend_from_slice(&stream[..(found.end + BLOCK_HEADER).div_ceil(8)]);
    block.packed.extend_from_slice(&STORED_NOTHING);
    #[cfg(debug_assertions)]
    if inflated(&block.packed).as_ref() != Some(&block.plain) {
        return Err(failed("a block does not inflate to what it was"));
    }
    Ok(())
}

/// Inflates a joined block with another decoder.
#[cfg(debug_assertions)]
fn inflated(packed: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let joined = packed.chain(&END[..]);
    flate2::read::DeflateDecoder::new(joined).read_to_end(&mut plain).ok()?;
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubtful_block_is_not_written() {
        // "a" in a last block with fixed codes: 3, 8 and 7 bits.
        let good = [0x4b, 4, 0];
        let joined = |stream: &[u8], plain| {
            let mut block = Block { plain: vec![b'a'; plain], packed: vec![] };
            let mut padded = [stream, &[0; PADDING]].concat();
            let found = Skim::default().outline(&padded).map_err(unlike);
            let joined = found.and_then(|found| join(found, &mut padded, &mut block));
            joined.map(|()| block.packed.clone()).map_err(|why| (why.to_string(), block.packed))
        };
        // Bits to spare at the end are cleared, or they would be the next block's header.
        for spare in [0, 0b1111_1100] {
            let stream = joined(&[good[0], good[1], good[2] | spare], 1).unwrap();
            assert_eq!(stream, [0x4a, 4, 0, 0, 0, 0xff, 0xff]);
        }
        for (stream, plain, why) in [
            (
                &good[..],
                2,
                "libdeflate made 3 bytes of 2, and the stream in them has 3 bytes and holds 1",
            ),
            (
                &[0x4b, 4, 0, 0],
                1,
                "libdeflate made 4 bytes of 1, and the stream in them has 3 bytes and holds 1",
            ),
            (&good[..1], 1, "what libdeflate made: it is cut off"),
        ] {
            let why = format!("cannot compress a layer: {why}");
            assert_eq!(joined(stream, plain), Err((why, vec![])));
        }
    }
}

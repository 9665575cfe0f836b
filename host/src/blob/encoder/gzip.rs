//! Gzip (RFC 1952), one member, deflated by many threads.
//!
//! libdeflate compresses each block alone, and ends a stream with each. To join them to one, the
//! mark of the stream's last deflate block is cleared, and an empty stored block brings the next to
//! a byte border, as a sync flush does; an empty final block closes the member. Several members
//! would be simpler, but many readers, among them Python occystrap, see the first one only.
//!
//! What it refuses: to write what libdeflate made, unless [`Skim`] finds a stream that ends where it
//! should and holds as many bytes as the block. Builds for debugging also inflate it and compare.

use std::io::Read;

use flate2::Crc;
use libdeflater::{CompressionLvl, Compressor};

use super::blocks::{BLOCK, Block, Work, in_order};
use super::skim::{Outline, PADDING, Skim};
use crate::blob::transfer::{Failure, Written};
use crate::error::{Error, Result};

/// libdeflate's level 4: 2.3 % larger than `gzip -6`, in a quarter of its time; level 5 is only
/// 0.3 % larger, and takes a sixth longer than level 4 (docs/performance.md).
const LEVEL: i32 = 4;

/// RFC 1952, 2.3: magic, deflate, no flags, no time, no extra flags, unknown operating system.
/// A name or a time would make the same content differ.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// A final block with fixed codes and nothing but the end-of-block code (RFC 1951, 3.2.6).
const END: [u8; 2] = [3, 0];

/// Bits of a block's header: whether it is the last, and its type (RFC 1951, 3.2.3). All of a
/// stored block that is not the last are zero.
const BLOCK_HEADER: usize = 3;

/// An empty stored block behind its header: its size, and the same inverted (RFC 1951, 3.2.4).
const STORED_NOTHING: [u8; 4] = [0, 0, 0xff, 0xff];

/// Compress a stream. `plain` hashes it, `to` gets the result.
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
        plain.put(&block.plain)?;
        to.put(&block.packed)
    })?;
    let mut end = END.to_vec();
    end.extend(crc.sum().to_le_bytes());
    end.extend(size.to_le_bytes());
    to.put(&end).map_err(Failure::Write)
}

fn failed(why: &str) -> Error {
    Error::destination(format!("cannot compress a layer: {why}"))
        .hint("this is a bug, in occystrap or in libdeflate; --compression zstd does without both")
}

/// A thread's compressor. It starts afresh with each block: tests compare the results of any number
/// of threads.
struct Deflate {
    compressor: Compressor,
    skim: Skim,
    /// Large enough for a block that cannot be compressed.
    room: Vec<u8>,
}

impl Deflate {
    fn new(level: CompressionLvl) -> Self {
        let mut compressor = Compressor::new(level);
        let room = vec![0; compressor.deflate_compress_bound(BLOCK) + PADDING];
        Self { compressor, skim: Skim::new(), room }
    }
}

impl Work for Deflate {
    fn pack(&mut self, block: &mut Block) -> Result<()> {
        block.packed.clear();
        if block.plain.is_empty() {
            return Ok(());
        }
        let room = self.room.len() - PADDING;
        let size = self.compressor.deflate_compress(&block.plain, &mut self.room[..room]);
        let size = size.map_err(|_| failed("a block did not fit"))?;
        self.room[size..size + PADDING].fill(0);
        let outline = self.skim.outline(&self.room[..size + PADDING]);
        let outline = outline.map_err(|why| failed(&format!("what libdeflate made: {why}")))?;
        if outline.end.div_ceil(8) != size || outline.plain != block.plain.len() {
            let why = format!(
                "libdeflate made {size} bytes from {}, and {} bytes from {} are in them",
                block.plain.len(),
                outline.end.div_ceil(8),
                outline.plain,
            );
            return Err(failed(&why));
        }
        join(&mut self.room, &outline, &mut block.packed);
        #[cfg(debug_assertions)]
        if inflated(&block.packed).as_ref() != Some(&block.plain) {
            return Err(failed("a block does not inflate to what it was"));
        }
        Ok(())
    }
}

/// Append a stream, so that another can follow. Zeros follow its last byte.
fn join(stream: &mut [u8], outline: &Outline, to: &mut Vec<u8>) {
    stream[outline.last / 8] &= !(1 << (outline.last % 8));
    if outline.end % 8 > 0 {
        // What follows the stream in its last byte is nobody's promise.
        stream[outline.end / 8] &= (1 << (outline.end % 8)) - 1;
    }
    to.extend_from_slice(&stream[..(outline.end + BLOCK_HEADER).div_ceil(8)]);
    to.extend_from_slice(&STORED_NOTHING);
}

/// What another decoder makes of a joined block.
#[cfg(debug_assertions)]
fn inflated(packed: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let joined = packed.chain(&END[..]);
    flate2::read::DeflateDecoder::new(joined).read_to_end(&mut plain).ok()?;
    Some(plain)
}

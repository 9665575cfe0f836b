//! Gzip (RFC 1952), one member, deflated by many threads.
//!
//! Each block is deflated alone, with the 32 KiB before it as its dictionary, and ends at a byte
//! border (a sync flush); an empty final block closes the member. So does pigz. Several members
//! would be simpler, but many readers, among them Python occystrap, see the first one only.

use std::io::Read;

use flate2::{Compress, Crc, FlushCompress, Status};

use super::blocks::{BLOCK, Block, Work, in_order};
use crate::blob::transfer::{Failure, Written};
use crate::error::{Error, Result};

/// zlib-rs' level 5: 2 % larger than `gzip -6` and three times as fast; level 4 is 4 % larger,
/// level 6 a seventh slower (docs/performance.md).
const LEVEL: u32 = 5;

/// RFC 1952, 2.3: magic, deflate, no flags, no time, no extra flags, unknown operating system.
/// A name or a time would make the same content differ.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// A final block with fixed codes and nothing but the end-of-block code (RFC 1951, 3.2.6).
const END: [u8; 2] = [3, 0];

/// Room for a block that cannot be compressed. Deflate then stores it, with a few bytes for each
/// 16 KiB; this is far more, and memory that is not touched costs nothing.
const LARGEST_PACKED: usize = BLOCK + BLOCK / 8;

/// Compress a stream. `plain` hashes it, `to` gets the result.
pub(super) fn encode(
    from: &mut dyn Read,
    threads: usize,
    plain: &mut Written<'_>,
    to: &mut Written<'_>,
) -> Result<(), Failure> {
    let mut crc = Crc::new();
    let mut size = 0_u32;
    to.put(&HEADER).map_err(Failure::Write)?;
    in_order(from, threads, &|| Deflate, &mut |block| {
        crc.update(block.plain());
        // RFC 1952, 2.3.1: the size is counted modulo 2^32.
        size = size.wrapping_add(block.plain().len() as u32);
        plain.put(block.plain())?;
        to.put(&block.packed)
    })?;
    let mut end = END.to_vec();
    end.extend(crc.sum().to_le_bytes());
    end.extend(size.to_le_bytes());
    to.put(&end).map_err(Failure::Write)
}

struct Deflate;

impl Work for Deflate {
    fn pack(&mut self, block: &mut Block) -> Result<()> {
        let failed = |why: &str| Error::destination(format!("cannot compress a layer: {why}"));
        let mut packed = std::mem::take(&mut block.packed);
        packed.clear();
        packed.reserve(LARGEST_PACKED);
        if !block.plain().is_empty() {
            // Not one that is reset: what it compressed before would still show through in which
            // of several equal matches it takes, and which blocks a thread gets is chance
            // (seen with zlib-rs 0.6.8 and a dictionary; its issue 459 was another such case).
            let mut deflate = Compress::new(flate2::Compression::new(LEVEL), false);
            if !block.window().is_empty() {
                let set = deflate.set_dictionary(block.window());
                set.map_err(|cause| failed(&cause.to_string()))?;
            }
            let status = deflate.compress_vec(block.plain(), &mut packed, FlushCompress::Sync);
            let status = status.map_err(|cause| failed(&cause.to_string()))?;
            // No room left could mean that the flush is not complete.
            let all = deflate.total_in() == block.plain().len() as u64;
            if status != Status::Ok || !all || packed.len() == packed.capacity() {
                return Err(failed("a block did not fit"));
            }
        }
        block.packed = packed;
        Ok(())
    }
}

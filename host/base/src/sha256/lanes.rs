//! Hashes several streams on one core, with the SHA instructions of x86-64.
//!
//! A round needs the result of the round before it, which is ready after four cycles. The processor can start a round
//! every two cycles. It therefore computes a round of another stream while the first one waits. If the processor does
//! not have these instructions, or their result differs from that of `sha2`, the streams are hashed one after the
//! other.

use std::sync::LazyLock;

use sha2::block_api::compress256;

use super::{Block, State};

/// Adds blocks to several streams, the same number to each.
pub(super) fn compress<const N: usize>(states: [&mut State; N], blocks: [&[Block]; N]) {
    // The instructions are tested once in a process: a wrong digest would make intact content look damaged.
    static WORKS: LazyLock<bool> = LazyLock::new(|| imp::is_supported() && agrees());
    match *WORKS {
        true => imp::compress(states, blocks),
        false => in_turn(states, blocks),
    }
}

fn in_turn<const N: usize>(states: [&mut State; N], blocks: [&[Block]; N]) {
    for (state, blocks) in states.into_iter().zip(blocks) {
        compress256(state, blocks);
    }
}

/// Returns whether the instructions compute the same digests as `sha2`.
fn agrees() -> bool {
    let blocks: [[Block; 2]; 2] =
        std::array::from_fn(|lane| [[lane as u8 * 55 + 7; 64], [200 - lane as u8; 64]]);
    let (mut found, mut expected) = ([super::INITIAL; 2], [super::INITIAL; 2]);
    imp::compress(found.each_mut(), blocks.each_ref().map(<[Block; 2]>::as_slice));
    in_turn(expected.each_mut(), blocks.each_ref().map(<[Block; 2]>::as_slice));
    found == expected
}

#[cfg(target_arch = "x86_64")]
mod imp {
    use std::arch::x86_64::*;

    use super::{Block, State};

    pub(super) fn is_supported() -> bool {
        is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("sse4.1")
            && is_x86_feature_detected!("ssse3")
    }

    pub(super) fn compress<const N: usize>(states: [&mut State; N], blocks: [&[Block]; N]) {
        debug_assert!(is_supported());
        // SAFETY: the caller has asked `is_supported` whether the processor has these instructions.
        unsafe { rounds(states, blocks) }
    }

    /// Computes the 64 rounds of each block (FIPS 180-4, 6.2.2), four at a time, one lane after the other. The
    /// instructions want the state as ABEF and CDGH (Intel SDM, SHA256RNDS2).
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    #[expect(clippy::needless_range_loop, reason = "block by block, through all lanes")]
    fn rounds<const N: usize>(states: [&mut State; N], blocks: [&[Block]; N]) {
        let mut abef = [_mm_setzero_si128(); N];
        let mut cdgh = abef;
        for lane in 0..N {
            let [a, b, c, d, e, f, g, h] = states[lane].map(u32::cast_signed);
            abef[lane] = _mm_set_epi32(a, b, e, f);
            cdgh[lane] = _mm_set_epi32(c, d, g, h);
        }
        let count = blocks.iter().map(|blocks| blocks.len()).min().unwrap_or(0);
        for at in 0..count {
            let before = (abef, cdgh);
            let mut words = [[_mm_setzero_si128(); 4]; N];
            for four in 0..4 {
                for lane in 0..N {
                    words[lane][four] = load(&blocks[lane][at], four);
                    (abef[lane], cdgh[lane]) =
                        quad(abef[lane], cdgh[lane], words[lane][four], four);
                }
            }
            for sixteen in 1..4 {
                // Written out: only then are the words in registers.
                for four in 0..4 {
                    for lane in 0..N {
                        let w = &mut words[lane];
                        w[four] = schedule(
                            w[four],
                            w[(four + 1) % 4],
                            w[(four + 2) % 4],
                            w[(four + 3) % 4],
                        );
                        (abef[lane], cdgh[lane]) =
                            quad(abef[lane], cdgh[lane], w[four], sixteen * 4 + four);
                    }
                }
            }
            for lane in 0..N {
                abef[lane] = _mm_add_epi32(abef[lane], before.0[lane]);
                cdgh[lane] = _mm_add_epi32(cdgh[lane], before.1[lane]);
            }
        }
        for lane in 0..N {
            let word = |half, at| match at {
                0 => _mm_extract_epi32(half, 0),
                1 => _mm_extract_epi32(half, 1),
                2 => _mm_extract_epi32(half, 2),
                _ => _mm_extract_epi32(half, 3),
            };
            let (x, y) = (abef[lane], cdgh[lane]);
            let all = [(x, 3), (x, 2), (y, 3), (y, 2), (x, 1), (x, 0), (y, 1), (y, 0)];
            *states[lane] = all.map(|(half, at)| word(half, at).cast_unsigned());
        }
    }

    /// Loads four words of a block, which are big-endian.
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    #[inline]
    fn load(block: &Block, four: usize) -> __m128i {
        let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        let bytes = &block[four * 16..four * 16 + 16];
        // SAFETY: the slice has the 16 bytes that are read; they need not be aligned.
        let words = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
        _mm_shuffle_epi8(words, swap)
    }

    /// Computes the next four words of the message schedule from the sixteen before them.
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    #[inline]
    fn schedule(a: __m128i, b: __m128i, c: __m128i, d: __m128i) -> __m128i {
        let sum = _mm_add_epi32(_mm_sha256msg1_epu32(a, b), _mm_alignr_epi8(d, c, 4));
        _mm_sha256msg2_epu32(sum, d)
    }

    /// Computes four rounds, with four words of the schedule.
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    #[inline]
    fn quad(abef: __m128i, cdgh: __m128i, words: __m128i, four: usize) -> (__m128i, __m128i) {
        let bytes = &K[four * 4..four * 4 + 4];
        // SAFETY: the slice has the 16 bytes that are read; they need not be aligned.
        let constants = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
        let sum = _mm_add_epi32(words, constants);
        let cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
        let upper = _mm_shuffle_epi32(sum, 0b00_00_11_10);
        (_mm_sha256rnds2_epu32(abef, cdgh, upper), cdgh)
    }

    /// FIPS 180-4, 4.2.2: the first bits of the fractional parts of the cube roots of the first 64
    /// primes.
    #[rustfmt::skip]
    static K: [u32; 64] = [
        0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
        0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
        0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
        0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
        0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
        0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
        0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
        0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
    ];
}

#[cfg(not(target_arch = "x86_64"))]
mod imp {
    pub(super) use super::in_turn as compress;

    pub(super) fn is_supported() -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<const N: usize>() {
        let blocks: [Vec<Block>; N] = std::array::from_fn(|lane| {
            let block = |at: usize| std::array::from_fn(|byte| (at * 31 + byte * 7 + lane) as u8);
            (0..9).map(block).collect()
        });
        let mut found: [State; N] = std::array::from_fn(|lane| [lane as u32; 8]);
        imp::compress(found.each_mut(), blocks.each_ref().map(Vec::as_slice));
        for lane in 0..N {
            let mut expected = [lane as u32; 8];
            compress256(&mut expected, &blocks[lane]);
            assert_eq!(found[lane], expected, "lane {lane} of {N}");
        }
    }

    #[test]
    fn lanes_do_not_touch_each_other() {
        if !imp::is_supported() {
            eprintln!("skipped: the processor has no SHA instructions");
            return;
        }
        assert!(agrees(), "the instructions are there, and do not agree with sha2");
        check::<1>();
        check::<2>();
        check::<3>();
    }
}

//! Streams of two other compressors, checked with an independent decoder.

use std::io::Read;

use flate2::{Compress, Compression, FlushCompress};
use libdeflater::{CompressionLvl, Compressor};
use proptest::prelude::*;

use super::*;

fn outline(stream: &[u8]) -> Result<Outline, Fault> {
    Skim::default().outline(&[stream, &[0; PADDING]].concat())
}

/// Returns the inflated bytes of a stream, and the number of bytes after it.
fn inflated(stream: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut plain = Vec::new();
    let mut decoder = flate2::bufread::DeflateDecoder::new(stream);
    decoder.read_to_end(&mut plain).ok()?;
    Some((plain, decoder.into_inner().len()))
}

/// Checks all values of an outline.
fn check(stream: &[u8], plain: &[u8]) {
    let found = outline(stream).unwrap();
    assert_eq!(found.plain, plain.len());
    assert_eq!(found.end.div_ceil(8), stream.len());
    let mut open = stream.to_vec();
    assert_eq!(open[found.last / 8] >> (found.last % 8) & 1, 1);
    open[found.last / 8] &= !(1 << (found.last % 8));
    assert!(inflated(&open).is_none(), "it was not the last block");
    // An empty block with fixed codes right behind it: 1, 01, 0000000 from the lowest bit.
    let at = found.end / 8;
    open.resize(stream.len() + 3, 0);
    open[at] |= (3 << (found.end % 8)) as u8;
    open[at + 1] |= (3_u16 << (found.end % 8) >> 8) as u8;
    let closed = inflated(&open).unwrap();
    assert!(closed.0 == plain);
    assert_eq!(closed.1, open.len() - (found.end + 10).div_ceil(8));
}

fn deflated(plain: &[u8], level: u32) -> Vec<u8> {
    let mut stream = Vec::with_capacity(2 * plain.len() + 1000);
    let mut compress = Compress::new(Compression::new(level), false);
    compress.compress_vec(plain, &mut stream, FlushCompress::Finish).unwrap();
    stream
}

fn libdeflated(plain: &[u8], level: u32) -> Vec<u8> {
    let mut compressor = Compressor::new(CompressionLvl::new(level as i32).unwrap());
    let mut stream = vec![0; compressor.deflate_compress_bound(plain.len())];
    let size = compressor.deflate_compress(plain, &mut stream).unwrap();
    stream.truncate(size);
    stream
}

/// Returns the types of the first blocks of a stream.
fn kind(stream: &[u8]) -> u8 {
    stream[0] >> 1 & 3
}

#[test]
fn every_kind_of_block() {
    let mut random = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(300_000).collect();
    // Few symbols are frequent and many are rare: words of all lengths.
    let skewed: Vec<u8> =
        std::iter::repeat_with(|| random.u64(..).trailing_zeros() as u8 * 4 + random.u8(0..3))
            .take(400_000)
            .collect();
    let zeros = vec![0; 400_000];
    let mut kinds = [0; 3];
    for level in 0..=12 {
        for plain in [&b""[..], b"a", b"etaoin shrdlu", &zeros, &skewed, &noise[..100], &noise] {
            for stream in [deflated(plain, level.min(9)), libdeflated(plain, level)] {
                kinds[usize::from(kind(&stream))] += 1;
                check(&stream, plain);
            }
        }
    }
    assert!(kinds.iter().all(|times| *times > 10), "{kinds:?}");
}

#[test]
fn a_stream_that_is_cut_off() {
    let mut random = fastrand::Rng::with_seed(1);
    let plain: Vec<u8> = std::iter::repeat_with(|| random.u8(0..9)).take(3000).collect();
    for stream in [deflated(&plain, 6), deflated(b"etaoin", 6), deflated(&plain, 0)] {
        for size in 0..stream.len() {
            assert!(outline(&stream[..size]).is_err(), "{size} of {}", stream.len());
        }
    }
}

/// Writes numbers with these many bits each, from the lowest bit.
fn spelled(numbers: &[(u64, u32)]) -> Vec<u8> {
    let bits =
        numbers.iter().flat_map(|(number, count)| (0..*count).map(move |at| number >> at & 1));
    let bits: Vec<_> = bits.collect();
    let byte = |bits: &[u64]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | *bit as u8);
    bits.chunks(8).map(byte).collect()
}

#[test]
fn undefined_blocks_are_refused() {
    // The last block; its type.
    let stored = [(1, 1), (0, 2)];
    let fixed = [(1, 1), (1, 2)];
    // 257 symbols, 1 distance and 4 lengths of words for lengths: of 16, 17, 18 and 0.
    let dynamic = [(1, 1), (2, 2), (0, 5), (0, 5), (0, 4)];
    for (header, more, why) in [
        (&[(1, 1), (3, 2)][..], &[][..], "a block has a type that is not defined"),
        (&stored, &[(0, 5), (3, 16), (3, 16)], "the size of a stored block is not confirmed"),
        // Symbol 286, 11000110 from the left.
        (&fixed, &[(0b0110_0011, 8)], "a word is not defined"),
        // A length, then distance 30, 11110 from the left.
        (&fixed, &[(0b100_0000, 7), (0b01111, 5)], "a word is not defined"),
        (&dynamic, &[(1, 3), (1, 3), (1, 3), (0, 3)], "a code has too many words"),
        (&dynamic, &[(0, 3), (0, 3), (0, 3), (0, 3)], "a length is not defined"),
        (&dynamic, &[(1, 3), (0, 3), (0, 3), (0, 3)], "a length repeats none"),
        (&dynamic, &[(0, 3), (0, 3), (1, 3), (0, 3), (0xfefe, 16), (0xfe, 8)], "too many lengths"),
    ] {
        let mut stream = spelled(&[header, more].concat());
        stream.resize(stream.len() + 10, 0);
        assert_eq!(outline(&stream), Err(why), "{stream:x?}");
        assert!(inflated(&stream).is_none(), "{stream:x?}");
    }
}

proptest! {
    #[test]
    fn any_content(
        pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..200), 1..200_usize), 0..20),
        level in 0_u32..=12,
    ) {
        let plain: Vec<u8> =
            pieces.iter().flat_map(|(piece, times)| piece.repeat(*times)).collect();
        check(&deflated(&plain, level.min(9)), &plain);
        check(&libdeflated(&plain, level), &plain);
    }

    #[test]
    fn two_at_once_are_what_each_is_alone(
        sizes in [0_usize..200_000, 0_usize..200_000], levels in [0_u32..=12, 0_u32..=12], seed: u64,
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut stream = |lane: usize| {
            let words = random.u8(1..);
            let plain: Vec<u8> =
                std::iter::repeat_with(|| random.u8(0..words) & random.u8(..)).take(sizes[lane]).collect();
            libdeflated(&plain, levels[lane])
        };
        let mut streams = [stream(0), stream(1)];
        if let Some(cut) = cut {
            let cut = cut.index(streams[1].len());
            streams[1].truncate(cut);
        }
        let padded = streams.each_ref().map(|stream| [stream, &[0; PADDING][..]].concat());
        let both = Skim::default().outlines(padded.each_ref().map(Vec::as_slice));
        let alone = outline(&streams[0]).and_then(|one| Ok([one, outline(&streams[1])?]));
        prop_assert_eq!(both, alone);
        prop_assert_eq!(both.is_err(), cut.is_some());
    }

    #[test]
    fn any_bytes_are_judged_as_another_decoder_does(
        plain: Vec<u8>, level in 0_u32..=12, at: prop::sample::Index, with in 1_u8..,
    ) {
        let mut stream = libdeflated(&plain, level);
        let at = at.index(stream.len());
        stream[at] ^= with;
        // It may miss errors, but must never report one in a correct stream.
        if let Some((plain, rest)) = inflated(&stream) {
            let found = outline(&stream).unwrap();
            prop_assert_eq!(found.plain, plain.len());
            prop_assert_eq!(found.end.div_ceil(8), stream.len() - rest);
        } else {
            let _ = outline(&stream);
        }
    }

    #[test]
    fn noise_ends(bytes: Vec<u8>) {
        let _ = outline(&bytes);
    }
}

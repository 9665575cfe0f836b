//! Round trips through independent readers, and equal bytes from any number of threads.

use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::blocks::BLOCK;
use super::*;
use occystrap_base::oci::Digest;

/// Offset of the result in its file.
const OFFSET: u64 = 7;

/// A reader that returns bytes in pieces of odd sizes.
struct Crumbs<'a>(&'a [u8], usize);

impl Read for Crumbs<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.1 = self.1 * 31 % 65_537;
        let now = into.len().min(self.1);
        self.0.read(&mut into[..now])
    }
}

fn encoded(bytes: &[u8], how: Compression, threads: usize) -> Vec<u8> {
    let file = tempfile::tempfile().unwrap();
    let mut to = Written::new(Some(&file), OFFSET);
    let mut from = Crumbs(bytes, threads);
    let plain = encode(&mut from, how, threads, &mut to).unwrap_or_else(|_| panic!("failed"));
    assert_eq!(plain, Hashed { size: bytes.len() as u64, digest: Digest::of(bytes) });
    let mut written = vec![0; file.metadata().unwrap().len().saturating_sub(OFFSET) as usize];
    file.read_exact_at(&mut written, OFFSET).unwrap();
    let moved = Hashed { size: written.len() as u64, digest: Digest::of(&written) };
    assert_eq!(to.finish(), moved);
    written
}

/// Returns the content of the first member or frame, and the number of bytes after it.
fn decoded(packed: &[u8], how: Compression) -> (Vec<u8>, usize) {
    let mut bytes = Vec::new();
    let rest = match how {
        Compression::None => return (packed.to_vec(), 0),
        Compression::Gzip => {
            let mut decoder = flate2::bufread::GzDecoder::new(packed);
            decoder.read_to_end(&mut bytes).unwrap();
            decoder.into_inner().len()
        }
        Compression::Zstd => {
            let decoder = ::zstd::stream::read::Decoder::with_buffer(packed).unwrap();
            let mut decoder = decoder.single_frame();
            decoder.read_to_end(&mut bytes).unwrap();
            decoder.finish().len()
        }
        other => panic!("layers are not compressed with {other}"),
    };
    (bytes, rest)
}

/// Returns bytes like those of layers: repeated text, zeros, and bytes that cannot be compressed.
fn content(size: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = Vec::with_capacity(size + 70_000);
    while bytes.len() < size {
        let len = random.usize(1..70_000);
        match random.u8(0..4) {
            0 => bytes.resize(bytes.len() + len, 0),
            1 => bytes.extend(std::iter::repeat_with(|| random.u8(..)).take(len)),
            2 => bytes.extend((0..len).map(|_| b"etaoin shrdlu\n"[random.usize(0..14)])),
            _ => {
                let from = random.usize(0..=bytes.len());
                bytes.extend_from_within(from..bytes.len().min(from + len));
            }
        }
    }
    bytes.truncate(size);
    bytes
}

fn check(bytes: &[u8], how: Compression) -> Vec<u8> {
    let one = encoded(bytes, how, 1);
    assert!(decoded(&one, how) == (bytes.to_vec(), 0), "{how}, {} bytes", bytes.len());
    for threads in [2, 3, 8] {
        let many = encoded(bytes, how, threads);
        assert!(one == many, "{how}, {} bytes, {threads} threads", bytes.len());
    }
    one
}

const ALL: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

#[test]
fn sizes_around_the_borders_of_blocks() {
    let piece = 2 * BLOCK;
    let sizes = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, piece - 1, piece, piece + 1, 14 * BLOCK];
    for size in sizes {
        for how in ALL {
            check(&content(size, size as u64), how);
        }
    }
}

#[test]
fn incompressible_bytes_grow_by_little() {
    let mut random = fastrand::Rng::with_seed(1);
    let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(3 * BLOCK).collect();
    for how in ALL {
        assert!(check(&bytes, how).len() < bytes.len() + bytes.len() / 500 + 32, "{how}");
    }
}

#[test]
fn blocks_are_joined_at_any_bit() {
    // A thread takes blocks that end at all bits of a byte, one after the other.
    let mut random = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(100).collect();
    for size in 0..64 {
        let mut bytes = vec![b'a'; BLOCK];
        bytes[..size].copy_from_slice(&noise[..size]);
        bytes.extend_from_slice(&noise[..size]);
        check(&bytes, Compression::Gzip);
    }
}

#[test]
fn the_headers_say_nothing_but_the_format() {
    let gzip = encoded(b"", Compression::Gzip, 2);
    assert_eq!(gzip, b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x03\0\0\0\0\0\0\0\0\0");
    // Frame header descriptor (RFC 8878, 3.1.1.1.1): of its flags only the checksum's.
    let zstd = encoded(&content(3 * BLOCK, 1), Compression::Zstd, 2);
    assert_eq!(zstd[..5], [0x28, 0xb5, 0x2f, 0xfd, 0b100]);
}

#[test]
fn gzip_and_zstd_themselves_read_it() {
    let bytes = content(3 * BLOCK + 3, 5);
    for (how, program) in [(Compression::Gzip, "gzip"), (Compression::Zstd, "zstd")] {
        let mut command = Command::new(program);
        command.arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped());
        // gzip is on every machine, zstd on some.
        let Ok(mut child) = command.spawn() else {
            assert_ne!(how, Compression::Gzip, "gzip is not installed");
            continue;
        };
        let mut stdin = child.stdin.take().unwrap();
        let packed = encoded(&bytes, how, 2);
        let feeding = std::thread::spawn(move || stdin.write_all(&packed));
        let output = child.wait_with_output().unwrap();
        feeding.join().unwrap().unwrap();
        assert!(output.status.success() && output.stdout == bytes, "{program}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_content_comes_back(blocks in 0_usize..4, more in 0..BLOCK, seed: u64) {
        let bytes = content(blocks * BLOCK + more, seed);
        for how in ALL {
            check(&bytes, how);
        }
    }

    #[test]
    fn any_bytes_come_back(bytes: Vec<u8>) {
        for how in ALL {
            check(&bytes, how);
        }
    }
}

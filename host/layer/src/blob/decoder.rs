//! Decompression of a layer or an archive: every gzip member, every zstd frame, every stream of xz and bzip2, to
//! the very end.
//!
//! What it refuses: a stream that ends early, bytes after the last member that are not another member, a window
//! larger than `LARGEST_WINDOW`, and compressions that are not supported, which the error names.

mod members;

use std::io::{self, BufRead, Read};

use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;

use self::members::JoinedMembers;
use super::Stored;
use occystrap_base::oci::Compression;

/// 2^27 = 128 MiB, which is what `zstd -d` accepts without an option for more memory.
const LARGEST_WINDOW_LOG: u32 = 27;

/// Memory for what a stream refers back to, in bytes: zstd's window, the dictionary of xz. `xz -9` uses 64 MiB; the
/// format allows 4 GiB, and encoders 1.5 GiB.
const LARGEST_WINDOW: u32 = 1 << LARGEST_WINDOW_LOG;

/// Memory that an xz decoder takes in addition to the dictionary, in KiB, rounded up.
const XZ_BESIDE: u32 = 1024;

/// The uncompressed bytes of a stream.
pub enum Decoder<R: BufRead> {
    /// Not compressed.
    Plain(R),
    /// RFC 1952.
    Gzip(JoinedMembers<GzDecoder<R>>),
    /// RFC 8878.
    Zstd(Box<zstd::stream::read::Decoder<'static, R>>),
    /// The .xz file format.
    Xz(Box<XzReader<R>>),
    /// bzip2.
    Bzip2(JoinedMembers<BzDecoder<R>>),
}

impl<R: BufRead> Decoder<R> {
    /// Returns a decoder for a stream of known compression. Errors when that is not supported.
    pub fn new(compression: Compression, stored: R) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::Plain(stored),
            Compression::Gzip => Self::Gzip(JoinedMembers::of(stored)),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(stored)?;
                decoder.window_log_max(LARGEST_WINDOW_LOG)?;
                Self::Zstd(Box::new(decoder))
            }
            Compression::Xz => {
                let most = (LARGEST_WINDOW >> 10) + XZ_BESIDE;
                Self::Xz(Box::new(XzReader::new_mem_limit(stored, true, most)))
            }
            Compression::Bzip2 => Self::Bzip2(JoinedMembers::of(stored)),
            Compression::Unsupported(name) => {
                let message = format!("is compressed with {name}, which is not supported");
                return Err(io::Error::new(io::ErrorKind::Unsupported, message));
            }
        })
    }

    /// Returns the stream below, which checks its digest at its end. `None` after a panic.
    fn into_inner(self) -> Option<R> {
        match self {
            Self::Plain(stored) => Some(stored),
            Self::Gzip(decoder) => decoder.into_inner(),
            Self::Zstd(decoder) => Some(decoder.finish()),
            Self::Xz(decoder) => Some(decoder.into_inner()),
            Self::Bzip2(decoder) => decoder.into_inner(),
        }
    }
}

/// Returns the error for a valid stream that refers back further than [`LARGEST_WINDOW`].
fn too_much_memory(what: &str) -> io::Error {
    let most = LARGEST_WINDOW >> 20;
    let message = format!("{what} takes more than {most} MiB of memory to decompress");
    io::Error::new(io::ErrorKind::Unsupported, message)
}

impl Decoder<Stored> {
    /// Returns whether a separate thread reads ahead of the code that looks at the bytes. For a compressed layer one
    /// always does: compared with inflating, the handing over costs nothing.
    pub fn is_read_ahead(&self) -> bool {
        match self {
            Self::Plain(stored) => stored.is_read_ahead(),
            Self::Gzip(_) | Self::Zstd(_) | Self::Xz(_) | Self::Bzip2(_) => true,
        }
    }

    /// Calls [`Stored::finish`] of the stream below.
    pub fn finish(self) -> io::Result<()> {
        let stored = self.into_inner();
        stored.ok_or_else(|| io::Error::other("it was given up"))?.finish()
    }

    /// Calls [`Stored::cause_of`] of the stream below.
    pub fn cause_of(self, cause: io::Error) -> io::Error {
        match self.into_inner() {
            Some(stored) => stored.cause_of(cause),
            None => cause,
        }
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stored) => stored.read(into),
            Self::Gzip(decoder) => decoder.read(into),
            Self::Zstd(decoder) => decoder.read(into).map_err(|cause| {
                // The io::Error of zstd has no kind for this (ZSTD_error_frameParameter_windowTooLarge).
                let too_much = cause.to_string().contains("too much memory");
                if too_much { too_much_memory("its zstd window") } else { cause }
            }),
            Self::Xz(decoder) => decoder.read(into).map_err(|cause| match cause.kind() {
                io::ErrorKind::OutOfMemory => too_much_memory("its xz dictionary"),
                _ => cause,
            }),
            Self::Bzip2(decoder) => decoder.read(into),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A reader that returns one byte at a time, and is interrupted before each.
    struct Slow<'a>(&'a [u8], bool);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let read = self.fill_buf()?.read(into)?;
            self.consume(read);
            Ok(read)
        }
    }

    impl BufRead for Slow<'_> {
        fn fill_buf(&mut self) -> io::Result<&[u8]> {
            self.1 = !self.1;
            match self.1 {
                true => Err(io::ErrorKind::Interrupted.into()),
                false => Ok(&self.0[..self.0.len().min(1)]),
            }
        }

        fn consume(&mut self, amount: usize) {
            self.0 = &self.0[amount..];
        }
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_member_is_read_and_nothing_else_may_follow() {
        let members = [gzip(b"one, "), gzip(b""), gzip(b"two")].concat();
        let read = |bytes: &[u8]| {
            let read = |from: &mut dyn Read| {
                let mut plain = String::new();
                from.read_to_string(&mut plain).map(|_| plain).map_err(|cause| cause.kind())
            };
            let whole = read(&mut Decoder::new(Compression::Gzip, bytes).unwrap());
            let slow = read(&mut Decoder::new(Compression::Gzip, Slow(bytes, false)).unwrap());
            assert_eq!(whole, slow);
            whole
        };
        assert_eq!(read(&members).unwrap(), "one, two");
        for more in [&b"x"[..], &[0], &[0; 512], b"garbage that is longer than a header"] {
            let kind = read(&[&members, more].concat()).unwrap_err();
            assert_eq!(kind, io::ErrorKind::InvalidData, "{more:?}");
        }
        // These cuts are the beginning of another member.
        for cut in [1, 2, 9, 12] {
            let kind = read(&[&members, &members[..cut]].concat()).unwrap_err();
            assert_eq!(kind, io::ErrorKind::UnexpectedEof, "{cut}");
        }
    }

    fn encoded(compression: Compression, plain: &[u8]) -> Vec<u8> {
        match compression {
            Compression::Xz => {
                let options = lzma_rust2::XzOptions::with_preset(0);
                let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            _ => {
                let level = bzip2::Compression::fast();
                let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), level);
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    /// Reads every stream of xz and bzip2, and what may follow one: for xz, zeros in fours (The .xz File Format, 2.2).
    #[test]
    fn every_stream_is_read_and_a_cut_or_damaged_one_is_an_error() {
        let read = |compression, bytes: &[u8]| {
            let mut plain = String::new();
            let mut decoder = Decoder::new(compression, Slow(bytes, false)).unwrap();
            decoder.read_to_string(&mut plain).map(|_| plain).map_err(|cause| cause.kind())
        };
        for compression in [Compression::Xz, Compression::Bzip2] {
            let one = encoded(compression, b"one, ");
            let streams = [one.clone(), encoded(compression, b""), encoded(compression, b"two")];
            let streams = streams.concat();
            assert_eq!(Compression::detect(&streams), compression);
            assert_eq!(read(compression, &streams).unwrap(), "one, two", "{compression}");
            for cut in 1..one.len() {
                let kind = read(compression, &streams[..streams.len() - cut]);
                // A cut between two streams leaves a valid file.
                assert!(kind.is_err() || kind == Ok("one, ".to_owned()), "{compression} {cut}");
            }
            for more in [&b"x"[..], &[0; 7], b"garbage that is longer than a header"] {
                let kind = read(compression, &[&streams, more].concat()).unwrap_err();
                let expected = [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof];
                assert!(expected.contains(&kind), "{compression} {more:?}: {kind}");
            }
            let mut damaged = one.clone();
            damaged[one.len() / 2] ^= 0x10;
            assert!(read(compression, &damaged).is_err(), "{compression}");
        }
        let padded = [encoded(Compression::Xz, b"one"), vec![0; 8]].concat();
        assert_eq!(read(Compression::Xz, &padded).unwrap(), "one");
    }
}

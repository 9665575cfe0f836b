//! Decompression of a layer: every gzip member, every zstd frame, to the very end.
//!
//! What it refuses: a stream that ends early, bytes after the last member that are none, a zstd
//! window above `LARGEST_WINDOW_LOG`.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

use super::Stored;
use crate::image::Compression;

/// 2^27 = 128 MiB, what `zstd -d` accepts without being asked for more memory.
const LARGEST_WINDOW_LOG: u32 = 27;

/// What a gzip member begins with (RFC 1952, 2.3.1).
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The uncompressed bytes of a stream.
pub enum Decoder<R: BufRead> {
    /// Nothing to do.
    Plain(R),
    /// RFC 1952.
    Gzip(Gzip<R>),
    /// RFC 8878.
    Zstd(Box<zstd::stream::read::Decoder<'static, R>>),
}

impl<R: BufRead> Decoder<R> {
    /// A decoder for a stream of known compression.
    pub fn new(compression: Compression, stored: R) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::Plain(stored),
            Compression::Gzip => Self::Gzip(Gzip::member(stored)),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(stored)?;
                decoder.window_log_max(LARGEST_WINDOW_LOG)?;
                Self::Zstd(Box::new(decoder))
            }
        })
    }

    /// The stream below, for what it knows at its end. There is none after a panic.
    fn into_inner(self) -> Option<R> {
        match self {
            Self::Plain(stored) => Some(stored),
            Self::Gzip(decoder) => decoder.into_inner(),
            Self::Zstd(decoder) => Some(decoder.finish()),
        }
    }
}

impl Decoder<Stored> {
    /// Whether a thread reads ahead of whoever looks at the bytes. Of a compressed layer one always
    /// does: beside inflating, handing over costs nothing.
    pub fn is_read_ahead(&self) -> bool {
        match self {
            Self::Plain(stored) => stored.is_read_ahead(),
            Self::Gzip(_) | Self::Zstd(_) => true,
        }
    }

    /// As [`Stored::finish`], of the stream below.
    pub fn finish(self) -> io::Result<()> {
        let stored = self.into_inner();
        stored.ok_or_else(|| io::Error::other("it was given up"))?.finish()
    }

    /// As [`Stored::blame`], of the stream below.
    pub fn blame(self, cause: io::Error) -> io::Error {
        match self.into_inner() {
            Some(stored) => stored.blame(cause),
            None => cause,
        }
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stored) => stored.read(into),
            Self::Gzip(decoder) => decoder.read(into),
            Self::Zstd(decoder) => decoder.read(into),
        }
    }
}

/// One gzip member after the other. `flate2` has that as well, and takes whatever comes behind a
/// member for the next one's beginning: a few bytes of something else would be a stream that was cut.
pub enum Gzip<R: BufRead> {
    /// In a member.
    Member(Box<GzDecoder<R>>),
    /// Behind the last one, or where no other begins.
    End(R),
    /// In neither, for a moment.
    Between,
}

impl<R: BufRead> Gzip<R> {
    fn member(stored: R) -> Self {
        Self::Member(Box::new(GzDecoder::new(stored)))
    }

    fn into_inner(self) -> Option<R> {
        match self {
            Self::Member(decoder) => Some(decoder.into_inner()),
            Self::End(stored) => Some(stored),
            Self::Between => None,
        }
    }

    /// Go on with the next member. `false` when there is none.
    fn next(&mut self) -> io::Result<bool> {
        let Some(mut stored) = std::mem::replace(self, Self::Between).into_inner() else {
            return Ok(false);
        };
        let next = peek(&mut stored);
        *self = match next {
            Ok((false, true)) => Self::member(stored),
            _ => Self::End(stored),
        };
        match next? {
            (false, false) => {
                let message = "something that is no gzip follows its end";
                Err(io::Error::new(io::ErrorKind::InvalidData, message))
            }
            (is_end, _) => Ok(!is_end),
        }
    }
}

/// Whether a stream is at its end, and whether a member may begin here: what is seen may be the first
/// of its bytes alone.
fn peek(stored: &mut impl BufRead) -> io::Result<(bool, bool)> {
    loop {
        match stored.fill_buf() {
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
            Ok(rest) => {
                let begins = rest.iter().zip(MAGIC).all(|(byte, magic)| *byte == magic);
                return Ok((rest.is_empty(), begins));
            }
        }
    }
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let Self::Member(decoder) = self else { return Ok(0) };
            let read = decoder.read(into)?;
            if read > 0 || into.is_empty() || !self.next()? {
                return Ok(read);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Gives a byte at a time, and is interrupted before each.
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
        // Here another one begins.
        for cut in [1, 2, 9, 12] {
            let kind = read(&[&members, &members[..cut]].concat()).unwrap_err();
            assert_eq!(kind, io::ErrorKind::UnexpectedEof, "{cut}");
        }
    }
}

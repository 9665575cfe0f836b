//! Decompression of a layer: every gzip member, every zstd frame, to the very end.
//!
//! What it refuses: a stream that ends early, bytes after the last member that are none, a zstd
//! window above `LARGEST_WINDOW_LOG`.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;

use crate::image::Compression;

/// 2^27 = 128 MiB, what `zstd -d` accepts without being asked for more memory.
const LARGEST_WINDOW_LOG: u32 = 27;

/// The uncompressed bytes of a stream.
pub enum Decoder<R: BufRead> {
    /// Nothing to do.
    Plain(R),
    /// RFC 1952.
    Gzip(Box<MultiGzDecoder<R>>),
    /// RFC 8878.
    Zstd(Box<zstd::stream::read::Decoder<'static, R>>),
}

impl<R: BufRead> Decoder<R> {
    /// A decoder for a stream of known compression.
    pub fn new(compression: Compression, stored: R) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::Plain(stored),
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(stored))),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(stored)?;
                decoder.window_log_max(LARGEST_WINDOW_LOG)?;
                Self::Zstd(Box::new(decoder))
            }
        })
    }

    /// The stream below, for what it knows at its end.
    pub fn into_inner(self) -> R {
        match self {
            Self::Plain(stored) => stored,
            Self::Gzip(decoder) => decoder.into_inner(),
            Self::Zstd(decoder) => decoder.finish(),
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

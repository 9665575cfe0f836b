//! Decoder of bodies that a server compressed for transport (`Content-Encoding: gzip`, RFC 9110, 8.4.1.3), as they
//! arrive.
//!
//! Docker, containerd, Podman and skopeo decode such bodies: Go's HTTP client does so where it asked for gzip itself,
//! and later versions of the clients do so on their own. What it refuses: bytes that are not gzip, or that end too
//! early.

use std::io::{self, Write as _};

use bytes::{Buf as _, Bytes};
use flate2::write::MultiGzDecoder;

/// Bytes that are decoded at a time. Deflate makes at most 1,032 bytes of one, so that a hostile body takes at most 4
/// MiB of memory.
const PIECE: usize = 4 * 1024;

/// Decoder of a body that arrives in parts. Several members of gzip may follow each other, as in Go's reader.
pub(super) struct Gunzip {
    decoder: MultiGzDecoder<Vec<u8>>,
    /// Bytes that are not decoded yet.
    coded: Bytes,
}

impl Gunzip {
    pub(super) fn new() -> Self {
        Self { decoder: MultiGzDecoder::new(Vec::new()), coded: Bytes::new() }
    }

    /// Takes the next part of the body. The part before must have been decoded.
    pub(super) fn feed(&mut self, coded: Bytes) {
        self.coded = coded;
    }

    /// Returns the next decoded bytes; `None` where the next part is needed.
    pub(super) fn next(&mut self) -> io::Result<Option<Bytes>> {
        while !self.coded.is_empty() {
            let length = self.coded.len().min(PIECE);
            self.decoder.write_all(&self.coded[..length])?;
            self.coded.advance(length);
            if let Some(plain) = self.take() {
                return Ok(Some(plain));
            }
        }
        Ok(None)
    }

    /// Returns the last decoded bytes, after the last part. Errors when the body ended within a member.
    pub(super) fn finish(&mut self) -> io::Result<Option<Bytes>> {
        self.decoder.try_finish()?;
        Ok(self.take())
    }

    fn take(&mut self) -> Option<Bytes> {
        let plain = std::mem::take(self.decoder.get_mut());
        (!plain.is_empty()).then(|| plain.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Decodes a body in parts of a size. Returns the decoded bytes, and the most that were returned at a time.
    fn decode(body: &[u8], part: usize) -> io::Result<(Vec<u8>, usize)> {
        let (mut gunzip, mut plain, mut most) = (Gunzip::new(), Vec::new(), 0);
        for part in body.chunks(part) {
            gunzip.feed(Bytes::copy_from_slice(part));
            while let Some(piece) = gunzip.next()? {
                most = most.max(piece.len());
                plain.extend_from_slice(&piece);
            }
        }
        plain.extend_from_slice(&gunzip.finish()?.unwrap_or_default());
        Ok((plain, most))
    }

    #[test]
    fn members_are_decoded_in_whatever_parts_they_come() {
        let body = [gzip(b"one, "), gzip(b""), gzip(b"two")].concat();
        for part in [1, 7, 1_000] {
            assert_eq!(decode(&body, part).unwrap().0, b"one, two", "{part}");
        }
    }

    #[test]
    fn damaged_or_cut_gzip_is_an_error() {
        let whole = gzip(b"some bytes");
        let longer = [&whole[..], b"garbage that is no member"].concat();
        for bad in [&whole[..whole.len() - 1], &whole[..5], b"no gzip at all, but text", &longer] {
            assert!(decode(bad, 3).is_err() && decode(bad, 1_000).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_bomb_comes_in_pieces() {
        let (plain, most) = decode(&gzip(&vec![0; 50_000_000]), 64 * 1024).unwrap();
        assert_eq!(plain.len(), 50_000_000);
        assert!(most <= 1_100 * PIECE, "{most} bytes at once");
    }
}

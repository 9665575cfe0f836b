//! Compression of a layer or an archive, detected by its first bytes.
//!
//! What it refuses: to take content in a compression that occystrap cannot read for a plain tar. The compression is
//! named instead.

use std::fmt;

/// Compression of a layer or an archive as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// A plain tar.
    None,
    /// RFC 1952, any number of members.
    Gzip,
    /// RFC 8878, any number of frames.
    Zstd,
    /// The .xz file format 1.2, any number of streams.
    Xz,
    /// bzip2, any number of streams.
    Bzip2,
    /// Compression or container of that name, which occystrap does not read.
    Unsupported(&'static str),
}

/// Formats that occystrap does not read: the name, and the first bytes of a file.
const UNSUPPORTED: [(&str, &[u8]); 15] = [
    ("lz4", &[0x04, 0x22, 0x4d, 0x18]),
    // The legacy format, which the Linux kernel uses.
    ("lz4", &[0x02, 0x21, 0x4c, 0x18]),
    ("lzip", b"LZIP\x01"),
    ("lzop", b"\x89LZO\0\r\n\x1a\n"),
    ("compress (.Z)", &[0x1f, 0x9d]),
    ("pack (.z)", &[0x1f, 0x1e]),
    ("lzh (.Z)", &[0x1f, 0xa0]),
    ("snappy", b"\xff\x06\0\0sNaPpY"),
    ("zip", b"PK\x03\x04"),
    ("zip", b"PK\x05\x06"),
    ("zip", b"PK\x07\x08"),
    ("7z", b"7z\xbc\xaf\x27\x1c"),
    ("rar", b"Rar!\x1a\x07"),
    ("cab", b"MSCF\0\0\0\0"),
    ("xar", b"xar!\0\x1c"),
];

impl Compression {
    /// Bytes that are enough for [`Self::detect`].
    pub const MAGIC_LENGTH: usize = 13;

    /// Returns the compression that the first bytes of a layer or an archive show.
    ///
    /// A plain tar begins with a file name and zeros, which match none of the formats: each format has a byte that no
    /// tool puts into a name, or, as bzip2, ten bytes that are no name by accident.
    #[must_use]
    pub fn detect(magic: &[u8]) -> Self {
        match magic {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame (RFC 8878, 3.1.2): zstd:chunked puts them at the end, other tools may put one first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            // The level, then the magic number of a block or that of the end.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => {
                Self::Bzip2
            }
            _ if is_lzma(magic) => Self::Unsupported("lzma"),
            _ => {
                let mut known = UNSUPPORTED.iter();
                let found = known.find(|(_, start)| magic.starts_with(start));
                found.map_or(Self::None, |(name, _)| Self::Unsupported(name))
            }
        }
    }

    /// Returns the media type of a layer that is stored in this compression: OCI's where there is one (OCI image
    /// specification, "Layer"). There is none for xz and bzip2, so that outputs with media types compress such a layer
    /// again.
    #[must_use]
    pub fn layer_media_type(self) -> &'static str {
        match self {
            Self::None => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
            Self::Xz => "application/x-xz",
            Self::Bzip2 => "application/x-bzip2",
            Self::Unsupported(_) => "application/octet-stream",
        }
    }
}

/// Returns whether bytes begin as the .lzma format does. The format has no magic number. The check is that of liblzma:
/// the usual properties, a dictionary size as encoders write it, and an uncompressed size that is unknown or below 256
/// GiB. A tar whose first name is ']' has zeros in the place of the dictionary size.
fn is_lzma(magic: &[u8]) -> bool {
    const UNKNOWN: u64 = u64::MAX;
    let Some((&[0x5d, a, b, c, d], rest)) = magic.split_first_chunk() else { return false };
    let Some(size) = rest.first_chunk().map(|size| u64::from_le_bytes(*size)) else { return false };
    let dictionary = u32::from_le_bytes([a, b, c, d]);
    // 2^n or 2^n + 2^(n-1), of at least 4 KiB.
    let usual = dictionary >= 4096 && matches!(dictionary >> dictionary.trailing_zeros(), 1 | 3);
    usual && (size == UNKNOWN || size < 1 << 38)
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
            Self::Unsupported(name) => name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressions_are_known_by_their_first_bytes() {
        // As `xz`, `bzip2`, `lz4`, `lzma`, `zip` and others write them.
        for (magic, name) in [
            (&b"\x1f\x8b\x08\0"[..], "gzip"),
            (b"\x28\xb5\x2f\xfd", "zstd"),
            (b"\x50\x2a\x4d\x18", "zstd"),
            (b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46\x02", "xz"),
            (b"BZh91AY&SY\x01\x02\x03", "bzip2"),
            (b"BZh9\x17\x72\x45\x38\x50\x90\0\0\0", "bzip2"),
            (b"\x04\x22\x4d\x18\x64\x40\xa7", "lz4"),
            (b"\x02\x21\x4c\x18", "lz4"),
            (b"LZIP\x01\x0c", "lzip"),
            (b"]\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff", "lzma"),
            (b"]\0\0\x40\0\0\x28\0\0\0\0\0\0", "lzma"),
            (b"\x89LZO\0\r\n\x1a\n", "lzop"),
            (b"\x1f\x9d\x90", "compress (.Z)"),
            (b"PK\x03\x04\x14\0", "zip"),
            (b"7z\xbc\xaf\x27\x1c", "7z"),
            (b"Rar!\x1a\x07\0", "rar"),
            (b"\xff\x06\0\0sNaPpY", "snappy"),
        ] {
            assert_eq!(Compression::detect(magic).to_string(), name, "{magic:?}");
        }
    }

    #[test]
    fn names_of_files_are_no_compression() {
        for name in
            ["", "BZh9", "BZh9.tar", "LZIP", "LZIP.txt", "PK", "7z", "Rar!", "]", "]x", "xar!"]
        {
            let mut magic = name.as_bytes().to_vec();
            magic.resize(Compression::MAGIC_LENGTH, 0);
            assert_eq!(Compression::detect(&magic), Compression::None, "{name}");
            let cut = Compression::detect(name.as_bytes());
            assert_eq!(cut, Compression::None, "{name}");
        }
    }
}

//! Small images for tests, the same bytes every time.
//!
//!     let image = TestImage::new("busybox:1");
//!     let archive = shape::legacy(&[&image], Pack::Gzip);
//!     archive.write(&path);
//!
//! An image is plain tars and a config; how they are packed and laid out is said when an archive is
//! made of it (`shape.rs`). Content is computed, not random, so that snapshots can name digests.

use std::io::Write as _;

use occystrap_base::oci::Digest;
use serde_json::json;

/// The stored form of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pack {
    Plain,
    Gzip,
    Zstd,
    /// Several gzip members, as `pigz -p` and estargz make them: a reader that stops at the first
    /// one takes a part for the whole.
    JoinedMembers,
    /// Several zstd frames with a skippable one between them, as zstd:chunked has it.
    ZstdFrames,
    Xz,
    /// Several streams with padding behind each, as `xz` and `pixz` may make them.
    XzStreams,
    Bzip2,
    /// Several streams, as `pbzip2` makes them.
    Bzip2Streams,
}

impl Pack {
    pub const ALL: [Self; 5] =
        [Self::Plain, Self::Gzip, Self::Zstd, Self::JoinedMembers, Self::ZstdFrames];

    /// Those that no image format has a media type for.
    pub const UNREGISTERED: [Self; 4] =
        [Self::Xz, Self::XzStreams, Self::Bzip2, Self::Bzip2Streams];

    pub fn pack(self, plain: &[u8]) -> Vec<u8> {
        // Three parts, the middle one not on a block's border.
        let (first, rest) = plain.split_at(plain.len() / 3);
        let (second, third) = rest.split_at(rest.len() / 2);
        match self {
            Self::Plain => plain.to_vec(),
            Self::Gzip => gzip(plain),
            Self::Zstd => zstd(plain),
            Self::JoinedMembers => [first, second, third].map(gzip).concat(),
            Self::ZstdFrames => {
                let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"toc!"].concat();
                [zstd(first), zstd(second), skippable, zstd(third)].concat()
            }
            Self::Xz => xz(plain),
            Self::XzStreams => {
                [first, second, third].map(|part| [xz(part), vec![0; 8]].concat()).concat()
            }
            Self::Bzip2 => bzip2(plain),
            Self::Bzip2Streams => [first, second, third].map(bzip2).concat(),
        }
    }

    /// In OCI's spelling.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Plain => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip | Self::JoinedMembers => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd | Self::ZstdFrames => "application/vnd.oci.image.layer.v1.tar+zstd",
            Self::Xz | Self::XzStreams => "application/vnd.oci.image.layer.v1.tar+xz",
            Self::Bzip2 | Self::Bzip2Streams => "application/vnd.oci.image.layer.v1.tar+bzip2",
        }
    }
}

pub fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

pub fn xz(plain: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(1);
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

pub fn bzip2(plain: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(plain, 1).unwrap()
}

/// A plain tar of regular files.
pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Bytes that do not compress: a 64-bit LCG (Knuth's constants), from a seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// An image with its layers as plain tars.
#[derive(Debug, Clone)]
pub struct TestImage {
    /// Name as in `RepoTags`; empty for none.
    pub name: String,
    /// Lowest first.
    pub layers: Vec<Vec<u8>>,
    pub config: Vec<u8>,
}

impl TestImage {
    /// Three layers: two small ones, and in the middle one of 600 kB, more than any buffer.
    pub fn new(name: &str) -> Self {
        Self::with_layers(
            name,
            vec![
                tar(&[("etc/hostname", b"test\n"), ("etc/motd", name.as_bytes())]),
                tar(&[("usr/lib/noise", &noise(7, 600_000)), ("usr/lib/zeros", &[0; 4_000])]),
                tar(&[("usr/bin/true", b"\x7fELF and so on"), ("usr/.wh.lib", b"")]),
            ],
        )
    }

    /// Returns an image with one layer of a few blocks, for tests that go through every byte.
    pub fn tiny(name: &str) -> Self {
        Self::with_layers(name, vec![tar(&[("etc/motd", name.as_bytes())])])
    }

    pub fn with_layers(name: &str, layers: Vec<Vec<u8>>) -> Self {
        let diff_ids: Vec<String> =
            layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "created": "2026-01-02T03:04:05Z",
            "config": { "Env": ["PATH=/usr/bin"], "Cmd": ["/usr/bin/true"], "Labels": { "who": "äöü" } },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": layers.iter().map(|_| json!({ "created_by": "a test" })).collect::<Vec<_>>(),
        });
        // Spaced as no serializer does: a tool that parses and prints it again changes its digest.
        let config = format!(" {}\n\n", config.to_string().replace(":[", " :  ["));
        Self { name: name.to_owned(), layers, config: config.into_bytes() }
    }

    pub fn diff_ids(&self) -> Vec<Digest> {
        self.layers.iter().map(|layer| Digest::of(layer)).collect()
    }

    /// Digest of the config.
    pub fn id(&self) -> Digest {
        Digest::of(&self.config)
    }

    /// Returns the path where the output `dir` puts layer `index`.
    pub fn layer_path(&self, index: usize) -> String {
        format!("{}/layer.tar", self.diff_ids()[index].hex())
    }

    pub fn config_path(&self) -> String {
        format!("{}.json", self.id().hex())
    }
}

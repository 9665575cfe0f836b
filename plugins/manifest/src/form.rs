//! The form of a layer, as the option `compression` asks for it.

use occystrap_plugin::writer::{Error, Form, LayerSummary};

/// The compression that the user asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Keep compressed layers unchanged, and compress uncompressed layers with gzip.
    Keep,
    /// Compress every layer with gzip.
    Gzip,
    /// Compress every layer with zstd.
    Zstd,
}

impl Compression {
    /// Parses the value of the option `compression`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "" => Ok(Self::Keep),
            "gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err(Error::InvalidOption("compression".to_owned())),
        }
    }
}

/// The suffixes of the media types of compressed layers. Those for xz and bzip2 are not registered anywhere, but
/// Docker and Podman pull such layers, and skopeo copies them unchanged.
pub(crate) const COMPRESSED: [&str; 4] = ["gzip", "zstd", "+xz", "+bzip2"];

/// Returns the form of a layer. A layer that already has the wanted compression keeps its bytes.
#[must_use]
pub(crate) fn form(layer: &LayerSummary, wanted: Compression) -> Form {
    let is = |suffix: &str| layer.media_type.ends_with(suffix);
    let (gzip, zstd) = (is("gzip"), is("zstd"));
    match wanted {
        Compression::Gzip if !gzip => Form::Gzip,
        Compression::Zstd if !zstd => Form::Zstd,
        Compression::Keep if !COMPRESSED.iter().any(|suffix| is(suffix)) => Form::Gzip,
        _ => Form::Stored,
    }
}

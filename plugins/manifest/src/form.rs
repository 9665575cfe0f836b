//! Which form each layer takes.

use occystrap_plugin::writer::{Error, Form, LayerSummary};

/// What the user wants of compression.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Leave what is compressed as it is, and gzip what is plain.
    Keep,
    /// Everything in gzip.
    Gzip,
    /// Everything in zstd.
    Zstd,
}

impl Compression {
    /// The value of the option `compression`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "" => Ok(Self::Keep),
            "gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err(Error::InvalidOption("compression".to_owned())),
        }
    }
}

/// Suffixes of media types of compressed layers. Those of xz and bzip2 are registered nowhere; Docker and
/// Podman pull such layers, and skopeo copies them as they are.
pub(crate) const COMPRESSED: [&str; 4] = ["gzip", "zstd", "+xz", "+bzip2"];

/// The form of a layer. One that is as it must be already keeps its bytes.
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

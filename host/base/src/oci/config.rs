//! Image configs, parsed (OCI image specification, "Image Configuration").

use super::document::ConfigDocument;
use super::{Digest, MOST_LAYERS, Platform, json, reading, types};
use crate::error::{Error, Result};

/// Bytes of the largest config that is accepted. The largest in public registries, full of labels and history, are far
/// below a megabyte.
pub const LARGEST_CONFIG: u64 = 8 * 1024 * 1024;

/// Config of an image, as far as moving the image needs it.
#[derive(Debug)]
pub struct Config {
    /// Digests of the uncompressed layers, lowest first.
    pub diff_ids: Vec<Digest>,
    /// Platform that the image is for.
    pub platform: Platform,
}

/// Parses a config, as far as moving an image needs it. Errors name `place`. Errors when the config can be read in two
/// ways, is not JSON, lists no diff-ids, or has more than [`MOST_LAYERS`] layers.
pub fn parse(bytes: &[u8], place: &str) -> Result<Config> {
    reading::config(bytes).map_err(|why| reading::refused(place, "the image config", &why))?;
    let config = json::parse::<ConfigDocument>(bytes).map_err(|cause| {
        Error::source(format!("{place}: the image config is not valid JSON of an image: {cause}"))
    })?;
    let diff_ids = config.diff_ids().ok_or_else(|| {
        Error::source(format!("{place}: the image config lists no layers: it has no 'rootfs'"))
    })?;
    if diff_ids.len() > MOST_LAYERS {
        return Err(Error::mismatch(
            format!("{place}: number of layers in the config"),
            format!("at most {MOST_LAYERS}"),
            diff_ids.len(),
        ));
    }
    let diff_ids = diff_ids.into_iter().map(str::parse::<Digest>);
    Ok(Config {
        diff_ids: diff_ids.collect::<Result<_>>().map_err(|error| error.within(place))?,
        platform: config.platform(),
    })
}

/// Parses a config that a container engine is to load. Errors as [`parse`] does, and when a field has a type that
/// engines reject.
pub fn parse_as_clients(bytes: &[u8], place: &str) -> Result<Config> {
    let config = parse(bytes, place)?;
    types::config(bytes).map_err(|wrong| wrong.refused(place, "the image config"))?;
    Ok(config)
}

/// Errors when the digest of a config is not the expected one.
pub fn check_digest(bytes: &[u8], expected: Digest, place: &str) -> Result<()> {
    let found = Digest::of(bytes);
    if found == expected {
        return Ok(());
    }
    Err(Error::mismatch(format!("{place}: digest of the config"), expected, found))
}

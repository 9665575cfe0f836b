//! Reading an image config (OCI image specification, "Image Configuration").

use super::document::ConfigDocument;
use super::{Digest, MOST_LAYERS, Platform, json, reading, types};
use crate::error::{Error, Result};

/// The largest config accepted. Real ones have some kilobytes; the largest seen in public
/// registries, full of labels and history, are far below a megabyte.
pub const LARGEST_CONFIG: u64 = 8 * 1024 * 1024;

/// What is needed of a config.
#[derive(Debug)]
pub struct Config {
    /// Of the uncompressed layers, lowest first.
    pub diff_ids: Vec<Digest>,
    /// What the image is for.
    pub platform: Platform,
}

/// Parses a config, as far as moving an image needs it. `place` is named in errors. Errors when it can be read in two
/// ways, is no JSON, lists no diff-ids, or has more than [`MOST_LAYERS`] layers.
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

/// Parses a config whose image a client is to load. Errors as [`parse`] does, and when a field has a type that clients
/// reject.
pub fn parse_as_clients(bytes: &[u8], place: &str) -> Result<Config> {
    let config = parse(bytes, place)?;
    types::config(bytes).map_err(|wrong| wrong.refused(place, "the image config"))?;
    Ok(config)
}

/// The config's digest and the one it was promised under must be the same.
pub fn check_digest(bytes: &[u8], expected: Digest, place: &str) -> Result<()> {
    let found = Digest::of(bytes);
    if found == expected {
        return Ok(());
    }
    Err(Error::mismatch(format!("{place}: digest of the config"), expected, found))
}

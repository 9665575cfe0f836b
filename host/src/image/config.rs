//! Reading an image config (OCI image specification, "Image Configuration").

use oci_spec::image::ImageConfiguration;

use super::{Digest, MOST_LAYERS, Platform, json, reading, time, types};
use crate::error::{Error, Result, printable};

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

/// Parses a config. `place` is named in errors. Errors when it is not JSON of the specified shape, has a
/// time or a field of a type that clients reject, can be read in two ways, or has more than [`MOST_LAYERS`]
/// layers.
pub fn parse(bytes: &[u8], place: &str) -> Result<Config> {
    let config = json::parse::<ImageConfiguration>(bytes).map_err(|cause| {
        Error::source(format!("{place}: the image config is not valid JSON of an image: {cause}"))
    })?;
    reading::config(bytes).map_err(|why| reading::refused(place, "the image config", &why))?;
    types::config(bytes).map_err(|wrong| wrong.refused(place, "the image config"))?;
    if let Some(found) = unreadable_time(&config) {
        let what =
            format!("{place}: a 'created' in the image config, for Docker, Podman and skopeo");
        return Err(Error::mismatch(what, "a time of RFC 3339", format!("'{}'", printable(found))));
    }
    let diff_ids = config.rootfs().diff_ids();
    if diff_ids.len() > MOST_LAYERS {
        return Err(Error::mismatch(
            format!("{place}: number of layers in the config"),
            format!("at most {MOST_LAYERS}"),
            diff_ids.len(),
        ));
    }
    let diff_ids = diff_ids.iter().map(|text| text.parse::<Digest>());
    Ok(Config {
        diff_ids: diff_ids.collect::<Result<_>>().map_err(|error| error.within(place))?,
        platform: Platform {
            os: config.os().to_string(),
            architecture: config.architecture().to_string(),
            variant: config.variant().clone().filter(|variant| !variant.is_empty()),
        },
    })
}

/// Returns a time of the image or of its history for which clients refuse the config.
fn unreadable_time(config: &ImageConfiguration) -> Option<&str> {
    let steps = config.history().iter().flatten().map(|step| step.created());
    let mut times = steps.chain([config.created()]).flatten().map(String::as_str);
    times.find(|text| !time::is_readable(text))
}

/// The config's digest and the one it was promised under must be the same.
pub fn check_digest(bytes: &[u8], expected: Digest, place: &str) -> Result<()> {
    let found = Digest::of(bytes);
    if found == expected {
        return Ok(());
    }
    Err(Error::mismatch(format!("{place}: digest of the config"), expected, found))
}

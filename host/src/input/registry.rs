//! `registry://`: an image by tag or digest, for one platform.

use oci_spec::image::{Descriptor as OciDescriptor, ImageIndex, ImageManifest};

use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::image::{Content, Descriptor, Digest, Image, Layer, MOST_LAYERS, Platform, config};
use crate::registry::{Client, Manifest, Reference, Repository};

/// An index of indexes is legal; deeper is an attack.
const DEEPEST: usize = 3;

/// Fetch manifest and config of an image.
pub async fn open(
    reference: &Reference,
    client: &Client,
    platform: &Platform,
    context: &Context,
) -> Result<Image> {
    let repository = client.repository(reference, context.counters.clone())?;
    let place = repository.place();
    let mut manifest = repository.manifest(&reference.target()).await?;
    let mut depth = DEEPEST;
    while manifest.is_index() {
        if depth == 0 {
            return Err(Error::source(format!("{place}: its indexes are nested too deeply")));
        }
        depth -= 1;
        let chosen = choose(&manifest, platform, &place)?;
        manifest = repository.manifest(&chosen).await?;
    }
    image(&repository, &manifest, reference, &place).await
}

fn choose(manifest: &Manifest, platform: &Platform, place: &str) -> Result<String> {
    let index: ImageIndex = serde_json::from_slice(&manifest.bytes)
        .map_err(|cause| Error::source(format!("{place}: the image index is not one: {cause}")))?;
    Ok(select(index.manifests(), platform, place)?.digest().to_string())
}

/// The entry of an index that fits a platform best. An index with one entry that names no platform
/// has nothing to choose from. Errors list what there is.
pub fn select<'a>(
    entries: &'a [OciDescriptor],
    wanted: &Platform,
    place: &str,
) -> Result<&'a OciDescriptor> {
    if let [only] = entries
        && only.platform().is_none()
    {
        return Ok(only);
    }
    let platforms = entries.iter().filter_map(|entry| {
        let platform = entry.platform().as_ref()?;
        Some((
            entry,
            Platform {
                os: platform.os().to_string(),
                architecture: platform.architecture().to_string(),
                variant: platform.variant().clone().filter(|variant| !variant.is_empty()),
            },
        ))
    });
    // Attestations stand in an index under the platform unknown/unknown.
    let platforms: Vec<_> = platforms.filter(|(_, platform)| platform.os != "unknown").collect();
    let fits =
        platforms.iter().filter_map(|(entry, platform)| Some((platform.fit(wanted)?, *entry)));
    // The first of equals, as containerd and Docker choose.
    let best = fits.rev().max_by_key(|(fit, _)| *fit);
    best.map(|(_, entry)| entry).ok_or_else(|| {
        let mut there: Vec<String> =
            platforms.iter().map(|(_, platform)| platform.to_string()).collect();
        there.dedup();
        let error = Error::new(Kind::NotFound, format!("{place}: holds no image for {wanted}"));
        if there.is_empty() {
            return error.hint("its index lists no image that says what it is for");
        }
        error.hint(format!(
            "it is there for: {}; choose with --os, --architecture and --variant",
            there.join(", ")
        ))
    })
}

async fn image(
    repository: &Repository,
    manifest: &Manifest,
    reference: &Reference,
    place: &str,
) -> Result<Image> {
    let parsed = serde_json::from_slice::<ImageManifest>(&manifest.bytes).map_err(|cause| {
        Error::source(format!("{place}: the manifest is not one of an image: {cause}"))
    })?;
    if parsed.layers().len() > MOST_LAYERS {
        let what = format!("{place}: number of layers");
        return Err(Error::mismatch(what, format!("at most {MOST_LAYERS}"), parsed.layers().len()));
    }
    let stored = parsed.layers().iter().map(|layer| descriptor(layer, place));
    let stored = stored.collect::<Result<Vec<_>>>()?;
    let config_descriptor = descriptor(parsed.config(), place)?;
    let bytes = repository.blob_bytes(&config_descriptor, config::LARGEST_CONFIG).await?;
    let config = config::parse(&bytes, place)?;
    if stored.len() != config.diff_ids.len() {
        return Err(Error::mismatch(
            format!("{place}: number of layers in the manifest"),
            format!("{} (the config's diff-ids)", config.diff_ids.len()),
            stored.len(),
        ));
    }
    let count = stored.len();
    let layers =
        stored.into_iter().zip(config.diff_ids).enumerate().map(|(index, (stored, diff_id))| {
            Layer {
                diff_id,
                digest: Some(stored.digest),
                size: stored.size,
                media_type: stored.media_type,
                content: Content::Registry(repository.clone()),
                place: format!(
                    "{place}: layer {} of {count} ({})",
                    index + 1,
                    stored.digest.short()
                ),
            }
        });
    Ok(Image {
        name: reference.name(),
        platform: config.platform,
        id: Digest::of(&bytes),
        layers: layers.collect(),
        config: bytes,
        manifest: Some(manifest.clone()),
        config_note: None,
    })
}

fn descriptor(raw: &OciDescriptor, place: &str) -> Result<Descriptor> {
    Ok(Descriptor {
        media_type: raw.media_type().to_string(),
        digest: raw.digest().to_string().parse().map_err(|error: Error| error.within(place))?,
        size: raw.size(),
    })
}

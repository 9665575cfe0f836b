//! An OCI image layout (image specification, "Image Layout") inside a tar: `index.json` and
//! `blobs/`.

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};

use super::members::{Members, compression};
use super::registry::select;
use crate::error::{Error, Result};
use crate::image::{Digest, Image, ImageName, Layer, Platform, config};
use crate::registry::Manifest;
use crate::registry::manifest::LARGEST_MANIFEST;

/// Where the images are listed.
pub const INDEX: &str = "index.json";

/// What names an image in an index: buildkit writes the full name, others a tag.
const NAME_KEYS: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/// An index of indexes is a multi-platform image; deeper is an attack.
const DEEPEST: usize = 3;

/// All images of a layout. Entries of one name for several platforms are one image: the one for
/// the platform that was asked for.
pub fn images(members: &dyn Members, platform: &Platform) -> Result<Vec<Image>> {
    let place = members.place();
    let bytes = members.read(INDEX, LARGEST_MANIFEST as u64)?;
    let bytes = bytes.ok_or_else(|| Error::source(format!("{place}: holds no {INDEX}")))?;
    let index = parse_index(&bytes, place)?;
    let mut groups: Vec<(ImageName, Vec<Descriptor>)> = Vec::new();
    for descriptor in index.manifests() {
        let name = name(descriptor);
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, group)) => group.push(descriptor.clone()),
            None => groups.push((name, vec![descriptor.clone()])),
        }
    }
    if groups.is_empty() {
        return Err(Error::source(format!("{place}: {INDEX} lists no image")));
    }
    (groups.into_iter())
        .map(|(name, group)| {
            let chosen = choose(&group, platform, place)?;
            image(members, chosen, name, platform, DEEPEST)
        })
        .collect()
}

/// The entry for a platform. Where an archive holds just one, that is meant, whatever it is for.
fn choose<'a>(
    entries: &'a [Descriptor],
    platform: &Platform,
    place: &str,
) -> Result<&'a Descriptor> {
    match entries {
        [only] => Ok(only),
        _ => select(entries, platform, place),
    }
}

fn image(
    members: &dyn Members,
    descriptor: &Descriptor,
    name: ImageName,
    platform: &Platform,
    depth: usize,
) -> Result<Image> {
    let place = members.place();
    let bytes = blob(members, descriptor, "manifest", LARGEST_MANIFEST as u64)?;
    let is_index = matches!(descriptor.media_type(), MediaType::ImageIndex)
        || descriptor.media_type().to_string().ends_with("manifest.list.v2+json");
    if is_index {
        if depth == 0 {
            return Err(Error::source(format!("{place}: its indexes are nested too deeply")));
        }
        let index = parse_index(&bytes, place)?;
        let chosen = choose(index.manifests(), platform, place)?;
        return image(members, chosen, name, platform, depth - 1);
    }
    let manifest = serde_json::from_slice::<ImageManifest>(&bytes).map_err(|cause| {
        Error::source(format!("{place}: the manifest {} is not one: {cause}", descriptor.digest()))
    })?;
    let config_bytes = blob(members, manifest.config(), "config", config::LARGEST_CONFIG)?;
    let parsed = config::parse(&config_bytes, place)?;
    let stored = manifest.layers();
    if stored.len() != parsed.diff_ids.len() {
        return Err(Error::mismatch(
            format!("{place}: number of layers in the manifest"),
            format!("{} (the config's diff-ids)", parsed.diff_ids.len()),
            stored.len(),
        ));
    }
    let layers =
        stored.iter().zip(&parsed.diff_ids).enumerate().map(|(index, (stored, diff_id))| {
            let path = path(stored, place)?;
            let section = members.require(&path, "layer")?;
            let place =
                format!("{place}: layer {} of {} ('{path}')", index + 1, manifest.layers().len());
            if section.size != stored.size() {
                return Err(Error::mismatch(
                    format!("{place}: size in bytes"),
                    stored.size(),
                    section.size,
                ));
            }
            let digest = digest(stored, &place)?;
            let compression = compression(&section, &place)?;
            Ok(Layer::in_file(section, *diff_id, Some(digest), compression, place))
        });
    Ok(Image {
        name,
        platform: parsed.platform,
        id: Digest::of(&config_bytes),
        layers: layers.collect::<Result<_>>()?,
        config: config_bytes,
        manifest: Some(Manifest {
            digest: Digest::of(&bytes),
            media_type: descriptor.media_type().to_string(),
            bytes,
        }),
        config_note: None,
    })
}

/// A small blob, checked against its descriptor.
fn blob(
    members: &dyn Members,
    descriptor: &Descriptor,
    what: &str,
    limit: u64,
) -> Result<bytes::Bytes> {
    let place = members.place();
    let bytes = members.require_bytes(&path(descriptor, place)?, what, limit)?;
    let (expected, found) = (digest(descriptor, place)?, Digest::of(&bytes));
    if expected != found {
        return Err(Error::mismatch(format!("{place}: digest of the {what}"), expected, found));
    }
    Ok(bytes)
}

fn path(descriptor: &Descriptor, place: &str) -> Result<String> {
    Ok(format!("blobs/sha256/{}", digest(descriptor, place)?.hex()))
}

fn digest(descriptor: &Descriptor, place: &str) -> Result<Digest> {
    descriptor.digest().to_string().parse().map_err(|error: Error| error.within(place))
}

fn parse_index(bytes: &[u8], place: &str) -> Result<ImageIndex> {
    serde_json::from_slice(bytes)
        .map_err(|cause| Error::source(format!("{place}: an image index is not one: {cause}")))
}

fn name(descriptor: &Descriptor) -> ImageName {
    let annotations = descriptor.annotations().as_ref();
    let named = NAME_KEYS.iter().find_map(|key| annotations?.get(*key));
    let unnamed = ImageName { repository: "unknown".to_owned(), tag: None };
    match named {
        None => unnamed,
        // A name with a slash or a colon is a full one; anything else is a tag.
        Some(name) if name.contains(['/', ':']) => ImageName::parse(name).unwrap_or(unnamed),
        Some(tag) if crate::image::name::is_tag(tag) => {
            ImageName { tag: Some(tag.clone()), ..unnamed }
        }
        Some(_) => unnamed,
    }
}

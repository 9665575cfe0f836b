//! A source that keeps things by their digest - a repository of a registry, an OCI image layout -
//! and the images in it.
//!
//! What it refuses: manifests and configs that are not what was promised, and images whose config
//! and manifest do not agree.

use bytes::Bytes;
use oci_spec::image::{ImageIndex, ImageManifest};

use crate::error::{Error, Result};
use crate::image::{Descriptor, Digest, Image, ImageName, Layer, MOST_LAYERS, Platform, config};
use crate::registry::Manifest;

/// A source that keeps things by their digest.
pub trait Shelf {
    /// How errors call it.
    fn place(&self) -> &str;

    /// A manifest or index, its bytes compared with what was promised.
    fn manifest(&self, what: &Descriptor) -> Result<Manifest>;

    /// A small blob, its bytes compared with what was promised.
    fn blob(&self, what: &Descriptor, called: &str, limit: u64) -> Result<Bytes>;

    /// A layer that holds what `diff_id` says. `called` is how errors call it: `layer 3 of 7`.
    fn layer(&self, what: Descriptor, diff_id: Digest, called: &str) -> Result<Layer>;
}

/// The image of a manifest.
pub fn image(shelf: &dyn Shelf, manifest: &Manifest, name: ImageName) -> Result<Image> {
    let place = shelf.place();
    let parsed = parse(manifest, place)?;
    let bytes = config_bytes(shelf, &parsed)?;
    let config = config::parse(&bytes, place)?;
    let stored = parsed.layers();
    if stored.len() != config.diff_ids.len() {
        return Err(Error::mismatch(
            format!("{place}: number of layers in the manifest"),
            format!("{} (the config's diff-ids)", config.diff_ids.len()),
            stored.len(),
        ));
    }
    let layers =
        stored.iter().zip(config.diff_ids).enumerate().map(|(index, (stored, diff_id))| {
            let stored = Descriptor::promised(stored, place)?;
            let called = format!("layer {} of {}", index + 1, parsed.layers().len());
            shelf.layer(stored, diff_id, &called)
        });
    Ok(Image {
        name,
        platform: config.platform,
        id: Digest::of(&bytes),
        layers: layers.collect::<Result<_>>()?,
        config: bytes,
        manifest: Some(manifest.clone()),
        config_note: None,
    })
}

fn config_bytes(shelf: &dyn Shelf, manifest: &ImageManifest) -> Result<Bytes> {
    let what = Descriptor::promised(manifest.config(), shelf.place())?;
    shelf.blob(&what, "config", config::LARGEST_CONFIG)
}

fn parse(manifest: &Manifest, place: &str) -> Result<ImageManifest> {
    let parsed = serde_json::from_slice::<ImageManifest>(&manifest.bytes).map_err(|cause| {
        let digest = manifest.digest;
        Error::source(format!("{place}: the manifest {digest} is not one of an image: {cause}"))
    })?;
    if parsed.layers().len() > MOST_LAYERS {
        let what = format!("{place}: number of layers");
        return Err(Error::mismatch(what, format!("at most {MOST_LAYERS}"), parsed.layers().len()));
    }
    Ok(parsed)
}

/// The entries of an index.
pub fn parse_index(bytes: &[u8], place: &str) -> Result<ImageIndex> {
    serde_json::from_slice(bytes)
        .map_err(|cause| Error::source(format!("{place}: an image index is not one: {cause}")))
}

/// The one image that an index leads to, for a platform.
pub fn narrow(
    shelf: &dyn Shelf,
    mut manifest: Manifest,
    platform: &Platform,
    choose: Choose,
) -> Result<Manifest> {
    let place = shelf.place();
    // An index of indexes is legal; deeper is an attack.
    for _ in 0..DEEPEST {
        if !manifest.is_index() {
            return Ok(manifest);
        }
        let index = parse_index(&manifest.bytes, place)?;
        let chosen = choose(index.manifests(), platform, place)?;
        manifest = shelf.manifest(&Descriptor::promised(chosen, place)?)?;
    }
    match manifest.is_index() {
        true => Err(Error::source(format!("{place}: its indexes are nested too deeply"))),
        false => Ok(manifest),
    }
}

/// Finds the entry of an index for a platform.
pub type Choose = for<'a> fn(
    &'a [oci_spec::image::Descriptor],
    &Platform,
    &str,
) -> Result<&'a oci_spec::image::Descriptor>;

/// How deep indexes may be nested.
pub const DEEPEST: usize = 3;

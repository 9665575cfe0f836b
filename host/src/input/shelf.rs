//! A source that keeps things by their digest - a repository of a registry, an OCI image layout -
//! and the images in it.
//!
//! What it refuses: manifests and configs that are not what was promised, and images whose config
//! and manifest do not agree.

use std::collections::BTreeSet;

use bytes::Bytes;
use oci_spec::image::{Descriptor as OciDescriptor, ImageIndex, ImageManifest};

use crate::error::{Error, Kind, Result};
use crate::image::{
    Descriptor, Digest, Family, Image, ImageName, Index, Layer, MOST_LAYERS, Manifest, Member,
    Platform, Whole, config, reading,
};

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

/// What a manifest says. Errors when it is none of an image, or lists more layers than those of one.
pub fn parse(manifest: &Manifest, place: &str) -> Result<ImageManifest> {
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

/// The entries of an index. Errors when it is none, or can be read in two ways.
pub fn parse_index(bytes: &[u8], place: &str) -> Result<ImageIndex> {
    let index = serde_json::from_slice(bytes)
        .map_err(|cause| Error::source(format!("{place}: an image index is not one: {cause}")))?;
    reading::manifest(bytes).map_err(|why| reading::refused(place, "the image index", &why))?;
    Ok(index)
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
pub type Choose = for<'a> fn(&'a [OciDescriptor], &Platform, &str) -> Result<&'a OciDescriptor>;

/// How deep indexes may be nested.
pub const DEEPEST: usize = 3;

/// Docker Hub's largest indexes list some thirty platforms and as many attestations.
pub const MOST_MANIFESTS: usize = 1_000;

/// Manifests and configs of one index, in memory while it is moved. Sixty of each have a megabyte.
pub const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// What a manifest stands for, with every platform of it.
pub fn whole(shelf: &dyn Shelf, root: Manifest, name: ImageName) -> Result<Whole> {
    if !root.is_index() {
        return Ok(Whole::Image(Box::new(image(shelf, &root, name)?)));
    }
    let family = Family { name, members: Vec::new(), indexes: Vec::new() };
    let mut gathering = Gathering { shelf, family, seen: BTreeSet::from([root.digest]), bytes: 0 };
    gathering.index(root, DEEPEST)?;
    Ok(Whole::Family(gathering.family))
}

struct Gathering<'a> {
    shelf: &'a dyn Shelf,
    family: Family,
    seen: BTreeSet<Digest>,
    bytes: u64,
}

impl Gathering<'_> {
    fn index(&mut self, manifest: Manifest, depth: usize) -> Result<()> {
        let place = self.shelf.place();
        if depth == 0 {
            return Err(Error::source(format!("{place}: its indexes are nested too deeply")));
        }
        let index = parse_index(&manifest.bytes, place)?;
        if index.manifests().len() > MOST_MANIFESTS {
            return Err(Error::mismatch(
                format!("{place}: number of manifests that an index lists"),
                format!("at most {MOST_MANIFESTS}"),
                index.manifests().len(),
            ));
        }
        let mut children = Vec::with_capacity(index.manifests().len());
        for entry in index.manifests() {
            let what = Descriptor::promised(entry, place)?;
            children.push(what.digest);
            if what.digest == manifest.digest {
                return Err(Error::source(format!("{place}: an index lists itself")));
            }
            if self.seen.insert(what.digest) {
                self.child(entry, &what, depth)?;
            }
        }
        self.family.indexes.push(Index { manifest, children });
        Ok(())
    }

    fn child(&mut self, entry: &OciDescriptor, what: &Descriptor, depth: usize) -> Result<()> {
        let place = self.shelf.place();
        if self.seen.len() > MOST_MANIFESTS {
            return Err(Error::source(format!(
                "{place}: its indexes list more than {MOST_MANIFESTS} manifests"
            )));
        }
        let platform = entry.platform().as_ref().map(Platform::promised);
        let manifest = self.shelf.manifest(what).map_err(|error| {
            if error.kind() != Kind::NotFound {
                return error;
            }
            let whose = platform.as_ref().map_or(String::new(), |known| format!(" ({known})"));
            let message = format!(
                "{place}: the index lists {}{whose}, which the source does not have",
                what.digest
            );
            Error::new(Kind::NotFound, message)
                .hint("without --all-platforms, the platforms that are there can be moved")
        })?;
        if manifest.is_index() {
            self.count(manifest.bytes.len())?;
            return self.index(manifest, depth - 1);
        }
        let image = member(self.shelf, &manifest, self.family.name.clone(), platform.as_ref())?;
        self.count(manifest.bytes.len() + image.config.len())?;
        let platform = platform.as_ref().unwrap_or(&image.platform).to_string();
        self.family.members.push(Member { image, platform });
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<()> {
        self.bytes += bytes as u64;
        if self.bytes <= MOST_BYTES {
            return Ok(());
        }
        let what = format!("{}: size of all manifests and configs", self.shelf.place());
        Err(Error::mismatch(what, format!("at most {MOST_BYTES} bytes"), "more"))
    }
}

/// An image that an index lists, or an attestation or another artifact that stands beside images.
fn member(
    shelf: &dyn Shelf,
    manifest: &Manifest,
    name: ImageName,
    platform: Option<&Platform>,
) -> Result<Image> {
    let place = shelf.place();
    let parsed = parse(manifest, place)?;
    if is_image(&parsed) {
        return image(shelf, manifest, name);
    }
    let config = config_bytes(shelf, &parsed)?;
    let layers = parsed.layers().iter().enumerate().map(|(index, stored)| {
        let stored = Descriptor::promised(stored, place)?;
        let called = format!("layer {} of {}", index + 1, parsed.layers().len());
        let media_type = stored.media_type.clone();
        let layer = shelf.layer(stored.clone(), stored.digest, &called)?;
        Ok(Layer { opaque: true, media_type, ..layer })
    });
    let unknown = || "unknown".to_owned();
    Ok(Image {
        name,
        platform: platform.cloned().unwrap_or_else(|| Platform {
            os: unknown(),
            architecture: unknown(),
            variant: None,
        }),
        id: Digest::of(&config),
        layers: layers.collect::<Result<_>>()?,
        config,
        manifest: Some(manifest.clone()),
        config_note: None,
    })
}

/// Whether config and layers are those of an image, so that the one must promise the others. What
/// buildkit attests has an image's config, and layers of `application/vnd.in-toto+json`.
#[must_use]
pub fn is_image(manifest: &ImageManifest) -> bool {
    const CONFIGS: [&str; 2] = [
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    ];
    const LAYERS: [&str; 2] =
        ["application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs."];
    let is_layer = |layer: &OciDescriptor| {
        let media_type = layer.media_type().to_string();
        LAYERS.iter().any(|known| media_type.starts_with(known))
            && !media_type.ends_with("+encrypted")
    };
    let config = manifest.config().media_type().to_string();
    CONFIGS.contains(&config.as_str()) && manifest.layers().iter().all(is_layer)
}

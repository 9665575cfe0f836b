//! A source that keeps things by their digest - a repository of a registry, an OCI image layout -
//! and the images in it.
//!
//! What it refuses: manifests and configs that are not what was promised, and images whose config
//! and manifest do not agree.

use std::collections::BTreeMap;

use bytes::Bytes;
use oci_spec::image::{Descriptor as OciDescriptor, ImageIndex, ImageManifest};

use crate::error::{Error, Kind, Result};
use crate::image::artifact::{self, Promise};
use crate::image::{
    Content, Descriptor, Digest, Elsewhere, Family, Image, ImageName, Index, Layer, MOST_LAYERS,
    Manifest, Member, Platform, Whole, config, json, reading, types,
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

    /// Whether a blob is there. Asked of layers whose descriptor names URLs.
    fn has(&self, what: &Descriptor) -> Result<bool>;
}

/// Returns a layer that a manifest lists: from the shelf where that has it, and at its URLs where it
/// does not and the manifest names some.
fn layer(
    shelf: &dyn Shelf,
    listed: &OciDescriptor,
    diff_id: Digest,
    called: &str,
) -> Result<Layer> {
    let stored = Descriptor::promised(listed, shelf.place())?;
    let Some(elsewhere) = Elsewhere::of(listed) else {
        return shelf.layer(stored, diff_id, called);
    };
    if shelf.has(&stored)? {
        return shelf.layer(stored, diff_id, called);
    }
    Ok(Layer {
        place: format!(
            "{}: {called} ({}), stored at {}",
            shelf.place(),
            stored.digest.short(),
            elsewhere.host()
        ),
        diff_id,
        opaque: false,
        digest: Some(stored.digest),
        size: stored.size,
        media_type: stored.media_type,
        content: Content::Elsewhere(elsewhere),
    })
}

/// The image of a manifest, which an index lists for a platform.
pub fn image(
    shelf: &dyn Shelf,
    manifest: &Manifest,
    listed: Option<&Platform>,
    name: ImageName,
) -> Result<Image> {
    let place = shelf.place();
    let parsed = parse(manifest, place)?;
    let bytes = config_bytes(shelf, &parsed)?;
    let config = config::parse(&bytes, place)?;
    let stored = parsed.layers();
    check_number(stored, &config.diff_ids, place)?;
    let layers =
        stored.iter().zip(config.diff_ids).enumerate().map(|(index, (stored, diff_id))| {
            let called = format!("layer {} of {}", index + 1, parsed.layers().len());
            layer(shelf, stored, diff_id, &called)
        });
    // Some indexes mend what the configs say, others mix their images up.
    let note = listed.filter(|listed| config.platform.contradicts(listed)).map(|listed| {
        format!("is for {} by its config, and the index lists it for {listed}", config.platform)
    });
    // A config may leave out the variant.
    let variant = config.platform.variant.or_else(|| listed?.variant.clone());
    Ok(Image {
        name,
        platform: Platform { variant, ..config.platform },
        id: Digest::of(&bytes),
        layers: layers.collect::<Result<_>>()?,
        config: bytes,
        manifest: Some(manifest.clone()),
        note,
    })
}

/// A config and a manifest of one image list as many layers.
fn check_number(stored: &[OciDescriptor], diff_ids: &[Digest], place: &str) -> Result<()> {
    if stored.len() == diff_ids.len() {
        return Ok(());
    }
    Err(Error::mismatch(
        format!("{place}: number of layers in the manifest"),
        format!("{} (the config's diff-ids)", diff_ids.len()),
        stored.len(),
    ))
}

fn config_bytes(shelf: &dyn Shelf, manifest: &ImageManifest) -> Result<Bytes> {
    let what = Descriptor::promised(manifest.config(), shelf.place())?;
    shelf.blob(&what, "config", config::LARGEST_CONFIG)
}

/// What a manifest says. Errors when it is none of an image, or lists more layers than those of one.
pub fn parse(manifest: &Manifest, place: &str) -> Result<ImageManifest> {
    let parsed = json::parse::<ImageManifest>(&manifest.bytes).map_err(|cause| {
        let digest = manifest.digest;
        Error::source(format!("{place}: the manifest {digest} is not one of an image: {cause}"))
    })?;
    types::manifest(&manifest.bytes)
        .map_err(|wrong| wrong.refused(place, &format!("the manifest {}", manifest.digest)))?;
    if parsed.layers().len() > MOST_LAYERS {
        let what = format!("{place}: number of layers");
        return Err(Error::mismatch(what, format!("at most {MOST_LAYERS}"), parsed.layers().len()));
    }
    Ok(parsed)
}

/// The entries of an index. Errors when it is none, or can be read in two ways.
pub fn parse_index(bytes: &[u8], place: &str) -> Result<ImageIndex> {
    let index = json::parse(bytes)
        .map_err(|cause| Error::source(format!("{place}: an image index is not one: {cause}")))?;
    reading::manifest(bytes).map_err(|why| reading::refused(place, "the image index", &why))?;
    types::manifest(bytes).map_err(|wrong| wrong.refused(place, "the image index"))?;
    Ok(index)
}

/// The one image that a manifest or an index leads to, for a platform. `listed` is what the manifest is
/// for by the word of who names it.
pub fn narrow(
    shelf: &dyn Shelf,
    mut manifest: Manifest,
    mut listed: Option<Platform>,
    platform: &Platform,
    choose: Choose,
    name: ImageName,
) -> Result<Image> {
    let place = shelf.place();
    // An index of indexes is legal; deeper is an attack.
    for _ in 0..DEEPEST {
        if !manifest.is_index() {
            break;
        }
        let index = parse_index(&manifest.bytes, place)?;
        let chosen = choose(index.manifests(), platform, place)?;
        listed = chosen.platform().as_ref().map(Platform::promised);
        manifest = shelf.manifest(&Descriptor::promised(chosen, place)?)?;
    }
    match manifest.is_index() {
        true => Err(Error::source(format!("{place}: its indexes are nested too deeply"))),
        false => image(shelf, &manifest, listed.as_ref(), name),
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
        return Ok(Whole::Image(Box::new(image(shelf, &root, None, name)?)));
    }
    let family = Family { name, members: Vec::new(), indexes: Vec::new() };
    let mut gathering = Gathering {
        shelf,
        family,
        seen: BTreeMap::from([(root.digest, root.bytes.len() as u64)]),
        bytes: 0,
    };
    gathering.index(root, DEEPEST)?;
    Ok(Whole::Family(gathering.family))
}

struct Gathering<'a> {
    shelf: &'a dyn Shelf,
    family: Family,
    /// And the size that the first who lists it says.
    seen: BTreeMap<Digest, u64>,
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
            match self.seen.insert(what.digest, what.size) {
                None => self.child(entry, &what, depth)?,
                Some(size) if size == what.size => {}
                Some(size) => {
                    let of =
                        format!("{place}: size of {} in an index that lists it again", what.digest);
                    return Err(Error::mismatch(of, size, what.size));
                }
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
    if !artifact::is_artifact(&parsed) {
        return image(shelf, manifest, platform, name);
    }
    let config = config_bytes(shelf, &parsed)?;
    // It need not be an image's; where it is, it holds.
    let diff_ids = config::parse(&config, place).map(|config| config.diff_ids).unwrap_or_default();
    if !diff_ids.is_empty() {
        check_number(parsed.layers(), &diff_ids, place)?;
    }
    let layers = parsed.layers().iter().enumerate().map(|(index, listed)| {
        let stored = Descriptor::promised(listed, place)?;
        let called = format!("layer {} of {}", index + 1, parsed.layers().len());
        let media_type = stored.media_type.clone();
        let (diff_id, opaque) =
            match diff_ids.get(index).map(|diff_id| Promise::of(listed, *diff_id)) {
                Some(Promise::DiffId(diff_id)) => (diff_id, false),
                Some(Promise::Stored | Promise::Secret) | None => (stored.digest, true),
            };
        let layer = layer(shelf, listed, diff_id, &called)?;
        Ok(Layer { opaque, media_type, ..layer })
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
        note: None,
    })
}

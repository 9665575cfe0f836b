//! A source that keeps things by their digest - a repository of a registry, an OCI image layout -
//! and the images in it.
//!
//! What it refuses: manifests and configs that are not what was promised, and images whose config
//! and manifest do not agree.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::platforms::{Alone, Documents};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::artifact::{self, Promise};
use occystrap_base::oci::document::{IndexDocument, ManifestDocument, RawDescriptor};
use occystrap_base::oci::{
    Descriptor, Digest, ImageName, MOST_LAYERS, Manifest, Platform, config, json, reading, types,
};
use occystrap_layer::image::{Content, Family, Image, Index, Layer, Member, Whole};
use occystrap_net::web::Elsewhere;

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
    listed: &RawDescriptor,
    diff_id: Digest,
    called: &str,
) -> Result<Layer> {
    let stored = listed.promised(shelf.place())?;
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
    let contradicts = listed.filter(|listed| config.platform.contradicts(listed)).map(|listed| {
        format!("is for {} by its config, and the index lists it for {listed}", config.platform)
    });
    // A config may leave out the variant, and all of it.
    let platform = config.platform.or(listed.unwrap_or(&Platform::unknown()));
    let note = contradicts.or_else(|| platform.note());
    Ok(Image {
        name,
        platform,
        id: Digest::of(&bytes),
        layers: layers.collect::<Result<_>>()?,
        config: bytes,
        manifest: Some(manifest.clone()),
        note,
        artifact: None,
    })
}

/// A config and a manifest of one image list as many layers.
fn check_number(stored: &[RawDescriptor], diff_ids: &[Digest], place: &str) -> Result<()> {
    if stored.len() == diff_ids.len() {
        return Ok(());
    }
    Err(Error::mismatch(
        format!("{place}: number of layers in the manifest"),
        format!("{} (the config's diff-ids)", diff_ids.len()),
        stored.len(),
    ))
}

fn config_bytes(shelf: &dyn Shelf, manifest: &ManifestDocument) -> Result<Bytes> {
    let what = manifest.config(shelf.place())?.promised(shelf.place())?;
    shelf.blob(&what, "config", config::LARGEST_CONFIG)
}

/// What a manifest says. Errors when it is none of an image, or lists more layers than those of one.
pub fn parse(manifest: &Manifest, place: &str) -> Result<ManifestDocument> {
    let digest = manifest.digest;
    types::manifest(&manifest.bytes)
        .map_err(|wrong| wrong.refused(place, &format!("the manifest {digest}")))?;
    let parsed = json::parse::<ManifestDocument>(&manifest.bytes).map_err(|cause| {
        Error::source(format!("{place}: the manifest {digest} is not one of an image: {cause}"))
    })?;
    if parsed.layers().len() > MOST_LAYERS {
        let what = format!("{place}: number of layers");
        return Err(Error::mismatch(what, format!("at most {MOST_LAYERS}"), parsed.layers().len()));
    }
    Ok(parsed)
}

/// The entries of an index. Errors when it is none, or can be read in two ways.
pub fn parse_index(bytes: &[u8], place: &str) -> Result<IndexDocument> {
    reading::manifest(bytes).map_err(|why| reading::refused(place, "the image index", &why))?;
    types::manifest(bytes).map_err(|wrong| wrong.refused(place, "the image index"))?;
    json::parse(bytes)
        .map_err(|cause| Error::source(format!("{place}: an image index is not one: {cause}")))
}

/// The one image that a manifest or an index leads to, for a platform. `listed` is what the manifest is
/// for by the word of who names it.
pub fn narrow(
    shelf: &dyn Shelf,
    mut manifest: Manifest,
    mut listed: Option<Platform>,
    platform: &Platform,
    alone: Alone,
    name: ImageName,
) -> Result<Image> {
    let place = shelf.place();
    let (manifests, configs) = readers(shelf);
    let documents = Documents::new(place, &manifests, &configs);
    let mut note = None;
    // An index of indexes is legal; deeper is an attack.
    for _ in 0..DEEPEST {
        if !manifest.is_index() {
            break;
        }
        let index = parse_index(&manifest.bytes, place)?;
        let chosen = documents.choose(&index.manifests, platform, alone)?;
        listed = chosen.platform();
        note = listed.as_ref().is_none_or(|said| !said.is_whole()).then_some(BY_CONFIG);
        manifest = shelf.manifest(&chosen.promised(place)?)?;
    }
    match manifest.is_index() {
        true => Err(Error::source(format!("{place}: its indexes are nested too deeply"))),
        false => {
            let image = alone_or_listed(shelf, &manifest, listed.as_ref(), name)?;
            let note = image
                .note
                .clone()
                .or_else(|| note.map(|note| format!("is for {}{note}", image.platform)));
            Ok(Image { note, ..image })
        }
    }
}

/// What is said of an image whose index names no platform.
const BY_CONFIG: &str = " by its config: its index does not name the platform";

/// Returns the functions that read manifests and configs of a source.
pub fn readers<'a>(
    shelf: &'a dyn Shelf,
) -> (impl Fn(&Descriptor) -> Result<Manifest> + 'a, impl Fn(&Descriptor) -> Result<Bytes> + 'a) {
    (
        |what: &Descriptor| shelf.manifest(what),
        |what: &Descriptor| shelf.blob(what, "config", config::LARGEST_CONFIG),
    )
}

/// How deep indexes may be nested.
pub const DEEPEST: usize = 3;

/// Docker Hub's largest indexes list some thirty platforms and as many attestations.
pub const MOST_MANIFESTS: usize = 1_000;

/// Manifests and configs of one index, in memory while it is moved. Sixty of each have a megabyte.
pub const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// What a manifest stands for, with every platform of it.
pub fn whole(shelf: &dyn Shelf, root: Manifest, name: ImageName) -> Result<Whole> {
    if !root.is_index() {
        return Ok(Whole::Image(Box::new(alone_or_listed(shelf, &root, None, name)?)));
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
        if index.manifests.len() > MOST_MANIFESTS {
            return Err(Error::mismatch(
                format!("{place}: number of manifests that an index lists"),
                format!("at most {MOST_MANIFESTS}"),
                index.manifests.len(),
            ));
        }
        let mut children = Vec::with_capacity(index.manifests.len());
        for entry in &index.manifests {
            let what = entry.promised(place)?;
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

    fn child(&mut self, entry: &RawDescriptor, what: &Descriptor, depth: usize) -> Result<()> {
        let place = self.shelf.place();
        if self.seen.len() > MOST_MANIFESTS {
            return Err(Error::source(format!(
                "{place}: its indexes list more than {MOST_MANIFESTS} manifests"
            )));
        }
        let platform = entry.platform();
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
        let platform = platform.as_ref().unwrap_or(&image.platform);
        // Reports call one that nothing is known of by its digest.
        let platform = match platform.is_unsaid() {
            true => manifest.digest.short(),
            false => platform.to_string(),
        };
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

/// An image, or an artifact, that a name or one entry of an index leads to. Where the media types say nothing, the config
/// tells that it is an image.
fn alone_or_listed(
    shelf: &dyn Shelf,
    manifest: &Manifest,
    platform: Option<&Platform>,
    name: ImageName,
) -> Result<Image> {
    let parsed = parse(manifest, shelf.place())?;
    if artifact::is_artifact(&parsed)
        && !artifact::is_image_by_config(&parsed, &config_bytes(shelf, &parsed)?)
    {
        return member(shelf, manifest, name, platform);
    }
    image(shelf, manifest, platform, name)
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
        let stored = listed.promised(place)?;
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
    Ok(Image {
        name,
        platform: platform.cloned().unwrap_or_else(Platform::unknown),
        id: Digest::of(&config),
        layers: layers.collect::<Result<_>>()?,
        config,
        manifest: Some(manifest.clone()),
        note: None,
        artifact: Some(artifact::kind(&parsed)),
    })
}

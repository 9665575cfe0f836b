//! From a manifest or an index in a [`ContentStore`] to images: one for a platform, or all of them.
//!
//! What it refuses: images whose config and manifest do not agree, indexes that are nested too deeply, and more
//! manifests than the limits of the store's module.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::content_store::{ContentStore, DEEPEST, MOST_BYTES, MOST_MANIFESTS, parse, parse_index};
use super::members::compression;
use super::platforms::{Alone, PlatformChooser};
use occystrap_base::error::{Error, FaultOrigin, Kind, Result};
use occystrap_base::oci::artifact::{self, Promise};
use occystrap_base::oci::document::{ManifestDocument, RawDescriptor};
use occystrap_base::oci::layout::blob;
use occystrap_base::oci::{Descriptor, Digest, ImageName, Manifest, Platform, config};
use occystrap_layer::image::{Content, Family, Image, ImageIndex, Layer, ListedImage, Whole};
use occystrap_net::web::Elsewhere;

/// Returns a layer that a manifest lists: in the store where that has it, else at the URLs that the manifest names.
/// Checks that a blob of 0 bytes has their digest: it is never asked for.
fn check_nothing(blob: &Descriptor, place: &str) -> Result<()> {
    let nothing = Digest::of(b"");
    match blob.size == 0 && blob.digest != nothing {
        true => Err(Error::mismatch(
            format!("{place}: digest of a blob of 0 bytes"),
            nothing,
            blob.digest,
        )
        .hint("the manifest states a wrong size: build the image again")),
        false => Ok(()),
    }
}

fn layer(
    store: &dyn ContentStore,
    listed: &RawDescriptor,
    diff_id: Digest,
    called: &str,
) -> Result<Layer> {
    let stored = listed.promised(store.place())?;
    check_nothing(&stored, &format!("{}: {called}", store.place()))?;
    let Some(elsewhere) = Elsewhere::of(listed) else {
        return stored_layer(store, stored, diff_id, called);
    };
    if store.has(&stored)? {
        return stored_layer(store, stored, diff_id, called);
    }
    Ok(Layer {
        place: format!(
            "{}: {called} ({}), stored at {}",
            store.place(),
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

/// Returns where a layer of the store is. Errors where its size in a file is not the one in the descriptor.
fn stored_layer(
    store: &dyn ContentStore,
    what: Descriptor,
    diff_id: Digest,
    called: &str,
) -> Result<Layer> {
    let section = match store.content(what.digest)? {
        Content::File(section) => section,
        content => {
            return Ok(Layer {
                place: format!("{}: {called} ({})", store.place(), what.digest.short()),
                diff_id,
                opaque: false,
                digest: Some(what.digest),
                size: what.size,
                media_type: what.media_type,
                content,
            });
        }
    };
    let place = format!("{}: {called} ('{}')", store.place(), blob(what.digest));
    if section.size != what.size {
        let what_of = format!("{place}: size in bytes");
        return Err(Error::mismatch(what_of, what.size, section.size));
    }
    let compression = compression(&section, &place)?;
    Ok(Layer::in_file(section, diff_id, Some(what.digest), compression, place))
}

/// Returns the image of a manifest. `listed` is the platform for which an index lists it.
pub fn image(
    store: &dyn ContentStore,
    manifest: &Manifest,
    listed: Option<&Platform>,
    name: ImageName,
) -> Result<Image> {
    let place = store.place();
    let parsed = parse(manifest, place)?;
    let bytes = config_bytes(store, &parsed)?;
    let config = config::parse(&bytes, place)?;
    let stored = parsed.layers();
    check_number(stored, &config.diff_ids, place)?;
    let layers =
        stored.iter().zip(config.diff_ids).enumerate().map(|(index, (stored, diff_id))| {
            let called = format!("layer {} of {}", index + 1, parsed.layers().len());
            layer(store, stored, diff_id, &called)
        });
    // Some indexes correct the platform of a config, others list the wrong image.
    let contradicts = listed.filter(|listed| config.platform.contradicts(listed)).map(|listed| {
        format!("is for {} by its config, and the index lists it for {listed}", config.platform)
    });
    // A config may leave out the variant, or the whole platform.
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

/// Checks that manifest and config list the same number of layers.
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

fn config_bytes(store: &dyn ContentStore, manifest: &ManifestDocument) -> Result<Bytes> {
    let what = manifest.config(store.place())?.promised(store.place())?;
    store.blob(&what, "config", config::LARGEST_CONFIG)
}

/// Returns the one image for a platform to which a manifest or an index leads. `listed` is the platform that the list
/// which names the manifest gives it.
pub fn narrow(
    store: &dyn ContentStore,
    mut manifest: Manifest,
    mut listed: Option<Platform>,
    platform: &Platform,
    alone: Alone,
    name: ImageName,
) -> Result<Image> {
    let place = store.place();
    let platforms = PlatformChooser::new(store);
    let mut note = None;
    for _ in 0..DEEPEST {
        if !manifest.is_index() {
            break;
        }
        let index = parse_index(&manifest.bytes, place)?;
        let chosen = platforms.choose(&index.manifests, platform, alone)?;
        listed = chosen.platform();
        note = listed.as_ref().is_none_or(|said| !said.is_whole()).then_some(BY_CONFIG);
        manifest = store.manifest(&chosen.promised(place)?)?;
    }
    match manifest.is_index() {
        true => Err(Error::source(format!("{place}: its indexes are nested too deeply"))),
        false => {
            let image = alone_or_listed(store, &manifest, listed.as_ref(), name)?;
            let note = image
                .note
                .clone()
                .or_else(|| note.map(|note| format!("is for {}{note}", image.platform)));
            Ok(Image { note, ..image })
        }
    }
}

/// Note for an image whose index names no platform.
const BY_CONFIG: &str = " by its config: its index does not name the platform";

/// Returns what a manifest or an index stands for, with every platform.
pub fn whole(store: &dyn ContentStore, root: Manifest, name: ImageName) -> Result<Whole> {
    if !root.is_index() {
        return Ok(Whole::Image(Box::new(alone_or_listed(store, &root, None, name)?)));
    }
    collect(store, root, name, None)
}

/// Returns what a manifest or an index stands for, with these platforms alone, and the attestations about their images.
/// Errors for a platform that is not there.
pub fn some_platforms(
    store: &dyn ContentStore,
    root: Manifest,
    wanted: &[Platform],
    name: ImageName,
) -> Result<Whole> {
    if root.is_index() {
        let mut taken = BTreeSet::new();
        for platform in wanted {
            lead(store, &root, platform, &mut taken)?;
        }
        return collect(store, root, name, Some(taken));
    }
    let image = alone_or_listed(store, &root, None, name)?;
    match wanted.iter().find(|platform| image.platform.fit(platform).is_none()) {
        None => Ok(Whole::Image(Box::new(image))),
        Some(absent) => {
            let message = format!("{}: holds no image for {absent}", store.place());
            Err(Error::new(Kind::NotFound, message)
                .with_origin(FaultOrigin::NoSuchPlatform)
                .hint(format!("it is there for: {}", image.platform)))
        }
    }
}

/// Returns what a manifest or an index stands for, with these manifests alone.
pub fn with_manifests(
    store: &dyn ContentStore,
    root: Manifest,
    taken: BTreeSet<Digest>,
    name: ImageName,
) -> Result<Whole> {
    match root.is_index() {
        true => collect(store, root, name, Some(taken)),
        false => whole(store, root, name),
    }
}

/// Adds the digests of what leads from an index to the image for a platform, the image included.
fn lead(
    store: &dyn ContentStore,
    root: &Manifest,
    platform: &Platform,
    taken: &mut BTreeSet<Digest>,
) -> Result<()> {
    let place = store.place();
    let platforms = PlatformChooser::new(store);
    let mut manifest = root.clone();
    for _ in 0..DEEPEST {
        if !manifest.is_index() {
            return Ok(());
        }
        let index = parse_index(&manifest.bytes, place)?;
        let chosen = platforms.choose(&index.manifests, platform, Alone::IfUnsaid)?;
        let what = chosen.promised(place)?;
        taken.insert(what.digest);
        manifest = store.manifest(&what)?;
    }
    match manifest.is_index() {
        true => Err(Error::source(format!("{place}: its indexes are nested too deeply"))),
        false => Ok(()),
    }
}

/// Collects everything that an index lists, or of it what is `taken`, and the attestations about that.
fn collect(
    store: &dyn ContentStore,
    root: Manifest,
    name: ImageName,
    taken: Option<BTreeSet<Digest>>,
) -> Result<Whole> {
    let left_out = BTreeSet::new();
    let family = Family { name, members: Vec::new(), indexes: Vec::new(), left_out };
    let mut collector = FamilyCollector {
        store,
        family,
        taken,
        seen: BTreeMap::from([(root.digest, root.bytes.len() as u64)]),
        bytes: 0,
    };
    collector.index(root, DEEPEST)?;
    Ok(Whole::Family(collector.family))
}

/// A collector of everything that an index lists.
struct FamilyCollector<'a> {
    store: &'a dyn ContentStore,
    family: Family,
    /// The digests of what is wanted; `None` for everything.
    taken: Option<BTreeSet<Digest>>,
    /// The digests that were listed, with the size in the first descriptor.
    seen: BTreeMap<Digest, u64>,
    /// Bytes of the manifests and configs so far.
    bytes: u64,
}

impl FamilyCollector<'_> {
    fn index(&mut self, manifest: Manifest, depth: usize) -> Result<()> {
        let place = self.store.place();
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
                None if !self.is_wanted(entry, what.digest) => {
                    self.family.left_out.insert(what.digest);
                }
                None => self.child(entry, &what, depth)?,
                Some(size) if size == what.size => {}
                Some(size) => {
                    let of =
                        format!("{place}: size of {} in an index that lists it again", what.digest);
                    return Err(Error::mismatch(of, size, what.size));
                }
            }
        }
        self.family.indexes.push(ImageIndex { manifest, children });
        Ok(())
    }

    fn is_wanted(&self, entry: &RawDescriptor, digest: Digest) -> bool {
        let Some(taken) = &self.taken else { return true };
        // buildkit, docs/attestations
        let about = entry.annotation("vnd.docker.reference.digest");
        let is_about_taken =
            || about.is_some_and(|of| of.parse().is_ok_and(|of| taken.contains(&of)));
        taken.contains(&digest) || entry.is_attestation() && is_about_taken()
    }

    fn child(&mut self, entry: &RawDescriptor, what: &Descriptor, depth: usize) -> Result<()> {
        let place = self.store.place();
        if self.seen.len() > MOST_MANIFESTS {
            return Err(Error::source(format!(
                "{place}: its indexes list more than {MOST_MANIFESTS} manifests"
            )));
        }
        let platform = entry.platform();
        let manifest = self.store.manifest(what).map_err(|error| {
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
        let image = member(self.store, &manifest, self.family.name.clone(), platform.as_ref())?;
        self.count(manifest.bytes.len() + image.config.len())?;
        let platform = platform.as_ref().unwrap_or(&image.platform);
        // Reports name an image of unknown platform by its digest.
        let platform = match platform.is_unknown() {
            true => manifest.digest.short(),
            false => platform.to_string(),
        };
        self.family.members.push(ListedImage { image, platform });
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<()> {
        self.bytes += bytes as u64;
        if self.bytes <= MOST_BYTES {
            return Ok(());
        }
        let what = format!("{}: size of all manifests and configs", self.store.place());
        Err(Error::mismatch(what, format!("at most {MOST_BYTES} bytes"), "more"))
    }
}

/// Returns the image or the artifact of a manifest. Where its media types do not say which of them it is, the config
/// does.
fn alone_or_listed(
    store: &dyn ContentStore,
    manifest: &Manifest,
    platform: Option<&Platform>,
    name: ImageName,
) -> Result<Image> {
    let parsed = parse(manifest, store.place())?;
    if artifact::is_artifact(&parsed)
        && !artifact::is_image_by_config(&parsed, &config_bytes(store, &parsed)?)
    {
        return member(store, manifest, name, platform);
    }
    image(store, manifest, platform, name)
}

/// Returns an image that an index lists, or an attestation or another artifact that is listed with images.
fn member(
    store: &dyn ContentStore,
    manifest: &Manifest,
    name: ImageName,
    platform: Option<&Platform>,
) -> Result<Image> {
    let place = store.place();
    let parsed = parse(manifest, place)?;
    if !artifact::is_artifact(&parsed) {
        return image(store, manifest, platform, name);
    }
    let config = config_bytes(store, &parsed)?;
    // The config of an artifact need not be that of an image. If it is, its diff-ids count.
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
        let layer = layer(store, listed, diff_id, &called)?;
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

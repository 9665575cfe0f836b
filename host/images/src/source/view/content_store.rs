//! Views of what is kept by its digest: a repository of a registry, an OCI image layout.

use bytes::Bytes;
use serde::Deserialize as _;
use serde_json::Value;

use super::{ConfigFile, FlawIn, IndexEntry, Listing, Promised, View, ViewKind, ViewedLayer};
use crate::source::content_store::{DEEPEST, Shelf, parse_index};
use crate::source::members::{Members, compression};
use crate::source::oci_layout;
use crate::source::platforms::{Alone, Documents};
use crate::source::registry::Published;
use occystrap_base::error::{Error, Result, Side};
use occystrap_base::oci::artifact;
use occystrap_base::oci::config::LARGEST_CONFIG;
use occystrap_base::oci::document::{ManifestDocument, RawDescriptor};
use occystrap_base::oci::layout::blob;
use occystrap_base::oci::{
    Compression, Descriptor, Digest, ImageName, MOST_LAYERS, Manifest, Platform, json,
};
use occystrap_layer::image::Content;
use occystrap_net::web::Elsewhere;

/// Where manifests, configs and layers are kept by their digest.
pub trait Look {
    /// How errors call it.
    fn place(&self) -> &str;

    /// How anybody else gets a manifest of it.
    fn reference(&self, _digest: Digest) -> Option<String> {
        None
    }

    /// A manifest or index, its bytes compared with what was promised.
    fn manifest(&self, what: &Descriptor) -> Result<Manifest>;

    /// The same, and why its readers refuse the answer that it came with.
    fn answered(&self, what: &Descriptor) -> Result<(Manifest, Option<Error>)> {
        self.manifest(what).map(|manifest| (manifest, None))
    }

    /// The same; one of another size or media type than was promised is read all the same, and that is a
    /// flaw of the `view`, as it is where there is none to read.
    fn seen(&self, what: &Descriptor, view: &mut View) -> Result<Option<Manifest>> {
        let error = match self.answered(what) {
            Ok((manifest, refused)) => {
                if let Some(error) = refused {
                    view.flaw(FlawIn::Served, error)?;
                }
                if let Err(error) = manifest.check_media_type(what, self.place()) {
                    view.flaw(FlawIn::Manifest, error)?;
                }
                return Ok(Some(manifest));
            }
            Err(error) => error,
        };
        let size = match error.difference() {
            Some((_, Side::Number(size))) => Some(*size),
            _ => None,
        };
        view.flaw(FlawIn::Manifest, error)?;
        Ok(size.and_then(|size| self.manifest(&Descriptor { size, ..what.clone() }).ok()))
    }

    /// The config's bytes, whatever they are where that can be told.
    fn config(&self, what: &Descriptor) -> Result<Bytes>;

    /// Size, compression and place of a layer. Nothing is fetched.
    fn layer(&self, what: &Promised, digest: Digest, kept: &mut ViewedLayer) -> Result<()>;
}

impl Look for Published {
    fn place(&self) -> &str {
        Shelf::place(self)
    }

    fn reference(&self, digest: Digest) -> Option<String> {
        Some(format!("{}@{digest}", Shelf::place(self)))
    }

    fn manifest(&self, what: &Descriptor) -> Result<Manifest> {
        self.sized_manifest(what)
    }

    fn answered(&self, what: &Descriptor) -> Result<(Manifest, Option<Error>)> {
        let fetched = self.fetched(what)?;
        let refused = self.repository().check_served(&what.digest.to_string(), &fetched).err();
        Ok((fetched.manifest, refused))
    }

    fn config(&self, what: &Descriptor) -> Result<Bytes> {
        self.blob(what, "config", LARGEST_CONFIG)
    }

    fn layer(&self, what: &Promised, _digest: Digest, kept: &mut ViewedLayer) -> Result<()> {
        kept.compression = what.media_type.as_deref().and_then(said_compression);
        kept.content = Some(Content::Registry(self.repository().clone()));
        Ok(())
    }
}

/// A directory or an archive that is an OCI image layout.
pub(super) struct Layout<'a>(pub(super) &'a dyn Members);

impl Look for Layout<'_> {
    fn place(&self) -> &str {
        self.0.place()
    }

    fn manifest(&self, what: &Descriptor) -> Result<Manifest> {
        oci_layout::manifest(self.0, what)
    }

    fn config(&self, what: &Descriptor) -> Result<Bytes> {
        self.0.require_bytes(&blob(what.digest), "config", LARGEST_CONFIG)
    }

    fn layer(&self, _what: &Promised, digest: Digest, kept: &mut ViewedLayer) -> Result<()> {
        let section = self.0.require(&blob(digest), "layer")?;
        kept.size = Some(section.size);
        kept.compression = Some(compression(&section, self.0.place())?);
        kept.content = Some(Content::File(section));
        Ok(())
    }
}

/// What a layer's media type says of its compression; `None` for what is no layer.
fn said_compression(media_type: &str) -> Option<Compression> {
    match media_type {
        one if one.ends_with("+gzip") || one.ends_with(".tar.gzip") => Some(Compression::Gzip),
        one if one.ends_with("+zstd") || one.ends_with(".tar.zstd") => Some(Compression::Zstd),
        one if one.ends_with("+xz") => Some(Compression::Xz),
        one if one.ends_with("+bzip2") => Some(Compression::Bzip2),
        one if one.ends_with(".tar") => Some(Compression::None),
        _ => None,
    }
}

/// All images of a layout, or those of one tag.
pub fn layout(members: &dyn Members, tag: Option<&str>, platform: &Platform) -> Result<Vec<View>> {
    let look = Layout(members);
    let flaws = oci_layout::flaws(members);
    let named = oci_layout::groups(oci_layout::entries(members, tag)?);
    let views = named.into_iter().map(|(name, group)| {
        let mut view = View::new(name, members.place());
        for error in &flaws {
            view.flaw(FlawIn::Layout, error.clone())?;
        }
        let (manifests, configs) = readers(&look);
        let documents = Documents::new(members.place(), &manifests, &configs);
        let chosen = documents.choose(&group, platform, Alone::Always);
        if group.len() > 1 {
            let digest = chosen.as_ref().ok().map(|one| one.digest().to_owned());
            let entries = group.iter().map(|entry| listed(entry, digest.as_deref())).collect();
            view.index = Some(Listing { manifest: None, entries });
        }
        let chosen = match chosen {
            Ok(chosen) => chosen,
            Err(error) => {
                view.flaw(FlawIn::Platform, error)?;
                return Ok(view);
            }
        };
        let root = match chosen.promised(members.place()) {
            Ok(what) => {
                let root = look.seen(&what, &mut view)?;
                layout_type(root.as_ref(), &what, members.place(), &mut view)?;
                root
            }
            Err(error) => {
                view.flaw(FlawIn::Manifest, error)?;
                None
            }
        };
        match root {
            Some(root) => descend(&look, root, view, platform, Alone::Always),
            None => Ok(view),
        }
    });
    views.collect()
}

/// Adds a flaw where the list of a layout gives a manifest another media type of the same kind than it has. One of
/// another kind was said when it was read.
pub(super) fn layout_type(
    root: Option<&Manifest>,
    what: &Descriptor,
    place: &str,
    view: &mut View,
) -> Result<()> {
    let Some(root) = root.filter(|root| root.check_media_type(what, place).is_ok()) else {
        return Ok(());
    };
    root.check_layout_type(what, place).or_else(|error| view.flaw(FlawIn::Manifest, error))
}

/// What a manifest or an index of a registry stands for.
pub fn view(
    shelf: &Published,
    root: Manifest,
    name: ImageName,
    platform: &Platform,
) -> Result<View> {
    let view = View::new(name, Look::place(shelf));
    descend(shelf, root, view, platform, Alone::IfUnsaid)
}

/// Returns the functions that read manifests and configs.
fn readers<'a>(
    look: &'a dyn Look,
) -> (impl Fn(&Descriptor) -> Result<Manifest> + 'a, impl Fn(&Descriptor) -> Result<Bytes> + 'a) {
    (|what: &Descriptor| look.manifest(what), |what: &Descriptor| look.config(what))
}

/// From an index to the image for a platform.
fn descend(
    look: &dyn Look,
    mut manifest: Manifest,
    mut view: View,
    platform: &Platform,
    alone: Alone,
) -> Result<View> {
    let (manifests, configs) = readers(look);
    let documents = Documents::new(look.place(), &manifests, &configs);
    view.reference = look.reference(manifest.digest);
    for depth in 0..=DEEPEST {
        if !manifest.is_index() {
            return image(look, manifest, view);
        }
        if depth == DEEPEST {
            break;
        }
        let index = match parse_index(&manifest.bytes, look.place()) {
            Ok(index) => index,
            Err(error) => {
                view.flaw(FlawIn::Index, error)?;
                return Ok(view);
            }
        };
        let chosen = documents.choose(&index.manifests, platform, alone);
        if view.index.is_none() {
            let digest = chosen.as_ref().ok().map(|entry| entry.digest().to_owned());
            let entries = index.manifests.iter().map(|entry| listed(entry, digest.as_deref()));
            let entries = entries.collect();
            view.index = Some(Listing { manifest: Some(manifest), entries });
        }
        let chosen = match chosen {
            Ok(chosen) => chosen,
            Err(error) => {
                view.flaw(FlawIn::Platform, error)?;
                return Ok(view);
            }
        };
        let chosen = match chosen.promised(look.place()) {
            Ok(what) => what,
            Err(error) => {
                view.flaw(FlawIn::Index, error)?;
                return Ok(view);
            }
        };
        manifest = match look.seen(&chosen, &mut view)? {
            Some(manifest) => manifest,
            None => return Ok(view),
        };
    }
    let error = Error::source(format!("{}: its indexes are nested too deeply", look.place()));
    view.flaw(FlawIn::Index, error)?;
    Ok(view)
}

/// An entry of an index. `chosen` is the digest of the one that the view is of.
pub(super) fn listed(entry: &RawDescriptor, chosen: Option<&str>) -> IndexEntry {
    /// Docker and buildkit say so what an attestation is about.
    const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";
    let digest = entry.digest().to_owned();
    IndexEntry {
        about: entry.annotation(REFERENCE_DIGEST).map(str::to_owned),
        attestation: entry.is_attestation(),
        platform: entry.platform(),
        chosen: chosen == Some(digest.as_str()),
        digest,
        size: entry.size(),
        media_type: entry.media_type().to_owned(),
    }
}

/// What a manifest says, and what is there of it.
pub(super) fn image(look: &dyn Look, manifest: Manifest, mut view: View) -> Result<View> {
    let document: Value = json::parse(&manifest.bytes).unwrap_or_default();
    view.reference = look.reference(manifest.digest);
    view.manifest = Some(manifest);
    let promised = Promised::of(&document["config"]);
    view.config = ConfigFile {
        called: promised.digest.map_or_else(String::new, |digest| digest.to_string()),
        promised: promised.clone(),
        ..ConfigFile::default()
    };
    if let Some(what) = promised.descriptor() {
        match look.config(&what) {
            // What it means is for its readers to know.
            Ok(bytes) if is_artifact(view.role, &document, &bytes) => {
                if view.role == ViewKind::Image {
                    view.role = ViewKind::Artifact;
                }
                view.config.bytes = Some(bytes);
            }
            Ok(bytes) => view.read_config(bytes),
            Err(error) => view.flaw(FlawIn::Config, error)?,
        }
    }
    let layers = document["layers"].as_array();
    for (index, layer) in layers.into_iter().flatten().take(MOST_LAYERS).enumerate() {
        let promised = Promised::of(layer);
        let mut kept = ViewedLayer {
            called: text_of(&layer["digest"]),
            promised: promised.clone(),
            size: None,
            compression: None,
            counted: None,
            content: None,
        };
        if let Some(digest) = promised.digest
            && let Err(error) = look.layer(&promised, digest, &mut kept)
            && promised.elsewhere.is_none()
        {
            view.flaw(FlawIn::Layer(index), error)?;
        }
        view.layers.push(kept);
    }
    Ok(view)
}

/// Returns whether a manifest is that of an artifact, by what led to it or by its media types.
fn is_artifact(role: ViewKind, manifest: &Value, config: &[u8]) -> bool {
    let parsed = ManifestDocument::deserialize(manifest).ok();
    let is_artifact = |parsed: &ManifestDocument| {
        artifact::is_artifact(parsed) && !artifact::is_image_by_config(parsed, config)
    };
    role.is_artifact() || parsed.is_some_and(|parsed| is_artifact(&parsed))
}

impl Promised {
    fn of(descriptor: &Value) -> Self {
        Self {
            media_type: descriptor["mediaType"].as_str().map(str::to_owned),
            digest: descriptor["digest"].as_str().and_then(|text| text.parse().ok()),
            size: descriptor["size"].as_u64(),
            elsewhere: Elsewhere::of_json(descriptor),
        }
    }

    /// Where all of it was promised.
    fn descriptor(&self) -> Option<Descriptor> {
        Some(Descriptor {
            media_type: self.media_type.clone().unwrap_or_default(),
            digest: self.digest?,
            size: self.size?,
        })
    }
}

/// A JSON string, or nothing.
#[must_use]
pub fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

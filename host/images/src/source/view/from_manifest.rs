//! Views of one platform of an image in a content store: a repository of a registry, an OCI image layout.

use serde::Deserialize as _;
use serde_json::Value;

use super::{ConfigFile, FlawIn, IndexEntry, Listing, Promised, View, ViewKind, ViewedLayer};
use crate::source::content_store::{ContentStore, DEEPEST, Lenient, StoredManifest, parse_index};
use crate::source::members::{ArchiveMembers, compression};
use crate::source::oci_layout::{self, LayoutStore};
use crate::source::platforms::{Alone, PlatformChooser};
use crate::source::registry::RepositoryStore;
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::artifact::{self, is_encrypted_type};
use occystrap_base::oci::config::LARGEST_CONFIG;
use occystrap_base::oci::document::{ManifestDocument, RawDescriptor};
use occystrap_base::oci::{
    Compression, Descriptor, Digest, ImageName, MOST_LAYERS, Manifest, Platform, json,
};
use occystrap_layer::image::Content;
use occystrap_net::web::Elsewhere;

/// Reads a manifest or an index for a view. Differences from its descriptor are flaws of the view. `None` where the
/// manifest cannot be read, or is an index instead of an image manifest or the reverse and the list counts.
pub(super) fn read_manifest(
    store: &dyn ContentStore,
    what: &Descriptor,
    view: &mut View,
) -> Result<Option<Manifest>> {
    let StoredManifest { manifest, refused } = match store.fetch(what) {
        Ok(stored) => stored,
        Err(error) => return view.flaw(FlawIn::Manifest, error).map(|()| None),
    };
    let other_type = manifest.check_media_type(what, store.place()).err();
    let is_read = other_type.is_none() || store.has_own_media_types();
    if let Err(error) = store.check_size(&manifest, what) {
        view.flaw(FlawIn::Manifest, error)?;
    } else {
        refused.map_or(Ok(()), |error| view.flaw(FlawIn::Served, error))?;
        other_type.map_or(Ok(()), |error| view.flaw(FlawIn::Manifest, error))?;
    }
    Ok(is_read.then_some(manifest))
}

/// Notes where a layer is, its compression, and its size where it is in a file. Nothing is fetched.
fn locate(
    store: &dyn ContentStore,
    what: &Promised,
    digest: Digest,
    layer: &mut ViewedLayer,
) -> Result<()> {
    let content = store.content(digest)?;
    if let Content::File(section) = &content {
        layer.size = Some(section.size);
        layer.compression = match what.media_type.as_deref().is_some_and(is_encrypted_type) {
            true => Some(ENCRYPTED),
            false => Some(compression(section, store.place())?),
        };
    } else {
        layer.compression = what.media_type.as_deref().and_then(said_compression);
    }
    layer.content = Some(content);
    Ok(())
}

/// Returns the compression that a layer's media type states; `None` for other media types.
fn said_compression(media_type: &str) -> Option<Compression> {
    match media_type {
        one if one.ends_with("+gzip") || one.ends_with(".tar.gzip") => Some(Compression::Gzip),
        one if one.ends_with("+zstd") || one.ends_with(".tar.zstd") => Some(Compression::Zstd),
        one if one.ends_with("+xz") => Some(Compression::Xz),
        one if one.ends_with("+bzip2") => Some(Compression::Bzip2),
        one if one.ends_with(".tar") => Some(Compression::None),
        one if is_encrypted_type(one) => Some(ENCRYPTED),
        _ => None,
    }
}

/// The form of an encrypted layer: its bytes show no compression.
const ENCRYPTED: Compression = Compression::Unsupported("encrypted");

/// Returns a view of each image of a layout, or of those of one tag.
pub fn layout(
    members: &dyn ArchiveMembers,
    tag: Option<&str>,
    platform: &Platform,
) -> Result<Vec<View>> {
    let store = LayoutStore(members);
    let flaws = oci_layout::flaws(members);
    let named = oci_layout::groups(oci_layout::entries(members, tag)?);
    let views = named.into_iter().map(|(name, group)| {
        let mut view = View::new(name, members.place());
        for error in &flaws {
            view.flaw(FlawIn::Layout, error.clone())?;
        }
        let lenient = Lenient(&store);
        let chosen = PlatformChooser::new(&lenient).choose(&group, platform, Alone::Always);
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
        match listed_manifest(&store, chosen, &mut view)? {
            Some(root) => descend(&store, root, view, platform, Alone::Always),
            None => Ok(view),
        }
    });
    views.collect()
}

/// Reads the manifest of an entry of a layout's index. Every problem of it or of the entry is recorded as a flaw.
pub(super) fn listed_manifest(
    store: &dyn ContentStore,
    entry: &RawDescriptor,
    view: &mut View,
) -> Result<Option<Manifest>> {
    match entry.promised(store.place()) {
        Ok(what) => {
            let manifest = read_manifest(store, &what, view)?;
            layout_type(manifest.as_ref(), &what, store.place(), view)?;
            Ok(manifest)
        }
        Err(error) => view.flaw(FlawIn::Manifest, error).map(|()| None),
    }
}

/// Adds a flaw where the list of a layout gives a manifest another media type of the same kind, for example Docker's
/// instead of OCI's. A type of another kind was reported when the manifest was read.
fn layout_type(
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

/// Returns the view of an image in a registry, for a platform.
pub fn view(
    store: &RepositoryStore,
    root: Manifest,
    name: ImageName,
    platform: &Platform,
) -> Result<View> {
    let view = View::new(name, store.place());
    descend(store, root, view, platform, Alone::IfUnsaid)
}

/// Follows indexes to the image for a platform, and returns its view.
fn descend(
    store: &dyn ContentStore,
    mut manifest: Manifest,
    mut view: View,
    platform: &Platform,
    alone: Alone,
) -> Result<View> {
    let lenient = Lenient(store);
    let platforms = PlatformChooser::new(&lenient);
    view.reference = store.reference(manifest.digest);
    for depth in 0..=DEEPEST {
        if !manifest.is_index() {
            return image(store, manifest, view);
        }
        if depth == DEEPEST {
            break;
        }
        let index = match parse_index(&manifest.bytes, store.place()) {
            Ok(index) => index,
            Err(error) => {
                view.flaw(FlawIn::Index, error)?;
                return Ok(view);
            }
        };
        let chosen = platforms.choose(&index.manifests, platform, alone);
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
        let chosen = match chosen.promised(store.place()) {
            Ok(what) => what,
            Err(error) => {
                view.flaw(FlawIn::Index, error)?;
                return Ok(view);
            }
        };
        manifest = match read_manifest(store, &chosen, &mut view)? {
            Some(manifest) => manifest,
            None => return Ok(view),
        };
    }
    let error = Error::source(format!("{}: its indexes are nested too deeply", store.place()));
    view.flaw(FlawIn::Index, error)?;
    Ok(view)
}

/// Returns an entry of an index for a view. `chosen` is the digest of the entry that the view shows.
pub(super) fn listed(entry: &RawDescriptor, chosen: Option<&str>) -> IndexEntry {
    /// The annotation with which Docker and buildkit name the subject of an attestation.
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

/// Adds to a view what a manifest says, and what the store has of it.
pub(super) fn image(store: &dyn ContentStore, manifest: Manifest, mut view: View) -> Result<View> {
    let document: Value = json::parse(&manifest.bytes).unwrap_or_default();
    view.reference = store.reference(manifest.digest);
    view.manifest = Some(manifest);
    let promised = Promised::of(&document["config"]);
    view.config = ConfigFile {
        called: promised.digest.map_or_else(String::new, |digest| digest.to_string()),
        promised: promised.clone(),
        ..ConfigFile::default()
    };
    if let Some(what) = promised.descriptor() {
        match Lenient(store).blob(&what, "config", LARGEST_CONFIG) {
            // The config of an artifact has a form that only its own readers know.
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
            && let Err(error) = locate(store, &promised, digest, &mut kept)
            && promised.elsewhere.is_none()
        {
            view.flaw(FlawIn::Layer(index), error)?;
        }
        view.layers.push(kept);
    }
    Ok(view)
}

/// Returns whether a manifest is that of an artifact, by the list that names it or by its media types.
fn is_artifact(role: ViewKind, manifest: &Value, config: &[u8]) -> bool {
    let parsed = ManifestDocument::deserialize(manifest).ok();
    let is_artifact = |parsed: &ManifestDocument| {
        artifact::is_artifact(parsed) && !artifact::is_image_by_config(parsed, config)
    };
    role.is_artifact() || parsed.is_some_and(|parsed| is_artifact(&parsed))
}

impl Promised {
    /// Reads a descriptor. Fields that make no sense are left out.
    fn of(descriptor: &Value) -> Self {
        Self {
            media_type: descriptor["mediaType"].as_str().map(str::to_owned),
            digest: descriptor["digest"].as_str().and_then(|text| text.parse().ok()),
            size: descriptor["size"].as_u64(),
            elsewhere: Elsewhere::of_json(descriptor),
        }
    }

    /// Returns the descriptor, if it has digest and size.
    fn descriptor(&self) -> Option<Descriptor> {
        Some(Descriptor {
            media_type: self.media_type.clone().unwrap_or_default(),
            digest: self.digest?,
            size: self.size?,
        })
    }
}

/// Returns a JSON string, or an empty one for other values.
#[must_use]
pub fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

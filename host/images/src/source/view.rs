//! Views of images for commands that report on an image and do not move it.
//!
//! [`Source::open`] refuses an image at the first error. A view reads everything that can be read, and lists the rest as
//! flaws. No layer is fetched. What it refuses: names that lead out of the source, and documents that are too large.

mod all_platforms;
mod docker_save;
mod engine_image;
mod engine_steps;
mod from_manifest;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use super::directory::Directory;
use super::members::ArchiveMembers;
use super::{Source, SourceKind, archive, choose, registry};
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::artifact::is_encrypted_type;
use occystrap_base::oci::document::ConfigDocument;
use occystrap_base::oci::json::Unreadable;
use occystrap_base::oci::layout::INDEX;
use occystrap_base::oci::layout::LIST;
use occystrap_base::oci::{Compression, Digest, ImageName, MOST_LAYERS, Manifest, Platform, json};
use occystrap_layer::image::Content;
use occystrap_net::context::Context;
use occystrap_net::registry::FetchedManifest;
use occystrap_net::web::Elsewhere;

pub use engine_image::export;
pub use engine_steps::EngineStep;
pub use from_manifest::text_of;

/// The kind of thing that a view shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ViewKind {
    /// An image, or something that should be one.
    Image,
    /// An index. What it lists has views of its own.
    Index,
    /// An attestation about an image.
    Attestation,
    /// Another artifact: a chart, a component, a signature and so on, with a name of its own.
    Artifact,
}

impl ViewKind {
    /// Returns whether config and layers have a form that only their own readers know.
    #[must_use]
    pub fn is_artifact(self) -> bool {
        matches!(self, Self::Attestation | Self::Artifact)
    }
}

/// A view of one image, as its source describes it.
pub struct View {
    /// The kind of the view.
    pub role: ViewKind,
    /// The name of the image.
    pub name: ImageName,
    /// The name of the source in errors.
    pub place: String,
    /// The reference by which clients get exactly this manifest, `HOST/NAME@DIGEST`, where the source is a registry.
    pub reference: Option<String>,
    /// The index that led to the image, if there was one: the whole index, or only the entry where the other entries
    /// have views of their own. In the view of an index, its list.
    pub index: Option<Listing>,
    /// The manifest, if the source has OCI or Docker manifests.
    pub manifest: Option<Manifest>,
    /// The image config.
    pub config: ConfigFile,
    /// The layers, lowest first; no more than [`MOST_LAYERS`].
    pub layers: Vec<ViewedLayer>,
    /// The parts that could not be read.
    pub flaws: Vec<ViewFlaw>,
    /// Whether an engine described the image, so that no part of the image itself was read.
    pub by_engine: bool,
    /// The steps of an engine's history, first to last; empty for other sources.
    pub engine_steps: Vec<EngineStep>,
    /// The answer of a registry to the name that the user gave, in the first view.
    pub root: Option<FetchedManifest>,
}

/// An index of several platforms.
pub struct Listing {
    /// The index itself; `None` where a layout lists one name for several platforms.
    pub manifest: Option<Manifest>,
    /// The entries.
    pub entries: Vec<IndexEntry>,
}

/// An entry of an index.
#[derive(Clone)]
pub struct IndexEntry {
    /// The platform; `None` where the index does not state it. In the view of an attestation, the platform of its
    /// image.
    pub platform: Option<Platform>,
    /// Digest of the manifest.
    pub digest: String,
    /// Size of the manifest, in bytes.
    pub size: u64,
    /// Media type of the manifest.
    pub media_type: String,
    /// Whether this is an attestation and not an image (buildkit: platform `unknown/unknown`).
    pub attestation: bool,
    /// Digest of the manifest that an attestation names as its subject.
    pub about: Option<String>,
    /// Whether the view shows this entry; in the view of an index, whether the entry has a view.
    pub chosen: bool,
}

/// The valid fields of a blob's descriptor.
#[derive(Default, Clone)]
pub struct Promised {
    /// Media type.
    pub media_type: Option<String>,
    /// Digest.
    pub digest: Option<Digest>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// The URLs of the descriptor.
    pub elsewhere: Option<Elsewhere>,
}

/// An image config.
#[derive(Default)]
pub struct ConfigFile {
    /// The key in the source: a digest or a file name.
    pub called: String,
    /// The descriptor.
    pub promised: Promised,
    /// The stored bytes; `None` where they could not be read, or an engine described the image.
    pub bytes: Option<Bytes>,
    /// The parsed JSON; `Null` where there is none.
    pub document: Value,
}

impl ConfigFile {
    /// Returns the digests of the uncompressed layers, lowest first; `None` for an invalid one.
    #[must_use]
    pub fn diff_ids(&self) -> Vec<Option<Digest>> {
        let listed = self.document["rootfs"]["diff_ids"].as_array();
        let parse = |id: &Value| id.as_str().and_then(|text| text.parse().ok());
        listed.into_iter().flatten().take(MOST_LAYERS).map(parse).collect()
    }
}

/// A layer in a view.
pub struct ViewedLayer {
    /// The key in the source: a digest or a file name.
    pub called: String,
    /// The descriptor.
    pub promised: Promised,
    /// Stored size in bytes; `None` where it was not read.
    pub size: Option<u64>,
    /// The compression by the first bytes, or by the media type where the bytes were not read.
    pub compression: Option<Compression>,
    /// Uncompressed size in bytes, as an engine counts the files in the layer.
    pub counted: Option<u64>,
    /// Place of the bytes; `None` where they are missing, or the image is in an engine.
    pub content: Option<Content>,
}

/// A part that could not be read, or that differs from its descriptor.
pub struct ViewFlaw {
    /// The part.
    pub part: FlawIn,
    /// The reason.
    pub error: Error,
}

/// The part of an image that has a flaw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlawIn {
    /// The index.
    Index,
    /// The requested platform: the index has no image for it.
    Platform,
    /// The manifest.
    Manifest,
    /// The config.
    Config,
    /// A layer, by its index from 0.
    Layer(usize),
    /// The files that make a directory a layout, or its list of images.
    Layout,
    /// The name.
    Name,
    /// All layers: they belong to another image.
    Layers,
    /// The answer of a registry for the manifest: some clients refuse it.
    Served,
}

impl View {
    fn new(name: ImageName, place: &str) -> Self {
        Self {
            role: ViewKind::Image,
            name,
            place: place.to_owned(),
            reference: None,
            index: None,
            manifest: None,
            config: ConfigFile::default(),
            layers: Vec::new(),
            flaws: Vec::new(),
            by_engine: false,
            engine_steps: Vec::new(),
            root: None,
        }
    }

    /// Returns whether a layer is encrypted, so that only a program with its key can read the image.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        let media_types =
            self.layers.iter().filter_map(|layer| layer.promised.media_type.as_deref());
        self.role == ViewKind::Artifact && media_types.into_iter().any(is_encrypted_type)
    }

    /// Adds a flaw. Errors when the user interrupted.
    fn flaw(&mut self, part: FlawIn, error: Error) -> Result<()> {
        if error.kind() == occystrap_base::error::Kind::Interrupted {
            return Err(error);
        }
        self.flaws.push(ViewFlaw { part, error });
        Ok(())
    }

    /// Returns why there is no image: what leads to it could not be read, or no platform could be chosen.
    #[must_use]
    pub fn absent(&self) -> Option<&Error> {
        if self.manifest.is_some() {
            return None;
        }
        let gone = |flaw: &&ViewFlaw| {
            matches!(flaw.part, FlawIn::Index | FlawIn::Platform | FlawIn::Manifest)
        };
        self.flaws.iter().find(gone).map(|flaw| &flaw.error)
    }

    /// Errors when what leads to the image or artifact could not be read.
    pub fn check_is_there(&self) -> Result<()> {
        self.absent().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Parses the config's bytes.
    fn read_config(&mut self, bytes: Bytes) {
        match json::parse::<Value>(&bytes) {
            Ok(document) => self.config.document = document,
            Err(cause) => {
                let message = match cause {
                    Unreadable::Malformed(_) => {
                        format!("{}: the config is not JSON: {cause}", self.place)
                    }
                    Unreadable::TooDeep(_) => format!("{}: the config is {cause}", self.place),
                };
                let error = Error::source(message);
                self.flaws.push(ViewFlaw { part: FlawIn::Config, error });
            }
        }
        self.config.bytes = Some(bytes);
    }
}

impl super::Called for View {
    fn called(&self) -> &ImageName {
        &self.name
    }
}

impl Source {
    /// Returns a view of every image of the source. No layer is fetched. Errors where there is nothing to read: the
    /// source cannot be reached, does not exist, or lists no image; and where an image is for another platform than the
    /// requested one.
    pub fn views(&self, context: &Context) -> Result<Vec<View>> {
        let views = self.views_of_any(context)?;
        if self.wanted.is_nothing() {
            return Ok(views);
        }
        for view in &views {
            // Where an index lists the image for the requested platform, another one in the config is a flaw of the image.
            let is_met = |entry: &IndexEntry| {
                entry.platform.as_ref().is_some_and(|platform| self.wanted.is_met_by(platform))
            };
            if view.index.as_ref().is_some_and(|index| index.entries.iter().any(is_met)) {
                continue;
            }
            let config = view.config.bytes.as_deref().map(json::parse::<ConfigDocument>);
            if let Some(Ok(config)) = config {
                self.check_platform(&view.name, &config.platform())?;
            }
        }
        Ok(views)
    }

    fn views_of_any(&self, context: &Context) -> Result<Vec<View>> {
        let platform = &self.wanted.platform();
        match &self.kind {
            SourceKind::Registry { reference, client } => {
                let store = registry::RepositoryStore::open(reference, client, context)?;
                let root = store.root(reference)?;
                let manifest = root.manifest.clone();
                let view = from_manifest::view(&store, manifest, reference.name(), platform)?;
                Ok(vec![View { root: Some(root), ..view }])
            }
            SourceKind::Docker { asked, socket, .. } => {
                engine_image::view(asked, socket.as_deref(), context).map(|view| vec![view])
            }
            SourceKind::Archive { path, image } => {
                let members = archive::index(path, context)?;
                let views = match members.contains(LIST) {
                    true => docker_save::archive(&members)?,
                    false if members.contains(INDEX) => {
                        from_manifest::layout(&members, None, platform)?
                    }
                    false => return Err(archive::no_image(&members)),
                };
                choose(views, image.as_ref(), &self.display)
            }
            SourceKind::Directory { path, image } => {
                let directory = Directory::open(path)?;
                let mut views = Vec::new();
                for (name, manifest) in directory.listed(image.as_ref())? {
                    views.extend(docker_save::views(&directory, name.as_ref(), &manifest)?);
                }
                if views.is_empty() {
                    return Err(Error::source(format!(
                        "{}: its catalog lists no image",
                        directory.place()
                    )));
                }
                choose(views, image.as_ref(), &self.display)
            }
            SourceKind::Layout { path, tag, image } => {
                let views =
                    from_manifest::layout(&Directory::open(path)?, tag.as_deref(), platform)?;
                choose(views, image.as_ref(), &self.display)
            }
            SourceKind::Held(_) => Err(self.is_moved_only()),
        }
    }

    /// Returns the error for a view of an image that this program holds itself. It can only be moved.
    fn is_moved_only(&self) -> Error {
        Error::usage(format!("'{}' is moved, and has no view", self.display))
    }

    /// Returns a view of every platform of every image, and of the indexes that list them, each index before its
    /// entries. Errors as [`Source::views`] does, and where the source holds only one platform of an image.
    pub fn all_views(&self, context: &Context) -> Result<Vec<View>> {
        let single = || {
            Error::usage(format!("'{}' holds one platform of an image", self.display)).hint(
                "--all-platforms needs registry:// or oci-layout://, or a tar:// of such a layout",
            )
        };
        let flat = |wholes, wanted| {
            let chosen = choose::<all_platforms::PlatformViews>(wholes, wanted, &self.display)?;
            Ok(chosen.into_iter().flat_map(|whole| whole.views).collect())
        };
        match &self.kind {
            SourceKind::Registry { reference, client } => {
                let store = registry::RepositoryStore::open(reference, client, context)?;
                let root = store.root(reference)?;
                let mut views =
                    all_platforms::views(&store, root.manifest.clone(), reference.name())?;
                if let Some(view) = views.first_mut() {
                    view.root = Some(root);
                }
                Ok(views)
            }
            SourceKind::Archive { path, image } => {
                let members = archive::index(path, context)?;
                match members.contains(LIST) {
                    _ if archive::is_layout(&members)? => {
                        flat(all_platforms::layout(&members, None)?, image.as_ref())
                    }
                    true => Err(single()),
                    false => Err(archive::no_image(&members)),
                }
            }
            SourceKind::Layout { path, tag, image } => flat(
                all_platforms::layout(&Directory::open(path)?, tag.as_deref())?,
                image.as_ref(),
            ),
            SourceKind::Docker { .. } | SourceKind::Directory { .. } => Err(single()),
            SourceKind::Held(_) => Err(self.is_moved_only()),
        }
    }

    /// Requests the name from a registry in each way in which clients do; `None` for other sources. Errors where one of
    /// the ways does not lead to the manifest of the view: [`Repository::check_resolved`].
    ///
    /// [`Repository::check_resolved`]: occystrap_net::registry::Repository::check_resolved
    #[must_use]
    pub fn resolved(&self, view: &View, context: &Context) -> Option<Result<()>> {
        let (SourceKind::Registry { reference, client }, Some(root)) = (&self.kind, &view.root)
        else {
            return None;
        };
        let repository = client.repository(reference, context.counters.clone());
        Some(repository.and_then(|repository| {
            context.runtime.block_on(repository.check_resolved(&reference.target(), root))
        }))
    }

    /// Exports the image from an engine, so that its layers can be read, and returns the view of the export. `None` for
    /// other sources, whose views have layers.
    pub fn exported(&self, context: &Context) -> Result<Option<View>> {
        match &self.kind {
            SourceKind::Docker { asked, socket, .. } => {
                engine_image::export(asked, socket.as_deref(), context).map(Some)
            }
            _ => Ok(None),
        }
    }
}

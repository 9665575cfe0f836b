//! What a source says of its images, as it says it: for those who look at an image and do not move it.
//!
//! [`Source::open`] refuses an image for the first thing that is wrong with it. Here whatever can be
//! read is read, and what cannot be is part of the view. No layer is fetched. What it refuses, as
//! everybody does: names that lead out, documents that are too large.

mod content_store;
mod engine_image;
mod saved;
mod whole;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use super::directory::Directory;
use super::members::Members;
use super::{Kind, Source, archive, choose, registry};
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::json::Unreadable;
use occystrap_base::oci::layout::INDEX;
use occystrap_base::oci::saved::LIST;
use occystrap_base::oci::{Compression, Digest, ImageName, MOST_LAYERS, Manifest, Platform, json};
use occystrap_layer::image::Content;
use occystrap_net::context::Context;
use occystrap_net::registry::Fetched;
use occystrap_net::web::Elsewhere;

pub use content_store::text_of;
pub use engine_image::export;

/// What a view is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ViewKind {
    /// An image, or what should be one.
    Image,
    /// An index: what it lists has views of its own.
    Index,
    /// No image, but what somebody says of one.
    Attestation,
    /// No image: a chart, a component, a signature or the like, that has a name of its own.
    Artifact,
}

impl ViewKind {
    /// Returns whether config and layers have the form that only their own readers know.
    #[must_use]
    pub fn is_artifact(self) -> bool {
        matches!(self, Self::Attestation | Self::Artifact)
    }
}

/// One image, as its source describes it.
pub struct View {
    /// Whether it is one.
    pub role: ViewKind,
    /// What it is called.
    pub name: ImageName,
    /// How errors call the source.
    pub place: String,
    /// How anybody gets just these bytes: `HOST/NAME@DIGEST`. Of a registry.
    pub reference: Option<String>,
    /// The index that led to it, where one did: all of it, or the entry alone where others have
    /// views of their own. Of an index, what it lists.
    pub index: Option<Listing>,
    /// The manifest, where the source has one of that kind.
    pub manifest: Option<Manifest>,
    /// The image config.
    pub config: ConfigFile,
    /// Lowest first; no more than [`MOST_LAYERS`].
    pub layers: Vec<ViewedLayer>,
    /// What could not be read on the way.
    pub flaws: Vec<Flaw>,
    /// An engine described it: nothing of the image itself was seen.
    pub by_engine: bool,
    /// The answer of a registry to the name that the user gave, in the first view.
    pub root: Option<Fetched>,
}

/// An index of several platforms.
pub struct Listing {
    /// Its bytes, type and digest; `None` where a layout lists one name for several platforms.
    pub manifest: Option<Manifest>,
    /// What it lists.
    pub entries: Vec<IndexEntry>,
}

/// What an index lists.
#[derive(Clone)]
pub struct IndexEntry {
    /// What it is for; `None` where the index does not say. In the view of an attestation, what the
    /// image is for that it is about.
    pub platform: Option<Platform>,
    /// Of the manifest.
    pub digest: String,
    /// Of the manifest, in bytes.
    pub size: u64,
    /// Of the manifest.
    pub media_type: String,
    /// An attestation and no image (buildkit: platform `unknown/unknown`).
    pub attestation: bool,
    /// Digest of the manifest that an attestation says it is about.
    pub about: Option<String>,
    /// Whether the view is of this one; of an index, whether it has a view.
    pub chosen: bool,
}

/// What was promised of a blob, as far as it makes sense.
#[derive(Default, Clone)]
pub struct Promised {
    /// Media type.
    pub media_type: Option<String>,
    /// Digest.
    pub digest: Option<Digest>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Where else it is, by URLs.
    pub elsewhere: Option<Elsewhere>,
}

/// An image config.
#[derive(Default)]
pub struct ConfigFile {
    /// Where it is kept: a digest or a file name.
    pub called: String,
    /// What was promised of it.
    pub promised: Promised,
    /// As it is kept; `None` where it could not be read, or an engine described it.
    pub bytes: Option<Bytes>,
    /// What it says; `Null` where that is nothing.
    pub document: Value,
}

impl ConfigFile {
    /// The digests of the uncompressed layers, lowest first; `None` for one that is none.
    #[must_use]
    pub fn diff_ids(&self) -> Vec<Option<Digest>> {
        let listed = self.document["rootfs"]["diff_ids"].as_array();
        let parse = |id: &Value| id.as_str().and_then(|text| text.parse().ok());
        listed.into_iter().flatten().take(MOST_LAYERS).map(parse).collect()
    }
}

/// A layer, where it is kept.
pub struct ViewedLayer {
    /// A digest or a file name.
    pub called: String,
    /// What was promised of it.
    pub promised: Promised,
    /// Size in bytes as it is kept; `None` where nobody has looked.
    pub size: Option<u64>,
    /// As its first bytes say, or its media type where nobody has looked.
    pub compression: Option<Compression>,
    /// Its size uncompressed, as an engine counts the files in it.
    pub counted: Option<u64>,
    /// Where the bytes are; `None` where they are missing, or with an engine.
    pub content: Option<Content>,
}

/// Something that could not be read.
pub struct Flaw {
    /// What.
    pub part: FlawIn,
    /// Why.
    pub error: Error,
}

/// Which part of an image a flaw is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlawIn {
    /// The index.
    Index,
    /// The image for the platform that was asked for: the index has none.
    Platform,
    /// The manifest.
    Manifest,
    /// The config.
    Config,
    /// A layer, from 0.
    Layer(usize),
    /// What says that it is a layout, or how it lists its images.
    Layout,
    /// What it is called.
    Name,
    /// All layers: they are not those of the image that was meant.
    Layers,
    /// How a registry serves the manifest: some clients refuse it.
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
            root: None,
        }
    }

    /// Note why something could not be read. Interruptions end everything.
    fn flaw(&mut self, part: FlawIn, error: Error) -> Result<()> {
        if error.kind() == occystrap_base::error::Kind::Interrupted {
            return Err(error);
        }
        self.flaws.push(Flaw { part, error });
        Ok(())
    }

    /// Why there is no image to look at: what should lead to it could not be read, or not be chosen.
    #[must_use]
    pub fn absent(&self) -> Option<&Error> {
        if self.manifest.is_some() {
            return None;
        }
        let gone =
            |flaw: &&Flaw| matches!(flaw.part, FlawIn::Index | FlawIn::Platform | FlawIn::Manifest);
        self.flaws.iter().find(gone).map(|flaw| &flaw.error)
    }

    /// Take in what the config's bytes say.
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
                self.flaws.push(Flaw { part: FlawIn::Config, error });
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
    /// Look at every image of the source, and fetch no layer. Errors where there is nothing to look
    /// at: the source cannot be reached or is not there, or lists no image.
    pub fn views(&self, context: &Context) -> Result<Vec<View>> {
        let platform = &self.wanted.platform();
        match &self.kind {
            Kind::Registry { reference, client } => {
                let shelf = registry::Published::open(reference, client, context)?;
                let root = shelf.fetched_root(reference)?;
                let manifest = root.manifest.clone();
                let view = content_store::view(&shelf, manifest, reference.name(), platform)?;
                Ok(vec![View { root: Some(root), ..view }])
            }
            Kind::Docker { asked, socket } => {
                engine_image::view(asked, socket.as_deref(), context).map(|view| vec![view])
            }
            Kind::Archive { path, image } => {
                let members = archive::index(path, context)?;
                let views = match members.contains(LIST) {
                    true => saved::archive(&members)?,
                    false if members.contains(INDEX) => {
                        content_store::layout(&members, None, platform)?
                    }
                    false => return Err(archive::no_image(&members)),
                };
                choose(views, image.as_ref(), &self.display)
            }
            Kind::Directory { path, image } => {
                let directory = Directory::open(path)?;
                let mut views = Vec::new();
                for (name, manifest) in directory.listed(image.as_ref())? {
                    views.extend(saved::views(&directory, name.as_ref(), &manifest)?);
                }
                if views.is_empty() {
                    return Err(Error::source(format!(
                        "{}: its catalog lists no image",
                        directory.place()
                    )));
                }
                choose(views, image.as_ref(), &self.display)
            }
            Kind::Layout { path, tag, image } => {
                let views =
                    content_store::layout(&Directory::open(path)?, tag.as_deref(), platform)?;
                choose(views, image.as_ref(), &self.display)
            }
        }
    }

    /// Look at every platform of every image, and at the indexes that list them, each index before
    /// what it lists. Errors as [`Source::views`], and where the source keeps one platform of an
    /// image.
    pub fn all_views(&self, context: &Context) -> Result<Vec<View>> {
        let single = || {
            Error::usage(format!("'{}' holds one platform of an image", self.display)).hint(
                "--all-platforms needs registry:// or oci-layout://, or a tar:// of such a layout",
            )
        };
        let flat = |wholes, wanted| {
            let chosen = choose::<whole::Whole>(wholes, wanted, &self.display)?;
            Ok(chosen.into_iter().flat_map(|whole| whole.views).collect())
        };
        match &self.kind {
            Kind::Registry { reference, client } => {
                let shelf = registry::Published::open(reference, client, context)?;
                let root = shelf.fetched_root(reference)?;
                let mut views = whole::views(&shelf, root.manifest.clone(), reference.name())?;
                if let Some(view) = views.first_mut() {
                    view.root = Some(root);
                }
                Ok(views)
            }
            Kind::Archive { path, image } => {
                let members = archive::index(path, context)?;
                match members.contains(LIST) {
                    _ if archive::is_layout(&members)? => {
                        flat(whole::layout(&members, None)?, image.as_ref())
                    }
                    true => Err(single()),
                    false => Err(archive::no_image(&members)),
                }
            }
            Kind::Layout { path, tag, image } => {
                flat(whole::layout(&Directory::open(path)?, tag.as_deref())?, image.as_ref())
            }
            Kind::Docker { .. } | Kind::Directory { .. } => Err(single()),
        }
    }

    /// Asks a registry for the name in each way in which its clients do; `None` for other sources. Errors
    /// where one of them does not get what the view is of: [`Repository::check_resolved`].
    ///
    /// [`Repository::check_resolved`]: occystrap_net::registry::Repository::check_resolved
    #[must_use]
    pub fn resolved(&self, view: &View, context: &Context) -> Option<Result<()>> {
        let (Kind::Registry { reference, client }, Some(root)) = (&self.kind, &view.root) else {
            return None;
        };
        let repository = client.repository(reference, context.counters.clone());
        Some(repository.and_then(|repository| {
            context.runtime.block_on(repository.check_resolved(&reference.target(), root))
        }))
    }

    /// Have an engine export the image, where the source is one, so that its layers can be read: a
    /// view of the export. `None` for other sources, whose views have layers.
    pub fn exported(&self, context: &Context) -> Result<Option<View>> {
        match &self.kind {
            Kind::Docker { asked, socket } => {
                engine_image::export(asked, socket.as_deref(), context).map(Some)
            }
            _ => Ok(None),
        }
    }
}

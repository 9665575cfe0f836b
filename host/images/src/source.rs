//! Reading images: from a source URI to [`Image`]s, whose layers are fetched later.
//!
//! What it refuses: images for another platform than the requested one, and names that the source does not list.

pub mod archive;
pub mod catalog;
pub mod content_store;
pub mod directory;
pub mod docker;
pub mod docker_save;
pub mod dockerpush;
pub mod exported;
pub mod held;
pub mod member_table;
pub mod members;
pub mod oci_layout;
pub mod platforms;
pub mod received;
pub mod registry;
pub mod resolve;
pub mod tar_headers;
pub mod tar_index;
pub mod two_lists;
pub mod view;

use std::path::PathBuf;
use std::sync::Arc;

use crate::steady::Watch;
use occystrap_base::error::Kind::NotFound;
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::layout::tagged;
use occystrap_base::oci::{Digest, ImageName, Platform, PlatformRequest};
use occystrap_base::secret;
use occystrap_layer::image::{Image, Whole};
use occystrap_net::context::Context;
use occystrap_net::registry::{Reference, Referrer, RegistryClient, Repository};
use occystrap_net::uri::{Uri, instead_of_transport};

/// A source URI, parsed and checked. Nothing was read yet.
#[derive(Clone)]
pub struct Source {
    /// The URI, without secrets.
    pub display: String,
    /// As the user typed it; `None` where no URI leads to it.
    uri: Option<Uri>,
    kind: SourceKind,
    wanted: PlatformRequest,
}

#[derive(Clone)]
enum SourceKind {
    Registry { reference: Reference, client: RegistryClient },
    Archive { path: PathBuf, image: Option<ImageName> },
    Directory { path: PathBuf, image: Option<ImageName> },
    Layout { path: PathBuf, tag: Option<String>, image: Option<ImageName> },
    Docker { asked: docker::EngineReference, socket: Option<String>, way: EngineWay },
    Held(Arc<held::HeldImage>),
}

/// How an engine gives an image.
#[derive(Clone)]
enum EngineWay {
    /// As an archive.
    Export,
    /// It pushes the image here. It need not send what this repository, the destination, has already.
    Push(Option<Repository>),
}

/// Schemes of sources, for messages.
const SOURCES: &str = "registry://, docker://, dockerpush://, tar://, dir:// and oci-layout://";

/// Schemes that 0.4.17 could read and this version does not support yet.
const NOT_YET: [&str; 1] = ["quay"];

impl Source {
    /// Parses a source URI. `client` makes the registry client where one is needed, from the options of the URI;
    /// `wanted` is the platform that the command line requests. Errors when the URI or its options are invalid.
    pub fn parse(
        uri: &Uri,
        wanted: &PlatformRequest,
        client: impl FnOnce(&Uri) -> Result<RegistryClient>,
    ) -> Result<Self> {
        let wanted = wanted_by(uri).or(wanted);
        let kind = match uri.scheme.as_str() {
            "registry" => {
                uri.check_options("source", &REGISTRY_OPTIONS)?;
                let reference = Reference::parse(&uri.rest)?;
                SourceKind::Registry { reference, client: client(uri)? }
            }
            "tar" | "dir" | "oci-layout" => {
                uri.check_options("source", &["image", "os", "arch", "architecture", "variant"])?;
                let image = uri.option("image").map(ImageName::parse).transpose();
                let image = image.map_err(|error| Error::usage(error.to_string()))?;
                if uri.rest.is_empty() {
                    return Err(Error::usage(format!("'{}://' needs a path", uri.scheme)));
                }
                let path = PathBuf::from(&uri.rest);
                match uri.scheme.as_str() {
                    "tar" => SourceKind::Archive { path, image },
                    "dir" => SourceKind::Directory { path, image },
                    _ => {
                        let (path, tag) = tagged(&uri.rest)?;
                        SourceKind::Layout { path, tag, image }
                    }
                }
            }
            "docker" | "dockerpush" => {
                uri.check_options("source", &["socket", "os", "arch", "architecture", "variant"])?;
                let asked = docker::EngineReference::parse(uri, wanted.clone())?;
                let way = match uri.scheme.as_str() {
                    "docker" => EngineWay::Export,
                    _ => EngineWay::Push(None),
                };
                SourceKind::Docker { asked, socket: uri.option("socket").map(str::to_owned), way }
            }
            scheme if NOT_YET.contains(&scheme) => {
                return Err(Error::usage(format!("source '{scheme}://' is not yet supported"))
                    .hint(format!("this version reads {SOURCES}")));
            }
            scheme => {
                let hint = instead_of_transport(scheme, &uri.rest);
                return Err(Error::usage(format!("unknown source '{scheme}://'"))
                    .hint(hint.unwrap_or_else(|| format!("sources are {SOURCES}"))));
            }
        };
        Ok(Self { display: uri.display(), uri: Some(uri.clone()), kind, wanted })
    }

    /// Returns an image that this program holds itself. `display` names it in reports; `uri` leads other readers to it, where
    /// one does.
    #[must_use]
    pub fn held(image: Arc<held::HeldImage>, display: String, uri: Option<Uri>) -> Self {
        let wanted = PlatformRequest::default();
        Self { display, uri, kind: SourceKind::Held(image), wanted }
    }

    /// Returns the URI that leads to the same image from any folder and at any time: `digest` is that of the manifest.
    /// The URI names no platform where all are moved. Returns `None` where no URI leads to the image.
    #[must_use]
    pub fn again(&self, digest: Option<Digest>, all_platforms: bool) -> Option<Uri> {
        let own = self.uri.as_ref()?;
        let mut uri = match &self.kind {
            SourceKind::Registry { .. } => own.clone(),
            SourceKind::Docker { .. } => own.with_absolute_socket(),
            _ => own.with_absolute_path(),
        };
        if let SourceKind::Registry { reference, client } = &self.kind {
            if reference.digest.is_none() {
                uri.rest = Reference { digest, ..reference.clone() }.to_string();
            }
            if client.is_insecure() {
                uri.set_default("insecure", "true");
            }
        }
        if all_platforms {
            return Some(uri);
        }
        let PlatformRequest { os, architecture, variant } = &self.wanted;
        let architecture = architecture.as_ref().filter(|_| uri.option("architecture").is_none());
        for (name, said) in
            [("os", os.as_ref()), ("arch", architecture), ("variant", variant.as_ref())]
        {
            if let Some(said) = said {
                uri.set_default(name, said);
            }
        }
        Some(uri)
    }

    /// Returns the source for a move to a repository that gets the layers as they are: an engine that pushes its image need
    /// not send the layers that are there already.
    #[must_use]
    pub fn to_repository(mut self, destination: Repository) -> Self {
        if let SourceKind::Docker { way: EngineWay::Push(known), .. } = &mut self.kind {
            *known = Some(destination);
        }
        self
    }

    /// Returns whether an engine pushes the image.
    #[must_use]
    pub fn is_pushed(&self) -> bool {
        matches!(self.kind, SourceKind::Docker { way: EngineWay::Push(_), .. })
    }

    /// Returns the source with the parts of a platform that the user did not request.
    #[must_use]
    pub fn for_platform(&self, platform: &Platform) -> Self {
        let Platform { os, architecture, variant } = platform;
        let other = PlatformRequest::new(Some(os), Some(architecture), variant.as_deref());
        Self { wanted: self.wanted.clone().or(&other), ..self.clone() }
    }

    /// Returns the requested platform.
    #[must_use]
    pub fn wanted(&self) -> &PlatformRequest {
        &self.wanted
    }

    /// Checks that no platform is chosen, for `--all-platforms`.
    pub fn check_all_platforms(&self) -> Result<()> {
        const CHOICES: [&str; 4] = ["os", "arch", "architecture", "variant"];
        if let Some(choice) = CHOICES
            .into_iter()
            .find(|name| self.uri.as_ref().is_some_and(|uri| uri.option(name).is_some()))
        {
            let message = format!("'?{choice}=' chooses one platform, --all-platforms all");
            return Err(Error::usage(message));
        }
        if self.wanted.is_nothing() {
            return Ok(());
        }
        Err(Error::usage("one platform was chosen, and with --all-platforms all are")
            .hint("--platform, --os, --architecture and --variant cannot be given with it"))
    }

    /// Returns the files that show whether another process changes the source; `None` where it is not in the file
    /// system.
    #[must_use]
    pub fn watch(&self) -> Option<Watch> {
        match &self.kind {
            SourceKind::Archive { path, .. } => Some(Watch::file(path)),
            SourceKind::Directory { path, .. } => Some(Watch::directory(path)),
            SourceKind::Layout { path, .. } => Some(Watch::layout(path)),
            SourceKind::Registry { .. } | SourceKind::Docker { .. } => None,
            // Every file of an export was hashed before, and everything is compared with its digest again.
            SourceKind::Held(_) => None,
        }
    }

    /// Reads manifests and configs of the images of the source. Layers are not fetched. Errors when an image is for
    /// another platform than the requested one.
    pub fn open(&self, context: &Context) -> Result<Vec<Image>> {
        let images = self.open_any(context)?;
        images.iter().try_for_each(|image| self.check_platform(&image.name, &image.platform))?;
        Ok(images)
    }

    /// Errors when an image is for another platform than the requested one.
    fn check_platform(&self, name: &ImageName, platform: &Platform) -> Result<()> {
        if self.wanted.is_met_by(platform) {
            return Ok(());
        }
        let (place, wanted) = (&self.display, self.wanted.instead_of(platform));
        let message = format!("{place}: '{name}' is for {platform}, and not for {wanted}");
        Err(Error::new(NotFound, message).hint("to take it as it is, ask for no platform"))
    }

    fn choice<'a>(&'a self, image: &'a Option<ImageName>) -> Choice<'a> {
        Choice { image: image.as_ref(), place: &self.display }
    }

    fn open_any(&self, context: &Context) -> Result<Vec<Image>> {
        let platform = self.wanted.platform();
        match &self.kind {
            SourceKind::Registry { reference, client } => {
                registry::open(reference, client, &platform, context).map(|image| vec![image])
            }
            SourceKind::Docker { asked, socket, way: EngineWay::Export } => {
                docker::open(asked, socket.as_deref(), context).map(|image| vec![image])
            }
            SourceKind::Docker { asked, socket, way: EngineWay::Push(destination) } => {
                let socket = socket.as_deref();
                dockerpush::open(asked, socket, destination.as_ref(), context)
                    .map(|image| vec![image])
            }
            SourceKind::Archive { path, image } => {
                let chosen = archive::open(path, &platform, self.choice(image), context)?;
                docker_save::check_names(chosen.iter(), &self.display)?;
                Ok(chosen)
            }
            SourceKind::Directory { path, image } => {
                let images = directory::open(path, self.choice(image))?;
                choose(images, image.as_ref(), &self.display)
            }
            SourceKind::Layout { path, tag, image } => {
                oci_layout::open(path, tag.as_deref(), &platform, self.choice(image))
            }
            SourceKind::Held(image) => match image.open(image.root)? {
                Whole::Image(image) => Ok(vec![*image]),
                Whole::Family(_) => {
                    Err(Error::usage(format!("'{}' is moved with all its platforms", self.display)))
                }
            },
        }
    }

    /// Returns the repository, where the source is at a registry.
    pub fn repository(&self, context: &Context) -> Result<Option<Repository>> {
        match &self.kind {
            SourceKind::Registry { reference, client } => {
                client.repository(reference, context.counters.clone()).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Returns whether the source is at a registry.
    #[must_use]
    pub fn is_registry(&self) -> bool {
        matches!(self.kind, SourceKind::Registry { .. })
    }

    /// Returns the tag or digest that the source names, where it is at a registry.
    #[must_use]
    pub fn registry_target(&self) -> Option<String> {
        match &self.kind {
            SourceKind::Registry { reference, .. } => Some(reference.target()),
            _ => None,
        }
    }

    /// Returns what refers to the image, where the source itself says that: an image of an export.
    #[must_use]
    pub fn listed_referrers(&self) -> Option<&[Referrer]> {
        match &self.kind {
            SourceKind::Held(image) => Some(&image.referrers),
            _ => None,
        }
    }

    /// Reads manifest and config of another manifest of the repository, which refers to the image of the source. Errors
    /// when the source is neither at a registry nor in an export.
    pub fn open_referrer(&self, digest: Digest, context: &Context) -> Result<Whole> {
        match &self.kind {
            SourceKind::Registry { reference, client } => {
                let reference = Reference { digest: Some(digest), ..reference.clone() };
                registry::open_whole(&reference, client, context)
            }
            SourceKind::Held(image) => image.open(digest),
            _ => Err(Error::usage(format!("'{}' has no referrers", self.display))
                .hint("referrers are at registries: registry://HOST/IMAGE")),
        }
    }

    /// Reads manifests and configs of the image of the source, with these platforms alone. Errors when it has no image for
    /// one of them, and when the source is not at a registry.
    pub fn open_platforms(&self, wanted: &[Platform], context: &Context) -> Result<Vec<Whole>> {
        match &self.kind {
            SourceKind::Registry { reference, client } => {
                registry::open_platforms(reference, client, wanted, context)
                    .map(|whole| vec![whole])
            }
            // Its maker has chosen the platforms.
            SourceKind::Held(image) => Ok(vec![image.open(image.root)?]),
            _ => Err(Error::usage(format!("'{}' cannot be reduced to platforms", self.display))
                .hint("several platforms are chosen of registry://HOST/IMAGE")),
        }
    }

    /// Reads manifests and configs of the images of the source, with every platform of each.
    pub fn open_wholes(&self, context: &Context) -> Result<Vec<Whole>> {
        let alone = |images: Vec<Image>| {
            images.into_iter().map(|image| Whole::Image(Box::new(image))).collect()
        };
        match &self.kind {
            SourceKind::Registry { reference, client } => {
                registry::open_whole(reference, client, context).map(|whole| vec![whole])
            }
            SourceKind::Archive { path, image } => {
                let chosen = archive::open_wholes(path, self.choice(image), context)?;
                let alone = chosen.iter().filter_map(|whole| match whole {
                    Whole::Image(image) => Some(&**image),
                    Whole::Family(_) => None,
                });
                docker_save::check_names(alone, &self.display)?;
                Ok(chosen)
            }
            SourceKind::Layout { path, tag, image } => {
                oci_layout::open_wholes(path, tag.as_deref(), self.choice(image))
            }
            SourceKind::Held(image) => Ok(vec![image.open(image.root)?]),
            // Both hold one platform per image.
            SourceKind::Docker { .. } | SourceKind::Directory { .. } => {
                self.open(context).map(alone)
            }
        }
    }
}

/// A thing with an image name.
pub trait Called {
    /// Returns the name.
    fn called(&self) -> &ImageName;
}

impl Called for Image {
    fn called(&self) -> &ImageName {
        &self.name
    }
}

impl Called for Whole {
    fn called(&self) -> &ImageName {
        self.name()
    }
}

/// A name and the thing that has it.
impl<T> Called for (ImageName, T) {
    fn called(&self) -> &ImageName {
        &self.0
    }
}

/// The images of a file or folder that the user wants. They are chosen by name before anything but the list of images
/// is read, so that damage in one image does not affect the others.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    image: Option<&'a ImageName>,
    place: &'a str,
}

impl<'a> Choice<'a> {
    /// Returns the choice of all images. `place` names the file or folder in messages.
    #[must_use]
    pub fn all(place: &'a str) -> Self {
        Self { image: None, place }
    }

    /// Returns whether only one image is wanted.
    #[must_use]
    pub fn is_one(self) -> bool {
        self.image.is_some()
    }

    /// Returns the images that are wanted. Errors where no image has the name.
    pub fn of<T: Called>(self, images: Vec<T>) -> Result<Vec<T>> {
        choose(images, self.image, self.place)
    }
}

/// Options of a registry URI. The others are command-line options.
const REGISTRY_OPTIONS: [&str; 8] =
    ["arch", "architecture", "os", "variant", "insecure", "username", "password", "max_workers"];

/// Returns the platform that a source URI requests.
#[must_use]
pub fn wanted_by(uri: &Uri) -> PlatformRequest {
    let architecture = uri.option("arch").or_else(|| uri.option("architecture"));
    PlatformRequest::new(uri.option("os"), architecture, uri.option("variant"))
}

/// Returns all images of a file or folder, or the one that `?image=` names.
fn choose<T: Called>(images: Vec<T>, wanted: Option<&ImageName>, place: &str) -> Result<Vec<T>> {
    // Names in the user's own file are shown, even where they contain a weak password.
    images.iter().for_each(|image| secret::show(&image.called().to_string()));
    let Some(wanted) = wanted else { return Ok(images) };
    let names = names(&images);
    let fits = |image: &T| {
        let name = image.called();
        name.repository == wanted.repository && (wanted.tag.is_none() || name.tag == wanted.tag)
    };
    let mut chosen: Vec<T> = images.into_iter().filter(fits).collect();
    if wanted.tag.is_none() && chosen.len() > 1 {
        chosen.retain(|image| image.called().tag.as_deref() == Some("latest"));
    }
    if chosen.is_empty() {
        return Err(Error::new(NotFound, format!("{place}: holds no image '{wanted}'"))
            .hint(format!("it holds: {names}")));
    }
    Ok(chosen)
}

/// Returns the names of images for a message.
#[must_use]
pub fn names<T: Called>(images: &[T]) -> String {
    /// Most names. A longer list does not help to choose.
    const MOST: usize = 20;
    let mut names: Vec<String> =
        images.iter().take(MOST).map(|image| image.called().to_string()).collect();
    if images.len() > MOST {
        names.push(format!("and {} more", images.len() - MOST));
    }
    names.join(", ")
}

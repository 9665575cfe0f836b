//! Where an image goes: what a destination URI names, checked.

use std::path::{Path, PathBuf};

use crate::destination::engine_image::EngineImage;
use crate::destination::grant::Grant;
use crate::destination::named_file;
use crate::destination::pending::{Pending, PlanOnly};
use crate::destination::push::Push;
use crate::destination::read_access::{FolderReader, ReadAccess};
use crate::destination::remote::{BlockingRepository, RepositoryReader};
use crate::destination::site::BlockingSite;
use crate::destination::staging::Staging;
use crate::destination::uploads::Uploads;
use crate::plugin::description::DestinationKind as Kind;
use crate::plugin::{Catalog, Plugin};
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Result};
use occystrap_base::files::destination::Destination;
use occystrap_base::oci::ImageName;
use occystrap_base::oci::layout::tagged;
use occystrap_base::secret::Secret;
use occystrap_net::context::Context;
use occystrap_net::docker::Engine;
use occystrap_net::registry::{Reference, RegistryClient, Repository};
use occystrap_net::uri::{Uri, instead_of_transport};
use occystrap_net::web::Folder;

/// A destination, and the plugin that writes there.
#[derive(Clone)]
pub struct Target {
    /// The plugin that writes.
    pub plugin: Plugin,
    /// The place that the user named.
    pub endpoint: Endpoint,
    /// The options of the output, checked, with their defaults.
    pub options: Vec<(String, String)>,
    /// The URI, without secrets.
    pub display: String,
    /// The same URI with absolute paths, so that it names the same destination from every folder.
    pub lasting: String,
    /// The URI with the options of the command line: what the user types for the same destination.
    pub again: Box<Uri>,
    /// Whether the user allows to write where something other than images is ([`super::occupied`]).
    pub force: bool,
}

/// What the rest of a destination URI names.
#[derive(Clone)]
pub enum Endpoint {
    /// A directory.
    Directory(PathBuf),
    /// A file.
    File(PathBuf),
    /// A directory, and the tag that the image gets there.
    TaggedDirectory(PathBuf, Option<String>),
    /// A repository and a tag.
    Repository(Reference, RegistryClient),
    /// A name in an engine.
    Engine(ImageName, Engine),
    /// A folder of a web server, and a login for it.
    Web(Folder, Option<(String, Secret)>),
}

/// The options that the host itself takes from the query of a URI that names a repository. `max_workers` is an option
/// of 0.4.17 that is ignored now: [`Kind::host_options`] does not name it.
pub const REPOSITORY_OPTIONS: [&str; 4] = ["insecure", "username", "password", "max_workers"];

/// The options that the host itself takes from the query of a URI that names an image in an engine.
pub const ENGINE_OPTIONS: [&str; 1] = ["socket"];

impl Target {
    /// Resolves a destination URI: its plugin, its place, its options. `client` makes the registry
    /// client where one is needed.
    pub fn parse(
        uri: &Uri,
        catalog: &Catalog,
        client: impl FnOnce(&Uri) -> Result<RegistryClient>,
        cancel: &Cancel,
    ) -> Result<Self> {
        let plugin =
            catalog.for_scheme(&uri.scheme).map_err(|error| {
                match instead_of_transport(&uri.scheme, &uri.rest) {
                    Some(hint) if error.kind() == occystrap_base::error::Kind::Usage => {
                        error.hint(hint)
                    }
                    _ => error,
                }
            })?;
        Self::with_plugin(plugin, uri, client, cancel)
    }

    /// As [`Self::parse`], for a given plugin.
    pub fn with_plugin(
        plugin: Plugin,
        uri: &Uri,
        client: impl FnOnce(&Uri) -> Result<RegistryClient>,
        cancel: &Cancel,
    ) -> Result<Self> {
        if uri.scheme == "dir" && uri.option("expand").is_some() {
            return Err(Error::usage("option 'expand' of 'dir://' is not yet supported"));
        }
        let kind = plugin.description().destination;
        if uri.rest.is_empty() {
            let (scheme, form) = (&uri.scheme, kind.form());
            return Err(Error::usage(format!("'{scheme}://' is not whole: {scheme}://{form}")));
        }
        if matches!(kind, Kind::Directory | Kind::File | Kind::TaggedDirectory) {
            uri.refuse_tilde()?;
        }
        let own: &[&str] = match kind {
            Kind::Repository => &REPOSITORY_OPTIONS,
            Kind::Engine => &ENGINE_OPTIONS,
            _ => &[],
        };
        let mut options = uri.options.clone();
        options.retain(|(name, _)| !own.contains(&name.as_str()));
        let options = plugin.description().options(&options, &uri.scheme)?;
        let endpoint = match kind {
            Kind::Directory => Endpoint::Directory(PathBuf::from(&uri.rest)),
            Kind::File => Endpoint::File(named_file::resolve(Path::new(&uri.rest), &uri.scheme)?),
            Kind::TaggedDirectory => {
                let (path, tag) = tagged(&uri.rest)?;
                Endpoint::TaggedDirectory(path, tag)
            }
            Kind::Repository => {
                let reference = Reference::parse(&uri.rest)?;
                if reference.digest.is_some() {
                    let message = format!("'{reference}': a destination is named by tag");
                    return Err(Error::usage(message)
                        .hint("the digest of what is written is that of its content"));
                }
                Endpoint::Repository(reference, client(uri)?)
            }
            Kind::Engine => Endpoint::Engine(
                image_name(&uri.rest)?,
                Engine::find(uri.option("socket"), cancel)?,
            ),
            Kind::Web => Endpoint::Web(Folder::parse(&uri.rest)?, uri.credentials.clone()),
        };
        let lasting = match kind {
            Kind::Directory | Kind::File | Kind::TaggedDirectory => uri.with_absolute_path(),
            Kind::Engine => uri.with_absolute_socket(),
            Kind::Repository | Kind::Web => uri.clone(),
        };
        let mut again = Box::new(lasting.clone());
        if matches!(&endpoint, Endpoint::Repository(_, client) if client.is_insecure()) {
            again.set_default("insecure", "true");
        }
        let lasting = lasting.typed();
        let own = &plugin.description().options;
        let display = uri.display_with(|name| own.iter().any(|option| option.name == name));
        Ok(Self { options, endpoint, display, lasting, again, plugin, force: false })
    }

    /// Sets whether the user allows to write where something other than images is.
    #[must_use]
    pub fn forced(self, force: bool) -> Self {
        Self { force, ..self }
    }

    /// Sets an option of the output from the command line, where the URI does not set it and the output has it.
    #[must_use]
    pub fn with_default(mut self, name: &str, value: Option<&str>) -> Self {
        let Some(value) = value else { return self };
        match self.options.iter_mut().find(|(known, _)| known == name) {
            Some((_, own)) if own.is_empty() => {
                value.clone_into(own);
                self.again.set_default(name, value);
            }
            Some(_) => {}
            None => tracing::warn!("--{name} means nothing to '{}'", self.display),
        }
        self
    }

    /// Checks the values of the plugin's options. Errors name an option whose value the plugin refuses.
    pub fn check_options(&self, cancel: &Cancel) -> Result<()> {
        let scheme = self.display.split("://").next().unwrap_or_default();
        self.plugin.check_options(&self.options, scheme, cancel)
    }

    /// Returns the nearest folder of the destination's file system that exists; `None` where the destination is no
    /// folder or file. What is written there can become part of the destination without being copied.
    #[must_use]
    pub fn spool(&self) -> Option<PathBuf> {
        let folder = match &self.endpoint {
            Endpoint::Directory(path) | Endpoint::TaggedDirectory(path, _) => path.as_path(),
            Endpoint::File(path) => path.parent()?,
            Endpoint::Repository(..) | Endpoint::Engine(..) | Endpoint::Web(..) => return None,
        };
        let here = Path::new("");
        let mut folders =
            folder.ancestors().map(|path| if path == here { Path::new(".") } else { path });
        folders.find(|path| path.is_dir()).map(Path::to_owned)
    }

    /// Starts writes that are not visible before their commit. A directory that is missing is created at the commit. If
    /// `named` is false, a manifest at a registry gets no tag.
    pub fn stage(&self, named: bool, context: &Context) -> Result<Pending> {
        let durable = context.durable;
        Ok(match &self.endpoint {
            Endpoint::Directory(path) | Endpoint::TaggedDirectory(path, _) => {
                Pending::Files(Staging::for_directory(path, durable, &context.cancel)?)
            }
            Endpoint::File(path) => Pending::Files(Staging::for_file(path, durable)?),
            Endpoint::Repository(reference, client) => {
                let repository = client.repository_to_push(reference, context.counters.clone())?;
                let tag = named.then(|| reference.target());
                Pending::Push(Push::new(BlockingRepository::new(repository, context), tag, context))
            }
            Endpoint::Engine(image, engine) => {
                Pending::Load(EngineImage::new(engine.clone(), image.clone(), context), None)
            }
            Endpoint::Web(folder, login) => {
                let site = BlockingSite::open(folder, login.as_ref(), context)?;
                Pending::Uploads(Box::new(Uploads::new(site, context)))
            }
        })
    }

    /// Returns the destination for a plugin that only plans: what the plugin may read is what [`Self::stage`] lets it
    /// read, and nothing can be written.
    pub fn plan_only(&self, context: &Context) -> Result<Pending> {
        let access = match &self.endpoint {
            Endpoint::Directory(path) | Endpoint::TaggedDirectory(path, _) => {
                let destination = Destination::directory_to_be(path)?;
                if Staging::new(destination.clone(), false).was_interrupted()? {
                    let path = path.display();
                    tracing::warn!(
                        "'{path}': a run that was killed left files there; the next run undoes what that run began"
                    );
                }
                ReadAccess::Storage(FolderReader::of(destination))
            }
            // A login may be allowed to read, and not to push.
            Endpoint::Repository(reference, client) => {
                let repository = client.repository_to_push(reference, context.counters.clone())?;
                ReadAccess::Repository(RepositoryReader::new(repository, context))
            }
            Endpoint::File(_) | Endpoint::Engine(..) | Endpoint::Web(..) => {
                self.open_to_read(context)?
            }
        };
        Ok(Pending::Plan(PlanOnly { access, temp_dir: context.temp_dir.clone() }))
    }

    /// Returns the repository to push to, where the destination is at a registry.
    pub fn repository_to_push(&self, context: &Context) -> Result<Option<Repository>> {
        match &self.endpoint {
            Endpoint::Repository(reference, client) => {
                client.repository_to_push(reference, context.counters.clone()).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Opens the destination for reading. Errors as [`Self::open`].
    pub fn open_to_read(&self, context: &Context) -> Result<ReadAccess> {
        self.open(context).map(Grant::into_read_access)
    }

    /// Opens the destination for writing.
    pub fn open(&self, context: &Context) -> Result<Grant> {
        Ok(match &self.endpoint {
            Endpoint::Directory(path) | Endpoint::TaggedDirectory(path, _) => {
                Grant::Storage(Destination::directory(path)?)
            }
            Endpoint::File(path) => Grant::Storage(Destination::file(path)?),
            Endpoint::Repository(reference, client) => {
                let repository = client.repository(reference, context.counters.clone())?;
                Grant::Repository(BlockingRepository::new(repository, context))
            }
            Endpoint::Engine(image, engine) => {
                Grant::Engine(EngineImage::new(engine.clone(), image.clone(), context))
            }
            Endpoint::Web(folder, login) => {
                Grant::Web(BlockingSite::open(folder, login.as_ref(), context)?)
            }
        })
    }

    /// Returns the folder of the web server, if the destination is such a folder.
    #[must_use]
    pub fn folder(&self) -> Option<&Folder> {
        match &self.endpoint {
            Endpoint::Web(folder, _) => Some(folder),
            _ => None,
        }
    }

    /// Returns the name that an image gets at the destination.
    #[must_use]
    pub fn name(&self, image: &ImageName) -> ImageName {
        match &self.endpoint {
            Endpoint::Directory(_)
            | Endpoint::File(_)
            | Endpoint::TaggedDirectory(_, None)
            | Endpoint::Web(..) => image.clone(),
            Endpoint::TaggedDirectory(_, tag) => {
                ImageName { repository: image.repository.clone(), tag: tag.clone() }
            }
            Endpoint::Repository(reference, _) => reference.name(),
            Endpoint::Engine(image, _) => image.clone(),
        }
    }

    /// Returns whether the destination is reached over plain HTTP.
    #[must_use]
    pub fn is_insecure(&self) -> bool {
        matches!(&self.endpoint, Endpoint::Repository(_, client) if client.is_insecure())
    }

    /// Returns the value of an option of the plugin.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the file that the image is written to, if the destination is a file.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match &self.endpoint {
            Endpoint::File(path) => Some(path),
            _ => None,
        }
    }

    /// Makes results of one image at the destination count for the other images of this run
    /// ([`RegistryClient::for_many_images`]).
    pub fn for_many_images(&self) {
        if let Endpoint::Repository(_, client) = &self.endpoint {
            let _ = client.clone().for_many_images();
        }
    }

    /// Returns whether the destination holds only one image.
    #[must_use]
    pub fn holds_one(&self) -> bool {
        let unique = self.option("unique_names");
        match &self.endpoint {
            Endpoint::Directory(_) => unique.is_some_and(|value| value != "true"),
            Endpoint::TaggedDirectory(_, tag) => tag.is_some(),
            Endpoint::File(_)
            | Endpoint::Repository(..)
            | Endpoint::Engine(..)
            | Endpoint::Web(..) => true,
        }
    }

    /// Returns whether the destination distinguishes images only by their tags.
    #[must_use]
    pub fn knows_tags_only(&self) -> bool {
        matches!(self.endpoint, Endpoint::TaggedDirectory(_, None))
    }

    /// Returns the text that stands for a part of the destination in messages. `subject` is the name of the part in a
    /// receipt or from a plugin.
    #[must_use]
    pub fn display_part(&self, subject: &str) -> String {
        match &self.endpoint {
            Endpoint::Directory(path) | Endpoint::TaggedDirectory(path, _) => {
                path.join(subject).display().to_string()
            }
            Endpoint::File(path) => path.with_file_name(subject).display().to_string(),
            Endpoint::Repository(reference, _) => {
                crate::destination::remote::display(&reference.host, &reference.repository, subject)
            }
            Endpoint::Engine(..) => subject.to_owned(),
            Endpoint::Web(folder, _) => format!("{}{subject}", folder.plain()),
        }
    }
}

/// Parses `IMAGE[:TAG]`, as Docker prints it. Errors when it is not of that form, or names a digest: an engine would
/// refuse that when it has all of the image.
pub fn image_name(rest: &str) -> Result<ImageName> {
    if rest.contains('@') {
        return Err(Error::usage(format!("'{rest}': an image in an engine is named by tag")));
    }
    let name = ImageName::parse(rest).map_err(|error| Error::usage(error.to_string()))?;
    // Engines read such a name as an ID, and refuse it as a tag.
    let is_id = name.repository.len() == 64
        && name.repository.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if name.repository == "sha256" || is_id {
        let message = format!("'{rest}': an image in an engine is named by tag, this is an ID");
        return Err(Error::usage(message).hint("docker://IMAGE[:TAG]"));
    }
    Ok(Reference::parse(&name.in_full().to_string())?.name())
}

//! Where an image goes: what a destination URI names, checked.

use std::path::PathBuf;

use super::destination::Destination;
use super::grant::Grant;
use super::pending::Pending;
use super::push::Push;
use super::remote::Remote;
use super::staging::Staging;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::image::{ImageName, name};
use crate::plugin::description::Kind;
use crate::plugin::{Catalog, Plugin};
use crate::registry::{Client, Reference};
use crate::uri::Uri;

/// Where an image goes, and who writes it there.
#[derive(Clone)]
pub struct Target {
    /// Who writes.
    pub plugin: Plugin,
    /// What the user named.
    pub place: Place,
    /// Checked, with defaults.
    pub options: Vec<(String, String)>,
    /// The URI, without secrets.
    pub display: String,
}

/// What the rest of a destination URI names.
#[derive(Clone)]
pub enum Place {
    /// A directory.
    Directory(PathBuf),
    /// A file.
    File(PathBuf),
    /// A directory, and the tag that the image gets there.
    TaggedDirectory(PathBuf, Option<String>),
    /// A repository and a tag.
    Repository(Reference, Client),
}

/// What the host itself takes from the query of a URI that names a repository.
pub const REPOSITORY_OPTIONS: [&str; 4] = ["insecure", "username", "password", "max_workers"];

impl Target {
    /// Resolve a destination URI: its plugin, its place, its options. `client` makes the registry
    /// client where one is needed.
    pub fn parse(
        uri: &Uri,
        catalog: &Catalog,
        client: impl FnOnce(&Uri) -> Result<Client>,
    ) -> Result<Self> {
        let plugin = catalog.for_scheme(&uri.scheme)?;
        if uri.scheme == "dir" && uri.option("expand").is_some() {
            return Err(Error::usage("option 'expand' of 'dir://' is not yet supported"));
        }
        let kind = plugin.description().destination;
        if uri.rest.is_empty() {
            let (scheme, form) = (&uri.scheme, kind.form());
            return Err(Error::usage(format!("'{scheme}://' is not whole: {scheme}://{form}")));
        }
        let mut options = uri.options.clone();
        if kind == Kind::Repository {
            options.retain(|(name, _)| !REPOSITORY_OPTIONS.contains(&name.as_str()));
        }
        let place = match kind {
            Kind::Directory => Place::Directory(PathBuf::from(&uri.rest)),
            Kind::File => Place::File(PathBuf::from(&uri.rest)),
            Kind::TaggedDirectory => {
                let (path, tag) = tagged(&uri.rest);
                Place::TaggedDirectory(path, tag)
            }
            Kind::Repository => {
                let reference = Reference::parse(&uri.rest)?;
                if reference.digest.is_some() {
                    let message = format!("'{reference}': a destination is named by tag");
                    return Err(Error::usage(message)
                        .hint("the digest of what is written is that of its content"));
                }
                Place::Repository(reference, client(uri)?)
            }
        };
        let options = plugin.description().options(&options, &uri.scheme)?;
        Ok(Self { options, place, display: uri.display(), plugin })
    }

    /// Let the command line say what the URI did not, where the output has such an option.
    #[must_use]
    pub fn with_default(mut self, name: &str, value: Option<&str>) -> Self {
        let Some(value) = value else { return self };
        match self.options.iter_mut().find(|(known, _)| known == name) {
            Some((_, own)) if own.is_empty() => value.clone_into(own),
            Some(_) => {}
            None => tracing::warn!("--{name} means nothing to '{}'", self.display),
        }
        self
    }

    /// Writes that nobody sees yet. Makes a directory that is missing, and takes it away again when
    /// nothing was put into it.
    pub fn stage(&self, context: &Context) -> Result<Pending> {
        let durable = context.durable;
        Ok(match &self.place {
            Place::Directory(path) | Place::TaggedDirectory(path, _) => {
                Pending::Files(Staging::for_directory(path, durable)?)
            }
            Place::File(path) => Pending::Files(Staging::new(Destination::file(path)?, durable)),
            Place::Repository(reference, client) => {
                let repository = client.repository_to_push(reference, context.counters.clone())?;
                let tag = reference.target();
                Pending::Push(Push::new(Remote::new(repository, context), tag, context))
            }
        })
    }

    /// What is there, to look at it.
    pub fn open(&self, context: &Context) -> Result<Grant> {
        Ok(match &self.place {
            Place::Directory(path) | Place::TaggedDirectory(path, _) => {
                Grant::Storage(Destination::directory(path)?)
            }
            Place::File(path) => Grant::Storage(Destination::file(path)?),
            Place::Repository(reference, client) => {
                let repository = client.repository(reference, context.counters.clone())?;
                Grant::Repository(Remote::new(repository, context))
            }
        })
    }

    /// How an image is called there.
    #[must_use]
    pub fn name(&self, image: &ImageName) -> ImageName {
        match &self.place {
            Place::Directory(_) | Place::File(_) | Place::TaggedDirectory(_, None) => image.clone(),
            Place::TaggedDirectory(_, tag) => {
                ImageName { repository: image.repository.clone(), tag: tag.clone() }
            }
            Place::Repository(reference, _) => reference.name(),
        }
    }

    /// Whether it holds one image under one name.
    #[must_use]
    pub fn holds_one(&self) -> bool {
        let unique = self.options.iter().find(|(name, _)| name == "unique_names");
        match &self.place {
            Place::Directory(_) => unique.is_some_and(|(_, value)| value != "true"),
            Place::TaggedDirectory(_, tag) => tag.is_some(),
            Place::File(_) | Place::Repository(..) => true,
        }
    }

    /// Whether it tells images apart by their tags alone.
    #[must_use]
    pub fn knows_tags_only(&self) -> bool {
        matches!(self.place, Place::TaggedDirectory(_, None))
    }

    /// How messages name a part of it that a receipt or a plugin names.
    #[must_use]
    pub fn display_part(&self, subject: &str) -> String {
        match &self.place {
            Place::Directory(path) | Place::TaggedDirectory(path, _) => {
                path.join(subject).display().to_string()
            }
            Place::File(path) => path.with_file_name(subject).display().to_string(),
            Place::Repository(reference, _) => {
                super::remote::display(&reference.host, &reference.repository, subject)
            }
        }
    }
}

/// `PATH[:TAG]`: a colon after the last slash starts a tag, where what follows is one.
#[must_use]
pub fn tagged(rest: &str) -> (PathBuf, Option<String>) {
    let after_slash = rest.rfind('/').map_or(0, |slash| slash + 1);
    match rest[after_slash..].rsplit_once(':') {
        Some((folder, tag)) if name::is_tag(tag) => {
            let path = &rest[..after_slash + folder.len()];
            (PathBuf::from(path), Some(tag.to_owned()))
        }
        _ => (PathBuf::from(rest), None),
    }
}

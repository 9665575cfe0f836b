//! What a plugin may touch: the one thing that the user named.

use super::engine_image::EngineImage;
use super::remote::BlockingRepository;
use super::site::BlockingSite;
use occystrap_base::files::destination::Destination;

/// One thing that the user named. Cheap to clone.
#[derive(Clone)]
pub enum Grant {
    /// A directory or a file.
    Storage(Destination),
    /// A repository of a registry.
    Repository(BlockingRepository),
    /// The name of an image in an engine.
    Engine(EngineImage),
    /// A folder on a web server.
    Web(BlockingSite),
}

impl Grant {
    /// The directory or file.
    #[must_use]
    pub fn storage(&self) -> Option<&Destination> {
        match self {
            Self::Storage(destination) => Some(destination),
            _ => None,
        }
    }

    /// The repository.
    #[must_use]
    pub fn repository(&self) -> Option<&BlockingRepository> {
        match self {
            Self::Repository(remote) => Some(remote),
            _ => None,
        }
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> Option<&EngineImage> {
        match self {
            Self::Engine(named) => Some(named),
            _ => None,
        }
    }

    /// The folder on a web server.
    #[must_use]
    pub fn site(&self) -> Option<&BlockingSite> {
        match self {
            Self::Web(site) => Some(site),
            _ => None,
        }
    }

    /// How messages name a part of it.
    #[must_use]
    pub fn display(&self, subject: &str) -> String {
        match self {
            Self::Storage(destination) => destination.display(subject),
            Self::Repository(remote) => remote.display(subject),
            Self::Web(site) => site.display(subject),
            // A subject is an image's name, or a layer of it.
            Self::Engine(_) => subject.to_owned(),
        }
    }

    /// How messages name all of it.
    #[must_use]
    pub fn whole(&self) -> String {
        match self {
            Self::Storage(destination) => match destination.file_name() {
                Some(name) => destination.display(name),
                None => destination.folder().display().to_string(),
            },
            Self::Repository(remote) => remote.place(),
            Self::Engine(named) => named.image().to_string(),
            Self::Web(site) => site.folder().to_string(),
        }
    }
}

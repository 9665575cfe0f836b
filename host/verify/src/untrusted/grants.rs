//! What the receipts of a batch may be about: folders and registries that the operator named.
//!
//! Nothing is granted by default. What it refuses: container engines, whose socket is worth as much
//! as root; and to say of anything outside whether it is there.

use std::io;
use std::path::{Component, Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::Stop;
use occystrap_base::error::{Error, Kind, Result, io_reason};
use occystrap_base::files::destination::Destination;
use occystrap_net::http::Settings;

/// What was granted.
#[derive(Default)]
pub struct Grants {
    roots: Vec<Root>,
    registries: Vec<String>,
    settings: Settings,
}

/// A folder that is open, so that it stays the one that was meant.
struct Root {
    dir: Dir,
    /// As it was named, and as it is without links: receipts have either.
    names: [PathBuf; 2],
}

impl Grants {
    /// Nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Destinations in a folder, however deep. Errors when it is none, or cannot be opened.
    pub fn root(&mut self, path: &Path) -> Result<()> {
        let open = || -> io::Result<Root> {
            let dir = Dir::open_ambient_dir(path, ambient_authority())?;
            Ok(Root { dir, names: [std::path::absolute(path)?, path.canonicalize()?] })
        };
        let root = open().map_err(|cause| {
            Error::usage(format!(
                "cannot open the root '{}': {}",
                path.display(),
                io_reason(&cause)
            ))
        })?;
        self.roots.push(root);
        Ok(())
    }

    /// Repositories of a registry, by its host and, where it has one, port: `docker.io`,
    /// `registry.example.com:5000`. The login of the [settings](Self::with_settings) goes there.
    pub fn registry(&mut self, host: &str) {
        self.registries.push(host.to_owned());
    }

    /// How registries are spoken to. A receipt has no say in it.
    #[must_use]
    pub fn with_settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// How registries are spoken to.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether receipts may be about a host's repositories.
    #[must_use]
    pub fn allows(&self, host: &str) -> bool {
        self.registries.iter().any(|known| known == host)
    }

    /// The folder that a receipt is about, or the file, opened beneath a root: no link on the way
    /// leads out of it.
    pub fn open(&self, path: &Path, is_file: bool) -> Result<Opened, Stop> {
        let denied = || {
            let message = format!("'{}' is not below a folder that was granted", path.display());
            Stop::Doubt(
                Error::destination(message)
                    .hint("--root DIR grants a folder and everything below it"),
            )
        };
        let plain = |part| matches!(part, Component::Normal(_) | Component::RootDir);
        if !path.components().all(plain) {
            return Err(denied());
        }
        let below = |root: &Root| {
            let found = root.names.iter().find_map(|name| path.strip_prefix(name).ok());
            found.map(Path::to_owned)
        };
        let Some((root, below)) = self.roots.iter().find_map(|root| Some((root, below(root)?)))
        else {
            return Err(denied());
        };
        let (folder, shown, name) = match is_file {
            false => (below.as_path(), path, None),
            true => {
                let name = below.file_name().and_then(|name| name.to_str()).ok_or_else(denied)?;
                let parent = |path: &'_ Path| path.parent().map(Path::to_owned);
                let (folder, shown) = (parent(&below), parent(path));
                return match (folder, shown) {
                    (Some(folder), Some(shown)) => {
                        opened(&root.dir, &folder, &shown, Some(name), denied)
                    }
                    _ => Err(denied()),
                };
            }
        };
        opened(&root.dir, folder, shown, name, denied)
    }
}

/// A destination, or that it is not there.
pub enum Opened {
    /// It is there.
    There(Destination),
    /// Nothing of that name is below the root.
    Missing(Error),
}

fn opened(
    root: &Dir,
    below: &Path,
    shown: &Path,
    name: Option<&str>,
    denied: impl Fn() -> Stop,
) -> Result<Opened, Stop> {
    match Destination::below(root, below, shown, name) {
        Ok(destination) => Ok(Opened::There(destination)),
        // cap-std reports a link that leads out so, without a number of the system.
        Err(cause)
            if cause.kind() == io::ErrorKind::PermissionDenied
                && cause.raw_os_error().is_none() =>
        {
            Err(denied())
        }
        Err(cause) => {
            let place = shown.display();
            let error = Error::io(Kind::Destination, "open the directory", place, &cause);
            match cause.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                    Ok(Opened::Missing(error))
                }
                _ => Err(Stop::Doubt(error)),
            }
        }
    }
}

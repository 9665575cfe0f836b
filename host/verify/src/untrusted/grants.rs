//! The destinations that the receipts of a batch may name: folders and registries that the operator granted.
//!
//! Nothing is granted by default. Container engines cannot be granted: access to their socket amounts to root. No error
//! says whether something outside of the granted folders exists.

use std::io;
use std::path::{Component, Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::batch_limits::Stop;
use occystrap_base::error::{Error, Kind, Result, io_reason};
use occystrap_net::http::Settings;
use occystrap_output::destination::read_access::FolderReader;

/// The granted folders and registries.
#[derive(Default)]
pub struct Grants {
    roots: Vec<Root>,
    registries: Vec<String>,
    settings: Settings,
}

/// A granted folder. It is kept open, so that it stays the same folder.
struct Root {
    dir: Dir,
    /// Its path as the operator named it, and without links: receipts may have either.
    names: [PathBuf; 2],
}

impl Grants {
    /// Grants nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Grants a folder and everything below it. Errors when it is not a folder, or cannot be opened.
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

    /// Grants the repositories of a registry, by its host and, where it has one, port: `docker.io`,
    /// `registry.example.com:5000`. The login of the [settings](Self::with_settings) is sent there.
    pub fn registry(&mut self, host: &str) {
        self.registries.push(host.to_owned());
    }

    /// Sets how registries are contacted. A receipt cannot change that.
    #[must_use]
    pub fn with_settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// Returns how registries are contacted.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns whether receipts may name repositories of a host.
    #[must_use]
    pub fn allows(&self, host: &str) -> bool {
        self.registries.iter().any(|known| known == host)
    }

    /// Opens the folder or the file that a receipt names, below a granted folder: no link on the way leads out of it.
    pub fn open(&self, path: &Path, is_file: bool) -> Result<Opened, Stop> {
        let denied = || {
            let message = format!("'{}' is not below a folder that was granted", path.display());
            Stop::Unchecked(
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

/// A granted destination that was opened.
pub enum Opened {
    /// It is there.
    There(FolderReader),
    /// The granted folder has nothing of that name.
    Missing(Error),
}

fn opened(
    root: &Dir,
    below: &Path,
    shown: &Path,
    name: Option<&str>,
    denied: impl Fn() -> Stop,
) -> Result<Opened, Stop> {
    match FolderReader::below(root, below, shown, name) {
        Ok(folder) => Ok(Opened::There(folder)),
        // cap-std reports a link that leads out of the folder like this, without a system error number.
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
                _ => Err(Stop::Unchecked(error)),
            }
        }
    }
}

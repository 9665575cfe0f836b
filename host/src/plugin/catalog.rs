//! Which plugin answers to which URI scheme.
//!
//! The first-party plugins are part of the binary; `plugins/plugins.lock` says what they are.
//! Nothing is compiled before it is asked for.

use super::PluginEngine;
use super::instance::Plugin;
use crate::error::{Error, Kind, Result};

/// A plugin that is part of the binary.
#[derive(Debug, Clone, Copy)]
pub struct Embedded {
    /// Its name.
    pub name: &'static str,
    /// The URI schemes it answers to.
    pub schemes: &'static [&'static str],
    /// The component.
    pub component: &'static [u8],
}

/// Every plugin that is part of the binary.
pub const EMBEDDED: [Embedded; 5] = [
    Embedded {
        name: "dir",
        schemes: &["dir", "directory"],
        component: include_bytes!("../../plugins/dir.wasm"),
    },
    Embedded {
        name: "docker",
        schemes: &["docker"],
        component: include_bytes!("../../plugins/docker.wasm"),
    },
    Embedded {
        name: "oci-layout",
        schemes: &["oci-layout"],
        component: include_bytes!("../../plugins/oci-layout.wasm"),
    },
    Embedded {
        name: "registry",
        schemes: &["registry"],
        component: include_bytes!("../../plugins/registry.wasm"),
    },
    Embedded {
        name: "tar",
        schemes: &["tar", "file"],
        component: include_bytes!("../../plugins/tar.wasm"),
    },
];

/// Schemes that 0.4.17 had as outputs and this version has not yet.
const NOT_YET: [&str; 2] = ["oci", "mounts"];

/// Whether a scheme is one that this version has not yet.
#[must_use]
pub fn is_to_come(scheme: &str) -> bool {
    NOT_YET.contains(&scheme)
}

/// Finds and loads plugins.
pub struct Catalog {
    engine: PluginEngine,
    /// `--plugin FILE`: looked at before the embedded ones.
    extra: Vec<Plugin>,
}

impl Catalog {
    /// A catalog with plugins from files, for this run. A file may not answer to a scheme of an
    /// embedded plugin.
    pub fn new(engine: PluginEngine, files: &[std::path::PathBuf]) -> Result<Self> {
        let mut extra: Vec<Plugin> = Vec::new();
        for path in files {
            let bytes = std::fs::read(path).map_err(|cause| {
                Error::io(Kind::Plugin, "read the plugin", path.display(), &cause)
            })?;
            let plugin = Plugin::load(&engine, &path.display().to_string(), &bytes)?;
            for scheme in plugin.schemes() {
                let taken = EMBEDDED.iter().find(|known| known.schemes.contains(&scheme.as_str()));
                if let Some(taken) = taken {
                    let message = format!(
                        "plugin '{}' answers to '{scheme}://', which the built-in plugin '{}' does",
                        path.display(),
                        taken.name
                    );
                    return Err(Error::new(Kind::Plugin, message)
                        .hint("a plugin from a file needs a scheme of its own"));
                }
            }
            extra.push(plugin);
        }
        Ok(Self { engine, extra })
    }

    /// The plugin that writes to a scheme.
    pub fn for_scheme(&self, scheme: &str) -> Result<Plugin> {
        let answers = |plugin: &&Plugin| plugin.schemes().iter().any(|known| known == scheme);
        if let Some(plugin) = self.extra.iter().find(answers) {
            return Ok(plugin.clone());
        }
        match EMBEDDED.iter().find(|plugin| plugin.schemes.contains(&scheme)) {
            Some(embedded) => Plugin::load(&self.engine, embedded.name, embedded.component),
            None if is_to_come(scheme) => Err(Error::usage(format!(
                "output '{scheme}://' is not yet supported"
            ))
            .hint("this version writes dir://, tar://, oci-layout://, registry:// and docker://")),
            None => Err(Error::usage(format!("no plugin writes to '{scheme}://'"))
                .hint("'occystrap plugin list' shows what there is; --plugin FILE adds one")),
        }
    }

    /// Every plugin: those of this run and the embedded ones.
    pub fn all(&self) -> Result<Vec<Plugin>> {
        let embedded =
            EMBEDDED.iter().map(|plugin| Plugin::load(&self.engine, plugin.name, plugin.component));
        self.extra.iter().cloned().map(Ok).chain(embedded).collect()
    }
}

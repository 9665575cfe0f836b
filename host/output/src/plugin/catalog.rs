//! Which plugin answers to which URI scheme.
//!
//! The first-party plugins are part of the binary; `plugins/plugins.lock` says what they are. Others
//! are named for one run, or were added by the user ([`super::installed`]). Nothing is compiled
//! before it is asked for. What it refuses: two plugins for one scheme, and to look anywhere else for
//! a scheme that it does not know.

use super::PluginEngine;
use super::component_file;
use super::installed::{Entry, Installed, Record};
use super::instance::Plugin;
use crate::receipt::identity::PluginIdentity;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_net::uri::Uri;

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
pub static EMBEDDED: [Embedded; 5] = [
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

/// Schemes of sources, of web addresses, and of what a plugin is added from: a destination that is
/// called so would be taken for something else.
const OTHERS: [&str; 4] = ["dockerpush", "quay", "http", "https"];

/// Where a plugin comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It is part of the binary.
    BuiltIn,
    /// `--plugin FILE`.
    File(String),
    /// The user added it, from there.
    Installed(String),
}

/// A plugin that there is, whether it can be used or not.
pub struct Listed {
    /// Its name.
    pub name: String,
    /// The URI schemes it answers to.
    pub schemes: Vec<String>,
    /// What it says of itself.
    pub summary: String,
    /// Where it comes from.
    pub origin: Origin,
    /// The plugin, or why it cannot be used.
    pub plugin: Result<Plugin>,
}

/// Finds and loads plugins.
pub struct Catalog {
    engine: PluginEngine,
    /// `--plugin FILE`: looked at first.
    extra: Vec<(String, Plugin)>,
    /// What the user has added: looked at last, so that a record that cannot be read is in nobody's
    /// way who does not need it.
    installed: Option<Installed>,
}

impl Catalog {
    /// A catalog with plugins from files, for this run, and none installed. A file may not answer
    /// to a scheme of an embedded plugin, nor two of them to one.
    pub fn new(engine: PluginEngine, files: &[std::path::PathBuf]) -> Result<Self> {
        let mut catalog = Self { engine, extra: Vec::new(), installed: None };
        for path in files {
            catalog.add_file(path)?;
        }
        Ok(catalog)
    }

    /// One more plugin from a file. Errors when it is none, or answers to a scheme that is taken; the
    /// catalog is then as it was.
    pub fn add_file(&mut self, path: &std::path::Path) -> Result<()> {
        let place = Uri::hide(&path.to_string_lossy());
        let plugin = Plugin::load(&self.engine, &place, &component_file::read(path)?)?;
        for scheme in plugin.schemes() {
            let other = self.extra.iter().find(|(_, other)| other.schemes().contains(scheme));
            let other = other.map(|(other, _)| format!("the plugin '{other}' does"));
            if let Some(whose) = reserved(scheme).or(other) {
                let message = format!("plugin '{place}' answers to '{scheme}://', which {whose}");
                return Err(Error::new(Kind::Plugin, message)
                    .hint("a plugin from a file needs a scheme of its own"));
            }
        }
        self.extra.push((place, plugin));
        Ok(())
    }

    /// The same, with what a user has added.
    #[must_use]
    pub fn with_installed(self, installed: Option<Installed>) -> Self {
        Self { installed, ..self }
    }

    /// The engine that compiles them.
    #[must_use]
    pub fn engine(&self) -> &PluginEngine {
        &self.engine
    }

    /// The plugin that writes to a scheme. Nothing is looked for anywhere else than here.
    pub fn for_scheme(&self, scheme: &str) -> Result<Plugin> {
        if let Some(plugin) = self.here(scheme)? {
            return Ok(plugin);
        }
        if let Some((_, plugin)) = self.added(|record| record.for_scheme(scheme))? {
            return plugin;
        }
        if is_to_come(scheme) {
            return Err(Error::usage(format!("output '{scheme}://' is not yet supported")).hint(
                "this version writes dir://, tar://, oci-layout://, registry:// and docker://",
            ));
        }
        Err(Error::usage(format!("no plugin writes to '{scheme}://'")).hint(
            "'occystrap plugin list' shows what there is, 'occystrap plugin add' installs one, \
             --plugin FILE uses one for this run",
        ))
    }

    /// The plugin for a receipt: of those that the user has added, only the very component that
    /// wrote it. A built-in one may be of another version, and so may what `--plugin` names: the
    /// user chose it for this run. Errors ([`Kind::Plugin`]) say what is missing.
    pub fn for_receipt(&self, scheme: &str, wrote: &PluginIdentity) -> Result<Plugin> {
        if let Some(plugin) = self.here(scheme)? {
            return Ok(plugin);
        }
        let (name, version) = (&wrote.name, &wrote.version);
        let missing = |message: String| {
            let digest = wrote.sha256;
            Err(Error::new(Kind::Plugin, message).hint(format!(
                "'occystrap plugin add' or --plugin FILE, with the component {digest} \
                 ('{name}' {version})"
            )))
        };
        match self.added(|record| record.for_scheme(scheme))? {
            Some((entry, plugin)) if entry.sha256 == wrote.sha256 => plugin,
            Some((entry, _)) => missing(format!(
                "the receipt is of plugin '{name}' {}, installed is '{}' {}, which is not used",
                wrote.sha256.short(),
                entry.name,
                entry.sha256.short()
            )),
            None => missing(format!(
                "the receipt is of plugin '{name}' {}, which is not installed",
                wrote.sha256.short()
            )),
        }
    }

    /// The plugin of a name. `None` when there is none.
    pub fn named(&self, name: &str) -> Result<Option<(Origin, Plugin)>> {
        let extra = self.extra.iter().find(|(_, plugin)| plugin.description().name == name);
        if let Some((place, plugin)) = extra {
            return Ok(Some((Origin::File(place.clone()), plugin.clone())));
        }
        if let Some(embedded) = built_in(name) {
            return self.load(embedded).map(|plugin| Some((Origin::BuiltIn, plugin)));
        }
        let Some((entry, plugin)) = self.added(|record| record.named(name))? else {
            return Ok(None);
        };
        plugin.map(|plugin| Some((Origin::Installed(entry.source), plugin)))
    }

    /// Every plugin: those of this run, the built-in ones, and what was added. One that cannot be
    /// used is listed all the same.
    pub fn all(&self) -> Result<Vec<Listed>> {
        let listed = |origin: Origin, plugin: Plugin| {
            let description = plugin.description().clone();
            Listed {
                name: description.name,
                schemes: description.schemes,
                summary: description.summary,
                origin,
                plugin: Ok(plugin),
            }
        };
        let mut all = Vec::new();
        for (place, plugin) in &self.extra {
            all.push(listed(Origin::File(place.clone()), plugin.clone()));
        }
        for embedded in &EMBEDDED {
            all.push(listed(Origin::BuiltIn, self.load(embedded)?));
        }
        let Some(installed) = &self.installed else { return Ok(all) };
        for entry in installed.record()?.plugins() {
            let plugin = self.admit(installed, entry);
            let Entry { name, schemes, summary, source, .. } = entry.clone();
            all.push(Listed { name, schemes, summary, origin: Origin::Installed(source), plugin });
        }
        Ok(all)
    }

    /// Whether a scheme belongs to a built-in plugin or one of this run: whichever component a
    /// receipt names, it gets that one.
    #[must_use]
    pub fn is_settled(&self, scheme: &str) -> bool {
        let extra =
            self.extra.iter().any(|(_, plugin)| plugin.schemes().iter().any(|s| s == scheme));
        extra || EMBEDDED.iter().any(|plugin| plugin.schemes.contains(&scheme))
    }

    /// Among the plugins of this run and the built-in ones.
    fn here(&self, scheme: &str) -> Result<Option<Plugin>> {
        let answers = |plugin: &Plugin| plugin.schemes().iter().any(|known| known == scheme);
        if let Some((_, plugin)) = self.extra.iter().find(|(_, plugin)| answers(plugin)) {
            return Ok(Some(plugin.clone()));
        }
        let embedded = EMBEDDED.iter().find(|plugin| plugin.schemes.contains(&scheme));
        embedded.map(|embedded| self.load(embedded)).transpose()
    }

    /// Among what was added. The plugin is an error when it cannot be used.
    fn added(
        &self,
        find: impl Fn(&Record) -> Option<&Entry>,
    ) -> Result<Option<(Entry, Result<Plugin>)>> {
        let Some(installed) = &self.installed else { return Ok(None) };
        let entry = || installed.record().map(|record| find(&record).cloned());
        let Some(first) = entry()? else { return Ok(None) };
        let plugin = self.admit(installed, &first);
        if !plugin.as_ref().is_err_and(|error| error.kind() == Kind::NotFound) {
            return Ok(Some((first, plugin)));
        }
        // Another process may just have put a new one in its place.
        match entry()? {
            Some(second) if second != first => {
                let plugin = self.admit(installed, &second);
                Ok(Some((second, plugin)))
            }
            _ => Ok(Some((first, plugin))),
        }
    }

    fn admit(&self, installed: &Installed, entry: &Entry) -> Result<Plugin> {
        let component = installed.component(entry)?;
        let plugin = Plugin::load(&self.engine, &entry.name, &component)?;
        entry.admit(&plugin)?;
        plugin.keep_code();
        Ok(plugin)
    }

    fn load(&self, embedded: &Embedded) -> Result<Plugin> {
        Plugin::load(&self.engine, embedded.name, embedded.component)
    }
}

/// The built-in plugin of a name.
#[must_use]
pub fn built_in(name: &str) -> Option<&'static Embedded> {
    EMBEDDED.iter().find(|plugin| plugin.name == name)
}

/// Who has a scheme that no other plugin may answer to, in words that follow "which". There is no
/// way to replace a built-in plugin: its scheme is a source as well, and what `verify` looks at
/// without a receipt, both read by the host itself.
#[must_use]
pub fn reserved(scheme: &str) -> Option<String> {
    if let Some(taken) = EMBEDDED.iter().find(|known| known.schemes.contains(&scheme)) {
        return Some(format!("the built-in plugin '{}' does", taken.name));
    }
    let kept = NOT_YET.contains(&scheme) || OTHERS.contains(&scheme);
    kept.then(|| "occystrap keeps for itself".to_owned())
}

//! The plugins that can be used, by URI scheme.
//!
//! Built-in plugins are part of the binary ([`super::embedded`]). Others are named for one run (`--plugin`), or
//! were added by the user ([`super::installed`]). A plugin is compiled only when it is needed. What it refuses:
//! two plugins for one scheme, and to search anywhere else for a scheme that it does not know.

use super::component_file;
use super::embedded::{EMBEDDED, Embedded, built_in, is_to_come, reserved};
use super::installed::{Installed, InstalledPlugin, Record};
use super::loaded::Plugin;
use super::runtime::PluginEngine;
use crate::receipt::PluginIdentity;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_net::uri::Uri;

/// The origin of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginOrigin {
    /// Part of the binary.
    BuiltIn,
    /// A file that the user named for this run (`--plugin FILE`).
    File(String),
    /// Added by the user, from this source.
    Installed(String),
}

/// A plugin of the list, whether it can be used or not.
pub struct ListedPlugin {
    /// Its name.
    pub name: String,
    /// The URI schemes it answers to.
    pub schemes: Vec<String>,
    /// Its own summary.
    pub summary: String,
    /// Its origin.
    pub origin: PluginOrigin,
    /// The plugin, or the reason why it cannot be used.
    pub plugin: Result<Plugin>,
}

/// The catalog: it finds and loads plugins.
pub struct Catalog {
    engine: PluginEngine,
    /// Plugins of this run (`--plugin FILE`), which take precedence.
    extra: Vec<(String, Plugin)>,
    /// Plugins that the user has added. They come last: an unreadable record is no error for a run that does
    /// not need it.
    installed: Option<Installed>,
}

impl Catalog {
    /// Returns a catalog with plugins from files, for this run, and no installed ones. Errors when a file
    /// answers to a scheme of a built-in plugin, or two of them to the same scheme.
    pub fn new(engine: PluginEngine, files: &[std::path::PathBuf]) -> Result<Self> {
        let mut catalog = Self { engine, extra: Vec::new(), installed: None };
        for path in files {
            catalog.add_file(path)?;
        }
        Ok(catalog)
    }

    /// Adds a plugin from a file. Errors when it is no plugin, or answers to a scheme that is taken; the
    /// catalog is then unchanged.
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

    /// Returns the catalog with the plugins that a user has added.
    #[must_use]
    pub fn with_installed(self, installed: Option<Installed>) -> Self {
        Self { installed, ..self }
    }

    /// Returns the engine that compiles the plugins.
    #[must_use]
    pub fn engine(&self) -> &PluginEngine {
        &self.engine
    }

    /// Returns the plugin that writes to a scheme. Errors when the catalog has none: there is no other place to
    /// search.
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

    /// Returns the plugin for a receipt. Of the plugins that the user has added, only the very component that
    /// wrote the receipt is used. A built-in plugin may have another version, and so may one that `--plugin`
    /// names: the user chose it for this run. Errors ([`Kind::Plugin`]) say which component is missing.
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
                "the receipt was made by plugin '{name}' {}, installed is '{}' {}, which is not used",
                wrote.sha256.short(),
                entry.name,
                entry.sha256.short()
            )),
            None => missing(format!(
                "the receipt was made by plugin '{name}' {}, which is not installed",
                wrote.sha256.short()
            )),
        }
    }

    /// Returns the plugin with a name; `None` when there is none.
    pub fn named(&self, name: &str) -> Result<Option<(PluginOrigin, Plugin)>> {
        let extra = self.extra.iter().find(|(_, plugin)| plugin.description().name == name);
        if let Some((place, plugin)) = extra {
            return Ok(Some((PluginOrigin::File(place.clone()), plugin.clone())));
        }
        if let Some(embedded) = built_in(name) {
            return self.load(embedded).map(|plugin| Some((PluginOrigin::BuiltIn, plugin)));
        }
        let Some((entry, plugin)) = self.added(|record| record.named(name))? else {
            return Ok(None);
        };
        plugin.map(|plugin| Some((PluginOrigin::Installed(entry.source), plugin)))
    }

    /// Returns every plugin: those of this run, the built-in ones, and those that were added, including plugins
    /// that cannot be used.
    pub fn all(&self) -> Result<Vec<ListedPlugin>> {
        let listed = |origin: PluginOrigin, plugin: Plugin| {
            let description = plugin.description().clone();
            ListedPlugin {
                name: description.name,
                schemes: description.schemes,
                summary: description.summary,
                origin,
                plugin: Ok(plugin),
            }
        };
        let mut all = Vec::new();
        for (place, plugin) in &self.extra {
            all.push(listed(PluginOrigin::File(place.clone()), plugin.clone()));
        }
        for embedded in &EMBEDDED {
            all.push(listed(PluginOrigin::BuiltIn, self.load(embedded)?));
        }
        let Some(installed) = &self.installed else { return Ok(all) };
        for entry in installed.record()?.plugins() {
            let plugin = self.admit(installed, entry);
            let InstalledPlugin { name, schemes, summary, source, .. } = entry.clone();
            all.push(ListedPlugin {
                name,
                schemes,
                summary,
                origin: PluginOrigin::Installed(source),
                plugin,
            });
        }
        Ok(all)
    }

    /// Returns whether a scheme belongs to a built-in plugin or one of this run. Its plugin is then used
    /// whatever component a receipt names.
    #[must_use]
    pub fn is_settled(&self, scheme: &str) -> bool {
        let extra =
            self.extra.iter().any(|(_, plugin)| plugin.schemes().iter().any(|s| s == scheme));
        extra || EMBEDDED.iter().any(|plugin| plugin.schemes.contains(&scheme))
    }

    /// Searches the plugins of this run and the built-in ones.
    fn here(&self, scheme: &str) -> Result<Option<Plugin>> {
        let answers = |plugin: &Plugin| plugin.schemes().iter().any(|known| known == scheme);
        if let Some((_, plugin)) = self.extra.iter().find(|(_, plugin)| answers(plugin)) {
            return Ok(Some(plugin.clone()));
        }
        let embedded = EMBEDDED.iter().find(|plugin| plugin.schemes.contains(&scheme));
        embedded.map(|embedded| self.load(embedded)).transpose()
    }

    /// Searches the plugins that were added. The plugin is an error when it cannot be used.
    fn added(
        &self,
        find: impl Fn(&Record) -> Option<&InstalledPlugin>,
    ) -> Result<Option<(InstalledPlugin, Result<Plugin>)>> {
        let Some(installed) = &self.installed else { return Ok(None) };
        let entry = || installed.record().map(|record| find(&record).cloned());
        let Some(first) = entry()? else { return Ok(None) };
        let plugin = self.admit(installed, &first);
        if !plugin.as_ref().is_err_and(|error| error.kind() == Kind::NotFound) {
            return Ok(Some((first, plugin)));
        }
        // Another process may just have replaced it.
        match entry()? {
            Some(second) if second != first => {
                let plugin = self.admit(installed, &second);
                Ok(Some((second, plugin)))
            }
            _ => Ok(Some((first, plugin))),
        }
    }

    fn admit(&self, installed: &Installed, entry: &InstalledPlugin) -> Result<Plugin> {
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

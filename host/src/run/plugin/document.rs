//! JSON documents about plugins, for programs: `plugin list -O json` and `plugin show -O json`.

use std::io::{self, Write};

use serde::Serialize;

use occystrap_base::error::Error;
use occystrap_base::oci::Digest;
use occystrap_base::terminal::table::write_json;
use occystrap_output::plugin::Plugin;
use occystrap_output::plugin::catalog::{ListedPlugin, PluginOrigin};
use occystrap_output::plugin::permission::Permission;

#[derive(Serialize)]
struct ListDocument<'a> {
    plugins: Vec<PluginLine<'a>>,
}

#[derive(Serialize)]
struct PluginLine<'a> {
    name: &'a str,
    schemes: &'a [String],
    summary: &'a str,
    #[serde(flatten)]
    from: OriginEntry<'a>,
    /// Reason why it cannot be used.
    error: Option<&'a Error>,
}

#[derive(Serialize)]
struct OriginEntry<'a> {
    /// `built-in`, `this-run` or `added`.
    origin: &'static str,
    /// The file, or the URI that it was added from.
    source: Option<&'a str>,
}

#[derive(Serialize)]
struct PluginDocument<'a> {
    plugin: PluginDetails<'a>,
    /// Reason why some of it is not shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Error>,
}

#[derive(Serialize)]
struct PluginDetails<'a> {
    /// `None` where the component was not compiled, like everything that the plugin says itself.
    name: Option<&'a str>,
    version: Option<&'a str>,
    summary: Option<&'a str>,
    #[serde(flatten)]
    from: OriginEntry<'a>,
    /// Digest of the component.
    sha256: Digest,
    schemes: &'a [String],
    /// Form of the URI after `scheme://`.
    form: Option<&'static str>,
    options: Vec<OptionEntry<'a>>,
    permissions: Vec<PermissionEntry>,
}

#[derive(Serialize)]
struct OptionEntry<'a> {
    name: &'a str,
    /// Default value; unknown for options that are not passed to the plugin.
    default: Option<&'a str>,
    summary: &'a str,
    /// `plugin`; or `host` for an option that occystrap uses and does not pass to the plugin.
    taken_by: &'static str,
}

#[derive(Serialize)]
struct PermissionEntry {
    interface: &'static str,
    /// The permission in plain words.
    words: &'static str,
}

impl<'a> OriginEntry<'a> {
    fn of(origin: &'a PluginOrigin) -> Self {
        match origin {
            PluginOrigin::BuiltIn => Self { origin: "built-in", source: None },
            PluginOrigin::File(path) => Self { origin: "this-run", source: Some(path) },
            PluginOrigin::Installed(source) => Self { origin: "added", source: Some(source) },
        }
    }
}

/// Writes the list of plugins.
pub fn list(plugins: &[ListedPlugin], out: &mut dyn Write) -> io::Result<()> {
    let lines = plugins.iter().map(|listed| PluginLine {
        name: &listed.name,
        schemes: &listed.schemes,
        summary: &listed.summary,
        from: OriginEntry::of(&listed.origin),
        error: listed.plugin.as_ref().err(),
    });
    write_json(out, &ListDocument { plugins: lines.collect() })
}

/// Writes a plugin with its options and permissions.
pub fn show(plugin: &Plugin, origin: &PluginOrigin, out: &mut dyn Write) -> io::Result<()> {
    let description = plugin.description();
    let own = description.options.iter().map(|option| OptionEntry {
        name: &option.name,
        default: Some(&option.default),
        summary: &option.summary,
        taken_by: "plugin",
    });
    let host = description.destination.host_options().iter();
    let host =
        host.map(|(name, summary)| OptionEntry { name, default: None, summary, taken_by: "host" });
    let whole = PluginDetails {
        name: Some(&description.name),
        version: Some(&description.version),
        summary: Some(&description.summary),
        from: OriginEntry::of(origin),
        sha256: plugin.sha256(),
        schemes: plugin.schemes(),
        form: Some(description.destination.form()),
        options: own.chain(host).collect(),
        permissions: grants(plugin.permissions()),
    };
    write_json(out, &PluginDocument { plugin: whole, error: None })
}

/// Writes what a component says without being compiled, and the error that says why.
pub fn component(
    sha256: Digest,
    origin: &PluginOrigin,
    permissions: &[Permission],
    error: &Error,
    out: &mut dyn Write,
) -> io::Result<()> {
    let whole = PluginDetails {
        name: None,
        version: None,
        summary: None,
        from: OriginEntry::of(origin),
        sha256,
        schemes: &[],
        form: None,
        options: Vec::new(),
        permissions: grants(permissions),
    };
    write_json(out, &PluginDocument { plugin: whole, error: Some(error) })
}

/// Returns the permissions; an interface without words grants nothing.
fn grants(permissions: &[Permission]) -> Vec<PermissionEntry> {
    let granted = permissions.iter().filter(|permission| !permission.words.is_empty());
    granted
        .map(|permission| PermissionEntry {
            interface: permission.interface,
            words: permission.words,
        })
        .collect()
}

//! Text about plugins, for users who decide whether to use one: what it is, its options, its permissions.

use std::io::{self, Write};

use occystrap_base::error::printable;
use occystrap_base::oci::Digest;
use occystrap_output::plugin::Plugin;
use occystrap_output::plugin::catalog::{ListedPlugin, PluginOrigin};
use occystrap_output::plugin::permission::{self, Permission};
use occystrap_verify::report;

/// Writes everything about a plugin.
pub fn plugin(plugin: &Plugin, origin: &PluginOrigin, out: &mut dyn Write) -> io::Result<()> {
    identity(plugin, &from(origin), out)?;
    let description = plugin.description();
    for option in &description.options {
        let line = format!("{}={}: {}", option.name, option.default, option.summary);
        writeln!(out, "  option     {}", printable(&line))?;
    }
    for (name, what) in description.destination.host_options() {
        writeln!(out, "  option     {name}=: {what}; used by occystrap, not passed to the plugin")?;
    }
    permissions(plugin, |_| "", out)
}

/// Writes what a component says without being compiled.
pub fn component(
    name: &str,
    sha256: Digest,
    origin: &PluginOrigin,
    granted: &[Permission],
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "{}", printable(name))?;
    writeln!(out, "  from       {}", printable(&from(origin)))?;
    writeln!(out, "  component  {sha256}")?;
    write_permissions(granted, |_| "", out)
}

fn from(origin: &PluginOrigin) -> String {
    match origin {
        PluginOrigin::BuiltIn => "built in".to_owned(),
        PluginOrigin::File(path) => format!("{path}, not added"),
        PluginOrigin::Installed(source) => format!("{source}, added"),
    }
}

/// Writes what a plugin is, and where it comes from.
pub fn identity(plugin: &Plugin, from: &str, out: &mut dyn Write) -> io::Result<()> {
    let description = plugin.description();
    writeln!(out, "{} {}", description.name, description.version)?;
    writeln!(out, "  {}", description.summary)?;
    writeln!(out, "  from       {}", printable(from))?;
    writeln!(out, "  component  {}", plugin.sha256())?;
    for scheme in plugin.schemes() {
        writeln!(out, "  writes to  {scheme}://{}", description.destination.form())?;
    }
    Ok(())
}

/// Writes what a plugin may do, in plain words, each line with a remark.
pub fn permissions(
    plugin: &Plugin,
    remark: impl Fn(&Permission) -> &'static str,
    out: &mut dyn Write,
) -> io::Result<()> {
    write_permissions(plugin.permissions(), remark, out)
}

fn write_permissions(
    permissions: &[Permission],
    remark: impl Fn(&Permission) -> &'static str,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "It may:")?;
    for line in permission::in_words(permissions, remark) {
        writeln!(out, "  - {line}")?;
    }
    let network = permissions.iter().any(|known| matches!(known.interface, "registry" | "http-in"));
    let network = if network { "no other network" } else { "no network" };
    writeln!(
        out,
        "It cannot do anything else: {network}, no other files, no environment, no clock."
    )
}

/// Writes a line for each plugin, in columns as wide as their content.
pub fn list(plugins: &[ListedPlugin], out: &mut dyn Write) -> io::Result<()> {
    let row = |plugin: &ListedPlugin| {
        let schemes: Vec<String> =
            plugin.schemes.iter().map(|scheme| format!("{scheme}://")).collect();
        let origin = match plugin.origin {
            PluginOrigin::BuiltIn => "built in",
            PluginOrigin::File(_) => "this run",
            PluginOrigin::Installed(_) => "added",
        };
        (plugin.name.clone(), schemes.join(" "), origin, printable(&plugin.summary))
    };
    let rows: Vec<_> = plugins.iter().map(row).collect();
    let widest = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or_default();
    let names = widest(&mut rows.iter().map(|(name, ..)| name.len()));
    let schemes = widest(&mut rows.iter().map(|(_, schemes, ..)| schemes.len()));
    let origins = widest(&mut rows.iter().map(|(_, _, origin, _)| origin.len()));
    rows.iter().try_for_each(|(name, scheme, origin, summary)| {
        writeln!(out, "{name:<names$}  {scheme:<schemes$}  {origin:<origins$}  {summary}")
    })
}

/// Writes a warning for each added plugin that cannot be used.
pub fn unusable(plugins: &[ListedPlugin], err: &mut dyn Write) -> io::Result<()> {
    let errors = plugins.iter().filter_map(|plugin| plugin.plugin.as_ref().err());
    errors.into_iter().try_for_each(|error| report::write_warning(err, error))
}

//! A plugin, for someone who decides whether to use it: what it is, what it takes, what it may do.

use std::io::{self, Write};

use occystrap_base::error::printable;
use occystrap_base::oci::Digest;
use occystrap_output::plugin::Plugin;
use occystrap_output::plugin::catalog::Origin;
use occystrap_output::plugin::permission::{self, Permission};

/// Everything.
pub fn plugin(plugin: &Plugin, origin: &Origin, out: &mut dyn Write) -> io::Result<()> {
    identity(plugin, &from(origin), out)?;
    let description = plugin.description();
    for option in &description.options {
        let line = format!("{}={}: {}", option.name, option.default, option.summary);
        writeln!(out, "  option     {}", printable(&line))?;
    }
    for (name, what) in description.destination.host_options() {
        writeln!(out, "  option     {name}=: {what}; taken by occystrap, unseen by the plugin")?;
    }
    permissions(plugin, |_| "", out)
}

/// A component that was not compiled: what it says without being asked.
pub fn component(
    name: &str,
    sha256: Digest,
    origin: &Origin,
    granted: &[Permission],
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "{}", printable(name))?;
    writeln!(out, "  from       {}", printable(&from(origin)))?;
    writeln!(out, "  component  {sha256}")?;
    may(granted, |_| "", out)
}

fn from(origin: &Origin) -> String {
    match origin {
        Origin::BuiltIn => "built in".to_owned(),
        Origin::File(path) => format!("{path}, not added"),
        Origin::Installed(source) => format!("{source}, added"),
    }
}

/// What it is, and from where.
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

/// What it may do, in plain words, each with a remark.
pub fn permissions(
    plugin: &Plugin,
    remark: impl Fn(&Permission) -> &'static str,
    out: &mut dyn Write,
) -> io::Result<()> {
    may(plugin.permissions(), remark, out)
}

fn may(
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

//! `occystrap plugin`: what there is, what each may do, and adding and removing.

mod add;
mod ask;
mod authors;
mod describe;
mod document;

use std::io::{self, Write};
use std::path::Path;

use self::add::add;
use super::Host;
use crate::cli::{OutputFormat, PluginCommand};
use occystrap_base::error::{Error, Kind, Result, printable};
use occystrap_base::limits;
use occystrap_base::oci::Digest;
use occystrap_base::terminal::progress::Progress;
use occystrap_base::terminal::shell;
use occystrap_output::plugin::catalog::{ListedPlugin, Origin};
use occystrap_output::plugin::embedded::built_in;
use occystrap_output::plugin::installed::RECORD;
use occystrap_output::plugin::{
    NotLoaded, Plugin, PluginEngine, component_count, component_file, permission,
};
use occystrap_verify::report;

/// Do what was asked: results on `out`, questions and everything else on `err`.
pub fn run(
    command: &PluginCommand,
    host: &Host<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    match command {
        PluginCommand::List => {
            let all = host.catalog()?.all()?;
            match host.global.output_format {
                OutputFormat::Text => list(&all, out),
                OutputFormat::Json => document::list(&all, out),
            }
            .and_then(|()| unusable(&all, err))
            .map_err(printed)?;
            let is_added = |plugin: &ListedPlugin| matches!(plugin.origin, Origin::Installed(_));
            let has_record = host.installed().is_some_and(|one| one.folder().join(RECORD).exists());
            if has_record && !host.global.quiet && !all.iter().any(is_added) {
                writeln!(err, "{NONE_ADDED}").map_err(printed)?;
            }
            Ok(0)
        }
        PluginCommand::Show { plugin } => {
            let (origin, plugin) = match plugin.contains(['/', '.']) {
                true => (Origin::File(plugin.clone()), of_file(plugin, host, out)?),
                false => named(plugin, host)?,
            };
            match host.global.output_format {
                OutputFormat::Text => describe::plugin(&plugin, &origin, out),
                OutputFormat::Json => document::show(&plugin, &origin, out),
            }
            .map_err(printed)?;
            Ok(0)
        }
        PluginCommand::New { name, path } => authors::new(name, path.as_deref(), out),
        PluginCommand::Test { plugin, with } => {
            // Bars of test images would tell nobody anything.
            let hidden = Progress::hidden();
            let context = Host { progress: &hidden, ..*host }.context()?;
            authors::test(plugin, with, host.global, &context, out)
        }
        PluginCommand::Add { source, yes } => add(source, *yes, host, err),
        PluginCommand::Remove { name } => {
            let removed = match host.installed() {
                Some(installed) => installed.remove(name, host.cancel)?,
                None => None,
            };
            let Some(entry) = removed else { return Err(not_added(name)) };
            if !host.global.quiet {
                let (name, version, digest) = (&entry.name, &entry.version, entry.sha256.short());
                let said = format!("removed {name} {version} ({digest})");
                writeln!(err, "{}", printable(&said)).map_err(printed)?;
            }
            Ok(0)
        }
    }
}

/// What `plugin list` says where a record of added plugins lists none: the user may look for one that was
/// removed.
const NONE_ADDED: &str = "no plugin was added; to add one: occystrap plugin add FILE.wasm, or oci://HOST/REPOSITORY@sha256:...";

fn printed(cause: io::Error) -> Error {
    Error::io(Kind::Destination, "write to", "the terminal", &cause)
}

fn not_added(name: &str) -> Error {
    let error = match built_in(name) {
        Some(_) => Error::usage(format!("plugin '{name}' is built in")),
        None => Error::usage(format!("no plugin '{name}' was added")),
    };
    error.hint("'occystrap plugin list' shows those that were")
}

/// The plugin in a component's file. Where compiling it takes more than a look is worth, shows what the
/// component itself says, and errors with what to type for the rest.
fn of_file(path: &str, host: &Host<'_>, out: &mut dyn Write) -> Result<Plugin> {
    let bytes = component_file::read(Path::new(path))?;
    let engine = PluginEngine::cancelled_by(host.cancel, limits::Allowance::showing())?;
    let (error, imports) = match Plugin::try_load(&engine, path, &bytes) {
        Ok(plugin) => return Ok(plugin),
        Err(NotLoaded::Refused(error)) => return Err(error),
        Err(NotLoaded::TooCostly(error, imports)) => (error, imports),
    };
    let imports = match imports {
        Some(imports) => imports,
        None => component_count::count(path, &bytes)?.imports,
    };
    let permissions = permission::of(path, imports.iter().map(String::as_str))?;
    let (memory, time) = (limits::COMPILE_MEMORY >> 20, limits::COMPILE_TIME.as_secs());
    let error = error
        .within("its name, schemes and options are not shown")
        .hint(format!(
            "'occystrap plugin add {}' compiles it with up to {memory} MiB and {time} s, shows all of it, \
             and asks before it is added",
            shell::quote(path)
        ));
    let (origin, sha256) = (Origin::File(path.to_owned()), Digest::of(&bytes));
    match host.global.output_format {
        OutputFormat::Text => describe::component(path, sha256, &origin, &permissions, out),
        OutputFormat::Json => document::component(sha256, &origin, &permissions, &error, out),
    }
    .map_err(printed)?;
    Err(error)
}

/// A plugin by its name.
fn named(name: &str, host: &Host<'_>) -> Result<(Origin, Plugin)> {
    host.catalog()?.named(name)?.ok_or_else(|| {
        Error::usage(format!("there is no plugin '{name}'"))
            .hint("'occystrap plugin list' shows what there is; a file is named with its path")
    })
}

/// In columns as wide as what stands in them.
fn list(plugins: &[ListedPlugin], out: &mut dyn Write) -> io::Result<()> {
    let row = |plugin: &ListedPlugin| {
        let schemes: Vec<String> =
            plugin.schemes.iter().map(|scheme| format!("{scheme}://")).collect();
        let origin = match plugin.origin {
            Origin::BuiltIn => "built in",
            Origin::File(_) => "this run",
            Origin::Installed(_) => "added",
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

/// Those that were added and will not run, and why.
fn unusable(plugins: &[ListedPlugin], err: &mut dyn Write) -> io::Result<()> {
    let errors = plugins.iter().filter_map(|plugin| plugin.plugin.as_ref().err());
    errors.into_iter().try_for_each(|error| report::write_warning(err, error))
}

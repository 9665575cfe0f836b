//! `occystrap plugin`: lists, shows, makes, tests, adds and removes output plugins.

mod add;
mod describe;
mod document;

use std::io::{self, Write};
use std::path::Path;

use self::add::add;
use super::Host;
use crate::cli::{OutputFormat, PluginCommand};
use crate::plugin_kit::{conformance, scaffold};
use occystrap_base::error::{Error, Kind, Result, printable};
use occystrap_base::limits;
use occystrap_base::oci::Digest;
use occystrap_base::terminal::progress::Progress;
use occystrap_base::terminal::shell;
use occystrap_output::plugin::catalog::{ListedPlugin, PluginOrigin};
use occystrap_output::plugin::embedded::{EMBEDDED, built_in};
use occystrap_output::plugin::installed::RECORD;
use occystrap_output::plugin::{NotLoaded, Plugin, component_count, component_file, permission};

/// Runs a command about plugins: results on `out`, questions and everything else on `err`. Returns the exit code.
pub fn run(
    command: &PluginCommand,
    host: &Host<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    match command {
        PluginCommand::List => {
            let all = host.session.catalog()?.all()?;
            match host.global.output_format {
                OutputFormat::Text => describe::list(&all, out),
                OutputFormat::Json | OutputFormat::Jsonl => document::list(&all, out),
            }
            .and_then(|()| describe::unusable(&all, err))
            .map_err(printed)?;
            let is_added =
                |plugin: &ListedPlugin| matches!(plugin.origin, PluginOrigin::Installed(_));
            let has_record = host
                .session
                .installed()
                .is_some_and(|installed| installed.folder().join(RECORD).exists());
            if has_record && !host.global.quiet && !all.iter().any(is_added) {
                writeln!(err, "{NONE_ADDED}").map_err(printed)?;
            }
            Ok(0)
        }
        PluginCommand::Show { plugin } => {
            let (origin, plugin) = match plugin.contains(['/', '.']) {
                true => (PluginOrigin::File(plugin.clone()), of_file(plugin, host, out)?),
                false => named(plugin, host)?,
            };
            match host.global.output_format {
                OutputFormat::Text => describe::plugin(&plugin, &origin, out),
                OutputFormat::Json | OutputFormat::Jsonl => document::show(&plugin, &origin, out),
            }
            .map_err(printed)?;
            Ok(0)
        }
        PluginCommand::New { name, path } => new(name, path.as_deref(), out),
        PluginCommand::Test { plugin, with } => test(plugin, with, host, out),
        PluginCommand::Add { source, yes } => add(source, *yes, host, err),
        PluginCommand::Remove { name } => {
            let removed = match host.session.installed() {
                Some(installed) => installed.remove(name, host.session.stop())?,
                None => None,
            };
            let Some(entry) = removed else { return Err(not_added(name)) };
            if !host.global.quiet {
                let (name, version, digest) = (&entry.name, &entry.version, entry.sha256.short());
                let line = format!("removed {name} {version} ({digest})");
                writeln!(err, "{}", printable(&line)).map_err(printed)?;
            }
            Ok(0)
        }
    }
}

/// Line of `plugin list` where a record of added plugins is empty: the user may look for a plugin that was removed.
const NONE_ADDED: &str = "no plugin is added; to add one: occystrap plugin add FILE.wasm, or oci://HOST/REPOSITORY@sha256:...";

fn printed(cause: io::Error) -> Error {
    Error::io(Kind::Destination, "write to", "the terminal", &cause)
}

fn not_added(name: &str) -> Error {
    let error = match built_in(name) {
        Some(_) => Error::usage(format!("plugin '{name}' is built in")),
        None => Error::usage(format!("plugin '{name}' has not been added")),
    };
    error.hint("'occystrap plugin list' shows the added plugins")
}

/// Returns the plugin in a component's file. If compiling it costs more than showing it is worth, prints what the
/// component says without being compiled, and errors with the command that shows the rest.
fn of_file(path: &str, host: &Host<'_>, out: &mut dyn Write) -> Result<Plugin> {
    let bytes = component_file::read(Path::new(path))?;
    let engine = host.session.engine(limits::Allowance::showing())?;
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
             and asks before it adds it",
            shell::quote(path)
        ));
    let (origin, sha256) = (PluginOrigin::File(path.to_owned()), Digest::of(&bytes));
    match host.global.output_format {
        OutputFormat::Text => describe::component(path, sha256, &origin, &permissions, out),
        OutputFormat::Json | OutputFormat::Jsonl => {
            document::component(sha256, &origin, &permissions, &error, out)
        }
    }
    .map_err(printed)?;
    Err(error)
}

/// Returns a plugin by its name.
fn named(name: &str, host: &Host<'_>) -> Result<(PluginOrigin, Plugin)> {
    host.session.catalog()?.named(name)?.ok_or_else(|| {
        Error::usage(format!("there is no plugin '{name}'"))
            .hint("'occystrap plugin list' shows all plugins; a file is named with its path")
    })
}

/// Runs `occystrap plugin new`: makes a crate for a new plugin.
fn new(name: &str, folder: Option<&Path>, out: &mut dyn Write) -> Result<u8> {
    let folder = folder.unwrap_or(Path::new(name));
    scaffold::write(name, folder)?;
    let file = scaffold::file_name(name);
    writeln!(
        out,
        "made '{place}'. Next:\n  cd {place}\n  cargo plugin    \
         builds target/wasm32-unknown-unknown/release/{file}.wasm\n  \
         cargo test      runs the conformance kit on it",
        place = folder.display()
    )
    .map_err(super::printed)?;
    Ok(0)
}

/// Runs `occystrap plugin test`: the conformance test of a plugin.
fn test(
    name: &str,
    options: &[(String, String)],
    host: &Host<'_>,
    out: &mut dyn Write,
) -> Result<u8> {
    // Progress bars of test images would be of no use.
    let context = host.session.clone().shown_on(Progress::hidden()).context()?;
    let engine = host.session.engine(limits::Allowance::default())?;
    let built_in = EMBEDDED.iter().find(|embedded| embedded.name == name);
    let report = match built_in {
        Some(embedded) => conformance::run(&engine, name, embedded.component, options, &context)?,
        None => {
            let bytes = component_file::read(Path::new(name))?;
            conformance::run(&engine, name, &bytes, options, &context)?
        }
    };
    match host.global.output_format {
        OutputFormat::Text => report.write_text(out, host.global.quiet),
        OutputFormat::Json | OutputFormat::Jsonl => report.write_json(out),
    }
    .map_err(super::printed)?;
    Ok(report.exit_code())
}

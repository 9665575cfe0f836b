//! `occystrap plugin add`: shows what a plugin may do, asks, and adds it.
//!
//! It refuses to add a plugin before its permissions were shown and granted. The component is read once, so that what
//! was shown is what is kept.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use super::{Host, describe, printed};
use crate::cli::Global;
use occystrap_base::error::{Error, Result, printable};
use occystrap_base::limits::Allowance;
use occystrap_net::http::Counters;
use occystrap_net::uri::Uri;
use occystrap_output::plugin::installed::{InstalledPlugin, Record};
use occystrap_output::plugin::{Plugin, artifact, component_file};

/// Longest answer to a question, in bytes: more than a user types for yes or no.
const LONGEST_ANSWER: u64 = 64;

/// Adds a plugin. The exit code is 1 when the user says no.
pub fn add(source: &str, yes: bool, host: &Host<'_>, err: &mut dyn Write) -> Result<u8> {
    let global = host.global;
    let installed = host.session.installed().ok_or_else(|| {
        Error::usage("there is no folder for plugins: neither HOME nor XDG_DATA_HOME is set")
            .hint("--plugin-dir DIR sets one")
    })?;
    let (component, source) = read(source, host)?;
    let plugin = Plugin::load(&host.session.engine(Allowance::default())?, &source, &component)?;
    let entry = InstalledPlugin::of(&plugin, source);
    let record = installed.record()?;
    record.check(&entry)?;
    let before = record.named(&entry.name);
    if before.is_some_and(|before| same(before, &entry)) && installed.component(&entry).is_ok() {
        log(global, err, &format!("{} {} is already added", entry.name, entry.version))?;
        return Ok(0);
    }
    if !(yes && global.quiet) {
        show(&plugin, &entry, &record, err).map_err(printed)?;
    }
    if !yes && !can_ask() {
        return Err(Error::usage(format!(
            "plugin '{}' was not added: there is no terminal for the question",
            entry.name
        ))
        .hint("--yes grants the permissions that are shown above"));
    }
    if !yes && !ask("Add it?", host, err)? {
        log(global, err, "nothing was added")?;
        return Ok(1);
    }
    let line = format!("added {} {} ({})", entry.name, entry.version, entry.sha256.short());
    installed.add(entry, &component, host.session.stop())?;
    plugin.keep_code();
    log(global, err, &line)?;
    Ok(0)
}

/// Returns whether the user has granted exactly this already.
fn same(before: &InstalledPlugin, now: &InstalledPlugin) -> bool {
    InstalledPlugin { source: now.source.clone(), ..before.clone() } == *now
}

/// Writes a line for the user, unless `--quiet` is given.
fn log(global: &Global, err: &mut dyn Write, line: &str) -> Result<()> {
    if global.quiet {
        return Ok(());
    }
    writeln!(err, "{}", printable(line)).map_err(printed)
}

/// Reads the component. Returns it with its source, in a form that is valid from any folder.
fn read(source: &str, host: &Host<'_>) -> Result<(Vec<u8>, String)> {
    if !source.contains("://") {
        let path = Path::new(source);
        let lasting = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        return Ok((component_file::read(path)?, lasting.display().to_string()));
    }
    let uri = Uri::parse(source)?;
    if uri.scheme != "oci" {
        return Err(Error::usage(format!("a plugin cannot be added from '{}://'", uri.scheme))
            .hint("add it from a file, or from oci://HOST/REPOSITORY[:TAG]@sha256:..."));
    }
    let (reference, digest) = artifact::reference(&uri)?;
    let client = host.session.clients().of(&uri)?;
    let repository = client.repository(&reference, Arc::new(Counters::default()))?;
    tracing::info!("fetching {}", uri.display());
    let component = host.session.runtime().block_on(artifact::fetch(&repository, digest))?;
    Ok((component, uri.display()))
}

/// Shows what the plugin is, what it may do, and which permissions are new.
fn show(
    plugin: &Plugin,
    entry: &InstalledPlugin,
    record: &Record,
    err: &mut dyn Write,
) -> io::Result<()> {
    describe::identity(plugin, &entry.source, err)?;
    let before = record.named(&entry.name);
    let new = |interface: &str| match before {
        Some(before) => !before.granted.iter().any(|known| known == interface),
        None => false,
    };
    let remark = |interface: &str| if new(interface) { ", new" } else { "" };
    describe::permissions(plugin, |permission| remark(permission.interface), err)?;
    let Some(before) = before else { return Ok(()) };
    let (version, digest) = (&before.version, before.sha256.short());
    let replaced = format!("It replaces {version} ({digest}), from {}.", before.source);
    writeln!(err, "{}", printable(&replaced))
}

/// Returns whether the user can be asked: both ends of the question are a terminal.
fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks the user. Every answer but yes is no. Errors when Ctrl-C comes instead of an answer.
fn ask(question: &str, host: &Host<'_>, err: &mut dyn Write) -> Result<bool> {
    write!(err, "{question} [y/N] ").and_then(|()| err.flush()).map_err(printed)?;
    let (send, received) = tokio::sync::oneshot::channel();
    // A thread that waits for a line cannot be stopped; this one ends with the process.
    std::thread::spawn(move || {
        let mut line = String::new();
        let mut stdin = io::Read::take(io::stdin().lock(), LONGEST_ANSWER);
        let read = io::BufRead::read_line(&mut stdin, &mut line);
        let _ = send.send(read.map(|_| line).unwrap_or_default());
    });
    let answer = host.session.runtime().block_on(async {
        tokio::select! {
            line = received => Ok(line.unwrap_or_default()),
            stop = host.session.stop().cancelled() => Err(stop),
        }
    });
    let answer = answer.inspect_err(|_| drop(writeln!(err)))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

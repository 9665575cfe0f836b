//! `occystrap plugin add`: nothing is added before what it may do was shown and granted.
//!
//! The component is read once: what was shown is what is kept.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use super::{Host, ask, describe, printed};
use crate::cli::Global;
use crate::run::clients::Clients;
use occystrap_base::error::{Error, Result, printable};
use occystrap_net::http::Counters;
use occystrap_net::uri::Uri;
use occystrap_output::plugin::installed::{InstalledPlugin, Record};
use occystrap_output::plugin::{Plugin, artifact, component_file};

/// Add a plugin. The exit code is 1 when the user says no.
pub fn add(source: &str, yes: bool, host: &Host<'_>, err: &mut dyn Write) -> Result<u8> {
    let global = host.global;
    let installed = host.installed().ok_or_else(|| {
        Error::usage("there is no folder to keep plugins in: neither HOME nor XDG_DATA_HOME is set")
            .hint("--plugin-dir DIR names one")
    })?;
    let (component, source) = read(source, host)?;
    let plugin = Plugin::load(&host.engine()?, &source, &component)?;
    let entry = InstalledPlugin::of(&plugin, source);
    let record = installed.record()?;
    record.check(&entry)?;
    let before = record.named(&entry.name);
    if before.is_some_and(|before| same(before, &entry)) && installed.component(&entry).is_ok() {
        tell(global, err, &format!("{} {} is there already", entry.name, entry.version))?;
        return Ok(0);
    }
    if !(yes && global.quiet) {
        show(&plugin, &entry, &record, err).map_err(printed)?;
    }
    if !yes && !ask::is_possible() {
        return Err(Error::usage(format!(
            "plugin '{}' was not added: there is no terminal to ask you at",
            entry.name
        ))
        .hint("--yes grants it what is shown above"));
    }
    if !yes && !ask::yes("Add it?", host, err)? {
        tell(global, err, "nothing was added")?;
        return Ok(1);
    }
    let said = format!("added {} {} ({})", entry.name, entry.version, entry.sha256.short());
    installed.add(entry, &component, host.cancel)?;
    plugin.keep_code();
    tell(global, err, &said)?;
    Ok(0)
}

/// Whether the user has agreed to this already.
fn same(before: &InstalledPlugin, now: &InstalledPlugin) -> bool {
    InstalledPlugin { source: now.source.clone(), ..before.clone() } == *now
}

fn tell(global: &Global, err: &mut dyn Write, what: &str) -> Result<()> {
    if global.quiet {
        return Ok(());
    }
    writeln!(err, "{}", printable(what)).map_err(printed)
}

/// The component, and from where it is, so that it means the same from another folder.
fn read(source: &str, host: &Host<'_>) -> Result<(Vec<u8>, String)> {
    if !source.contains("://") {
        let path = Path::new(source);
        let lasting = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        return Ok((component_file::read(path)?, lasting.display().to_string()));
    }
    let uri = Uri::parse(source)?;
    if uri.scheme != "oci" {
        return Err(Error::usage(format!("no plugin is added from '{}://'", uri.scheme)).hint(
            "a plugin is added from a file, or from oci://HOST/REPOSITORY[:TAG]@sha256:...",
        ));
    }
    let (reference, digest) = artifact::reference(&uri)?;
    let client = Clients::new(host.global, host.cancel).of(&uri)?;
    let repository = client.repository(&reference, Arc::new(Counters::default()))?;
    tracing::info!("fetching {}", uri.display());
    let component = host.runtime.block_on(artifact::fetch(&repository, digest))?;
    Ok((component, uri.display()))
}

/// What it is, what it may do, and what is new in that.
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
    let place = format!("It takes the place of {version} ({digest}), from {}.", before.source);
    writeln!(err, "{}", printable(&place))
}

//! Plugins, for programs: `plugin list -O json` and `plugin show -O json`.

use std::io::{self, Write};

use serde::Serialize;

use crate::error::Error;
use crate::image::Digest;
use crate::plugin::Plugin;
use crate::plugin::catalog::{Listed, Origin};
use crate::terminal::write_json;

#[derive(Serialize)]
struct List<'a> {
    plugins: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    schemes: &'a [String],
    summary: &'a str,
    #[serde(flatten)]
    from: From<'a>,
    /// Why it cannot be used.
    error: Option<&'a Error>,
}

#[derive(Serialize)]
struct From<'a> {
    /// `built-in`, `this-run` or `added`.
    origin: &'static str,
    /// The file, or what it was added from.
    source: Option<&'a str>,
}

#[derive(Serialize)]
struct Shown<'a> {
    plugin: Whole<'a>,
}

#[derive(Serialize)]
struct Whole<'a> {
    name: &'a str,
    version: &'a str,
    summary: &'a str,
    #[serde(flatten)]
    from: From<'a>,
    /// Of the component.
    sha256: Digest,
    schemes: &'a [String],
    /// What follows `scheme://`.
    form: &'static str,
    options: Vec<Choice<'a>>,
    permissions: Vec<Grant>,
}

#[derive(Serialize)]
struct Choice<'a> {
    name: &'a str,
    /// What holds when it is not given; unknown of those that the plugin does not see.
    default: Option<&'a str>,
    summary: &'a str,
    /// `plugin`, or `host`: occystrap takes it, and the plugin does not see it.
    taken_by: &'static str,
}

#[derive(Serialize)]
struct Grant {
    interface: &'static str,
    /// In plain words.
    words: &'static str,
}

impl<'a> From<'a> {
    fn of(origin: &'a Origin) -> Self {
        match origin {
            Origin::BuiltIn => Self { origin: "built-in", source: None },
            Origin::File(path) => Self { origin: "this-run", source: Some(path) },
            Origin::Installed(source) => Self { origin: "added", source: Some(source) },
        }
    }
}

/// All that there are.
pub fn list(plugins: &[Listed], out: &mut dyn Write) -> io::Result<()> {
    let lines = plugins.iter().map(|listed| Line {
        name: &listed.name,
        schemes: &listed.schemes,
        summary: &listed.summary,
        from: From::of(&listed.origin),
        error: listed.plugin.as_ref().err(),
    });
    write_json(out, &List { plugins: lines.collect() })
}

/// One, with what it takes and may do.
pub fn show(plugin: &Plugin, origin: &Origin, out: &mut dyn Write) -> io::Result<()> {
    let description = plugin.description();
    let own = description.options.iter().map(|option| Choice {
        name: &option.name,
        default: Some(&option.default),
        summary: &option.summary,
        taken_by: "plugin",
    });
    let host = description.destination.host_options().iter();
    let host =
        host.map(|(name, summary)| Choice { name, default: None, summary, taken_by: "host" });
    // Interfaces without words grant nothing.
    let granted = plugin.permissions().iter().filter(|permission| !permission.words.is_empty());
    let permissions = granted
        .map(|permission| Grant { interface: permission.interface, words: permission.words })
        .collect();
    let whole = Whole {
        name: &description.name,
        version: &description.version,
        summary: &description.summary,
        from: From::of(origin),
        sha256: plugin.sha256(),
        schemes: plugin.schemes(),
        form: description.destination.form(),
        options: own.chain(host).collect(),
        permissions,
    };
    write_json(out, &Shown { plugin: whole })
}

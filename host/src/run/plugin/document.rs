//! Plugins, for programs: `plugin list -O json` and `plugin show -O json`.

use std::io::{self, Write};

use serde::Serialize;

use occystrap_base::error::Error;
use occystrap_base::oci::Digest;
use occystrap_base::terminal::table::write_json;
use occystrap_output::plugin::Plugin;
use occystrap_output::plugin::catalog::{ListedPlugin, Origin};
use occystrap_output::plugin::permission::Permission;

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
    /// Why some of it is not shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Error>,
}

#[derive(Serialize)]
struct Whole<'a> {
    /// `None`, as all that the component says when it is asked, where it was not compiled.
    name: Option<&'a str>,
    version: Option<&'a str>,
    summary: Option<&'a str>,
    #[serde(flatten)]
    from: From<'a>,
    /// Of the component.
    sha256: Digest,
    schemes: &'a [String],
    /// What follows `scheme://`.
    form: Option<&'static str>,
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
pub fn list(plugins: &[ListedPlugin], out: &mut dyn Write) -> io::Result<()> {
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
    let whole = Whole {
        name: Some(&description.name),
        version: Some(&description.version),
        summary: Some(&description.summary),
        from: From::of(origin),
        sha256: plugin.sha256(),
        schemes: plugin.schemes(),
        form: Some(description.destination.form()),
        options: own.chain(host).collect(),
        permissions: grants(plugin.permissions()),
    };
    write_json(out, &Shown { plugin: whole, error: None })
}

/// A component that was not compiled: what it says without being asked.
pub fn component(
    sha256: Digest,
    origin: &Origin,
    permissions: &[Permission],
    error: &Error,
    out: &mut dyn Write,
) -> io::Result<()> {
    let whole = Whole {
        name: None,
        version: None,
        summary: None,
        from: From::of(origin),
        sha256,
        schemes: &[],
        form: None,
        options: Vec::new(),
        permissions: grants(permissions),
    };
    write_json(out, &Shown { plugin: whole, error: Some(error) })
}

/// Interfaces without words grant nothing.
fn grants(permissions: &[Permission]) -> Vec<Grant> {
    let granted = permissions.iter().filter(|permission| !permission.words.is_empty());
    granted
        .map(|permission| Grant { interface: permission.interface, words: permission.words })
        .collect()
}

//! Commands and options of `occystrap plugin`.

use std::path::PathBuf;

use clap::Subcommand;

/// Commands of `occystrap plugin`.
#[derive(Subcommand)]
pub enum PluginCommand {
    /// List the plugins and their URI schemes
    List,
    /// Show a plugin: its options and permissions
    Show {
        /// Name of the plugin, or file of a component
        // An id of its own: the global --plugin is 'plugin'.
        #[arg(id = "name-or-file", value_name = "NAME|FILE")]
        plugin: String,
    },
    /// Make a crate for a new output plugin, which builds and passes its test without changes
    New {
        /// Name of the crate and of the URI scheme
        name: String,
        /// Folder of the crate [default: its name]
        #[arg(long, value_name = "DIR")]
        path: Option<PathBuf>,
    },
    /// Test whether a plugin keeps the contract of the plugin interface
    #[command(after_help = TEST_HELP)]
    Test {
        /// File of a component, or name of a built-in plugin
        // An id of its own: the global --plugin is 'plugin'.
        #[arg(id = "name-or-file", value_name = "FILE|NAME")]
        plugin: String,
        /// Option of the plugin, used in every case; may be repeated
        #[arg(long, value_name = "NAME=VALUE", value_parser = option)]
        with: Vec<(String, String)>,
    },
    /// Add a plugin after showing its permissions
    #[command(after_help = ADDING)]
    Add {
        /// File of a component, or `oci://HOST/REPOSITORY[:TAG]@sha256:...`
        #[arg(value_name = "FILE|URI")]
        source: String,
        /// Grant the permissions without asking; for scripts
        #[arg(short, long)]
        yes: bool,
    },
    /// Remove a plugin that was added
    Remove {
        /// Name of the plugin
        name: String,
    },
}

const TEST_HELP: &str = "\
Writes test images of many shapes to a temporary folder, damages what was written in many ways,
and compares what the plugin's own verification reports.

Exit codes: 0 all passed, 1 something failed, 3 something could not be tried (it needs a registry
or an engine).";

const ADDING: &str = "\
The permissions of a plugin are the interfaces that its component imports. They are shown before the
plugin is added, and you are asked. Another version, with another digest, must be added again. A
plugin cannot have the name or a URI scheme of a built-in plugin. Using a URI never downloads a
plugin.

Examples:
  occystrap plugin add ./inventory.wasm
  occystrap plugin add oci://ghcr.io/me/inventory:1.0@sha256:...";

/// Parses `NAME=VALUE`.
fn option(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

//! `occystrap plugin`: what it is asked to do.

use std::path::PathBuf;

use clap::Subcommand;

/// `occystrap plugin`.
#[derive(Subcommand)]
pub enum PluginCommand {
    /// List the plugins and the URI schemes they answer to
    List,
    /// Show what a plugin is, takes and may do
    Show {
        /// Its name, or a component's file
        // An id of its own: the global --plugin is 'plugin'.
        #[arg(id = "name-or-file", value_name = "NAME|FILE")]
        plugin: String,
    },
    /// Make a crate for an output plugin of your own, which builds and passes its test as it is
    New {
        /// What it is called: its crate, and the scheme that it answers to
        name: String,
        /// The folder of the crate [default: its name]
        #[arg(long, value_name = "DIR")]
        path: Option<PathBuf>,
    },
    /// Run a plugin through the whole contract, and show where it breaks it
    #[command(after_help = TEST_HELP)]
    Test {
        /// A component's file, or the name of a built-in plugin
        // An id of its own: the global --plugin is 'plugin'.
        #[arg(id = "name-or-file", value_name = "FILE|NAME")]
        plugin: String,
        /// An option of the plugin, given in every case
        #[arg(long, value_name = "NAME=VALUE", value_parser = option)]
        with: Vec<(String, String)>,
    },
    /// Add a plugin, once you have seen what it may do
    #[command(after_help = ADDING)]
    Add {
        /// A component's file, or `oci://HOST/REPOSITORY[:TAG]@sha256:...`
        #[arg(value_name = "FILE|URI")]
        source: String,
        /// Grant what it asks for without being asked; for scripts
        #[arg(short, long)]
        yes: bool,
    },
    /// Remove a plugin that was added
    Remove {
        /// Its name
        name: String,
    },
}

const TEST_HELP: &str = "\
Writes test images of many shapes to a temporary folder, damages what was written in every way,
and looks what the plugin's own verification says of it.

Exit codes: 0 all passed, 1 something failed, 3 something could not be tried (a registry or an
engine is needed).";

const ADDING: &str = "\
What a plugin may do is what its component imports; it is shown before it is added, and you are
asked. Another version of it, with another digest, has to be added again. A plugin cannot take the
name or a URI scheme of a built-in one. Nothing is ever downloaded because of a URI's scheme.

Examples:
  occystrap plugin add ./inventory.wasm
  occystrap plugin add oci://ghcr.io/me/inventory:1.0@sha256:...";

/// `NAME=VALUE`.
fn option(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

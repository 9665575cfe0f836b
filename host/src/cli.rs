//! The command line: its commands, options and help.

mod command;
pub mod command_line;
mod export;
mod global;
mod inspect;
pub mod log;
pub mod manual;
mod mirror;
mod plugin;
mod process;
mod proxy;
mod quantity;
pub mod reference;
mod verify;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use self::command::command;
pub use self::global::{CompressionName, Global, OutputFormat, asks_for_json};
pub use self::mirror::{
    FromOptions, MirrorCommand, MirrorExportOptions, MirrorImportOptions, MirrorOptions,
    MirrorPruneOptions, MirrorRepairOptions, MirrorRunOptions, MirrorVerifyOptions, PlanOptions,
    ReportOptions,
};
pub use self::plugin::PluginCommand;
pub use self::process::{LevelName, ProcessOptions};
pub use self::proxy::ProxyOptions;
pub use self::verify::VerifyOptions;
pub use export::ExportOptions;
pub use inspect::{CheckOptions, ExploreOptions, InfoOptions, SearchOptions};

const EXAMPLES: &str = "\
Examples:
  Mirror an image into a directory, and prove that it landed:
    occystrap process registry://docker.io/library/busybox:latest 'dir:///srv/images?unique_names=true'

  Make an archive for 'docker load' from a private registry, and read every byte back:
    occystrap process --verify=full registry://registry.example.com/team/app:1.4 tar:///tmp/app.tar

  Verify it again a month later:
    occystrap verify dir:///srv/images

  Verify receipts of users whom you do not trust, on a shared host:
    occystrap verify --untrusted --root /srv/images /srv/receipts/*.json

  Let engines push through filters into a registry, verified:
    occystrap proxy --downstream registry.example.com/team -f normalize-timestamps

  List the output plugins, and add a plugin from a file:
    occystrap plugin list
    occystrap plugin add ./inventory.wasm

Exit codes: 0 success, 1 something failed, 2 the command line is wrong,
3 something could not be checked (verify; process with --strict).";

/// Moves container images and proves that they landed.
#[derive(Parser)]
#[command(name = "occystrap", version, about, after_help = EXAMPLES)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
    /// The options of all commands.
    #[command(flatten)]
    pub global: Global,
    /// Options that 0.4.17 took before the command.
    #[command(flatten)]
    before: Before,
}

/// Options of `process` that 0.4.17 took before any command. The same options after the command are those of
/// [`ProcessOptions`] and take precedence.
#[derive(Args)]
struct Before {
    #[arg(id = "before-verify", long = "verify", hide = true, value_name = "LEVEL", num_args = 0..=1, require_equals = true, default_missing_value = "fast", conflicts_with = "before-no-verify")]
    verify: Option<LevelName>,
    #[arg(id = "before-verify-full", long = "verify-full", hide = true, conflicts_with_all = ["before-no-verify", "before-verify"])]
    verify_full: bool,
    #[arg(id = "before-no-verify", long = "no-verify", hide = true)]
    no_verify: bool,
}

impl Cli {
    /// Moves the options before the command to the command.
    #[must_use]
    pub fn settled(mut self) -> Self {
        if let Command::Process(process) = &mut self.command
            && !process.no_verify
            && !process.verify_full
            && process.verify.is_none()
        {
            let Before { verify, verify_full, no_verify } = self.before;
            (process.verify, process.verify_full, process.no_verify) =
                (verify, verify_full, no_verify);
        }
        self
    }
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Move images from a source to a destination, and verify what was written
    Process(ProcessOptions),
    /// Verify what was written earlier
    Verify(VerifyOptions),
    /// Check an image: its manifest, config and layers, and every member of each layer
    Check(CheckOptions),
    /// Describe an image: platform, digests, layers, how it runs; fetches no layer
    Info(InfoOptions),
    /// Look around in an image: its layers, the files that a container sees, what each layer changed
    Explore(ExploreOptions),
    /// Find files in the layers of an image
    Search(SearchOptions),
    /// Write the merged file system of an image, as a container sees it, to a tar
    Export(ExportOptions),
    /// Mirror many images as a file says, verified, and recorded in a ledger
    Mirror {
        /// The command about a mirror.
        #[command(subcommand)]
        command: MirrorCommand,
    },
    /// Run a registry endpoint: what clients push is filtered, sent to a registry and verified there
    Proxy(Box<ProxyOptions>),
    /// Show the output plugins and their permissions; add, remove and test plugins
    Plugin {
        /// The command about plugins.
        #[command(subcommand)]
        command: PluginCommand,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, for 'man -l'; or write a page for each command
    Man {
        /// Write occystrap.1, occystrap-process.1 and so on to this folder
        #[arg(long, value_name = "DIR")]
        output: Option<PathBuf>,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_after() {
        for words in [["occystrap", "-j", "2", "man"], ["occystrap", "man", "-j", "2"]] {
            assert_eq!(Cli::parse_from(words).global.parallel, 2);
        }
    }
}

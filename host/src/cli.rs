//! The command line: what there is to say, and what it means.

mod command;
pub mod command_line;
mod global;
mod inspect;
pub mod log;
pub mod manual;
mod plugin;
mod process;
mod verify;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use self::command::command;
pub use self::global::{CompressionName, Global, OutputFormat, asks_for_json};
pub use self::plugin::PluginCommand;
pub use self::process::{LevelName, Process};
pub use self::verify::Verify;
pub use inspect::{Check, Info, Search};

const EXAMPLES: &str = "\
Examples:
  Mirror an image into a directory, and prove that it landed:
    occystrap process registry://docker.io/library/busybox:latest 'dir:///srv/images?unique_names=true'

  Make an archive for 'docker load' from a private registry, reading every byte back:
    occystrap process --verify=full registry://registry.example.com/team/app:1.4 tar:///tmp/app.tar

  Look again a month later:
    occystrap verify dir:///srv/images

  Look at receipts of people whom you do not trust, on a shared host:
    occystrap verify --untrusted --root /srv/images /srv/receipts/*.json

  See which outputs there are, and add one of somebody else:
    occystrap plugin list
    occystrap plugin add ./inventory.wasm

Exit codes: 0 all is well, 1 something failed, 2 the command line is wrong,
3 something could not be checked (verify; process with --strict).";

/// Moves container images and proves that they landed.
#[derive(Parser)]
#[command(name = "occystrap", version, about, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What holds for all commands.
    #[command(flatten)]
    pub global: Global,
    /// What 0.4.17 took before the command.
    #[command(flatten)]
    before: Before,
}

/// Options of `process` that 0.4.17 took before the command, and for all commands. Said behind it
/// they are [`Process`]'s, and go first.
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
    /// With what was said before the command where it belongs.
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
    Process(Process),
    /// Verify what was written earlier
    Verify(Verify),
    /// Check whether an image is right: what its manifest, config and layers promise, and every
    /// member of each layer
    Check(Check),
    /// Describe an image: platform, digests, layers, how it runs; no layer is fetched
    Info(Info),
    /// Find files in the layers of an image
    Search(Search),
    /// Show the output plugins and what each may do; add and remove others
    Plugin {
        /// What about them.
        #[command(subcommand)]
        command: PluginCommand,
    },
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, for 'man -l'; or write one for each command
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

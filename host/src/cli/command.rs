//! The command line as clap parses it: what `cli.rs` declares, without empty environment variables, and with only those
//! global options in the help of a command that have an effect there.

use clap::builder::Resettable;
use clap::{Arg, CommandFactory as _};

use super::Cli;

/// Returns the command line. An environment variable that is empty is ignored.
#[must_use]
pub fn command() -> clap::Command {
    /// Options about the amount of output, which every command has.
    const LOGGING: [&str; 3] = ["verbose", "debug", "quiet"];
    /// Options that have an effect only where something is written.
    const NOT_READING: [&str; 6] =
        ["compression", "layer_cache", "image_parallel", "plugin", "plugin_dir", "netrc_file"];
    const NOT_VERIFYING: [&str; 6] =
        ["platform", "os", "architecture", "variant", "compression", "layer_cache"];
    const REGISTRY: [&str; 7] =
        ["username", "password", "authfile", "insecure", "ca_bundle", "retries", "rate_limit"];
    let is_empty = |argument: &Arg| {
        let value = argument.get_env().and_then(std::env::var_os);
        value.is_some_and(|value| value.is_empty())
    };
    let mut command = Cli::command().mut_args(|argument| match is_empty(&argument) {
        true => argument.env(Resettable::Reset),
        false => argument,
    });
    // Gives the global options to every command: only then can their help leave out some of them.
    command.build();
    let all_but = |hidden: &'static [&str]| move |id: &str| !hidden.contains(&id);
    for name in ["info", "check", "explore", "search", "export"] {
        command = command.mut_subcommand(name, |command| showing(command, all_but(&NOT_READING)));
    }
    let mut command =
        command.mut_subcommand("verify", |verify| showing(verify, all_but(&NOT_VERIFYING)));
    for name in ["man", "completions"] {
        command = command.mut_subcommand(name, |command| showing(command, |_| false));
    }
    command.mut_subcommand("plugin", |plugin| {
        let logs = |id: &str| LOGGING.contains(&id);
        let known = |id: &str| logs(id) || matches!(id, "plugin" | "plugin_dir" | "output_format");
        showing(plugin, logs)
            .mut_subcommand("list", |command| showing(command, known))
            .mut_subcommand("show", |command| showing(command, known))
            .mut_subcommand("new", |command| showing(command, logs))
            .mut_subcommand("remove", |command| {
                showing(command, |id| logs(id) || id == "plugin_dir")
            })
            .mut_subcommand("test", |command| {
                showing(command, |id| logs(id) || matches!(id, "temp_dir" | "output_format"))
            })
            .mut_subcommand("add", |command| {
                showing(command, |id| logs(id) || id == "plugin_dir" || REGISTRY.contains(&id))
            })
    })
}

/// Hides the global options that have no effect from the help of a command. The command still accepts them.
fn showing(command: clap::Command, has_effect: impl Fn(&str) -> bool) -> clap::Command {
    command.mut_args(|argument| {
        let hidden = argument.is_global_set() && !has_effect(argument.get_id().as_str());
        if hidden { argument.hide(true) } else { argument }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use occystrap_base::secret::{SHORTEST, is_own_word};

    #[test]
    fn the_names_of_options_are_words_of_this_program() {
        let command = command();
        let all = std::iter::once(&command).chain(command.get_subcommands());
        let names =
            all.flat_map(|command| command.get_arguments()).filter_map(|one| one.get_long());
        for name in names.chain(["unique_names", "chunk_size"]) {
            let pieces = name.split(['-', '_']).filter(|piece| piece.len() >= SHORTEST);
            let known = |word: &str| is_own_word(word) || word.len() < SHORTEST;
            assert!(known(name), "{name}");
            pieces.for_each(|piece| assert!(known(piece), "{piece} of {name}"));
        }
    }
}

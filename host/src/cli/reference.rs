//! The command reference: every command with its options and their defaults, as Markdown.
//!
//! `docs/command-reference.md` is written from it; a test compares the two.

use std::io::{self, Write};

use clap::{Arg, ArgAction, Command};

/// Writes the reference. `command` is the whole command line.
pub fn write(mut command: Command, out: &mut dyn Write) -> io::Result<()> {
    command.build();
    writeln!(
        out,
        "# Command reference\n\n\
         This page lists every command and every option with its default. It is generated from the command line that the\n\
         binary has; `cargo run --example command_reference > docs/command-reference.md` writes it again.\n\n\
         `occystrap COMMAND --help` prints the same, with examples. An option takes precedence over its environment\n\
         variable, and an empty variable is ignored.\n\n\
         ## Options of several commands\n"
    )?;
    table(command.get_arguments().filter(|argument| argument.is_global_set()), out)?;
    for below in shown(&command) {
        section(below, 2, out)?;
    }
    Ok(())
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    let is_shown = |below: &&Command| !below.is_hide_set() && below.get_name() != "help";
    command.get_subcommands().filter(is_shown)
}

fn section(command: &Command, depth: usize, out: &mut dyn Write) -> io::Result<()> {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    writeln!(out, "\n{} `{name}`\n", "#".repeat(depth))?;
    if let Some(about) = command.get_about() {
        writeln!(out, "{about}.\n")?;
    }
    let usage = command.clone().render_usage().to_string();
    writeln!(out, "    {}", usage.trim_start_matches("Usage: ").trim())?;
    let own = |argument: &&Arg| {
        !argument.is_global_set() && !argument.is_hide_set() && argument.get_id() != "help"
    };
    if command.get_arguments().any(|argument| own(&argument)) {
        writeln!(out)?;
        table(command.get_arguments().filter(own), out)?;
    }
    // A global option is hidden where a command makes no use of it.
    let global = |argument: &&Arg| argument.is_global_set() && !argument.is_hide_set();
    let used: Vec<String> = (command.get_arguments().filter(global))
        .filter_map(|argument| Some(format!("`--{}`", argument.get_long()?)))
        .collect();
    let takes_all = command.get_arguments().all(|argument| !argument.is_hide_set());
    if command.has_subcommands() {
    } else if takes_all && !used.is_empty() {
        writeln!(out, "\nIt also takes every option of several commands.")?;
    } else if !used.is_empty() {
        writeln!(out, "\nIt also takes {}.", used.join(", "))?;
    }
    for below in shown(command) {
        section(below, depth + 1, out)?;
    }
    Ok(())
}

fn table<'a>(arguments: impl Iterator<Item = &'a Arg>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "| option | default | variable | what it does |\n| --- | --- | --- | --- |")?;
    for argument in arguments.filter(|argument| !argument.is_hide_set()) {
        let help = argument.get_long_help().or_else(|| argument.get_help());
        let help = help.map(|help| cell(&help.to_string())).unwrap_or_default();
        // Defaults that depend on something stand in the help.
        let (help, in_words) = match help.split_once(" [default: ") {
            Some((help, default)) => (help.to_owned(), default.trim_end_matches(']').to_owned()),
            None => (help, String::new()),
        };
        let default = match argument.get_default_values() {
            _ if matches!(argument.get_action(), ArgAction::SetTrue) => String::new(),
            [] => in_words,
            values => {
                let values: Vec<_> = values.iter().map(|value| value.to_string_lossy()).collect();
                format!("`{}`", values.join(" "))
            }
        };
        let variable = argument.get_env().map(|name| format!("`{}`", name.to_string_lossy()));
        let choices = choices(argument);
        writeln!(
            out,
            "| {} | {default} | {} | {help}{choices} |",
            spelling(argument),
            variable.unwrap_or_default()
        )?;
    }
    Ok(())
}

/// The values that an option takes, where it takes only some.
fn choices(argument: &Arg) -> String {
    if matches!(argument.get_action(), ArgAction::SetTrue | ArgAction::Count) {
        return String::new();
    }
    let values: Vec<String> = (argument.get_possible_values().iter())
        .filter(|value| !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if values.is_empty() { String::new() } else { format!(". Values: {}", values.join(", ")) }
}

/// How an option or a positional argument is typed.
fn spelling(argument: &Arg) -> String {
    let value = argument.get_value_names().and_then(|names| names.first());
    let takes_value = argument.get_action().takes_values();
    let value = value.map(ToString::to_string).filter(|_| takes_value);
    match (argument.get_long(), argument.get_short()) {
        (None, None) => {
            let name = value.unwrap_or_else(|| argument.get_id().to_string());
            format!("`{}`", name.replace('|', "\\|"))
        }
        (long, short) => {
            let short = short.map(|short| format!("`-{short}`"));
            let long = long.map(|long| match &value {
                Some(value) => format!("`--{long} {value}`"),
                None => format!("`--{long}`"),
            });
            short.into_iter().chain(long).collect::<Vec<_>>().join(", ")
        }
    }
}

/// Text for one cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

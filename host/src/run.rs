//! From a parsed command line to an exit code: which command is meant. Each has a file of its own.

mod check;
mod clients;
mod host;
mod info;
mod plugin;
mod process;
mod search;
mod untrusted;
mod verify;

use std::io::{self, Write};

use clap::CommandFactory;

use self::host::Host;
use crate::cancel::Cancel;
use crate::cli::{Cli, Command, Global, OutputFormat};
use crate::error::{Error, Kind, Result};
use crate::manual;
use crate::progress::Progress;
use crate::report::Run;
use crate::uri::Uri;

/// Do what was asked, and say how it went: results on `out`, everything else on `err`.
pub fn run(
    cli: Cli,
    cancel: &Cancel,
    runtime: &tokio::runtime::Handle,
    progress: &Progress,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let Cli { command, global } = cli;
    let host = Host { global: &global, cancel, runtime, progress };
    let outcome = of_command(&command, &host, out, err);
    if let (OutputFormat::Json, Err(error)) = (global.output_format, &outcome) {
        // Who reads documents gets one, whatever happens. A broken pipe gets nothing.
        let _ = refuse(&command, error, out);
    }
    outcome
}

fn of_command(
    command: &Command,
    host: &Host<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    match command {
        Command::Process(asked) => process::run(asked, host, out, err),
        Command::Verify(asked) if asked.untrusted => untrusted::run(asked, host, out, err),
        Command::Verify(asked) => verify::run(asked, host, out, err),
        Command::Search(asked) => search::run(asked, host, out),
        Command::Check(asked) => check::run(asked, host, out),
        Command::Info(asked) => info::run(asked, host, out),
        Command::Plugin { command } => plugin::run(command, host, out, err),
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "occystrap", out);
            Ok(0)
        }
        Command::Man => manual::write(Cli::command(), out).map_err(printed).map(|()| 0),
    }
}

/// The document of a command that could not even begin.
fn refuse(command: &Command, error: &Error, out: &mut dyn Write) -> io::Result<()> {
    let (source, destination) = match command {
        Command::Process(asked) => (&asked.source, &asked.destination),
        Command::Verify(asked) => (&asked.target, &asked.target),
        _ => return Ok(()),
    };
    Run::refused(&Uri::hide(source), &Uri::hide(destination), error.clone()).write_json(out)
}

fn printed(cause: io::Error) -> Error {
    Error::io(Kind::Destination, "write to", "standard output", &cause)
}

fn report(run: &Run, global: &Global, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
    match global.output_format {
        OutputFormat::Text => run.write_text(err, global.quiet),
        OutputFormat::Json => run.write_json(out),
    }
}

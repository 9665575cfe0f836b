//! From a parsed command line to an exit code: which command is meant. Each has a file of its own.

mod check;
mod clients;
mod host;
mod info;
mod plugin;
mod process;
mod refusal;
mod repeat_options;
mod search;
mod untrusted;
mod verify;
mod web;

use std::io::{self, Write};

use clap::CommandFactory;

pub use self::refusal::write_of_words as refuse_words;

use self::host::Host;
use self::refusal::Once;
use crate::cli::manual;
use crate::cli::{self, Cli, Command, Global, OutputFormat};
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::secret::MaskedLines;
use occystrap_base::terminal::progress::Progress;
use occystrap_verify::report::Run;

/// Do what was asked, and say how it went: results on `out`, everything else on `err`.
pub fn run(
    cli: Cli,
    cancel: &Cancel,
    runtime: &tokio::runtime::Handle,
    progress: &Progress,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let Cli { command, global, .. } = cli;
    let host = Host { global: &global, cancel, runtime, progress };
    let mut out = Once::new(out);
    let mut err = MaskedLines::new(err);
    let outcome = match global.output_format {
        OutputFormat::Text => {
            let mut out = MaskedLines::new(&mut out);
            let outcome = of_command(&command, &host, &mut out, &mut err);
            // Its last line may lack its end.
            out.flush().map_err(printed).and(outcome)
        }
        // Documents are masked as such.
        OutputFormat::Json => of_command(&command, &host, &mut out, &mut err),
    };
    if let (OutputFormat::Json, Err(error)) = (global.output_format, &outcome)
        && let Some(out) = out.untouched()
    {
        // A broken pipe gets nothing.
        let _ = refusal::write(&command, error, out);
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
            // It panics where it cannot write.
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "occystrap", &mut script);
            out.write_all(&script).map_err(printed).map(|()| 0)
        }
        Command::Man { output: None } => {
            manual::write(Cli::command(), out).map_err(printed).map(|()| 0)
        }
        Command::Man { output: Some(folder) } => {
            manual::write_pages(cli::command(), folder).map(|()| 0).map_err(|cause| {
                Error::io(Kind::Destination, "write manual pages to", folder.display(), &cause)
            })
        }
    }
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

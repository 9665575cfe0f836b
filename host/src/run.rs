//! From a parsed command line to an exit code: one function for each command.

mod explore;
mod export;
mod failure_document;
mod html;
mod images;
mod mirror;
mod plugin;
mod process;
mod proxy;
mod verify;

use std::ffi::OsString;
use std::io::{self, Write};

use clap::CommandFactory;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use crate::api::network_runtime;

use self::failure_document::Once;
use crate::Session;
use crate::cli::{self, Cli, Command, Global, MirrorCommand, OutputFormat};
use crate::cli::{command_line, manual};
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::PlatformRequest;
use occystrap_base::secret::{MaskedLines, Secret};
use occystrap_base::terminal::progress::Progress;
use occystrap_net::http::Settings;

/// What every command needs besides its own options.
struct Host<'a> {
    /// The options of all commands.
    global: &'a Global,
    /// Settings and services, made from them.
    session: Session,
}

/// Runs a command, and prints results on `out` and everything else on `err`. Returns the exit code.
pub fn run(
    cli: Cli,
    cancel: &Cancel,
    runtime: &tokio::runtime::Handle,
    progress: &Progress,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let Cli { command, global, .. } = cli;
    let session = session(&global, runtime).cancel(cancel.clone()).shown_on(progress.clone());
    let host = Host { global: &global, session };
    let mut out = Once::new(out);
    let mut err = MaskedLines::new(err);
    let outcome = match global.output_format {
        OutputFormat::Jsonl if !has_lines(&command) => {
            let message = "only 'proxy', and 'mirror run', 'retry', 'verify', 'repair' and 'prune' have the format jsonl";
            Err(Error::usage(message).hint("-O json prints one document"))
        }
        // A tar is not text.
        OutputFormat::Text if matches!(&command, Command::Export(export) if export.to_stdout()) => {
            of_command(&command, &host, &mut out, &mut err)
        }
        OutputFormat::Text => {
            let mut out = MaskedLines::new(&mut out);
            let outcome = of_command(&command, &host, &mut out, &mut err);
            // The last line may have no newline.
            out.flush().map_err(printed).and(outcome)
        }
        // JSON documents mask their own text.
        OutputFormat::Json | OutputFormat::Jsonl => of_command(&command, &host, &mut out, &mut err),
    };
    // After events, the last line is a document in any case.
    let is_lines = global.output_format == OutputFormat::Jsonl && has_lines(&command);
    if let (OutputFormat::Json | OutputFormat::Jsonl, Err(error)) = (global.output_format, &outcome)
        && let Some(out) = out.for_failure(is_lines)
    {
        // The reader of a broken pipe gets no document.
        let _ = failure_document::write(&command, error, is_lines, out);
    }
    outcome
}

/// Returns the error for a command line that clap rejected, where clap's own words do not help. If `-O json` was typed,
/// writes the document of the failure to `out`.
pub fn explain_mistake(
    mistake: &clap::Error,
    arguments: &[OsString],
    out: &mut dyn Write,
) -> Option<Error> {
    let explanation = command_line::explain(mistake, arguments);
    if let Some(error) = command_line::for_document(mistake, arguments, explanation.as_ref()) {
        let ends = command_line::ends(arguments);
        // The reader of a broken pipe gets no document.
        let _ =
            failure_document::write_of_words(&command_line::words(arguments), ends, &error, out);
    }
    explanation
}

/// Returns whether a command prints events, a line for each.
fn has_lines(command: &Command) -> bool {
    use MirrorCommand::{Import, Prune, Repair, Retry, Run, Verify};
    let command = match command {
        Command::Mirror { command } => command,
        other => return matches!(other, Command::Proxy(_)),
    };
    matches!(command, Run(_) | Import(_) | Retry(_) | Verify(_) | Repair(_) | Prune(_))
}

fn of_command(
    command: &Command,
    host: &Host<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    match command {
        Command::Process(options) => process::run(options, host, out, err),
        Command::Verify(options) if options.untrusted => verify::untrusted(options, host, out, err),
        Command::Verify(options) => verify::run(options, host, out, err),
        Command::Search(options) => images::search(options, host, out),
        Command::Check(options) => images::check(options, host, out),
        Command::Info(options) => images::info(options, host, out),
        Command::Explore(options) => explore::run(options, host),
        Command::Export(options) => export::run(options, host, out, err),
        Command::Mirror { command } => mirror::run(command, host, out, err),
        Command::Proxy(options) => proxy::run(options, host, out, err),
        Command::Plugin { command } => plugin::run(command, host, out, err),
        Command::Completions { shell } => {
            // The generator panics where it cannot write.
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

/// Returns the session that the options of all commands describe.
fn session(global: &Global, runtime: &tokio::runtime::Handle) -> Session {
    let parts = PlatformRequest::new(
        global.os.as_deref(),
        global.architecture.as_deref(),
        global.variant.as_deref(),
    );
    let mut session = Session::on(runtime.clone())
        .registry(Settings {
            username: global.username.clone(),
            password: global.password.clone(),
            login_origin: login_origin(global),
            authfile: global.authfile.clone(),
            insecure: global.insecure,
            ca_bundle: global.ca_bundle.clone(),
            retries: global.retries,
            rate_limit: global.rate_limit,
            ..Settings::default()
        })
        .platform_parts(parts)
        .parallel(global.parallel)
        .image_parallel(global.image_parallel);
    if let Some(platform) = &global.platform {
        session = session.platform(platform.clone());
    }
    if let Some(folder) = &global.temp_dir {
        session = session.temp_dir(folder);
    }
    if let Some(file) = &global.netrc_file {
        session = session.netrc_file(file);
    }
    if let Some(folder) = &global.plugin_dir {
        session = session.plugin_dir(folder);
    }
    global.plugin.iter().fold(session, Session::plugin)
}

/// Returns where a login came from, for error messages. A value that was typed and is also in the environment counts as
/// from the environment: both are the same.
fn login_origin(global: &Global) -> &'static str {
    let is_from = |name: &str, value: Option<&str>| {
        value.is_some_and(|value| std::env::var(name).is_ok_and(|found| found == value))
    };
    let user = is_from("OCCYSTRAP_USERNAME", global.username.as_deref());
    let password = global.password.as_ref().map(Secret::expose);
    match (user, is_from("OCCYSTRAP_PASSWORD", password)) {
        (true, true) => "OCCYSTRAP_USERNAME and OCCYSTRAP_PASSWORD",
        (false, true) => "--username and OCCYSTRAP_PASSWORD",
        (true, false) => "OCCYSTRAP_USERNAME and --password",
        (false, false) => "--username and --password",
    }
}

/// Returns an event as programs get it: its name, its time, and what belongs to it.
fn event_line(event: &str, more: Value) -> Value {
    let now = OffsetDateTime::now_utc().replace_nanosecond(0);
    let now = now.ok().and_then(|now| now.format(&Rfc3339).ok());
    let mut line = json!({ "event": event, "at": now });
    if let (Some(line), Value::Object(more)) = (line.as_object_mut(), more) {
        line.extend(more);
    }
    line
}

fn printed(cause: io::Error) -> Error {
    Error::io(Kind::Destination, "write to", "standard output", &cause)
}

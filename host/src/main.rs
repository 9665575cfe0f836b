//! The binary: arguments in, an exit code out. Everything else is in the library.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use occystrap::cancel::Cancel;
use occystrap::cli::{Cli, Global};
use occystrap::progress::Progress;
use occystrap::{command_line, report, run};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Two threads move a gigabyte a second from sockets; more would only take turns.
const NETWORK_THREADS: usize = 2;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match command_line::parse(&arguments) {
        Ok(cli) => cli,
        Err(mistake) => refuse(&mistake, &arguments),
    };
    raise_file_limit();
    let progress = if cli.global.quiet { Progress::hidden() } else { Progress::on_terminal() };
    log_above(&progress, &cli.global);
    match start(cli, &progress) {
        Ok(code) => ExitCode::from(code),
        Err(cause) => {
            let _ = writeln!(io::stderr(), "error: {cause:#}");
            ExitCode::FAILURE
        }
    }
}

/// A command line that is none. A program that asked for a document gets one all the same.
fn refuse(mistake: &clap::Error, arguments: &[OsString]) -> ! {
    if let Some(error) = command_line::refusal(mistake, arguments, &mut io::stdout()) {
        let _ = report::write_error(&mut io::stderr(), &error);
        std::process::exit(mistake.exit_code());
    }
    mistake.exit()
}

fn start(cli: Cli, progress: &Progress) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(NETWORK_THREADS)
        .enable_all()
        .build()
        .context("cannot start")?;
    let cancel = Cancel::default();
    runtime.spawn(listen(cancel.clone()));
    let outcome = run::run(
        cli,
        &cancel,
        runtime.handle(),
        progress,
        // Not locked: filters print as well, from other threads.
        &mut io::stdout(),
        &mut io::stderr(),
    );
    // Downloads that nobody waits for any more must not keep the process.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => Ok(code),
        Err(error) => {
            report::write_error(&mut io::stderr(), &error)?;
            Ok(error.exit_code())
        }
    }
}

/// Every file of a session is open until its commit, up to `plugin::limits::FILES`; the usual soft
/// limit of 1024 is there for programs that use `select`, which this one does not.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Few layers need few files: no reason to fail.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// The first Ctrl-C or SIGTERM ends the work in order, the second at once.
async fn listen(cancel: Cancel) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    for _ in 0..2 {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if cancel.check().is_err() {
            // 128 + SIGINT, as shells report it.
            std::process::exit(130);
        }
        cancel.cancel();
    }
}

fn log_above(progress: &Progress, global: &Global) {
    let progress = progress.clone();
    let level = match (global.quiet, global.debug, global.verbose) {
        (true, _, _) => LevelFilter::ERROR,
        (_, true, _) => LevelFilter::DEBUG,
        (_, _, true) => LevelFilter::INFO,
        _ => LevelFilter::WARN,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(move || progress.stderr())
        .with_ansi(false)
        .event_format(Lines);
    // Only our own lines: what libraries log is not known to be free of secrets.
    let ours = Targets::new().with_target("occystrap", level);
    tracing_subscriber::registry().with(lines).with(ours).init();
}

/// Lines as errors and findings have them: `warning: ...`; what was asked for with `--verbose` needs
/// no word in front.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let word = match *event.metadata().level() {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            Level::INFO => "",
            Level::DEBUG | Level::TRACE => "debug: ",
        };
        writer.write_str(word)?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

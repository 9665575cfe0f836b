//! The binary: from arguments to an exit code. It handles signals and limits of the process; the rest is in the library.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt as _;
use std::process::{self, ExitCode};
use std::time::Duration;

use anyhow::Context;
use occystrap::cli::{Cli, Command};
use occystrap::cli::{command_line, log};
use occystrap::explore::screen;
use occystrap::run;
use occystrap_base::cancel::Cancel;
use occystrap_base::files::temporary;
use occystrap_base::secret;
use occystrap_base::terminal::pending_writes;
use occystrap_base::terminal::progress::Progress;
use occystrap_base::terminal::standard_output::{self, StandardOutput};
use occystrap_net::uri;
use occystrap_output::plugin::compiler;
use occystrap_verify::report;

/// The exit code after Ctrl-C, SIGTERM or SIGHUP: 128 + SIGINT, as shells report it.
const INTERRUPTED: u8 = 130;

/// Time after a signal in which a write must end. A process that reads takes milliseconds for it.
const HELD_UP: Duration = Duration::from_secs(1);

/// How often the writes are looked at meanwhile.
const TICK: Duration = Duration::from_millis(50);

/// The variable with the number of heaps of glibc (mallopt(3), `M_ARENA_MAX`).
const HEAPS: &str = "MALLOC_ARENA_MAX";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    secret::hide_in_panics();
    uri::keep_secrets_of_environment();
    if let Some(code) = compiler::serve(&arguments) {
        return code;
    }
    let cli = match command_line::parse(&arguments) {
        Ok(cli) => cli,
        Err(mistake) => refuse(&mistake, &arguments),
    };
    limit_heaps(&cli, &arguments);
    raise_file_limit();
    let progress = if cli.global.quiet { Progress::hidden() } else { Progress::on_terminal() };
    log::start(&progress, &cli.global);
    match start(cli, &progress) {
        Ok(code) => ExitCode::from(code),
        Err(cause) => {
            let _ = writeln!(io::stderr(), "{}", secret::mask(&format!("error: {cause:#}")));
            ExitCode::FAILURE
        }
    }
}

/// Ends the process because of an invalid command line. If JSON was requested, a document is written nevertheless.
fn refuse(mistake: &clap::Error, arguments: &[OsString]) -> ! {
    if let Some(error) = run::explain_mistake(mistake, arguments, &mut io::stdout()) {
        let _ = report::write_error(&mut io::stderr(), &error);
        process::exit(mistake.exit_code());
    }
    if !mistake.use_stderr() {
        mistake.exit();
    }
    // clap repeats what was typed, which may be a secret.
    let _ = write!(io::stderr(), "{}", secret::mask(&command_line::rendered(mistake)));
    process::exit(mistake.exit_code());
}

fn start(cli: Cli, progress: &Progress) -> anyhow::Result<u8> {
    let runtime = run::network_runtime().context("cannot start")?;
    let cancel = Cancel::default();
    listen_beside(cancel.clone()).context("cannot start")?;
    let too_large = {
        let _entered = runtime.enter();
        fail_at_file_size_limit()
    };
    let mut out = StandardOutput::of(io::stdout());
    let mut err = StandardOutput::of(io::stderr());
    let outcome = run::run(cli, &cancel, runtime.handle(), progress, &mut out, &mut err);
    drop(too_large);
    // Downloads that are not needed any more must not delay the end.
    runtime.shutdown_background();
    // Threads that still compress hold temporary files, some of which have names (`temporary.rs`).
    temporary::remove_own();
    match outcome {
        Ok(code) => Ok(code),
        // A terminal that was closed has sent SIGHUP and takes no more text.
        Err(error) if cancel.check().is_err() => {
            let _ = report::write_error(&mut err, &error);
            Ok(INTERRUPTED)
        }
        Err(_) if out.is_closed() || err.is_closed() => Ok(standard_output::CLOSED),
        Err(error) => {
            report::write_error(&mut err, &error)?;
            Ok(error.exit_code())
        }
    }
}

/// Starts the program once more with few heaps of the C library, where it mirrors images. glibc makes up to eight for each
/// core, and each keeps what a thread once needed for a layer: in a mirror with its many threads that was most of the
/// memory. glibc reads the variable only at the start of a process. Where that fails, the process goes on.
fn limit_heaps(cli: &Cli, arguments: &[OsString]) {
    if !matches!(cli.command, Command::Mirror { .. }) || std::env::var_os(HEAPS).is_some() {
        return;
    }
    let (Ok(program), Some((name, rest))) = (std::env::current_exe(), arguments.split_first())
    else {
        return;
    };
    // It returns only where it fails.
    let failed = process::Command::new(program).arg0(name).args(rest).env(HEAPS, "2").exec();
    drop(failed);
}

/// Raises the limit on open files. Every file of a session is open until its commit, up to `limits::FILES`; the usual
/// soft limit of 1024 exists for programs that use `select`, which this program does not.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // An image with few layers needs few files, so this is no reason to fail.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Makes a write beyond the user's limit on the size of a file (`ulimit -f`) fail as one on a full disk
/// does, with an error and a rollback. By default SIGXFSZ kills the process; a handler, unlike an ignored
/// signal, is not inherited by the processes that this one starts.
fn fail_at_file_size_limit() -> io::Result<tokio::signal::unix::Signal> {
    use rustix::process::Signal;
    use tokio::signal::unix::{SignalKind, signal};
    signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))
}

/// Starts a thread that listens for signals. It has a runtime of its own, so that it also hears them while the process
/// prints its last line.
fn listen_beside(cancel: Cancel) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = std::thread::Builder::new().name("signals".to_owned());
    listener.spawn(move || runtime.block_on(listen(cancel))).map(drop)
}

/// Waits until a write has been held up for [`HELD_UP`]: no process reads what this one prints.
async fn held_up() {
    // The signal itself gives the reader this time as well.
    tokio::time::sleep(HELD_UP).await;
    while pending_writes::longest() < HELD_UP {
        tokio::time::sleep(TICK).await;
    }
}

/// Waits for Ctrl-C, SIGTERM, and SIGHUP of a terminal that is closed. The first signal ends the work with a rollback.
/// The process ends at once at the second signal, and where the work cannot end because a write is held up.
async fn listen(cancel: Cancel) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    // A process that was started with `nohup` continues after SIGHUP.
    let mut hangup = match ignores_hangup() {
        true => None,
        false => signal(SignalKind::hangup()).ok(),
    };
    let mut hung_up = async || match &mut hangup {
        Some(hangup) => hangup.recv().await,
        None => std::future::pending().await,
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hung_up() => {}
    }
    cancel.cancel();
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hung_up() => {}
        () = held_up() => {}
    }
    screen::give_back();
    temporary::remove_own();
    process::exit(INTERRUPTED.into());
}

/// Returns whether SIGHUP was ignored before this program began: the first bit of `SigIgn` (proc_pid_status(5)).
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}

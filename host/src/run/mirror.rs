//! `occystrap mirror`: from its options to the flow of a mirror.

mod airgap;
mod convert;
mod events;
mod meanwhile;
mod objects;
mod prove;
mod report;

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use self::events::{JsonLines, Receivers, Said};
use self::meanwhile::{lines_of_image, showing, write_lines};
use super::{Host, printed};
use crate::Session;
use crate::cli::{MirrorCommand, MirrorOptions, MirrorRunOptions, OutputFormat, PlanOptions};
use crate::mirror::report::ReportFile;
use crate::mirror::run::{EndedRun, RunEvents};
use crate::mirror::{self, MirrorFile, Services, totals};
use occystrap_base::error::{Error, Result, printable};
use occystrap_base::terminal::board::{Board, spelled};
use occystrap_base::terminal::table::write_json_line;
use occystrap_mirror::expand::MirrorItem;
use occystrap_mirror::ledger::holding::ItemFilter;
use occystrap_mirror::ledger::record::{
    BegunRun, Ending, FinishedItem, Outcome, PlanChanges, UnnamedItems, Verdict,
};
use occystrap_mirror::ledger::sqlite::{LedgerAccess, Sqlite};
use occystrap_mirror::ledger::state::State;
use occystrap_mirror::ledger::{Accounts, last_that_moved};
use occystrap_verify::report::write_error;

/// Failures that `status` shows.
const MOST_SHOWN: usize = 100;

/// Runs a command of `occystrap mirror`. Returns the exit code.
pub fn run(
    command: &MirrorCommand,
    host: &Host<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    check_platform(host)?;
    match command {
        MirrorCommand::Plan(options) => plan(options, host, out, err),
        MirrorCommand::Run(options) => work(options, host, out, err, false),
        MirrorCommand::Retry(options) => work(options, host, out, err, true),
        MirrorCommand::Status(options) => status(&options.mirror, host, out, err),
        MirrorCommand::Report(options) => report::run(options, host, out, err),
        MirrorCommand::Export(options) => airgap::export(options, host, out, err),
        MirrorCommand::Import(options) => airgap::import(options, host, out, err),
        MirrorCommand::From(options) => convert::run(options, host, out, err),
        MirrorCommand::Verify(options) => {
            prove::verify(&read(&options.mirror, err)?, options, host, (out, err))
        }
        MirrorCommand::Repair(options) => {
            prove::repair(&read(&options.mirror, err)?, &options.mirror, host, (out, err))
        }
        MirrorCommand::Prune(options) => {
            prove::prune(&read(&options.mirror, err)?, options, host, (out, err))
        }
    }
}

/// Errors where the user chooses a platform: the file has those of each image.
fn check_platform(host: &Host<'_>) -> Result<()> {
    let global = host.global;
    let parts = [&global.os, &global.architecture, &global.variant];
    if global.platform.is_none() && parts.iter().all(|part| part.is_none()) {
        return Ok(());
    }
    Err(Error::usage("the platforms of a mirror are in its file, and not on the command line")
        .hint("write 'platforms: [linux/amd64]' in the entry or in 'defaults'"))
}

/// Writes all errors of a file but the last, which the caller reports.
fn all_but_last(mut errors: Vec<Error>, err: &mut dyn Write) -> Error {
    let last = errors.pop().unwrap_or_else(|| Error::usage("the file is wrong"));
    for error in &errors {
        // The last error is reported in any case.
        let _ = write_error(err, error);
    }
    last
}

fn read(options: &MirrorOptions, err: &mut dyn Write) -> Result<MirrorFile> {
    MirrorFile::read(&options.file).map_err(|errors| all_but_last(errors, err))
}

/// Prepares the services of a command for the images of a file. `session` is limited to what the file allows.
fn services<'s>(
    file: &MirrorFile,
    session: &'s Session,
    options: &MirrorOptions,
) -> Result<Services<'s>> {
    Services::new(session, file.connections(), options.command("retry"))
}

fn plan(
    options: &PlanOptions,
    host: &Host<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let file = read(&options.mirror, err)?;
    let ledger = match file.ledger_path(options.mirror.ledger.as_deref()).exists() {
        true => Some(file.open_ledger(options.mirror.ledger.as_deref(), LedgerAccess::Read)?),
        false => None,
    };
    let session = file.limited(&host.session);
    let services = services(&file, &session, &options.mirror)?;
    let made = mirror::preview::preview(&file, &services, ledger.as_ref(), &options.only);
    let preview = made.map_err(|errors| all_but_last(errors, err))?;
    let code = match () {
        () if !preview.failures.is_empty() => 1,
        () if options.exit_code && preview.has_work() => 4,
        () => 0,
    };
    if host.global.output_format != OutputFormat::Text {
        preview.write_json(&file.name(), Some(&file.digest), None, out).map_err(printed)?;
        return Ok(code);
    }
    for (what, item) in &preview.changes {
        let line = format!("{what:<10} {} -> {}", item.source, item.destination);
        writeln!(out, "{}", printable(&line)).map_err(printed)?;
    }
    for error in &preview.failures {
        write_error(err, error).map_err(printed)?;
    }
    writeln!(out, "{}", preview.line()).map_err(printed)?;
    Ok(code)
}

fn work(
    options: &MirrorRunOptions,
    host: &Host<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
    is_retry: bool,
) -> Result<u8> {
    let file = read(&options.mirror, err)?;
    for target in &options.report.report {
        target.check()?;
    }
    let ledger =
        Arc::new(file.open_ledger(options.mirror.ledger.as_deref(), LedgerAccess::Create)?);
    let session = file.limited(&host.session);
    let services = services(&file, &session, &options.mirror)?;
    let job = Job {
        file: &file,
        ledger: &ledger,
        options: mirror::RunOptions {
            only: options.only.clone(),
            recheck: options.recheck,
            fail_fast: options.fail_fast,
            max_duration: options.max_duration.map(Duration::from_secs),
            is_retry,
            movers: host.session.images_at_once(),
            import: None,
        },
        reports: &options.report.report,
        is_strict: options.strict,
        again: options.mirror.command("run"),
    };
    Ok(carry_out(&job, services, host, out, err)?.0)
}

/// A run, and what is said and written of it.
struct Job<'j> {
    file: &'j MirrorFile,
    ledger: &'j Arc<Sqlite>,
    options: mirror::RunOptions,
    reports: &'j [ReportFile],
    is_strict: bool,
    /// The command that goes on after an interruption.
    again: String,
}

/// Carries out a run. Returns the exit code, and the run.
fn carry_out(
    job: &Job<'_>,
    mut services: Services<'_>,
    host: &Host<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(u8, EndedRun)> {
    let (file, ledger) = (job.file, job.ledger);
    let format = host.global.output_format;
    let board = Board::on(host.session.bars());
    services.context.progress = board.progress(&services.context.progress);
    let is_quiet = host.global.quiet;
    let work = |say: Sender<Said>| {
        let events = (format == OutputFormat::Jsonl).then(|| JsonLines::new(say.clone()));
        events::watch_pauses(say.clone(), !is_quiet, events.is_some(), &services.context);
        let plan = if job.options.import.is_some() { "export" } else { "file" };
        let lines = Lines { say, is_quiet, plan };
        let receivers = Receivers { lines, events, board: board.clone() };
        let ended = mirror::run(file, ledger, &services, &job.options, &receivers);
        services.context.counters.traffic().stop_watching();
        ended
    };
    let ended = showing(host, work, |said| match said {
        Said::Text(lines) => write_lines(&lines, err),
        Said::Event(event) => write_json_line(out, &event).and_then(|()| out.flush()),
    });
    let ended = ended.unwrap_or_else(|_| Err(vec![Error::interrupted()]));
    board.clear();
    let ended = ended.map_err(|errors| all_but_last(errors, err))?;
    for error in &ended.failures {
        write_error(err, error).map_err(printed)?;
    }
    let code = totals::exit_code(&ended, job.is_strict);
    if !host.global.quiet || code != 0 {
        writeln!(err, "{}", totals::line(&ended)).map_err(printed)?;
    }
    if ended.is_interrupted || ended.is_out_of_time {
        let again = &job.again;
        let why = if ended.is_interrupted { "Stopped" } else { "The time is over" };
        writeln!(err, "{why}. What is done is recorded; '{again}' goes on").map_err(printed)?;
    }
    if format == OutputFormat::Jsonl {
        write_json_line(out, &events::finished(&ended, code)).map_err(printed)?;
    }
    report::write(&**ledger, file, job.reports, format, out)?;
    Ok((code, ended))
}

/// One line for each image that was not unchanged.
struct Lines {
    say: Sender<Said>,
    is_quiet: bool,
    /// What says which images there are: the file, or an export.
    plan: &'static str,
}

impl Lines {
    fn say(&self, line: &str) {
        self.say_all(vec![line.to_owned()]);
    }

    fn say_all(&self, lines: Vec<String>) {
        // The receiver lives as long as the run.
        let _ = self.say.send(Said::Text(lines));
    }
}

impl RunEvents for Lines {
    fn planned(&self, begun: &BegunRun, changes: PlanChanges, unnamed: UnnamedItems) {
        if self.is_quiet {
            return;
        }
        if begun.resumed {
            let left = begun.left;
            self.say(&format!("Going on with run {}: {left} images were left", begun.id.0));
        }
        let PlanChanges { new, changed, same, .. } = changes;
        self.say(&format!(
            "{} images: {new} new, {changed} changed in the {}",
            new + changed + same + changes.ended,
            self.plan
        ));
        if unnamed.extra + unnamed.forgotten > 0 {
            let UnnamedItems { extra, forgotten, .. } = unnamed;
            self.say(&format!(
                "The file no longer names {} images: {extra} are at the destination and stay there, {forgotten} never arrived",
                extra + forgotten
            ));
        }
    }

    fn paused(&self, host: &str, pulls_left: u64, pause: Duration) {
        if !self.is_quiet {
            let seconds = pause.as_secs();
            self.say(&format!(
                "{host} gives {pulls_left} more pulls, and 'pulls-left' keeps them: asking again in {seconds} s"
            ));
        }
    }

    fn ended(&self, item: &MirrorItem<'_>, record: &FinishedItem, wait: Option<i64>) {
        let (source, to) = (&item.source, &item.destination.name);
        let first = match record.ending {
            Ending::Done(Outcome::Unchanged, _) => return,
            Ending::Done(outcome, verdict) => {
                if self.is_quiet && verdict != Verdict::Unconfirmed {
                    return;
                }
                format!("{} {source} -> {to}: {}", outcome.word(), shown(verdict))
            }
            Ending::Failed(Verdict::Failed) => format!("FAILED {source} -> {to}"),
            Ending::Failed(_) => format!("failed {source} -> {to}"),
            Ending::Blocked => format!("blocked {source} -> {to}"),
            Ending::Retry { .. } => {
                let wait = wait.map(|wait| format!(": again in {}", spelled(wait.unsigned_abs())));
                format!("later {source} -> {to}{}", wait.unwrap_or_default())
            }
        };
        self.say_all(lines_of_image(first, record.error.as_ref()));
    }
}

fn shown(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Verified => "verified",
        Verdict::Failed => "FAILED",
        Verdict::Unconfirmed => "UNCONFIRMED",
        Verdict::NotVerified => "not verified",
    }
}

fn status(
    options: &MirrorOptions,
    host: &Host<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let file = read(options, err)?;
    let ledger = file.open_ledger(options.ledger.as_deref(), LedgerAccess::Read)?;
    if host.global.output_format != OutputFormat::Text {
        report::print(&ledger, &file, out)?;
        return Ok(0);
    }
    let Some(run) = last_that_moved(&ledger)? else {
        writeln!(out, "No run yet").map_err(printed)?;
        return Ok(0);
    };
    let totals = ledger.totals(run.id)?;
    let line = format!(
        "Run {}: {}; {} of {} images done, {} open, {} failed",
        run.id.0,
        run.state.word(),
        totals.done,
        totals.items(),
        totals.open(),
        totals.failures()
    );
    writeln!(out, "{line}").map_err(printed)?;
    let states = [State::Failed, State::Blocked, State::Dead, State::Retry];
    let filter = ItemFilter { run: Some(run.id), states: &states, ..ItemFilter::default() };
    for item in ledger.items(&filter, None, MOST_SHOWN)? {
        let first = format!("{} {} -> {}", item.state.word(), item.source, item.destination);
        write_lines(&lines_of_image(first, item.error.as_ref()), out).map_err(printed)?;
    }
    Ok(0)
}

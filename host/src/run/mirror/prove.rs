//! `occystrap mirror verify`, `repair` and `prune`: from their options to the flow.

use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::cli::{MirrorOptions, MirrorPruneOptions, MirrorVerifyOptions};
use crate::mirror::prune::{self, Pruned};
use crate::mirror::repair::{self, RepairEvents};
use crate::mirror::selection::{Part, Selection};
use crate::mirror::verify::{self, VerifyEvents};
use crate::mirror::{MirrorFile, Services, coverage};
use crate::run::{Host, printed};
use occystrap_base::error::{Error, Result, printable};
use occystrap_base::terminal::shell::quote;
use occystrap_images::level::Level;
use occystrap_mirror::ledger::Accounts;
use occystrap_mirror::ledger::sqlite::{Access, Sqlite};

/// Verifies. Returns the exit code.
pub fn verify(
    file: &MirrorFile,
    options: &MirrorVerifyOptions,
    host: &Host<'_>,
    err: &mut dyn Write,
) -> Result<u8> {
    let ledger = file.open_ledger(options.mirror.ledger.as_deref(), Access::Write)?;
    let services = Services::new(&host.session)?;
    let selection = Selection {
        level: if options.full { Level::Full } else { Level::Fast },
        max_duration: options.duration(),
        max_bytes: options.max_bytes,
        max_age: options.max_age,
        part: options.subset.unwrap_or(Part::All),
        only_bad: options.failed,
    };
    let ended =
        said(host, err, |lines| verify::verify(file, &ledger, &services, &selection, lines))?;
    if options.repair && !ended.is_interrupted {
        mend(file, &ledger, &services, &options.mirror.file, host, err)?;
    }
    let age = options.require.unwrap_or(coverage::USUAL_AGE);
    let damage = verify::damage(&ledger, age)?;
    let covered = ledger.coverage(&[age])?;
    let mut lines = vec![coverage::verified_line(&ended, selection.level, damage, &covered)];
    lines.extend(coverage::coverage_line(&covered, age));
    let unmet = options.require.and_then(|age| coverage::unmet(&covered, damage, age));
    let is_met = unmet.is_none();
    lines.extend(unmet);
    if damage.blobs + damage.images > 0 {
        lines.push(format!("Repair with: {}", command("repair", &options.mirror.file)));
    }
    for line in lines {
        writeln!(err, "{}", printable(&line)).map_err(printed)?;
    }
    if ended.is_interrupted {
        let line = "Stopped. What was verified is recorded; the same command goes on";
        writeln!(err, "{line}").map_err(printed)?;
    }
    Ok(coverage::exit_code(&ended, damage, is_met))
}

/// Repairs. Returns the exit code.
pub fn repair(
    file: &MirrorFile,
    options: &MirrorOptions,
    host: &Host<'_>,
    err: &mut dyn Write,
) -> Result<u8> {
    let ledger = file.open_ledger(options.ledger.as_deref(), Access::Write)?;
    let services = Services::new(&host.session)?;
    mend(file, &ledger, &services, &options.file, host, err)
}

fn mend(
    file: &MirrorFile,
    ledger: &Sqlite,
    services: &Services<'_>,
    path: &Path,
    host: &Host<'_>,
    err: &mut dyn Write,
) -> Result<u8> {
    let again = command("repair", path);
    let ended = said(host, err, |lines| Ok(repair::repair(file, ledger, services, &again, lines)))?;
    let ended = ended.map_err(|errors| super::all_but_last(errors, err))?;
    writeln!(err, "{}", ended.line()).map_err(printed)?;
    Ok(ended.exit_code())
}

/// Lists images that no rule names, or deletes them. Returns the exit code.
pub fn prune(
    file: &MirrorFile,
    options: &MirrorPruneOptions,
    host: &Host<'_>,
    (out, err): (&mut dyn Write, &mut dyn Write),
) -> Result<u8> {
    let ledger = options.mirror.ledger.as_deref();
    if !options.yes {
        let extra = prune::extra(&file.open_ledger(ledger, Access::Read)?)?;
        for item in &extra {
            let line = format!("extra {} (from {})", item.destination, item.source);
            writeln!(out, "{}", printable(&line)).map_err(printed)?;
        }
        let line = match extra.len() {
            1 => "1 image is extra".to_owned(),
            count => format!("{count} images are extra"),
        };
        writeln!(out, "{line}: at the destination, and no rule names it").map_err(printed)?;
        return Ok(0);
    }
    let ledger = file.open_ledger(ledger, Access::Write)?;
    let services = Services::new(&host.session)?;
    let (mut deleted, mut stays) = (0, 0);
    let outcome = prune::delete(file, &ledger, &services, |item, pruned| {
        let line = match pruned {
            Pruned::Deleted => format!("deleted {}", item.destination),
            Pruned::Gone => format!("gone {}", item.destination),
            Pruned::Stays(why) => format!("stays {}\n  {}", item.destination, printable(why)),
        };
        match pruned {
            Pruned::Deleted | Pruned::Gone => deleted += 1,
            Pruned::Stays(_) => stays += 1,
        }
        // What is deleted is recorded, also where the reader of the lines is gone.
        let _ = writeln!(out, "{line}");
    });
    outcome.map_err(|errors| super::all_but_last(errors, err))?;
    writeln!(err, "Prune: {deleted} deleted, {stays} stay").map_err(printed)?;
    Ok(u8::from(stays > 0))
}

/// Returns a command for this mirror, as a user types it.
fn command(name: &str, file: &Path) -> String {
    format!("occystrap mirror {name} {}", quote(&file.display().to_string()))
}

/// Runs work whose lines are shown while it runs.
fn said<T: Send>(
    host: &Host<'_>,
    err: &mut dyn Write,
    work: impl FnOnce(&Lines) -> Result<T> + Send,
) -> Result<T> {
    let (say, lines) = channel();
    thread::scope(|scope| {
        let worker = scope.spawn(move || work(&Lines(Mutex::new(say))));
        for line in lines {
            // The work goes on without its reader.
            let _ = host.session.bars().above(|| writeln!(err, "{}", printable(&line)));
        }
        worker.join().unwrap_or_else(|_| Err(Error::interrupted()))
    })
}

/// Lines that threads say.
struct Lines(Mutex<Sender<String>>);

impl Lines {
    fn say(&self, line: String) {
        // The receiver lives as long as the work.
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).send(line);
    }
}

impl VerifyEvents for Lines {
    fn bad(&self, place: &str, found: &str) {
        self.say(format!("FAILED {place}"));
        self.say(format!("  {found}"));
    }

    fn unchecked(&self, place: &str, why: &Error) {
        self.say(format!("unchecked {place}"));
        self.say(format!("  {why}"));
        if let Some(hint) = why.hint_text() {
            self.say(format!("  hint: {hint}"));
        }
    }
}

impl RepairEvents for Lines {
    fn repaired(&self, place: &str) {
        self.say(format!("repaired {place}: sent again and read back"));
    }

    fn right(&self, place: &str) {
        self.say(format!("right {place}: read back, nothing was sent"));
    }

    fn kept(&self, place: &str, found: &str, hint: &str) {
        self.say(format!("kept-damaged {place}"));
        self.say(format!("  {found}"));
        self.say(format!("  hint: {hint}"));
    }

    fn failed(&self, place: &str, why: &Error) {
        self.say(format!("failed {place}"));
        self.say(format!("  {why}"));
        if let Some(hint) = why.hint_text() {
            self.say(format!("  hint: {hint}"));
        }
    }
}

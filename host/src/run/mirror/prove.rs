//! `occystrap mirror verify`, `repair` and `prune`: from their options to the flow, and what is printed of it.

use std::io::Write;

use serde_json::json;

use super::objects::listed;
use super::services;
use crate::cli::{MirrorOptions, MirrorPruneOptions, MirrorVerifyOptions, OutputFormat};
use crate::mirror::documents::{
    self, DocumentSubject, ExtraImage, Listed, Object, PruneSummary, Verified,
};
use crate::mirror::prune::{self, Pruned};
use crate::mirror::repair::{self, EndedRepair};
use crate::mirror::selection::{Part, Selection};
use crate::mirror::verify;
use crate::mirror::{MirrorFile, Services, coverage};
use crate::run::{Host, printed};
use occystrap_base::error::{Result, printable};
use occystrap_base::terminal::table::write_json_line;
use occystrap_images::level::Level;
use occystrap_mirror::ledger::Accounts;
use occystrap_mirror::ledger::record::LedgerItem;
use occystrap_mirror::ledger::sqlite::{LedgerAccess, Sqlite};

/// Standard output and standard error.
type Outputs<'o> = (&'o mut dyn Write, &'o mut dyn Write);

/// Verifies. Returns the exit code.
pub fn verify(
    file: &MirrorFile,
    options: &MirrorVerifyOptions,
    host: &Host<'_>,
    (out, err): Outputs<'_>,
) -> Result<u8> {
    let ledger = file.open_ledger(options.mirror.ledger.as_deref(), LedgerAccess::Write)?;
    let session = file.limited(&host.session);
    let services = services(file, &session, &options.mirror)?;
    let selection = Selection {
        level: if options.full { Level::Full } else { Level::Fast },
        max_duration: options.duration(),
        max_bytes: options.max_bytes,
        max_age: options.max_age,
        part: options.subset.unwrap_or(Part::All),
        only_bad: options.failed,
    };
    let (ended, problems) = listed(host, (&mut *out, &mut *err), |objects| {
        verify::verify(file, &ledger, &services, &selection, objects)
    })?;
    let repaired = match options.repair && !ended.is_interrupted {
        true => Some(mend(file, &ledger, &services, &options.mirror, host, (out, err))?),
        false => None,
    };
    let age = options.require.unwrap_or(coverage::USUAL_AGE);
    let covered = ledger.coverage(&[age])?;
    let damage = verify::damage(&ledger, &covered, age)?;
    let mut lines = vec![coverage::verified_line(&ended, selection.level, damage, &covered)];
    lines.extend(coverage::coverage_line(&covered, age));
    let unmet = options.require.and_then(|age| coverage::unmet(&covered, damage, age));
    let is_met = unmet.is_none();
    lines.extend(unmet);
    if damage.blobs + damage.images > 0 {
        lines.push(format!("Repair with: {}", options.mirror.command("repair")));
    }
    let code = coverage::exit_code(&ended, damage, is_met);
    if !host.global.quiet || code != 0 {
        for line in lines {
            writeln!(err, "{}", printable(&line)).map_err(printed)?;
        }
    }
    if ended.is_interrupted {
        let line = "Stopped. What was verified is recorded; the same command goes on";
        writeln!(err, "{line}").map_err(printed)?;
    }
    if let Some(is_line) = is_line(host) {
        let verified = Verified {
            ended: &ended,
            level: selection.level,
            damage,
            covered: &ledger.coverage(&[coverage::USUAL_AGE])?,
            required: options.require.map(|age| (age, &covered)),
            problems: &problems,
            repair: repaired.as_ref().map(|(ended, objects)| (ended, objects)),
        };
        verified.write(subject(file, &file.name()), is_line, out).map_err(printed)?;
    }
    Ok(code)
}

/// Repairs. Returns the exit code.
pub fn repair(
    file: &MirrorFile,
    options: &MirrorOptions,
    host: &Host<'_>,
    (out, err): Outputs<'_>,
) -> Result<u8> {
    let ledger = file.open_ledger(options.ledger.as_deref(), LedgerAccess::Write)?;
    let session = file.limited(&host.session);
    let services = services(file, &session, options)?;
    let (ended, objects) = mend(file, &ledger, &services, options, host, (out, err))?;
    if let Some(is_line) = is_line(host) {
        let name = file.name();
        documents::write_repair(subject(file, &name), &ended, &objects, is_line, out)
            .map_err(printed)?;
    }
    Ok(ended.exit_code())
}

fn mend(
    file: &MirrorFile,
    ledger: &Sqlite,
    services: &Services<'_>,
    options: &MirrorOptions,
    host: &Host<'_>,
    (out, err): Outputs<'_>,
) -> Result<(EndedRepair, Listed<Object>)> {
    let again = options.command("repair");
    let (ended, objects) = listed(host, (out, &mut *err), |objects| {
        Ok(repair::repair(file, ledger, services, &again, objects))
    })?;
    let ended = ended.map_err(|errors| super::all_but_last(errors, err))?;
    writeln!(err, "{}", ended.line()).map_err(printed)?;
    Ok((ended, objects))
}

/// Lists images that no rule names, or deletes them. Returns the exit code.
pub fn prune(
    file: &MirrorFile,
    options: &MirrorPruneOptions,
    host: &Host<'_>,
    (out, err): Outputs<'_>,
) -> Result<u8> {
    let session = file.limited(&host.session);
    let services = services(file, &session, &options.mirror)?;
    let format = host.global.output_format;
    let name = file.name();
    let mut listed = Listed::default();
    let mut summary = PruneSummary::default();
    let mut said = Ok(());
    let mut say = |item: &LedgerItem, pruned: Option<&Pruned>| {
        let image = ExtraImage::new(item, pruned);
        let line = match format {
            OutputFormat::Text => writeln!(out, "{}", line(&image)),
            OutputFormat::Jsonl => write_json_line(out, &event(&image)),
            OutputFormat::Json => Ok(()),
        };
        listed.push(image);
        line
    };
    if options.yes {
        let ledger = file.open_ledger(options.mirror.ledger.as_deref(), LedgerAccess::Write)?;
        let (mut deleted, mut gone, mut stays) = (0, 0, 0);
        let outcome = prune::delete(file, &ledger, &services, |item, pruned| {
            match pruned {
                Pruned::Deleted => deleted += 1,
                Pruned::Gone => gone += 1,
                Pruned::Stays(_) => stays += 1,
            }
            // What is deleted is recorded, also where the reader of the lines is gone.
            let _ = say(item, Some(pruned));
        });
        outcome.map_err(|errors| super::all_but_last(errors, err))?;
        summary.extra = deleted + gone + stays;
        (summary.deleted, summary.gone, summary.stays) = (Some(deleted), Some(gone), Some(stays));
        let done = deleted + gone;
        writeln!(err, "Prune: {done} deleted, {stays} stay").map_err(printed)?;
    } else {
        let ledger = file.open_ledger(options.mirror.ledger.as_deref(), LedgerAccess::Read)?;
        let unnamed = prune::unnamed(file, &ledger, &services);
        let unnamed = unnamed.map_err(|errors| super::all_but_last(errors, err))?;
        for item in &unnamed.extra {
            said = said.and_then(|()| say(item, None));
        }
        summary.extra = unnamed.extra.len() as u64;
        if unnamed.since > 0 {
            let (count, run) = (unnamed.since, options.mirror.command("run"));
            let line = format!(
                "{count} images left the file since the last run: '{run}' makes them extra"
            );
            writeln!(err, "{}", printable(&line)).map_err(printed)?;
        }
    }
    said.map_err(printed)?;
    match is_line(host) {
        Some(is_line) => {
            documents::write_prune(subject(file, &name), summary, &listed, is_line, out)
                .map_err(printed)?;
        }
        None if !options.yes => {
            let line = match summary.extra {
                1 => "1 image is extra".to_owned(),
                count => format!("{count} images are extra"),
            };
            writeln!(out, "{line}: at the destination, and no rule names it").map_err(printed)?;
        }
        None => {}
    }
    Ok(u8::from(summary.stays.is_some_and(|stays| stays > 0)))
}

fn line(image: &ExtraImage) -> String {
    let ExtraImage { state, source, destination, message } = image;
    let place = printable(destination);
    match message {
        _ if *state == "extra" => format!("{state} {place} (from {})", printable(source)),
        Some(why) => format!("{state} {place}\n  {}", printable(why)),
        None => format!("{state} {place}"),
    }
}

fn event(image: &ExtraImage) -> serde_json::Value {
    let ExtraImage { state, source, destination, message } = image;
    let more = json!({ "source": source, "destination": destination, "message": message });
    crate::run::event_line(state, more)
}

/// Returns whether the document is one line; `None` where no document is wanted.
fn is_line(host: &Host<'_>) -> Option<bool> {
    match host.global.output_format {
        OutputFormat::Text => None,
        OutputFormat::Json => Some(false),
        OutputFormat::Jsonl => Some(true),
    }
}

fn subject<'a>(file: &'a MirrorFile, name: &'a str) -> DocumentSubject<'a> {
    DocumentSubject { mirror: name, file: Some(&file.digest) }
}

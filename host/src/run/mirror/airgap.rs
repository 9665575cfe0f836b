//! `occystrap mirror export` and `import`.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use serde::Serialize;

use super::super::{Host, printed};
use super::meanwhile::{lines, showing, write_lines};
use super::{Job, all_but_last, carry_out, read, services};
use crate::cli::{MirrorExportOptions, MirrorImportOptions, OutputFormat};
use crate::mirror::export::{EndedExport, ExportCounts, ExportEvents};
use crate::mirror::import::Import;
use crate::mirror::{self, Services};
use occystrap_base::error::{Error, Kind, Result, printable};
use occystrap_base::oci::Digest;
use occystrap_base::terminal::shell::quote;
use occystrap_base::terminal::size::size;
use occystrap_base::terminal::table::write_json;
use occystrap_mirror::ledger::export::Exports as _;
use occystrap_mirror::ledger::record::RunId;
use occystrap_mirror::ledger::sqlite::LedgerAccess;
use occystrap_verify::report::write_error;

/// Exports. Returns the exit code.
pub fn export(
    options: &MirrorExportOptions,
    host: &Host<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    if host.global.output_format == OutputFormat::Jsonl {
        return Err(Error::usage("-O jsonl is not supported yet by this command")
            .hint("-O json prints what was exported"));
    }
    let file = read(&options.mirror, err)?;
    let ledger = file.open_ledger(options.mirror.ledger.as_deref(), LedgerAccess::Create)?;
    let session = file.limited(&host.session);
    let services = services(&file, &session, &options.mirror)?;
    let since = options.since.map(RunId);
    let is_quiet = host.global.quiet || host.global.output_format != OutputFormat::Text;
    let work = |say| {
        let lines = Lines { say, is_quiet };
        mirror::export(&file, &ledger, &services, &options.to, since, &lines)
    };
    let ended = showing(host, work, |lines: Vec<String>| write_lines(&lines, err));
    let ended = ended.unwrap_or_else(|_| Err(vec![Error::interrupted()]));
    let ended = ended.map_err(|errors| {
        let last = all_but_last(errors, err);
        match (last.kind(), options.to.is_dir()) {
            (Kind::Interrupted, true) => last.with_effect("the same command goes on"),
            (Kind::Interrupted, false) => last.with_effect("nothing was written"),
            _ => last,
        }
    })?;
    for error in &ended.unlisted {
        write_error(err, error).map_err(printed)?;
    }
    let code = u8::from(ended.counts.failed > 0 || !ended.unlisted.is_empty());
    match host.global.output_format {
        OutputFormat::Text => {
            let place = options.to.display().to_string();
            write_lines(&last_lines(&ended, &place, since), err).map_err(printed)?;
        }
        _ => {
            let document = ExportSummary {
                occystrap_mirror_export: 1,
                mirror: file.name(),
                run: ended.run.0,
                since: options.since,
                export: ended.id,
                summary: ended.counts,
                not_listed: &ended.unlisted,
                seconds: ended.took.as_secs_f64(),
            };
            write_json(out, &document).map_err(printed)?;
        }
    }
    Ok(code)
}

/// Document of `-O json`.
#[derive(Serialize)]
struct ExportSummary<'a> {
    occystrap_mirror_export: u32,
    mirror: String,
    run: i64,
    since: Option<i64>,
    export: Option<Digest>,
    summary: ExportCounts,
    not_listed: &'a [Error],
    seconds: f64,
}

fn last_lines(ended: &EndedExport, place: &str, since: Option<RunId>) -> Vec<String> {
    let EndedExport { run, id, counts, took, .. } = ended;
    let Some(id) = id else {
        return vec![match since {
            Some(since) if counts.failed == 0 => format!(
                "Nothing has changed since the export of run {}: nothing was written",
                since.0
            ),
            _ => "No image could be exported: nothing was written".to_owned(),
        }];
    };
    let mut parts =
        vec![format!("{} images, {} blobs, {}", counts.images, counts.blobs, size(counts.bytes))];
    if counts.as_before > 0 {
        parts.push(format!("{} images are as before", counts.as_before));
    }
    if counts.left_out > 0 {
        parts.push(format!(
            "{} layers left out ({})",
            counts.left_out,
            size(counts.left_out_bytes)
        ));
    }
    if counts.failed > 0 {
        parts.push(format!("{} FAILED", counts.failed));
    }
    let seconds = took.as_secs_f64();
    vec![
        format!("Exported to {place}: {}, {seconds:.1}s, read back", parts.join(", ")),
        format!("This is the export of run {}, {id}; the next one: --since {}", run.0, run.0),
    ]
}

/// Lines about images, and about all of them.
struct Lines {
    say: Sender<Vec<String>>,
    is_quiet: bool,
}

impl Lines {
    fn say(&self, lines: Vec<String>) {
        // The receiver lives as long as the export.
        let _ = self.say.send(lines);
    }
}

impl ExportEvents for Lines {
    fn planned(&self, counts: &ExportCounts) {
        let ExportCounts { images, as_before, bytes, left_out_bytes, .. } = *counts;
        if !self.is_quiet {
            self.say(vec![format!(
                "{images} images to export, {as_before} as before: {} to fetch, {} carried before",
                size(bytes),
                size(left_out_bytes)
            )]);
        }
    }

    fn failed(&self, source: &str, error: &Error) {
        self.say(lines(format!("failed {source}"), Some(error), error.hint_text()));
    }
}

/// Imports. Returns the exit code.
pub fn import(
    options: &MirrorImportOptions,
    host: &Host<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    for target in &options.report.report {
        target.check()?;
    }
    let session = host.session.clone();
    let again = again(options);
    let mut services = Services::new(&session, None, again.clone())?;
    let import = Import::open(&options.from, &options.to, &services.context);
    let import = import.map_err(|errors| all_but_last(errors, err))?;
    let (export, run) = (import.export.id, RunId(import.export.document.run));
    let place = options.from.display();
    if !host.global.quiet {
        let line = format!(
            "Checked {place}: the export of run {} of {}, {export}: {} files, {}",
            run.0,
            import.export.document.mirror,
            import.export.files,
            size(import.export.bytes)
        );
        writeln!(err, "{}", printable(&line)).map_err(printed)?;
        let unloaded = import.referrers_that_stay()?;
        if unloaded > 0 {
            let line =
                format!("warning: {unloaded} referrers are not loaded: a layout cannot hold them");
            writeln!(err, "{line}").map_err(printed)?;
        }
    }
    let target = import.target.name.clone();
    let ledger = options
        .ledger
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("{}.import.ledger", import.name())));
    let ledger = Arc::new(import.file.open_ledger(Some(&ledger), LedgerAccess::Create)?);
    let file = import.load(&*ledger, &mut services)?;
    let job = Job {
        file: &file,
        ledger: &ledger,
        options: mirror::RunOptions {
            movers: session.images_at_once(),
            import: Some(target.clone()),
            ..mirror::RunOptions::default()
        },
        reports: &options.report.report,
        is_strict: options.strict,
        again,
    };
    let (code, ended) = carry_out(&job, services, host, out, err)?;
    if ended.is_finished && ended.totals.failures() == 0 {
        ledger.note_import(export, run, &target)?;
    }
    Ok(code)
}

/// Returns the command that imports again.
fn again(options: &MirrorImportOptions) -> String {
    let from = options.from.display().to_string();
    let mut command =
        format!("occystrap mirror import {} --to {}", quote(&from), quote(&options.to));
    if let Some(ledger) = &options.ledger {
        command.push_str(&format!(" --ledger {}", quote(&ledger.display().to_string())));
    }
    command
}

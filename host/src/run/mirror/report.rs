//! `occystrap mirror report`, and the reports of other commands.

use std::io::Write;

use super::super::{Host, printed};
use super::read;
use crate::cli::{OutputFormat, ReportOptions};
use crate::mirror::MirrorFile;
use crate::mirror::report::{MirrorReport, ReportFault, ReportFile, json};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_mirror::ledger::Ledger;
use occystrap_mirror::ledger::sqlite::LedgerAccess;

/// Writes reports of the last run, or prints its document. Returns the exit code.
pub fn run(
    options: &ReportOptions,
    host: &Host<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let file = read(&options.mirror, err)?;
    let ledger = file.open_ledger(options.mirror.ledger.as_deref(), LedgerAccess::Read)?;
    let format = match options.report.report.is_empty() {
        true => OutputFormat::Json,
        false => host.global.output_format,
    };
    if MirrorReport::last(&ledger, &file)?.is_none() {
        let error = Error::new(Kind::NotFound, format!("{}: no run yet", file.name()));
        return Err(error.hint(options.mirror.command("run")));
    }
    write(&ledger, &file, &options.report.report, format, out)?;
    Ok(0)
}

/// Writes the reports of the last run to files, and prints its document where that is the format of results. All files
/// are tried; the first error is returned.
pub fn write(
    ledger: &dyn Ledger,
    file: &MirrorFile,
    targets: &[ReportFile],
    format: OutputFormat,
    out: &mut dyn Write,
) -> Result<()> {
    let Some(report) = MirrorReport::last(ledger, file)? else { return Ok(()) };
    let mut outcome = Ok(());
    for target in targets {
        outcome = outcome.and(target.write(&report));
    }
    let written = match format {
        OutputFormat::Text => Ok(()),
        OutputFormat::Json => json::write(&report, out),
        OutputFormat::Jsonl => json::write_line(&report, out),
    };
    outcome.and(written.map_err(said))
}

/// Prints the document of the last run, also where there was none.
pub fn print(ledger: &dyn Ledger, file: &MirrorFile, out: &mut dyn Write) -> Result<()> {
    match MirrorReport::last(ledger, file)? {
        Some(report) => json::write(&report, out).map_err(said),
        None => json::write_empty(&file.name(), None, out).map_err(printed),
    }
}

fn said(fault: ReportFault) -> Error {
    match fault {
        ReportFault::Ledger(error) => error,
        ReportFault::Write(cause) => printed(cause),
    }
}

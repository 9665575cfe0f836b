//! The report as one page for people, such as an auditor: without scripts, and loading nothing (its own policy forbids
//! everything but its style). Failures are first, each with its fix.
//!
//! What it refuses: markup from names and messages (`occystrap_images::html::text`), and a list without an end.

mod charts;
mod hosts;
mod images;

use std::ops::ControlFlow;

use std::io::Write;

use super::{FAILURES, MirrorReport, ReportFault, at, word};
use occystrap_base::terminal::size::size;
use occystrap_images::html::text::{LONGEST_TEXT, count, escaped};
use occystrap_mirror::ledger::record::{ItemError, LedgerItem, RunState};
use occystrap_mirror::ledger::state::State;

/// What every page begins with.
pub const BEGINNING: &str = "<!DOCTYPE html>";

/// The style of the page.
const STYLE: &str = include_str!("html/page.css");

/// Failures that a page describes at most. They have an image each, and often one cause.
const MOST_FAILURES: usize = 500;

/// Objects of a failure that a page lists at most.
const MOST_OBJECTS: usize = 20;

/// Longest name in a page, in characters.
const LONGEST_NAME: usize = 400;

/// Writes the page.
pub fn write(report: &MirrorReport<'_>, to: &mut dyn Write) -> Result<(), ReportFault> {
    let mirror = escaped(&report.mirror, LONGEST_NAME);
    writeln!(
        to,
        "{BEGINNING}\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Mirror {mirror}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>Mirror {mirror}</h1>"
    )?;
    verdict(report, to)?;
    facts(report, to)?;
    totals(report, to)?;
    failures(report, to)?;
    charts::write(report, to)?;
    hosts::write(report, to)?;
    images::write(report, to)?;
    writeln!(
        to,
        "<footer><p>Made at {} from the ledger of {mirror} by occystrap {}.</p></footer>\n</body>\n</html>",
        at(report.now).unwrap_or_default(),
        env!("CARGO_PKG_VERSION")
    )?;
    Ok(())
}

/// Writes the first line: whether all is as the file wants it.
fn verdict(report: &MirrorReport<'_>, to: &mut dyn Write) -> Result<(), ReportFault> {
    let (all, unlisted) = (&report.all, report.unlisted.len());
    let is = |count_of: u64| count(number(count_of), "image is", "images are");
    let (class, text) = match () {
        () if all.failures() > 0 => {
            ("error", format!("{} not as the file wants, of {}.", is(all.failures()), all.items()))
        }
        () if unlisted > 0 => {
            ("error", format!("{} could not be listed.", count(unlisted, "source", "sources")))
        }
        () if report.coverage.bad.blobs > 0 => {
            let blobs = count(number(report.coverage.bad.blobs), "blob is", "blobs are");
            ("error", format!("{blobs} damaged at a destination."))
        }
        () if all.open() > 0 || report.run.state != RunState::Finished => {
            ("warning", format!("The last run has not ended: {} not done.", is(all.open())))
        }
        () if all.unconfirmed > 0 => {
            ("warning", format!("{} written and could not be confirmed.", is(all.unconfirmed)))
        }
        () => ("good", format!("All is as the file wants: {} there.", is(all.items()))),
    };
    writeln!(to, "<p class=\"verdict {class}\">{text}</p>")?;
    Ok(())
}

fn number(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn facts(report: &MirrorReport<'_>, to: &mut dyn Write) -> Result<(), ReportFault> {
    let run = &report.run;
    let seconds = report.seconds();
    let took = match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    };
    writeln!(
        to,
        "<dl><dt>Last run</dt><dd>{} ({}), {}</dd>\n<dt>Began</dt><dd>{}</dd>\n<dt>Took</dt><dd>{took}</dd>\n\
         <dt>File</dt><dd><code>{}</code></dd></dl>",
        run.id.0,
        run.kind,
        run.state,
        at(run.started).unwrap_or_default(),
        run.file_digest
    )?;
    if !run.selection.is_empty() {
        let selection = escaped(&run.selection, LONGEST_NAME);
        writeln!(to, "<p class=\"dim\">The last run covered a part of the file: {selection}</p>")?;
    }
    Ok(())
}

fn totals(report: &MirrorReport<'_>, to: &mut dyn Write) -> Result<(), ReportFault> {
    let (all, run) = (&report.all, &report.totals);
    let proved = report.proofs()?.by_age.iter().sum::<u64>();
    let counts = [
        ("images", all.items(), ""),
        ("proved", proved, "good"),
        ("failed", all.failures(), "error"),
        ("not listed", report.unlisted.len() as u64, "error"),
        ("unconfirmed", all.unconfirmed, "warning"),
        ("not done", all.open(), "warning"),
        ("extra", all.extra, ""),
        ("copied by the last run", run.copied, ""),
        ("unchanged in the last run", run.unchanged, ""),
    ];
    writeln!(to, "<div class=\"totals\">")?;
    for (what, number, class) in counts {
        let class = if number == 0 { "" } else { class };
        writeln!(to, "<div><b class=\"{class}\">{number}</b>{what}</div>")?;
    }
    for (what, bytes) in
        [("sent by the last run", run.bytes_sent), ("mounted, not sent", run.bytes_mounted)]
    {
        writeln!(to, "<div><b>{}</b>{what}</div>", size(bytes))?;
    }
    writeln!(to, "</div>")?;
    Ok(())
}

fn failures(report: &MirrorReport<'_>, to: &mut dyn Write) -> Result<(), ReportFault> {
    let all = report.all.failures() + report.other_failures().count() as u64;
    if all == 0 {
        return Ok(());
    }
    writeln!(to, "<h2>Failures</h2>")?;
    let mut shown = 0;
    for error in report.other_failures().take(MOST_FAILURES) {
        shown += 1;
        writeln!(to, "<section class=\"failure\"><h3>Source that was not listed</h3>")?;
        described(error, to)?;
        writeln!(to, "</section>")?;
    }
    report.each(None, &FAILURES, &mut |item| {
        if shown >= MOST_FAILURES {
            return Ok(ControlFlow::Break(()));
        }
        shown += 1;
        failure(report, item, to)?;
        Ok(ControlFlow::Continue(()))
    })?;
    let left = number(all).saturating_sub(shown);
    if left > 0 {
        let left = count(left, "more failure is", "more failures are");
        writeln!(to, "<p class=\"dim\">{left} not described here; the JUnit report has all.</p>")?;
    }
    Ok(())
}

fn failure(
    report: &MirrorReport<'_>,
    item: &LedgerItem,
    to: &mut dyn Write,
) -> Result<(), ReportFault> {
    writeln!(
        to,
        "<section class=\"failure\"><h3><span class=\"error\">{}</span> <code>{}</code></h3>\n\
         <p class=\"dim\">from <code>{}</code></p>",
        word(item),
        escaped(&item.destination, LONGEST_NAME),
        escaped(&item.source, LONGEST_NAME)
    )?;
    match &item.error {
        Some(error) => described(error, to)?,
        None => writeln!(to, "<p>The reason is not recorded.</p>")?,
    }
    let objects = report.objects(item)?;
    if !objects.is_empty() {
        writeln!(to, "<ul>")?;
        for object in objects.iter().take(MOST_OBJECTS) {
            let digest = object.digest.map(|digest| digest.to_string()).unwrap_or_default();
            let found = object.found.as_ref().map(|found| format!(", found {found}"));
            let text = format!("{}: {}{}", object.role, object.status, found.unwrap_or_default());
            let text = escaped(&text, LONGEST_TEXT);
            writeln!(to, "<li>{text} <code class=\"dim\">{digest}</code></li>")?;
        }
        writeln!(to, "</ul>")?;
        let left = objects.len().saturating_sub(MOST_OBJECTS);
        if left > 0 {
            writeln!(to, "<p class=\"dim\">{}</p>", count(left, "more object", "more objects"))?;
        }
    }
    if item.state == State::Dead {
        writeln!(
            to,
            "<p class=\"dim\">After {} attempts it is not tried again.</p>",
            item.attempt
        )?;
    }
    writeln!(to, "</section>")?;
    Ok(())
}

fn described(error: &ItemError, to: &mut dyn Write) -> Result<(), ReportFault> {
    writeln!(to, "<p>{}</p>", escaped(&error.message, LONGEST_TEXT))?;
    if let Some(hint) = &error.hint {
        writeln!(to, "<p class=\"fix\">{}</p>", escaped(hint, LONGEST_TEXT))?;
    }
    Ok(())
}

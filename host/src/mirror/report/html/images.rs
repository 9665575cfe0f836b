//! The table of all images.

use std::ops::ControlFlow;

use std::io::Write;

use super::super::{MirrorReport, ReportFault, Standing, at, standing, word};
use super::{LONGEST_NAME, number};
use occystrap_images::html::text::{count, escaped};
use occystrap_mirror::ledger::record::LedgerItem;
use occystrap_mirror::ledger::state::State;

/// Rows of the table at most: a page of some 6 MB, which browsers still show quickly.
const MOST_ROWS: usize = 20_000;

/// Writes the table.
pub fn write(report: &MirrorReport<'_>, to: &mut dyn Write) -> Result<(), ReportFault> {
    writeln!(
        to,
        "<h2>All images</h2>\n<table><thead><tr><th>state</th><th>image at its destination</th><th>last verified</th>\
         <th>how</th></tr></thead><tbody>"
    )?;
    let mut rows = 0;
    report.each(None, &[], &mut |item| {
        if rows >= MOST_ROWS {
            return Ok(ControlFlow::Break(()));
        }
        rows += 1;
        row(item, to)?;
        Ok(ControlFlow::Continue(()))
    })?;
    writeln!(to, "</tbody></table>")?;
    let left = number(report.all.items() + report.all.extra).saturating_sub(rows);
    if left > 0 {
        let left = count(left, "more image is", "more images are");
        writeln!(to, "<p class=\"dim\">{left} not listed here; the JUnit report has all.</p>")?;
    }
    Ok(())
}

fn row(item: &LedgerItem, to: &mut dyn Write) -> Result<(), ReportFault> {
    let class = match standing(item) {
        _ if item.state == State::Extra => "dim",
        Standing::Wrong | Standing::NotDone if item.state.is_failure() => "error",
        Standing::Wrong | Standing::NotDone | Standing::Unconfirmed => "warning",
        Standing::Good if item.proof.is_some() => "good",
        Standing::Good => "dim",
    };
    let when = item.proof.and_then(|proof| at(proof.verified_at));
    let (when, how) = match (when, item.proof) {
        (Some(when), Some(proof)) => (when, proof.level.word()),
        _ => ("never".to_owned(), "-"),
    };
    writeln!(
        to,
        "<tr><td class=\"{class}\">{}</td><td><code>{}</code></td>\
         <td class=\"when\" data-label=\"verified\">{when}</td><td data-label=\"how\">{how}</td></tr>",
        word(item),
        escaped(&item.destination, LONGEST_NAME)
    )?;
    Ok(())
}

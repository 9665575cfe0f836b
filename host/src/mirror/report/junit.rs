//! The report as JUnit XML, as Jenkins, GitLab and GitHub's actions read it (jenkinsci/xunit-plugin, `junit-10.xsd`).

use std::ops::ControlFlow;

use std::io::Write;

use super::{MirrorReport, ReportFault, Standing, at, standing, word};
use occystrap_images::html::text::escaped;
use occystrap_mirror::ledger::record::LedgerItem;
use occystrap_mirror::ledger::state::State;

/// What every file begins with.
pub const BEGINNING: &str =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"occystrap mirror\"";

/// Longest text of an attribute or element, in characters. Messages are one line.
const LONGEST: usize = 4_000;

/// Number of cases by their result.
#[derive(Default)]
struct Counts {
    tests: u64,
    failures: u64,
    errors: u64,
    skipped: u64,
}

/// Writes the file.
pub fn write(report: &MirrorReport<'_>, to: &mut dyn Write) -> Result<(), ReportFault> {
    let mut counts = Counts::default();
    for _ in report.other_failures() {
        (counts.tests, counts.errors) = (counts.tests + 1, counts.errors + 1);
    }
    each_case(report, &mut |item| {
        counts.tests += 1;
        match standing(item) {
            Standing::Wrong => counts.failures += 1,
            Standing::NotDone => counts.errors += 1,
            Standing::Unconfirmed => counts.skipped += 1,
            Standing::Good => {}
        }
        Ok(())
    })?;
    let Counts { tests, failures, errors, skipped } = counts;
    let (seconds, mirror) = (report.seconds(), text(&report.mirror));
    let numbers = format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\"");
    // The schema has no time zone.
    let started = at(report.run.started).unwrap_or_default();
    let started = started.trim_end_matches('Z');
    writeln!(to, "{BEGINNING} {numbers} time=\"{seconds}\">")?;
    writeln!(
        to,
        "<testsuite name=\"{mirror}\" {numbers} skipped=\"{skipped}\" time=\"{seconds}\" timestamp=\"{started}\">"
    )?;
    for (number, error) in report.other_failures().enumerate() {
        write!(
            to,
            "<testcase classname=\"{mirror}\" name=\"not listed {}\" time=\"0\">",
            number + 1
        )?;
        let hint = error.hint.as_deref().unwrap_or_default();
        result(to, "error", &error.class, &error.message, hint)?;
        writeln!(to, "</testcase>")?;
    }
    each_case(report, &mut |item| case(report, item, &mirror, to))?;
    writeln!(to, "</testsuite>\n</testsuites>")?;
    Ok(())
}

/// Calls a function with each item that is a case: images that no rule names any more are none.
fn each_case(
    report: &MirrorReport<'_>,
    act: &mut dyn FnMut(&LedgerItem) -> Result<(), ReportFault>,
) -> Result<(), ReportFault> {
    report.each(report.named(), &[], &mut |item| {
        if item.state != State::Extra {
            act(item)?;
        }
        Ok(ControlFlow::Continue(()))
    })
}

fn case(
    report: &MirrorReport<'_>,
    item: &LedgerItem,
    mirror: &str,
    to: &mut dyn Write,
) -> Result<(), ReportFault> {
    let name = text(&item.destination);
    write!(to, "<testcase classname=\"{mirror}\" name=\"{name}\" time=\"0\"")?;
    let (class, message, hint) = match &item.error {
        Some(error) => (&*error.class, &*error.message, error.hint.as_deref().unwrap_or_default()),
        None => ("none", "", ""),
    };
    let message = if message.is_empty() { word(item) } else { message };
    let mut more = format!("source: {}", item.source);
    if !hint.is_empty() {
        more.push_str(&format!("\nhint: {hint}"));
    }
    match standing(item) {
        Standing::Good => {
            writeln!(to, "/>")?;
            return Ok(());
        }
        Standing::Wrong => {
            for object in report.objects(item)? {
                let digest = object.digest.map(|digest| digest.to_string()).unwrap_or_default();
                more.push_str(&format!("\n{} {digest}: {}", object.role, object.status));
                if let Some(found) = object.found {
                    more.push_str(&format!(", found {found}"));
                }
            }
            write!(to, ">")?;
            result(to, "failure", class, message, &more)?;
        }
        Standing::NotDone => {
            write!(to, ">")?;
            result(to, "error", class, message, &more)?;
        }
        Standing::Unconfirmed => {
            let message = "UNCONFIRMED: it was written, and could not be read to prove it";
            write!(to, "><skipped message=\"{message}\"/>")?;
        }
    }
    writeln!(to, "</testcase>")?;
    Ok(())
}

fn result(
    to: &mut dyn Write,
    element: &str,
    class: &str,
    message: &str,
    more: &str,
) -> Result<(), ReportFault> {
    // A line at a time: escaping makes control characters, newlines among them, printable.
    let lines: Vec<String> = more.lines().map(text).collect();
    let (class, message) = (text(class), text(message));
    let lines = lines.join("\n");
    write!(to, "<{element} type=\"{class}\" message=\"{message}\">{lines}</{element}>")?;
    Ok(())
}

/// Returns text as XML 1.0 allows it (section 2.2, "Characters").
fn text(raw: &str) -> String {
    escaped(raw, LONGEST).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}

//! The report as one JSON document (docs/mirroring.md).

use std::ops::ControlFlow;

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

use super::{FAILURES, MirrorReport, ReportFault, at};
use occystrap_base::error::Error;
use occystrap_base::oci::Digest;
use occystrap_base::terminal::table::{json_within, write_json, write_json_line};
use occystrap_mirror::ledger::record::{ItemObject, RunId, RunKind, RunState};

/// What every document begins with.
pub const BEGINNING: &str = "{\n  \"occystrap_mirror\": ";

/// Version of the document. Later ones may have more keys.
const VERSION: u32 = 1;

/// Failures that a document lists at most; the others are counted in `left_out`. A reader of thousands needs the ledger.
const MOST_FAILURES: u64 = 1_000;

/// Status of an answer that says "too many requests" (RFC 6585, 4).
const TOO_MANY: u16 = 429;

/// A failure, as the document lists it.
#[derive(Serialize)]
struct Failure<'a> {
    /// `None` for a failure that belongs to no image.
    source: Option<&'a str>,
    destination: Option<&'a str>,
    state: &'a str,
    class: Option<&'a str>,
    message: Option<&'a str>,
    hint: Option<&'a str>,
    objects: Vec<ItemObject>,
}

/// All of a document but its failures.
#[derive(Serialize)]
struct Head<'a> {
    occystrap_mirror: u32,
    mirror: &'a str,
    file: &'a Digest,
    run: RunId,
    kind: RunKind,
    state: RunState,
    started: Option<String>,
    finished: Option<String>,
    seconds: u64,
    workers: u32,
    summary: Summary<'a>,
    coverage: Covered,
}

/// Counts. `None` is one that was not established.
#[derive(Serialize)]
struct Summary<'a> {
    images: Option<u64>,
    copied: u64,
    unchanged: u64,
    already_there: u64,
    repaired: u64,
    kept: u64,
    failed: u64,
    dead: u64,
    blocked: u64,
    open: Option<u64>,
    not_listed: usize,
    unconfirmed: u64,
    extra: Option<u64>,
    verified: u64,
    bytes_sent: u64,
    bytes_mounted: u64,
    requests: Option<BTreeMap<&'a str, u64>>,
    requests_by_status: Option<BTreeMap<&'a str, BTreeMap<u16, u64>>>,
    retries: u64,
    rate_limits: Option<u64>,
}

#[derive(Serialize)]
struct Covered {
    bytes: u64,
    damaged_bytes: u64,
    read_within_30d: Option<f64>,
    oldest: Option<String>,
}

/// Document on one line.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    failures: Vec<Value>,
    left_out: u64,
}

/// Document without a run.
#[derive(Serialize)]
struct Empty<'a> {
    occystrap_mirror: u32,
    mirror: &'a str,
    run: Option<RunId>,
    summary: Option<()>,
    failures: [(); 0],
    left_out: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Error>,
}

/// Writes the document.
pub fn write(report: &MirrorReport<'_>, to: &mut dyn Write) -> Result<(), ReportFault> {
    let head = json_within(&head(report), 0)?;
    let head = head.strip_suffix("\n}").unwrap_or(&head);
    write!(to, "{head},\n  \"failures\": [")?;
    let mut written = 0;
    let left_out = each_failure(report, &mut |failure| {
        let comma = if written > 0 { "," } else { "" };
        written += 1;
        Ok(write!(to, "{comma}\n    {}", json_within(failure, 4)?)?)
    })?;
    let end = if written > 0 { "\n  " } else { "" };
    writeln!(to, "{end}],\n  \"left_out\": {left_out}\n}}")?;
    Ok(())
}

/// Writes the document on one line.
pub fn write_line(report: &MirrorReport<'_>, to: &mut dyn Write) -> Result<(), ReportFault> {
    let mut failures = Vec::new();
    let left_out = each_failure(report, &mut |failure| {
        failures.push(serde_json::to_value(failure).unwrap_or_default());
        Ok(())
    })?;
    Ok(write_json_line(to, &Whole { head: head(report), failures, left_out })?)
}

/// Writes the document of a mirror without a run, or of a command that failed before it had one.
pub fn write_empty(mirror: &str, error: Option<&Error>, to: &mut dyn Write) -> io::Result<()> {
    let (run, summary, failures, left_out) = (None, None, [], 0);
    let occystrap_mirror = VERSION;
    write_json(to, &Empty { occystrap_mirror, mirror, run, summary, failures, left_out, error })
}

fn head<'a>(report: &'a MirrorReport<'_>) -> Head<'a> {
    let run = &report.run;
    let coverage = &report.coverage;
    let oldest = coverage.oldest.and_then(|age| i64::try_from(age).ok());
    Head {
        occystrap_mirror: VERSION,
        mirror: &report.mirror,
        file: &run.file_digest,
        run: run.id,
        kind: run.kind,
        state: run.state,
        started: at(run.started),
        finished: run.finished.and_then(at),
        seconds: report.seconds(),
        // A ledger in a file has one process that writes.
        workers: 1,
        summary: summary(report),
        coverage: Covered {
            bytes: coverage.all.bytes,
            damaged_bytes: coverage.bad.bytes,
            read_within_30d: report.read_within_30d(),
            oldest: oldest.and_then(|age| at(report.now.saturating_sub(age))),
        },
    }
}

fn summary<'a>(report: &'a MirrorReport<'_>) -> Summary<'a> {
    let totals = &report.totals;
    let mut by_host: BTreeMap<&str, u64> = BTreeMap::new();
    let mut by_status: BTreeMap<&str, BTreeMap<u16, u64>> = BTreeMap::new();
    for one in &report.answers {
        *by_host.entry(&one.host).or_default() += one.number;
        by_status.entry(&one.host).or_default().insert(one.code, one.number);
    }
    let limited = report.answers.iter().filter(|one| one.code == TOO_MANY).map(|one| one.number);
    // What was not counted is not 0.
    let is_counted = !report.answers.is_empty();
    let planned = |count: u64| report.is_planned().then_some(count);
    Summary {
        images: planned(totals.items()),
        copied: totals.copied,
        unchanged: totals.unchanged,
        already_there: totals.already_there,
        repaired: totals.repaired,
        kept: totals.kept,
        failed: totals.failed,
        dead: totals.dead,
        blocked: totals.blocked,
        open: planned(totals.open()),
        not_listed: report.unlisted.len(),
        unconfirmed: totals.unconfirmed,
        extra: report.covers_all().then_some(totals.extra),
        verified: totals.verified,
        bytes_sent: totals.bytes_sent,
        bytes_mounted: totals.bytes_mounted,
        requests: is_counted.then_some(by_host),
        requests_by_status: is_counted.then_some(by_status),
        retries: totals.retries,
        rate_limits: is_counted.then(|| limited.sum()),
    }
}

/// Calls a function with each failure, up to the limit. Returns how many are left out.
fn each_failure(
    report: &MirrorReport<'_>,
    act: &mut dyn FnMut(&Failure<'_>) -> Result<(), ReportFault>,
) -> Result<u64, ReportFault> {
    let mut given = 0;
    let others = report.other_failures().count() as u64;
    for error in report.other_failures().take(usize::try_from(MOST_FAILURES).unwrap_or(0)) {
        given += 1;
        act(&Failure {
            source: None,
            destination: None,
            state: "not-listed",
            class: Some(&error.class),
            message: Some(&error.message),
            hint: error.hint.as_deref(),
            objects: Vec::new(),
        })?;
    }
    report.each(report.named(), &FAILURES, &mut |item| {
        if given >= MOST_FAILURES {
            return Ok(ControlFlow::Break(()));
        }
        given += 1;
        let error = item.error.as_ref();
        act(&Failure {
            source: Some(&item.source),
            destination: Some(&item.destination),
            state: item.state.word(),
            class: error.map(|error| &*error.class),
            message: error.map(|error| &*error.message),
            hint: error.and_then(|error| error.hint.as_deref()),
            objects: report.objects(item)?,
        })?;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((others + report.totals.failures()).saturating_sub(given))
}

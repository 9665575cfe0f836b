//! The last line of a run, and its exit code.

use occystrap_base::error::Error;
use occystrap_base::terminal::size::size;
use occystrap_mirror::ledger::holding::Totals;

use super::run::EndedRun;

/// Returns the last line: how many images are as the file says, and what the run did for that.
#[must_use]
pub fn line(run: &EndedRun) -> String {
    let Totals { copied, unchanged, repaired, kept, already_there, verified, .. } = run.totals;
    let Totals { unconfirmed, not_verified, bytes_sent, bytes_mounted, .. } = run.totals;
    let all = run.totals.items();
    let mut parts = vec![format!("{}/{all} images", run.totals.done)];
    let mut add = |count: u64, what: &str| {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    };
    add(copied, "copied");
    add(already_there, "already there");
    add(unchanged, "unchanged");
    add(repaired, "repaired");
    add(kept, "kept");
    if bytes_sent + bytes_mounted > 0 {
        parts.push(format!("{} sent, {} mounted", size(bytes_sent), size(bytes_mounted)));
    }
    parts.push(format!("{:.1}s", run.took.as_secs_f64()));
    let mut add = |count: u64, what: &str| {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    };
    add(verified, "verified");
    add(unconfirmed, "UNCONFIRMED");
    // An image that failed for another reason than its verification is one of those that are FAILED.
    let not_done = run.totals.failures().saturating_sub(run.totals.verified_failed);
    add(not_verified.saturating_sub(unchanged + kept + not_done), "not verified");
    add(run.totals.failures(), "FAILED");
    add(run.failures.len() as u64, "not listed");
    add(run.totals.open(), "open");
    format!("Summary: {}", parts.join(", "))
}

/// Returns whether the run ended because its time was over, and nothing else is wrong.
#[must_use]
pub fn is_cut_short(run: &EndedRun) -> bool {
    run.is_out_of_time && run.totals.failures() == 0 && run.failures.is_empty()
}

/// Returns the exit code: 130 for a run that was stopped, by the user or because its time was over, 1 for a failure, 3 for
/// images that could not be confirmed where the user wants that (`--strict`).
#[must_use]
pub fn exit_code(run: &EndedRun, strict: bool) -> u8 {
    match () {
        () if run.is_interrupted || is_cut_short(run) => Error::interrupted().exit_code(),
        () if run.totals.failures() > 0 || !run.failures.is_empty() || !run.is_finished => 1,
        () if strict && run.totals.unconfirmed > 0 => 3,
        () => 0,
    }
}

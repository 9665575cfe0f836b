//! The report as a text file for the textfile collector of Prometheus' node_exporter
//! (prometheus.io/docs/instrumenting/exposition_formats, "Text-based format").

use std::collections::BTreeMap;
use std::io::Write;

use super::{MirrorReport, ReportFault};
use occystrap_mirror::ledger::record::RunState;

/// What every file begins with.
pub const BEGINNING: &str = "# HELP occystrap_mirror_images ";

/// Writes the file. Counts of images are those of the whole mirror; requests and bytes are counted over all runs, so that
/// the counters do not fall.
pub fn write(report: &MirrorReport<'_>, to: &mut dyn Write) -> Result<(), ReportFault> {
    let mut lines = Lines { to, mirror: label(&report.mirror) };
    let all = &report.all;
    lines.metric("images", "gauge", "Images of the mirror by state.")?;
    let states = [
        ("done", all.done),
        ("failed", all.failed),
        ("blocked", all.blocked),
        ("dead", all.dead),
        ("open", all.open()),
        ("extra", all.extra),
        ("unconfirmed", all.unconfirmed),
    ];
    for (state, number) in states {
        lines.value("images", &[("state", state)], number)?;
    }
    let proofs = report.proofs()?;
    lines.metric("images_without_proof", "gauge", "Images that were never proved.")?;
    lines.value("images_without_proof", &[], proofs.never)?;
    lines.metric("sources_not_listed", "gauge", "Sources that the last run could not list.")?;
    lines.value("sources_not_listed", &[], report.unlisted.len() as u64)?;
    lines.metric(
        "oldest_verification_seconds",
        "gauge",
        "Age of the oldest proof of an image, and of the oldest full read of a blob.",
    )?;
    for (of, age) in [("images", proofs.oldest), ("blobs", report.coverage.oldest)] {
        if let Some(age) = age {
            lines.value("oldest_verification_seconds", &[("of", of)], age)?;
        }
    }
    lines.metric(
        "blob_bytes",
        "gauge",
        "Bytes of blobs at destinations by what is known of them.",
    )?;
    let good = report.coverage.by_age.iter().map(|sum| sum.bytes).sum();
    for (known, bytes) in [
        ("read", good),
        ("never_read", report.coverage.never.bytes),
        ("damaged", report.coverage.bad.bytes),
    ] {
        lines.value("blob_bytes", &[("state", known)], bytes)?;
    }
    let moved = report.moved_ever()?;
    lines.metric("bytes_total", "counter", "Bytes of blobs that reached destinations.")?;
    lines.value("bytes_total", &[("how", "sent")], moved.sent)?;
    lines.value("bytes_total", &[("how", "mounted")], moved.mounted)?;
    lines.metric("requests_total", "counter", "Requests by host and status; 0 is no answer.")?;
    for one in report.answers_ever()? {
        let code = one.code.to_string();
        lines.value("requests_total", &[("host", &one.host), ("code", &code)], one.number)?;
    }
    lines.metric("paused", "gauge", "1 for a host that asked not to be asked for a while.")?;
    let answered = report.answers.iter().map(|one| (&*one.host, 0));
    let mut paused: BTreeMap<&str, u64> = answered.collect();
    paused.extend(report.hosts.iter().map(|host| (&*host.name, u64::from(host.paused_for > 0))));
    for (host, is_paused) in paused {
        lines.value("paused", &[("host", host)], is_paused)?;
    }
    lines.metric("last_run_start_seconds", "gauge", "When the last run began, since 1970.")?;
    // A verification in between says nothing of the runs that move images.
    let last = report.moved.as_ref().unwrap_or(&report.run);
    let started = u64::try_from(last.started).unwrap_or(0);
    lines.value("last_run_start_seconds", &[], started)?;
    lines.metric("last_run_finished", "gauge", "1 where all images of the last run ended.")?;
    let is_finished = last.state == RunState::Finished;
    lines.value("last_run_finished", &[], u64::from(is_finished))
}

struct Lines<'a> {
    to: &'a mut dyn Write,
    /// Name of the mirror as the value of a label: one exporter may have several mirrors.
    mirror: String,
}

impl Lines<'_> {
    fn metric(&mut self, name: &str, kind: &str, help: &str) -> Result<(), ReportFault> {
        writeln!(self.to, "# HELP occystrap_mirror_{name} {help}")?;
        writeln!(self.to, "# TYPE occystrap_mirror_{name} {kind}")?;
        Ok(())
    }

    fn value(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        value: u64,
    ) -> Result<(), ReportFault> {
        write!(self.to, "occystrap_mirror_{name}{{mirror=\"{}\"", self.mirror)?;
        for (key, text) in labels {
            write!(self.to, ",{key}=\"{}\"", label(text))?;
        }
        writeln!(self.to, "}} {value}")?;
        Ok(())
    }
}

/// Returns the value of a label.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

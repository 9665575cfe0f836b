//! The text of a check: the worst findings first, and the first few of each rule.

use std::io::{self, Write};

use super::finding::{Severity, finding_line};
use super::report::{CheckReport, CheckedImage};
use crate::level::Level;
use crate::source::view::ViewKind;
use occystrap_base::error::printable;
use occystrap_base::oci::name::title;
use occystrap_base::terminal::summary::{SummaryLine, amount};
use occystrap_base::terminal::table::Paper;

/// How many findings of one rule are shown: more do not help to see what is wrong.
const MOST_SHOWN: usize = 10;

/// Severities in the order in which they are shown, with their headings.
const GROUPS: [(Severity, &str); 4] = [
    (Severity::Error, "Errors"),
    (Severity::Unchecked, "Not checked"),
    (Severity::Warning, "Warnings"),
    (Severity::Info, "Notes"),
];

impl CheckReport {
    /// Writes the report as text. `quiet` leaves out everything but what makes the check fail, errors, and what could not
    /// be checked.
    pub fn write_text(&self, to: &mut dyn Write, paper: &Paper, quiet: bool) -> io::Result<()> {
        for image in &self.images {
            let least =
                if quiet { self.summary.fail_on.max(Severity::Unchecked) } else { Severity::Info };
            write_image(image, &self.source, to, paper, (quiet, least))?;
        }
        if quiet {
            return Ok(());
        }
        let referrers = self.referrers.iter().flatten();
        let referrers: Vec<String> =
            referrers.map(|(kind, count)| format!("{} ({count})", printable(kind))).collect();
        if !referrers.is_empty() {
            writeln!(to, "{}", paper.heading("Referrers"))?;
            paper.text(to, &referrers.join(", "))?;
            writeln!(to)?;
        }
        writeln!(to, "{}", summary(self))
    }
}

/// Writes one image, with findings of the severity `least` and of worse ones.
fn write_image(
    image: &CheckedImage,
    source: &str,
    to: &mut dyn Write,
    paper: &Paper,
    (quiet, least): (bool, Severity),
) -> io::Result<()> {
    let groups = GROUPS.iter().filter(|(severity, _)| *severity <= least);
    let findings = &image.findings;
    if quiet && groups.clone().all(|(severity, _)| findings.count(*severity) == 0) {
        return Ok(());
    }
    let platform = image.platform.as_deref();
    let part = match image.kind {
        ViewKind::Image => platform.unwrap_or_default().to_owned(),
        ViewKind::Artifact if image.is_encrypted => "encrypted image".to_owned(),
        ViewKind::Artifact => "artifact".to_owned(),
        ViewKind::Index => match image.digest {
            Some(digest) => format!("index {}", digest.short()),
            None => "index".to_owned(),
        },
        ViewKind::Attestation => match platform {
            Some(platform) => format!("attestation of {platform}"),
            None => "attestation".to_owned(),
        },
    };
    let title = format!("{}  {part}", title(&image.image, &image.tag, source));
    let title = printable(&title);
    writeln!(to, "{}", paper.heading(&paper.line(title.trim_end())))?;
    for (severity, heading) in groups {
        let count = findings.count(*severity);
        if count == 0 {
            continue;
        }
        writeln!(to, "\n{}", paper.heading(&format!("{heading} ({count})")))?;
        for (check, kept, count) in findings.of(*severity) {
            let mut label = check;
            for finding in kept.iter().take(MOST_SHOWN) {
                paper.item(to, label, &finding_line(finding))?;
                label = "";
            }
            if count > MOST_SHOWN {
                let more = count - MOST_SHOWN;
                paper.item(to, "", &format!("... and {more} more (-O json lists them)"))?;
            }
        }
    }
    let ignored = findings.ignored().iter().map(|(check, count)| format!("{check} ({count})"));
    let ignored: Vec<String> = ignored.collect();
    if !ignored.is_empty() && !quiet {
        writeln!(to, "\n{}", paper.heading("Ignored"))?;
        paper.text(to, &ignored.join(", "))?;
    }
    let passed: Vec<&str> = findings.passed().iter().map(|passed| passed.check).collect();
    if !passed.is_empty() && !quiet {
        writeln!(to, "\n{}", paper.heading("Passed"))?;
        paper.text(to, &passed.join(", "))?;
    }
    writeln!(to)
}

/// Returns the last line, with the totals of all images.
fn summary(report: &CheckReport) -> SummaryLine {
    let sum = &report.summary;
    let fast = report.images.iter().all(|image| image.level == Level::Fast);
    let mode = if fast { "fast" } else { "full" };
    let images = amount(sum.images as u64, "image", "images");
    SummaryLine::new(&images, sum.layers, sum.bytes)
        .part(mode)
        .seconds(sum.seconds)
        .part(&amount(sum.errors as u64, "error", "errors"))
        .part(&amount(sum.warnings as u64, "warning", "warnings"))
        .number(sum.unchecked as u64, "UNCHECKED", "UNCHECKED")
}

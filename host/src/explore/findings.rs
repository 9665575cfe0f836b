//! The findings of `check` as lines of a terminal.

use occystrap_base::error::printable;
use occystrap_base::terminal::table::wrapped;
use occystrap_images::check::{Findings, Severity, finding_line};

/// Severities in the order in which they are shown, with their headings.
const GROUPS: [(Severity, &str); 4] = [
    (Severity::Error, "Errors"),
    (Severity::Unchecked, "Not checked"),
    (Severity::Warning, "Warnings"),
    (Severity::Info, "Notes"),
];

/// A line on the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindingLine {
    /// Its text, which fits the screen and cannot drive the terminal.
    pub text: String,
    /// Whether it is the heading of a severity.
    pub is_heading: bool,
}

impl FindingLine {
    fn heading(text: String) -> Self {
        Self { text, is_heading: true }
    }

    fn text(text: String) -> Self {
        Self { text, is_heading: false }
    }
}

/// Returns all findings that are kept, the worst first, on lines of at most `width` columns.
#[must_use]
pub fn lines(findings: &Findings, width: usize) -> Vec<FindingLine> {
    let mut lines = Vec::new();
    for (severity, heading) in GROUPS {
        let number = findings.count(severity);
        if number == 0 {
            continue;
        }
        if !lines.is_empty() {
            lines.push(FindingLine::text(String::new()));
        }
        lines.push(FindingLine::heading(format!("{heading} ({number})")));
        for (rule, kept, all) in findings.of(severity) {
            lines.push(FindingLine::text(format!("  {rule}")));
            for finding in kept {
                let text = printable(&finding_line(finding));
                let pieces = wrapped(&text, width.saturating_sub(4).max(1));
                lines.extend(
                    pieces.into_iter().map(|piece| FindingLine::text(format!("    {piece}"))),
                );
            }
            if all > kept.len() {
                let more = format!("    ... and {} more", all - kept.len());
                lines.push(FindingLine::text(more));
            }
        }
    }
    if lines.is_empty() {
        lines.push(FindingLine::heading("check found nothing".to_owned()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use occystrap_images::check::Finding;

    use super::*;

    #[test]
    fn the_worst_findings_come_first_and_fit_the_screen() {
        let mut findings = Findings::default();
        findings.push(
            Finding::warning("world-writable", "every user may write to it").path(b"a\x1b[2J"),
        );
        findings.push(
            Finding::error("diff-id", "its uncompressed content has another digest").layer(1),
        );
        let lines = lines(&findings, 24);
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts[..3], ["Errors (1)", "  diff-id", "    layer 2: its"]);
        assert!(texts.iter().all(|text| text.chars().count() <= 24), "{texts:?}");
        assert!(texts.contains(&"Warnings (1)") && texts.concat().contains("a?[2J"), "{texts:?}");
    }
}

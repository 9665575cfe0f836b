//! The findings of a check in a page: the worst first, and the first few of each rule.

use super::text::{LONGEST_TEXT, add, count, escaped};
use crate::check::{Finding, Findings, Severity};
use occystrap_base::error::with_sides;

/// Most findings of one rule that are shown.
const MOST_SHOWN: usize = 20;

/// Severities in the order in which they are shown, with heading, class, and noun.
const GROUPS: [(Severity, &str, &str, [&str; 2]); 4] = [
    (Severity::Error, "Errors", "error", ["error", "errors"]),
    (Severity::Unchecked, "Not checked", "unchecked", ["thing unchecked", "things unchecked"]),
    (Severity::Warning, "Warnings", "warning", ["warning", "warnings"]),
    (Severity::Info, "Notes", "info", ["note", "notes"]),
];

/// Returns the numbers of findings in a line.
pub fn summary(findings: &Findings) -> String {
    let mut parts = Vec::new();
    for (severity, _, class, [one, more]) in GROUPS {
        let number = findings.count(severity);
        if number > 0 {
            parts.push(format!("<span class=\"{class}\">{}</span>", count(number, one, more)));
        }
    }
    match parts.is_empty() {
        true => "<span class=\"good\">nothing found</span>".to_owned(),
        false => parts.join(", "),
    }
}

/// Returns all findings that are shown, by severity and rule.
pub fn list(findings: &Findings) -> String {
    let mut html = String::from("<h2>Findings of <code>check</code></h2>\n");
    for (severity, heading, class, _) in GROUPS {
        let number = findings.count(severity);
        if number == 0 {
            continue;
        }
        add(&mut html, format_args!("<h3 class=\"{class}\">{heading} ({number})</h3>\n"));
        for (rule, kept, all) in findings.of(severity) {
            add(
                &mut html,
                format_args!(
                    "<p><code>{}</code></p>\n<ul class=\"findings\">\n",
                    escaped(rule, 100)
                ),
            );
            for finding in kept.iter().take(MOST_SHOWN) {
                add(&mut html, format_args!("<li>{}</li>\n", line(finding)));
            }
            let shown = kept.len().min(MOST_SHOWN);
            if all > shown {
                add(&mut html, format_args!("<li class=\"dim\">and {} more</li>\n", all - shown));
            }
            html += "</ul>\n";
        }
    }
    let passed: Vec<&str> = findings.passed().iter().map(|passed| passed.check).collect();
    if !passed.is_empty() {
        let passed = escaped(&passed.join(", "), LONGEST_TEXT);
        add(&mut html, format_args!("<h3 class=\"good\">Passed</h3>\n<p>{passed}</p>\n"));
    }
    html
}

/// Returns the line of a finding.
fn line(finding: &Finding) -> String {
    let mut line = String::new();
    if let Some(layer) = finding.layer {
        add(&mut line, format_args!("layer {}: ", layer + 1));
    }
    if let Some(path) = &finding.path {
        add(&mut line, format_args!("<code>{}</code>: ", super::text::path(path)));
    }
    let message = finding.message.clone();
    let message = with_sides(message, finding.expected.as_deref(), finding.found.as_deref());
    line + &escaped(&message, LONGEST_TEXT)
}

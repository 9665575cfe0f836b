//! Requests and limits of each host.

use std::collections::BTreeMap;
use std::io::Write;

use super::super::{MirrorReport, ReportFault};
use super::LONGEST_NAME;
use occystrap_images::html::text::escaped;

/// Hosts that a page lists at most. Redirects may lead to many.
const MOST_HOSTS: usize = 200;

#[derive(Default)]
struct Row {
    requests: u64,
    statuses: Vec<String>,
    limits: Vec<String>,
}

/// Writes the table.
pub fn write(report: &MirrorReport<'_>, to: &mut dyn Write) -> Result<(), ReportFault> {
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for one in &report.answers {
        let row = rows.entry(&one.host).or_default();
        row.requests += one.number;
        let code = if one.code == 0 { "no answer".to_owned() } else { one.code.to_string() };
        row.statuses.push(format!("{code}: {}", one.number));
    }
    for limits in &report.limits {
        let row = rows.entry(&limits.host).or_default();
        let rate = limits.requests_per_second.map(|rate| format!("{rate} requests/s"));
        let connections = limits.connections.map(|most| format!("{most} connections"));
        let pulls = limits.pulls_left.map(|left| format!("waits below {left} pulls"));
        row.limits.extend([rate, connections, pulls].into_iter().flatten());
    }
    for host in &report.hosts {
        let row = rows.entry(&host.name).or_default();
        row.limits.extend(host.pulls_left.map(|left| format!("{left} pulls left")));
        row.limits
            .extend((host.paused_for > 0).then(|| format!("paused for {} s", host.paused_for)));
    }
    writeln!(to, "<h2>Requests and limits of hosts</h2>")?;
    if rows.is_empty() {
        writeln!(to, "<p class=\"dim\">The last run counted no requests.</p>")?;
        return Ok(());
    }
    writeln!(
        to,
        "<table><thead><tr><th>host</th><th class=\"n\">requests of the last run</th><th>by status</th><th>limits</th></tr></thead><tbody>"
    )?;
    for (host, row) in rows.iter().take(MOST_HOSTS) {
        writeln!(
            to,
            "<tr><td><code>{}</code></td><td class=\"n\" data-label=\"requests\">{}</td>\
             <td data-label=\"by status\">{}</td><td data-label=\"limits\">{}</td></tr>",
            escaped(host, LONGEST_NAME),
            row.requests,
            row.statuses.join(", "),
            if row.limits.is_empty() { "none".to_owned() } else { row.limits.join(", ") }
        )?;
    }
    writeln!(to, "</tbody></table>")?;
    let left = rows.len().saturating_sub(MOST_HOSTS);
    if left > 0 {
        writeln!(to, "<p class=\"dim\">{left} more hosts are not listed.</p>")?;
    }
    Ok(())
}

//! When images were proved, and when their bytes were read: bars in inline SVG.

use std::io::Write;

use super::super::{MirrorReport, ReportFault};
use occystrap_base::terminal::size::size;

/// Width of a drawing in its own units. The page stretches it.
const WIDTH: u64 = 1_000;

/// Names of the ages of a report, and the class of their bars.
const NAMES: [(&str, &str); 5] = [
    ("within a day", "a0"),
    ("1 to 7 days ago", "a1"),
    ("7 to 30 days ago", "a2"),
    ("30 to 90 days ago", "a3"),
    ("longer ago", "a4"),
];

/// Writes the charts.
pub fn write(report: &MirrorReport<'_>, to: &mut dyn Write) -> Result<(), ReportFault> {
    let proofs = report.proofs()?;
    writeln!(to, "<h2>When images were last verified</h2>")?;
    let images =
        NAMES.iter().zip(proofs.by_age).map(|((name, class), count)| (*name, *class, count));
    let images: Vec<_> = images.chain([("never", "never", proofs.never)]).collect();
    bars(&images, &|count| count.to_string(), to)?;
    let coverage = &report.coverage;
    writeln!(
        to,
        "<h2>When bytes were last read in full</h2>\n<p class=\"dim\">A fast verification reads manifests and configs, and the \
         existence and size of layers. A full one reads every byte of each of the {} blobs.</p>",
        coverage.all.blobs
    )?;
    let bytes =
        NAMES.iter().zip(&coverage.by_age).map(|((name, class), sum)| (*name, *class, sum.bytes));
    let more = [("never", "never", coverage.never.bytes), ("damaged", "bad", coverage.bad.bytes)];
    bars(&bytes.chain(more).collect::<Vec<_>>(), &size, to)?;
    Ok(())
}

fn bars(
    rows: &[(&str, &str, u64)],
    shown: &dyn Fn(u64) -> String,
    to: &mut dyn Write,
) -> Result<(), ReportFault> {
    let all: u64 = rows.iter().map(|(.., value)| value).sum();
    writeln!(to, "<div class=\"chart\">")?;
    for (name, class, value) in rows {
        // What is not nothing is seen.
        let width = match (value, u128::from(all)) {
            (0, _) | (_, 0) => 0,
            (value, all) => (u128::from(*value) * u128::from(WIDTH) / all).max(2),
        };
        let (label, percent) = (shown(*value), 100.0 * *value as f64 / (all.max(1)) as f64);
        writeln!(
            to,
            "<span class=\"label\">{name}</span><span class=\"n\">{label} ({percent:.1} %)</span>\
             <svg viewBox=\"0 0 {WIDTH} 1\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{name}: {label}\">\
             <rect class=\"{class}\" width=\"{width}\" height=\"1\"/></svg>"
        )?;
    }
    writeln!(to, "</div>")?;
    Ok(())
}

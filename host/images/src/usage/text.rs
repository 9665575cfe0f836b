//! The usage of an image as text. All bars have one scale, so that they can be compared. Names of files are never cut.

use std::io::{self, Write};

use super::largest::{Amount, LargestPart, UsageEntry};
use super::rules::{Metric, Rule, RuleResult};
use super::survey::{Survey, SurveyedLayer};
use super::{is_deleted_by, is_of};
use occystrap_base::error::printable;
use occystrap_base::terminal::size::size;
use occystrap_base::terminal::table::{Paper, Table, bar};

/// Columns of a bar for the whole image on wide paper.
const BAR: usize = 24;

/// Columns before the bar of an entry, with the gaps around the bar.
const BEFORE: usize = 18;

/// Columns that names have beside bars. Narrower paper has shorter bars, and then none.
const NAMES: usize = 24;

/// Returns the columns of a bar for the whole image.
fn bar_cells(paper: &Paper) -> usize {
    paper.width.map_or(BAR, |width| width.saturating_sub(BEFORE + NAMES).min(BAR))
}

/// Returns a bar with the gap behind it; nothing on paper that is too narrow for bars.
fn bar_column(part: u64, whole: u64, cells: usize) -> String {
    match cells {
        0 => String::new(),
        _ => format!("{:<cells$}  ", bar(part, whole, cells)),
    }
}

/// How many wasted files are listed, unless the user wants another number: the largest ones, which are worth a change of
/// the image.
const MOST_WASTED: usize = 15;

/// How many directories with wasted files are listed, unless the user wants another number.
const MOST_DIRECTORIES: usize = 8;

/// Writes the usage of an image, with at most `top` items in each list.
pub fn write(
    survey: &Survey,
    rules: &[(&Rule, RuleResult)],
    top: Option<usize>,
    to: &mut dyn Write,
    paper: &Paper,
) -> io::Result<()> {
    let tag = survey.name.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
    let title = printable(&format!(
        "{}{tag}  {}",
        survey.name.repository,
        survey.platform.as_deref().unwrap_or_default()
    ));
    writeln!(to, "{}", paper.heading(&paper.line(title.trim_end())))?;
    let count = match survey.layers.len() {
        1 => "1 layer".to_owned(),
        count => format!("{count} layers"),
    };
    let wasted = match survey.wasted {
        0 => "nothing wasted".to_owned(),
        bytes => format!("{} wasted ({})", size(bytes), percent(bytes, survey.size)),
    };
    let efficiency = survey.efficiency.score * 100.0;
    let line = format!(
        "{} of files in {count}, {wasted}, efficiency {efficiency:.1} %",
        size(survey.size)
    );
    paper.text(to, &line)?;
    if survey.incomplete {
        paper.text(to, "The image has more members than are kept: all numbers are too small.")?;
    }
    let amount = top.map_or(Amount::Glance, Amount::Top);
    for layer in &survey.layers {
        writeln!(to)?;
        write_layer(survey, layer, amount, to, paper)?;
    }
    write_waste(survey, top, to, paper)?;
    write_rules(rules, to, paper)
}

/// Writes the rules and what was found.
fn write_rules(rules: &[(&Rule, RuleResult)], to: &mut dyn Write, paper: &Paper) -> io::Result<()> {
    if rules.is_empty() {
        return Ok(());
    }
    writeln!(to, "\n{}", paper.heading("Rules"))?;
    let mut table = Table::new(&["result", "rule", "found"]);
    for (rule, result) in rules {
        let word = if result.failed { "failed" } else { "passed" };
        let found = match (rule.metric, result.found.as_u64(), result.found.as_f64()) {
            (metric, Some(bytes), _) if metric.is_bytes() => {
                format!("{} ({bytes} bytes)", size(bytes))
            }
            (Metric::Efficiency, _, Some(share)) => format!("{share:.4}"),
            (_, _, share) => format!("{:.4}", share.unwrap_or_default()),
        };
        table.row(vec![word.to_owned(), result.rule.clone(), found]);
    }
    table.write(to, &whole(paper))
}

/// Returns paper on which nothing is cut: the terminal itself breaks lines that are too long.
fn whole(paper: &Paper) -> Paper {
    Paper { width: None, ..*paper }
}

fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// Writes the wasted files, by directory and one by one.
fn write_waste(
    survey: &Survey,
    top: Option<usize>,
    to: &mut dyn Write,
    paper: &Paper,
) -> io::Result<()> {
    let waste = survey.waste();
    if waste.is_empty() {
        return Ok(());
    }
    let directories = survey.waste_by_directory();
    let heading = paper.heading("Wasted, by directory");
    writeln!(to, "\n{heading}")?;
    let mut table = Table::new(&[">size", ">files", "directory"]);
    let most = top.unwrap_or(MOST_DIRECTORIES);
    for one in directories.iter().take(most) {
        let name = format!("{}/", text(&one.path));
        table.row(vec![size(one.size), one.files.to_string(), name]);
    }
    table.write(to, &whole(paper))?;
    let rest: u64 = directories.iter().skip(most).map(|one| one.size).sum();
    more(directories.len(), most, rest, "directory", "directories", to)?;
    writeln!(to, "\n{}", paper.heading("Wasted: files that a later layer deletes or replaces"))?;
    let mut table = Table::new(&[">size", ">layer", "what became of it", "file"]);
    let most = top.unwrap_or(MOST_WASTED);
    for one in waste.iter().take(most) {
        table.row(vec![
            size(one.size),
            (one.layer + 1).to_string(),
            format!("{} by layer {}", one.fate, one.by + 1),
            text(&one.path),
        ]);
    }
    table.write(to, &whole(paper))?;
    let rest: u64 = waste.iter().skip(most).map(|one| one.size).sum();
    more(waste.len(), most, rest, "file", "files", to)
}

/// Writes how many items of a list are not shown, and their bytes.
fn more(
    all: usize,
    shown: usize,
    bytes: u64,
    one: &str,
    many: &str,
    to: &mut dyn Write,
) -> io::Result<()> {
    match all.saturating_sub(shown) {
        0 => Ok(()),
        left => {
            let noun = if left == 1 { one } else { many };
            writeln!(to, "  and {left} more {noun} with {}; --top shows more", size(bytes))
        }
    }
}

/// Writes one layer with its entries.
fn write_layer(
    survey: &Survey,
    layer: &SurveyedLayer,
    amount: Amount,
    to: &mut dyn Write,
    paper: &Paper,
) -> io::Result<()> {
    let made_by = layer.created_by.as_deref().unwrap_or("-");
    let mut notes = Vec::new();
    if layer.wasted > 0 {
        notes.push(format!("{} wasted", size(layer.wasted)));
    }
    if layer.deleted > 0 {
        let files = if layer.deleted == 1 { "file" } else { "files" };
        notes.push(format!(
            "deletes {} {files} of lower layers with {}",
            layer.deleted,
            size(layer.freed)
        ));
    }
    let notes = match notes.is_empty() {
        true => String::new(),
        false => format!("{}: ", notes.join(", ")),
    };
    let cells = bar_cells(paper);
    let share = bar_column(layer.size, survey.size, cells);
    let number = layer.index + 1;
    let line = format!("{number:>3}  {:>9}  {share}{notes}{made_by}", size(layer.size));
    writeln!(to, "{}", paper.heading(&paper.line(&printable(&line))))?;
    let own = LargestPart::of(&survey.tree, is_of(layer.index)).largest(amount);
    write_entries(&own, survey.size, "", cells, to)?;
    // Most layers delete little on their way.
    if layer.freed > layer.size {
        let gone = LargestPart::of(&survey.tree, is_deleted_by(layer.index)).largest(amount);
        write_entries(&gone, survey.size, "-", cells, to)?;
    }
    Ok(())
}

/// Writes entries, each with `sign` before its size and a bar of up to `cells` columns.
fn write_entries(
    entries: &[UsageEntry],
    whole: u64,
    sign: &str,
    cells: usize,
    to: &mut dyn Write,
) -> io::Result<()> {
    for (index, entry) in entries.iter().enumerate() {
        // Below a directory that is shown, only the rest of the path is shown.
        let around = entries[..index].iter().rev().find(|other| other.depth < entry.depth);
        let path = text(&entry.path);
        let name = match around {
            Some(around) => path.strip_prefix(&*text(&around.path)).unwrap_or(&path),
            None => &path,
        };
        let slash = if entry.kind == "directory" { "/" } else { "" };
        let name = name.trim_start_matches('/');
        let indent = "  ".repeat(entry.depth);
        let shown = if sign.is_empty() { entry.size } else { 0 };
        let share = bar_column(shown, whole, cells);
        let amount = format!("{sign}{}", size(entry.size));
        let line = format!("     {amount:>9}  {share}{indent}{name}{slash}");
        writeln!(to, "{}", printable(&line))?;
    }
    Ok(())
}

/// Returns a share in percent.
fn percent(part: u64, whole: u64) -> String {
    let share = part as f64 / whole.max(1) as f64 * 100.0;
    if share < 1.0 { "less than 1 %".to_owned() } else { format!("{share:.0} %") }
}

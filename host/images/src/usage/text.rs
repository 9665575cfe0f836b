//! The usage of an image as text. All bars have one scale, so that they can be compared.

use std::io::{self, Write};

use super::{ImageUsage, LayerUsage};
use occystrap_base::error::printable;
use occystrap_base::terminal::size::size;
use occystrap_base::terminal::table::{Paper, Table, bar};

/// Columns of a bar for the whole image.
const BAR: usize = 24;

/// Writes the usage of an image.
pub fn write(image: &ImageUsage, to: &mut dyn Write, paper: &Paper) -> io::Result<()> {
    let tag = if image.tag.is_empty() { String::new() } else { format!(":{}", image.tag) };
    let title = printable(&format!("{}{tag}  {}", image.image, image.platform));
    writeln!(to, "{}", paper.heading(&paper.line(&title)))?;
    let count = match image.layers.len() {
        1 => "1 layer".to_owned(),
        count => format!("{count} layers"),
    };
    let wasted = match image.wasted {
        0 => "nothing wasted".to_owned(),
        bytes => format!("{} wasted ({})", size(bytes), percent(bytes, image.size)),
    };
    paper.text(to, &format!("{} of files in {count}, {wasted}", size(image.size)))?;
    if image.incomplete {
        paper.text(to, "The image has more members than are kept: all numbers are too small.")?;
    }
    for layer in &image.layers {
        writeln!(to)?;
        write_layer(layer, image.size, to, paper)?;
    }
    if !image.waste.is_empty() {
        writeln!(
            to,
            "\n{}",
            paper.heading("Wasted: files that a later layer deletes or replaces")
        )?;
        let mut table = Table::new(&[">size", ">layer", "what became of it", "file"]);
        for waste in &image.waste {
            table.row(vec![
                size(waste.size),
                (waste.layer + 1).to_string(),
                format!("{} by layer {}", waste.fate, waste.by + 1),
                waste.path.clone(),
            ]);
        }
        table.write(to, paper)?;
    }
    Ok(())
}

/// Writes one layer with its entries.
fn write_layer(
    layer: &LayerUsage,
    whole: u64,
    to: &mut dyn Write,
    paper: &Paper,
) -> io::Result<()> {
    let made_by = layer.created_by.as_deref().unwrap_or("-");
    let wasted = match layer.wasted {
        0 => String::new(),
        bytes => format!("{} wasted: ", size(bytes)),
    };
    let share = bar(layer.size, whole, BAR);
    let line = format!(
        "{:>3}  {:>9}  {share:<BAR$}  {wasted}{made_by}",
        layer.index + 1,
        size(layer.size)
    );
    writeln!(to, "{}", paper.heading(&paper.line(&printable(&line))))?;
    for (index, entry) in layer.entries.iter().enumerate() {
        // Below a directory that is shown, only the rest of the path is shown.
        let around = layer.entries[..index].iter().rev().find(|other| other.depth < entry.depth);
        let name = match around {
            Some(around) => entry.path.strip_prefix(&around.path).unwrap_or(&entry.path),
            None => &entry.path,
        };
        let slash = if entry.kind == "directory" { "/" } else { "" };
        let name = name.trim_start_matches('/');
        let indent = "  ".repeat(entry.depth);
        let share = bar(entry.size, whole, BAR);
        let line = format!("     {:>9}  {share:<BAR$}  {indent}{name}{slash}", size(entry.size));
        writeln!(to, "{}", paper.line(&printable(&line)))?;
    }
    Ok(())
}

/// Returns a share in percent.
fn percent(part: u64, whole: u64) -> String {
    let share = part as f64 / whole.max(1) as f64 * 100.0;
    if share < 1.0 { "less than 1 %".to_owned() } else { format!("{share:.0} %") }
}

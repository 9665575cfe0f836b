//! The treemap of an image or of a layer as an inline SVG.
//!
//! Each cell is an SVG of its own, which clips its label: no label covers another cell, whatever font the reader has.

use unicode_width::UnicodeWidthChar as _;

use super::text::{add, escaped, path};
use super::treemap::{Area, Cell, CellKind, TreemapEntry, layout};
use crate::usage::tree::{NodeId, PathVersion, Sums, Tree};
use occystrap_base::terminal::size::size;
use occystrap_layer::overlay::Fate;

/// Width of a digit of a size, in units, with what letters are wider.
const DIGIT: f64 = 6.4;

/// Smallest width and height of a cell with a label.
const SMALLEST_LABEL: (f64, f64) = (30.0, 15.0);

/// Height of the strip that shows the wasted part of a cell.
const STRIP: f64 = 5.0;

/// Smallest height of a cell with a second line.
const SECOND_LINE: f64 = 29.0;

/// The size of a drawing in units; one unit is a pixel if the drawing has that width on the screen.
#[derive(Debug, Clone, Copy)]
pub struct Canvas {
    /// Width.
    pub width: u16,
    /// Height.
    pub height: u16,
    /// Class of the SVG in the style sheet.
    pub class: &'static str,
}

/// The bytes of a tree that a map shows.
pub struct Bytes<'a> {
    tree: &'a Tree,
    /// The layer, or `None` for all layers.
    layer: Option<usize>,
    size: Sums,
    wasted: Sums,
}

impl<'a> Bytes<'a> {
    /// Returns the bytes of one layer, or of all.
    #[must_use]
    pub fn of(tree: &'a Tree, layer: Option<usize>) -> Self {
        let counts = move |version: &PathVersion| layer.is_none_or(|layer| version.layer == layer);
        let size = tree.sums(|version| if counts(version) { version.size } else { 0 });
        let wasted = tree.sums(|version| if counts(version) { version.wasted() } else { 0 });
        Self { tree, layer, size, wasted }
    }

    /// Returns the number of all bytes.
    #[must_use]
    pub fn whole(&self) -> u64 {
        self.size.at(Tree::ROOT)
    }

    /// Returns the entries of a folder.
    fn entries(&self, folder: NodeId) -> Vec<TreemapEntry<NodeId>> {
        let mut entries = Vec::new();
        for node in self.tree.children(folder) {
            let whole = self.size.at(node);
            if whole == 0 {
                continue;
            }
            let name = String::from_utf8_lossy(self.tree.name(node)).into_owned();
            let versions = self.tree.versions(node).iter();
            let own = versions.filter(|one| self.layer.is_none_or(|layer| one.layer == layer));
            let (mut left, mut unseen) = (whole, self.wasted.at(node));
            for version in own.filter(|version| version.size > 0) {
                let wasted = version.wasted();
                (left, unseen) = (left.saturating_sub(version.size), unseen.saturating_sub(wasted));
                entries.push(TreemapEntry {
                    name: name.clone(),
                    size: version.size,
                    wasted,
                    folder: None,
                    note: self.note(version),
                });
            }
            // What is left is below it.
            if left > 0 {
                let (folder, note) = (Some(node), String::new());
                entries.push(TreemapEntry { name, size: left, wasted: unseen, folder, note });
            }
        }
        entries
    }

    fn note(&self, version: &PathVersion) -> String {
        let mut note = match self.layer {
            Some(_) => String::new(),
            None => format!("layer {}", version.layer + 1),
        };
        let (fate, by) = match version.fate {
            Fate::Present => return note,
            Fate::Deleted(by) => ("deleted", by),
            Fate::Replaced(by) => ("replaced", by),
        };
        if !note.is_empty() {
            note += ", ";
        }
        note += &format!("{fate} by layer {}", by + 1);
        if version.kept {
            note += ", kept by a hard link";
        }
        note
    }

    /// Returns the drawing. `label` says what it shows.
    #[must_use]
    pub fn svg(&self, canvas: Canvas, label: &str) -> String {
        let (width, height) = (f64::from(canvas.width), f64::from(canvas.height));
        let area = Area { x: 0.0, y: 0.0, width, height };
        let cells = layout(area, Tree::ROOT, &mut |folder| self.entries(folder));
        let mut svg = String::new();
        add(
            &mut svg,
            format_args!(
                "<svg class=\"map {}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">\n",
                canvas.class,
                escaped(label, 200)
            ),
        );
        for cell in &cells {
            draw(cell, self.whole(), &mut svg);
        }
        svg += "</svg>\n";
        svg
    }
}

/// Draws a cell with its label and its tooltip.
fn draw(cell: &Cell, whole: u64, to: &mut String) {
    let Area { x, y, width, height } = cell.area;
    add(
        to,
        format_args!(
            "<svg x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>"
        ),
    );
    let slash = if cell.kind == CellKind::Folder { "/" } else { "" };
    match cell.kind {
        CellKind::Group(count) => {
            add(to, format_args!("{}/: {count} smaller entries", path(&cell.path)))
        }
        _ => add(to, format_args!("{}{slash}", path(&cell.path))),
    }
    let share = cell.size as f64 / whole.max(1) as f64 * 100.0;
    add(to, format_args!("&#10;{}, {share:.1} %", size(cell.size)));
    if cell.wasted > 0 {
        add(to, format_args!("&#10;{} wasted", size(cell.wasted)));
    }
    if !cell.note.is_empty() {
        add(to, format_args!("&#10;{}", escaped(&cell.note, 200)));
    }
    let is_waste = cell.wasted > 0 && cell.wasted == cell.size && cell.kind != CellKind::Folder;
    let class = match (is_waste, cell.kind) {
        (true, _) => "w".to_owned(),
        (false, CellKind::Folder) => format!("f h{}", cell.hue),
        (false, _) => format!("h{}", cell.hue),
    };
    add(to, format_args!("</title><rect class=\"{class}\" width=\"100%\" height=\"100%\"/>"));
    if !is_waste && cell.wasted > 0 && cell.kind != CellKind::Folder {
        let part = cell.wasted as f64 / cell.size.max(1) as f64 * width;
        let y = (height - STRIP).max(0.0);
        add(
            to,
            format_args!("<rect class=\"p\" y=\"{y:.1}\" width=\"{part:.1}\" height=\"{STRIP}\"/>"),
        );
    }
    if width >= SMALLEST_LABEL.0 && height >= SMALLEST_LABEL.1 {
        let mark = if is_waste { "✕ " } else { "" };
        let label = fitting(&format!("{mark}{}{slash}", cell.name), width - 8.0);
        if !label.is_empty() {
            add(to, format_args!("<text x=\"4\" y=\"11.5\">{label}</text>"));
        }
        let amount = size(cell.size);
        let fits = (amount.len() as f64) * DIGIT <= width - 8.0;
        if cell.kind != CellKind::Folder && height >= SECOND_LINE && fits {
            add(to, format_args!("<text class=\"s\" x=\"4\" y=\"24.5\">{amount}</text>"));
        }
    }
    *to += "</svg>\n";
}

/// Returns the width of a character, in units: that of DejaVu Sans at the size of the style sheet, which is wider than
/// most fonts.
fn width(c: char) -> f64 {
    match (c, c.width().unwrap_or_default()) {
        (_, 0) => 0.0,
        ('m' | 'w' | 'M' | 'W' | '%' | '@' | '…' | '✕', _) => 11.2,
        ('f' | 'i' | 'j' | 'l' | 'r' | 't' | 'I' | ' ' | '.' | ',' | '-' | '/' | ':', _) => 4.6,
        ('A'..='Z' | '+' | '<' | '=' | '>' | '#' | '&' | '~', _) => 9.2,
        (' '..='~', _) => 7.0,
        (_, 1) => 9.5,
        _ => 12.0,
    }
}

/// Returns as much of a label as fits, escaped; nothing if that is less than three characters of a longer one.
fn fitting(label: &str, room: f64) -> String {
    let label = occystrap_base::error::printable(label);
    if label.chars().map(width).sum::<f64>() <= room {
        return escaped(&label, usize::MAX);
    }
    let (mut used, mut kept) = (width('…'), String::new());
    for c in label.chars() {
        used += width(c);
        if used > room {
            break;
        }
        kept.push(c);
    }
    match kept.chars().count() {
        0..=2 => String::new(),
        _ => escaped(&format!("{kept}…"), usize::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_cut_before_it_is_escaped() {
        assert_eq!(fitting("libc.so.6", 100.0), "libc.so.6");
        assert_eq!(fitting("<<<<<<<<<<", 40.0), "&lt;&lt;&lt;…");
        assert_eq!(fitting("日本語日本語", 40.0), "");
        assert_eq!(fitting("abcdef", 12.0), "");
    }
}

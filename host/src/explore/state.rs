//! What the view shows: the selected layer, the rows of the tree, and the selected row.
//!
//! Rows are made anew after each change. Only directories that are open have rows, so that their number is what a user
//! has opened, or what a text in names has left.

use std::collections::HashSet;

use super::content::content_of;
use occystrap_base::error::is_unprintable;
use occystrap_images::artifact::SourceArtifact;
use occystrap_images::explore::Explored;
use occystrap_images::usage::tree::{Effect, NodeId, PathVersion, Sums, Tree};

/// The list that has the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Focus {
    /// The layers.
    Layers,
    /// The tree.
    Files,
}

/// What the tree shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// What a container of the layers up to the selected one has, and what that one deletes.
    Merged,
    /// What the selected layer adds, replaces and deletes.
    Changes,
}

/// What keys mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// They select.
    Browse,
    /// They edit the text that names must have.
    Filter,
    /// They edit the name of the file to export to.
    Export(String),
    /// The help is shown.
    Help,
    /// The findings of `check` are shown.
    Findings,
}

/// A row of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeRow {
    /// Its path.
    pub node: NodeId,
    /// Number of directories around it.
    pub depth: usize,
    /// What the selected layer does to it.
    pub effect: Option<Effect>,
    /// Whether the selected layer changes something at or below it.
    pub is_changed: bool,
    /// Bytes of it and of what is below it.
    pub size: u64,
    /// Whether the bytes are those that the selected layer takes away.
    pub is_gone: bool,
    /// Whether it has entries that are shown, and whether they are: `Some(true)` is an open directory.
    pub open: Option<bool>,
}

/// The sums that the rows need, for one layer and scope.
struct Counts {
    /// Versions that are shown.
    shown: Sums,
    /// Changes of the layer.
    changed: Sums,
    /// Bytes that are there.
    size: Sums,
    /// Bytes that the layer takes away.
    gone: Sums,
}

/// The state of the view.
pub struct State<'a> {
    image: &'a Explored,
    /// The list that has the keys.
    pub focus: Focus,
    /// What the tree shows.
    pub scope: Scope,
    /// What keys mean.
    pub mode: Mode,
    /// Number of the selected layer, from 0.
    pub layer: usize,
    /// First layer that is drawn.
    pub first_layer: usize,
    /// Number of the selected row.
    pub row: usize,
    /// First row that is drawn.
    pub first_row: usize,
    /// Lines of the tree on the screen; drawing sets it.
    pub height: usize,
    /// First line of the findings that is drawn.
    pub first_finding: usize,
    /// Lines of the findings on the screen; drawing sets it.
    pub finding_height: usize,
    /// Whether entries are sorted by size, not by name.
    pub by_size: bool,
    opened: HashSet<NodeId>,
    filter: String,
    message: String,
    counts: Counts,
    rows: Vec<TreeRow>,
}

impl<'a> State<'a> {
    /// Returns the state at the beginning: the whole image.
    #[must_use]
    pub fn new(image: &'a Explored) -> Self {
        let layer = image.survey.layers.len().saturating_sub(1);
        let scope = Scope::Merged;
        let mut state = Self {
            image,
            focus: Focus::Files,
            scope,
            mode: Mode::Browse,
            layer,
            first_layer: 0,
            row: 0,
            first_row: 0,
            height: 1,
            first_finding: 0,
            finding_height: 1,
            by_size: true,
            opened: HashSet::new(),
            filter: String::new(),
            message: image.artifacts.first().map(SourceArtifact::line).unwrap_or_default(),
            counts: Counts::of(&image.survey.tree, layer, scope),
            rows: Vec::new(),
        };
        state.make_rows();
        state
    }

    /// Returns the image.
    #[must_use]
    pub fn image(&self) -> &'a Explored {
        self.image
    }

    /// Returns the rows of the tree.
    #[must_use]
    pub fn rows(&self) -> &[TreeRow] {
        &self.rows
    }

    /// Returns the text that names must have; empty for all names.
    #[must_use]
    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// Returns the last message to the user; may be empty.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Sets the message to the user.
    pub fn tell(&mut self, message: String) {
        self.message = message;
    }

    /// Returns the number of rows of a page.
    #[must_use]
    pub fn page(&self) -> usize {
        self.height.saturating_sub(1).max(1)
    }

    /// Returns the selected path.
    #[must_use]
    pub fn selected(&self) -> Option<NodeId> {
        self.rows.get(self.row).map(|row| row.node)
    }

    /// Returns layer and path of the content of the selected path; `None` if it is no file.
    #[must_use]
    pub fn selected_content(&self) -> Option<(usize, Vec<u8>)> {
        content_of(self.image, self.selected()?, self.layer)
    }

    /// Shows other findings of `check`, so many lines further down. Drawing stops at the last.
    pub fn scroll_findings(&mut self, by: isize) {
        self.first_finding = self.first_finding.saturating_add_signed(by);
    }

    /// Gives the keys to the other list.
    pub fn switch_focus(&mut self) {
        self.focus = match self.focus {
            Focus::Layers => Focus::Files,
            Focus::Files => Focus::Layers,
        };
    }

    /// Shows the image instead of the changes, or the changes instead of the image.
    pub fn switch_scope(&mut self) {
        self.scope = match self.scope {
            Scope::Merged => Scope::Changes,
            Scope::Changes => Scope::Merged,
        };
        self.count();
    }

    /// Sorts by name instead of size, or by size instead of name.
    pub fn switch_order(&mut self) {
        self.by_size = !self.by_size;
        self.make_rows();
    }

    /// Sets the text that names must have.
    pub fn set_filter(&mut self, text: String) {
        if self.filter != text {
            self.filter = text;
            self.make_rows();
        }
    }

    /// Selects another layer or row, so many further down.
    pub fn step(&mut self, by: isize) {
        let to =
            |from: usize, count: usize| from.saturating_add_signed(by).min(count.saturating_sub(1));
        match self.focus {
            Focus::Files => self.row = to(self.row, self.rows.len()),
            Focus::Layers => {
                let layer = to(self.layer, self.image.survey.layers.len());
                if layer != self.layer {
                    self.layer = layer;
                    self.count();
                }
            }
        }
    }

    /// Opens the selected directory; selects its first entry if it is open.
    pub fn open(&mut self) {
        match self.rows.get(self.row) {
            Some(TreeRow { open: Some(true), .. }) => self.row += 1,
            Some(TreeRow { open: Some(false), .. }) => self.toggle(),
            _ => {}
        }
    }

    /// Closes the selected directory; selects the directory around it if it is none, or is closed.
    pub fn close(&mut self) {
        let Some(row) = self.rows.get(self.row) else { return };
        if row.open == Some(true) && self.filter.is_empty() {
            return self.toggle();
        }
        let (above, depth) = (&self.rows[..self.row], row.depth);
        if let Some(around) = above.iter().rposition(|other| other.depth < depth) {
            self.row = around;
        }
    }

    /// Opens or closes the selected directory.
    pub fn toggle(&mut self) {
        let Some(TreeRow { node, open: Some(_), .. }) = self.rows.get(self.row) else { return };
        if !self.opened.remove(node) {
            self.opened.insert(*node);
        }
        self.make_rows();
    }

    /// Asks for the name to export to.
    pub fn begin_export(&mut self) {
        self.focus = Focus::Files;
        match self.selected_content() {
            None => self.tell("Only files are exported; select one".to_owned()),
            Some((_, path)) => {
                let (_, name) = occystrap_layer::overlay::path::split(&path);
                self.mode = Mode::Export(file_name(name));
            }
        }
    }

    /// Counts anew, for another layer or scope.
    fn count(&mut self) {
        self.counts = Counts::of(&self.image.survey.tree, self.layer, self.scope);
        self.make_rows();
    }

    /// Makes the rows, and selects the same path again if it is there.
    fn make_rows(&mut self) {
        let selected = self.selected();
        let tree = &self.image.survey.tree;
        let found = (!self.filter.is_empty()).then(|| self.matching());
        let mut rows = Vec::new();
        // Entries to be placed, the last first: path, depth, and whether a directory around it matches.
        let mut rest: Vec<(NodeId, usize, bool)> = Vec::new();
        self.push_entries(Tree::ROOT, 0, false, found.as_ref(), &mut rest);
        while let Some((node, depth, inherits)) = rest.pop() {
            let inherits = inherits || found.is_some() && self.matches(node);
            let from = rest.len();
            self.push_entries(node, depth + 1, inherits, found.as_ref(), &mut rest);
            let has_entries = rest.len() > from;
            let has_match = found
                .as_ref()
                .is_some_and(|found| rest[from..].iter().any(|(entry, ..)| found.contains(entry)));
            let is_open = has_entries && (has_match || self.opened.contains(&node));
            if !is_open {
                rest.truncate(from);
            }
            let (size, gone) = (self.counts.size.at(node), self.counts.gone.at(node));
            let is_gone = size == 0 && gone > 0;
            rows.push(TreeRow {
                node,
                depth,
                effect: tree.effect(node, self.layer),
                is_changed: self.counts.changed.at(node) > 0,
                size: if is_gone { gone } else { size },
                is_gone,
                open: has_entries.then_some(is_open),
            });
        }
        self.rows = rows;
        let again = selected.and_then(|node| self.rows.iter().position(|row| row.node == node));
        self.row = again.unwrap_or_default();
    }

    /// Adds the entries of a directory that are shown, the first last.
    fn push_entries(
        &self,
        folder: NodeId,
        depth: usize,
        inherits: bool,
        found: Option<&HashSet<NodeId>>,
        to: &mut Vec<(NodeId, usize, bool)>,
    ) {
        let from = to.len();
        for node in self.image.survey.tree.children(folder).rev() {
            let fits = inherits || found.is_none_or(|found| found.contains(&node));
            if fits && self.counts.shown.at(node) > 0 {
                to.push((node, depth, inherits));
            }
        }
        if self.by_size {
            // Stable: entries of one size stay in the order of their names.
            to[from..].sort_by_key(|(node, ..)| {
                self.counts.size.at(*node).max(self.counts.gone.at(*node))
            });
        }
    }

    /// Returns the paths that match, and the directories around them.
    fn matching(&self) -> HashSet<NodeId> {
        let tree = &self.image.survey.tree;
        let mut found = HashSet::new();
        for node in tree.nodes() {
            if self.counts.shown.at(node) == 0 || !self.matches(node) {
                continue;
            }
            let around = std::iter::successors(Some(node), |node| tree.parent(*node));
            for node in around {
                if !found.insert(node) {
                    break;
                }
            }
        }
        found
    }

    /// Returns whether a name has the text; if the text has a slash, whether the path has it. ASCII letters match in both
    /// cases.
    fn matches(&self, node: NodeId) -> bool {
        let tree = &self.image.survey.tree;
        let wanted = self.filter.as_bytes();
        match wanted.contains(&b'/') {
            true => contains(&[b"/", tree.path(node).as_slice()].concat(), wanted),
            false => contains(tree.name(node), wanted),
        }
    }
}

impl Counts {
    fn of(tree: &Tree, layer: usize, scope: Scope) -> Self {
        let is_changed =
            move |version: &PathVersion| version.layer == layer || version.end() == Some(layer);
        let is_shown = move |version: &PathVersion| {
            is_changed(version) || scope == Scope::Merged && version.is_seen_at(layer)
        };
        let is_there = move |version: &PathVersion| {
            version.is_seen_at(layer) && (scope == Scope::Merged || version.layer == layer)
        };
        let bytes = |version: &PathVersion, counts: bool| if counts { version.size } else { 0 };
        Self {
            shown: tree.sums(|version| u64::from(is_shown(version))),
            changed: tree.sums(|version| u64::from(is_changed(version))),
            size: tree.sums(|version| bytes(version, is_there(version))),
            gone: tree.sums(|version| bytes(version, version.end() == Some(layer))),
        }
    }
}

/// Returns whether `text` has `wanted` in it. ASCII letters match in both cases.
fn contains(text: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty()
        || text.windows(wanted.len()).any(|window| window.eq_ignore_ascii_case(wanted))
}

/// Returns a name for an exported file that leads to no other directory and is harmless in a shell's listing.
fn file_name(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    let safe = |c: char| if is_unprintable(c) || c == '/' { '_' } else { c };
    let name: String = name.chars().map(safe).collect();
    match name.as_str() {
        "" | "." | ".." => "file".to_owned(),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_matches_in_both_cases() {
        assert!(contains(b"README.md", b"readme"));
        assert!(contains(b"x", b"") && !contains(b"", b"x"));
        assert!(!contains("ä".as_bytes(), b"a"));
    }

    #[test]
    fn an_exported_file_stays_where_it_is() {
        assert_eq!(file_name(b"motd"), "motd");
        assert_eq!(file_name(b".."), "file");
        assert_eq!(file_name(b"a\x1b[2J\xff"), "a_[2J\u{fffd}");
    }
}

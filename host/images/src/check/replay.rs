//! Rules about what layers do to each other: their members replayed, lowest layer first.

use std::collections::HashSet;

use super::finding::{Finding, Findings};
use occystrap_base::terminal::size::size;
use occystrap_layer::overlay::path::{folders, split};
use occystrap_layer::overlay::{At, Change, Kind, ListedMember, MemberList, Stack, State};

/// What is said of a directory that a layer has twice.
pub const TWICE: &str = "is listed more than once, which Docker and Podman refuse";

/// The image as it is so far, and what was found on the way.
#[derive(Default)]
pub struct Replay {
    stack: Stack,
    /// What stands for paths that hard links lead to: their contents have other names.
    linked: HashSet<u64>,
    /// Links through which something was written, by layer: told once.
    through: HashSet<(u16, u64)>,
    /// How many files were written again, and their bytes that nobody sees.
    again: (u64, u64),
    findings: Findings,
}

impl Replay {
    /// Put a layer on those before.
    pub fn add(&mut self, layer: u16, roll: &MemberList) {
        let mut last: Option<Vec<u8>> = None;
        roll.each(|entry| {
            let (parent, _) = split(entry.path);
            let own = matches!(
                entry.act,
                Change::Directory | Change::Symlink | Change::File | Change::HardLink
            );
            if own && last.as_deref() != Some(parent) {
                self.descend(layer, entry.path);
                last = Some(parent.to_vec());
            }
            match entry.act {
                Change::Delete => self.delete(layer, entry.path),
                Change::Empty => self.empty(layer, entry.path),
                _ => self.put(layer, entry),
            }
            // What it was may have changed.
            if own && entry.act != Change::Directory {
                last = last.take().filter(|folder| !folder.starts_with(entry.path));
            }
        });
    }

    /// All layers are there.
    #[must_use]
    pub fn finish(mut self) -> Findings {
        let (files, bytes) = self.again;
        if files > 0 {
            let files = match files {
                1 => "1 file is".to_owned(),
                more => format!("{more} files are"),
            };
            let message =
                format!("{files} written again by a later layer; {} nobody sees", size(bytes));
            self.findings.push(Finding::info("overwritten", message));
        }
        self.findings
    }

    fn say(&mut self, finding: Finding, layer: u16, path: &[u8]) {
        self.findings.push(finding.layer(layer.into()).path(path));
    }

    /// Look at the folders of a path; those that no layer lists are implied.
    fn descend(&mut self, layer: u16, path: &[u8]) {
        for folder in folders(path) {
            let at = At::of(folder);
            let shown = || String::from_utf8_lossy(folder).into_owned();
            match self.stack.state(at) {
                None => self.stack.put(layer, at, Kind::Implied, 0, None),
                Some(state) if state.is_directory() => {}
                Some(state) if state.kind() == Kind::Symlink => {
                    if self.through.insert((layer, at.hash)) {
                        let message = format!(
                            "is written through the link '{}' of layer {}: readers differ in where it goes",
                            shown(),
                            state.layer() + 1
                        );
                        self.say(Finding::warning("tar-through-link", message), layer, path);
                    }
                    return;
                }
                Some(state) => {
                    let message = format!(
                        "lies below '{}', which is a file of layer {}",
                        shown(),
                        state.layer() + 1
                    );
                    self.say(Finding::error("tar-parent", message), layer, path);
                    return;
                }
            }
        }
    }

    fn put(&mut self, layer: u16, entry: &ListedMember) {
        let at = At::of(entry.path);
        let kind = match entry.act {
            Change::Directory => Kind::Directory,
            Change::Symlink => Kind::Symlink,
            _ => Kind::File,
        };
        let first = self.stack.last(at).is_none_or(|last| last < layer);
        // Of a file the whiteout does not matter.
        if kind == Kind::Directory && first && self.stack.is_deleted_by(layer, at) {
            let message = "is deleted and made again: some readers go on to show what lower layers have in it";
            self.say(Finding::warning("whiteout", message), layer, entry.path);
        }
        let before = self.stack.state(at);
        if let Some(before) = before {
            match before.layer() == layer {
                true => self.twice(layer, entry.path, before, kind),
                false => self.replace(layer, at, before, kind),
            }
        }
        if entry.act == Change::HardLink {
            self.check_link(layer, entry);
            self.linked.insert(At::of(entry.link).hash);
        }
        self.stack.put(layer, at, kind, entry.size, before);
    }

    fn twice(&mut self, layer: u16, path: &[u8], before: State, kind: Kind) {
        match (before.kind(), kind) {
            (Kind::Implied, Kind::Directory) => {}
            (Kind::Implied, _) => {
                let message = "is no directory, and members before it lie below it";
                self.say(Finding::warning("duplicate-member", message), layer, path);
            }
            // Docker and Podman keep what it takes to write a layer again (tar-split), by its names.
            (Kind::Directory, Kind::Directory) => {
                self.say(Finding::error("duplicate-member", TWICE), layer, path);
            }
            _ => {
                let message = "is there more than once: Docker and Podman refuse it, for others mostly the last one counts";
                self.say(Finding::error("duplicate-member", message), layer, path);
            }
        }
    }

    fn replace(&mut self, layer: u16, at: At<'_>, before: State, kind: Kind) {
        let lower = before.layer() + 1;
        match (before.is_directory(), kind == Kind::Directory) {
            (true, true) => {}
            (true, false) => {
                self.stack.delete(layer, at);
                let message =
                    format!("takes the place of a directory of layer {lower}, and of all in it");
                self.say(Finding::info("replaced-directory", message), layer, at.path);
            }
            (false, true) if before.kind() == Kind::Symlink => {
                let message = format!(
                    "is a directory where layer {lower} has a link: what was reached through it is gone"
                );
                self.say(Finding::warning("directory-over-link", message), layer, at.path);
            }
            _ => {
                self.again.0 += 1;
                if !self.linked.contains(&at.hash) {
                    self.again.1 += before.size();
                }
                let message =
                    format!("writes again what layer {lower} has ({})", size(before.size()));
                self.say(Finding::info("duplicate-file", message), layer, at.path);
            }
        }
    }

    /// The file must be there when the link is made.
    fn check_link(&mut self, layer: u16, entry: &ListedMember) {
        let target = String::from_utf8_lossy(entry.link).into_owned();
        let message = match self.stack.state(At::of(entry.link)) {
            Some(state) if state.is_directory() => {
                format!("is a hard link to '{target}', which is a directory")
            }
            Some(_) => return,
            // Where a link leads to is for the reader to find out.
            None if self.stack.is_through_link(entry.link) => return,
            None => format!("is a hard link to '{target}', which is not there"),
        };
        self.say(Finding::error("tar-link", message), layer, entry.path);
    }

    fn delete(&mut self, layer: u16, path: &[u8]) {
        let at = At::of(path);
        if self.stack.last(at) == Some(layer) {
            let message = "has a whiteout, and is there as well: readers differ in what is left";
            self.say(Finding::warning("whiteout", message), layer, path);
        } else if !self.stack.is_below(layer, at) && !self.stack.is_through_link(path) {
            let message = "is deleted, and no lower layer has it";
            self.say(Finding::warning("whiteout-nothing", message), layer, path);
        }
        self.stack.delete(layer, at);
    }

    fn empty(&mut self, layer: u16, path: &[u8]) {
        let at = At::of(path);
        let there = match path {
            b"" => layer > 0,
            _ => self.stack.is_below(layer, at) || self.stack.is_through_link(path),
        };
        if !there {
            // Builders mark every new directory so.
            let message = "is emptied, and no lower layer has it";
            self.say(Finding::info("whiteout-nothing", message), layer, path);
        }
        self.stack.empty(layer, at);
    }
}

//! Rules about the effect of layers on each other: applies their members in order, lowest layer first.

use std::collections::HashSet;

use super::finding::{Finding, Findings};
use super::links::{PathEnd, Targets, Within};
use occystrap_base::terminal::size::size;
use occystrap_layer::overlay::path::{folders, split};
use occystrap_layer::overlay::{
    Change, HashedPath, ListedMember, MemberList, PathKind, PathState, Stack,
};

/// The finding for a directory that a layer lists twice.
pub const TWICE: &str = "is listed more than once, which Docker and Podman refuse";

/// The image after the layers that were added so far, and the findings.
#[derive(Default)]
pub struct Replay {
    stack: Stack,
    /// Hashes of paths that hard links lead to: their contents have other names as well.
    linked: HashSet<u64>,
    /// Targets of the symbolic links so far.
    targets: Targets,
    /// Hashes of the files of AUFS in the layer that is added.
    ignored: HashSet<u64>,
    /// Hashes of the folders of whiteouts in that layer: engines create them.
    above_whiteouts: HashSet<u64>,
    /// Links through which something was written, by layer: each is reported once.
    through: HashSet<(u16, u64)>,
    /// Number of files that a later layer replaced, and their bytes, which a container does not see.
    replaced: (u64, u64),
    findings: Findings,
}

impl Replay {
    /// Adds a layer on top of those before.
    pub fn add(&mut self, layer: u16, members: &MemberList) {
        self.ignored.clear();
        self.above_whiteouts.clear();
        // The folder whose path was checked last.
        let mut last: Option<Vec<u8>> = None;
        members.each(|entry| {
            let (parent, _) = split(entry.path);
            let is_known = last.as_deref() == Some(parent);
            match entry.act {
                Change::Ignored => self.ignore(layer, entry.path),
                Change::Delete => {
                    if !is_known {
                        self.descend(layer, entry.path, true);
                    }
                    self.delete(layer, entry.path);
                }
                Change::Empty => {
                    // The whiteout lies in the directory that it empties.
                    self.descend(layer, &[entry.path, b"/"].concat(), true);
                    self.empty(layer, entry.path);
                }
                act => {
                    if !is_known {
                        self.descend(layer, entry.path, false);
                        last = Some(parent.to_vec());
                    }
                    self.put(layer, entry);
                    // The member may have replaced a folder of the path that was checked last.
                    if act != Change::Directory {
                        last = last.take().filter(|folder| !folder.starts_with(entry.path));
                    }
                }
            }
        });
    }

    /// Returns the findings after the last layer.
    #[must_use]
    pub fn finish(mut self) -> Findings {
        let (files, bytes) = self.replaced;
        if files > 0 {
            let files = match files {
                1 => "1 file is".to_owned(),
                more => format!("{more} files are"),
            };
            let message =
                format!("{files} replaced by a later layer; {} are not visible", size(bytes));
            self.findings.push(Finding::info("overwritten", message));
        }
        self.findings
    }

    /// Adds a finding about a member.
    fn report(&mut self, finding: Finding, layer: u16, path: &[u8]) {
        self.findings.push(finding.layer(layer.into()).path(path));
    }

    /// Checks the folders of a path; those that the layer does not list are implied, except by a whiteout.
    fn descend(&mut self, layer: u16, path: &[u8], whiteout: bool) {
        for folder in folders(path) {
            let at = HashedPath::of(folder);
            if whiteout {
                self.above_whiteouts.insert(at.hash);
            }
            let shown = || String::from_utf8_lossy(folder).into_owned();
            match self.stack.state(at) {
                None if self.stack.is_deleted_by(layer, at) => {
                    let message = format!(
                        "lies below '{}', which the layer deletes and does not create again: Docker, Podman and containerd refuse it",
                        shown()
                    );
                    self.report(Finding::error("tar-parent", message), layer, path);
                    if !whiteout {
                        self.stack.put(layer, at, PathKind::Implied, 0, None);
                    }
                }
                None if whiteout => {}
                None => self.stack.put(layer, at, PathKind::Implied, 0, None),
                Some(state) if state.is_directory() => {
                    if !whiteout && state.layer() < layer {
                        self.stack.put(layer, at, PathKind::Implied, 0, Some(state));
                    }
                }
                // A whiteout replaces what is there, as any other member of a layer does.
                Some(state) if whiteout && state.layer() < layer => return,
                Some(state) if state.kind() == PathKind::Symlink => {
                    if whiteout || self.through.insert((layer, at.hash)) {
                        self.pass_link(layer, at, state, whiteout, path);
                    }
                    return;
                }
                Some(state) => {
                    let message = format!(
                        "lies below '{}', which is a file of layer {}",
                        shown(),
                        state.layer() + 1
                    );
                    self.report(Finding::error("tar-parent", message), layer, path);
                    return;
                }
            }
        }
    }

    /// Checks a path that goes through a symbolic link.
    fn pass_link(
        &mut self,
        layer: u16,
        link: HashedPath<'_>,
        state: PathState,
        whiteout: bool,
        path: &[u8],
    ) {
        let own = state.layer() == layer;
        let within = if own { Within::Layer(layer) } else { Within::All };
        let lead = self.targets.lead(&self.stack, link.path, within, true);
        let refused = match lead {
            PathEnd::Endless => Some("leads in a circle: engines refuse it"),
            PathEnd::Other | PathEnd::NotDirectory => Some("leads to a file: engines refuse it"),
            PathEnd::Missing if own => {
                Some("leads to no directory of the layer: Docker and Podman refuse it")
            }
            PathEnd::Missing | PathEnd::Directory => None,
        };
        let shown = String::from_utf8_lossy(link.path);
        let number = state.layer() + 1;
        let finding = match refused {
            Some(why) => {
                let message =
                    format!("goes through the link '{shown}' of layer {number}, which {why}");
                Finding::error("tar-through-link", message)
            }
            // A whiteout through a link deletes what the link leads to, for every reader.
            None if whiteout => return,
            None => {
                let message = format!(
                    "is written through the link '{shown}' of layer {number}: readers differ in where it goes"
                );
                Finding::warning("tar-through-link", message)
            }
        };
        self.report(finding, layer, path);
    }

    /// Checks a file of AUFS itself, which readers ignore unless it is there twice.
    fn ignore(&mut self, layer: u16, path: &[u8]) {
        if !self.ignored.insert(HashedPath::of(path).hash) {
            self.report(Finding::error("duplicate-member", TWICE), layer, path);
        }
    }

    /// Adds a member that is no deletion.
    fn put(&mut self, layer: u16, entry: &ListedMember) {
        let at = HashedPath::of(entry.path);
        let kind = match entry.act {
            Change::Directory => PathKind::Directory,
            Change::Symlink => PathKind::Symlink,
            _ => PathKind::File,
        };
        let first = self.stack.last(at).is_none_or(|last| last < layer);
        // A file replaces the whole path anyway, so that the whiteout does not matter.
        if kind == PathKind::Directory && first && self.stack.is_deleted_by(layer, at) {
            let message = "is deleted and created again: some readers still show what lower layers have in it";
            self.report(Finding::warning("whiteout", message), layer, entry.path);
        }
        let before = self.stack.state(at);
        if let Some(before) = before {
            match before.layer() == layer {
                true => self.twice(layer, at, before, kind),
                false => self.replace(layer, at, before, kind),
            }
        }
        if entry.act == Change::HardLink {
            self.check_link(layer, entry);
            self.linked.insert(HashedPath::of(entry.link).hash);
        }
        self.stack.put(layer, at, kind, entry.size, before);
        if kind == PathKind::Symlink {
            self.targets.set(at, entry.link);
        }
    }

    /// Reports a path that one layer has twice.
    fn twice(&mut self, layer: u16, at: HashedPath<'_>, before: PathState, kind: PathKind) {
        let path = at.path;
        match (before.kind(), kind) {
            (PathKind::Implied, PathKind::Directory) => {}
            (PathKind::Implied, _) => {
                if before.is_below(layer) {
                    self.stack.delete(layer, at);
                }
                let message =
                    "is not a directory, although earlier members of the layer lie below it";
                self.report(Finding::warning("duplicate-member", message), layer, path);
            }
            // Docker and Podman record the tar headers of a layer by name (tar-split), to be able to write it again.
            (PathKind::Directory, PathKind::Directory) => {
                self.report(Finding::error("duplicate-member", TWICE), layer, path);
            }
            _ => {
                let message = "is listed more than once: Docker and Podman refuse it, most other clients take the last one";
                self.report(Finding::error("duplicate-member", message), layer, path);
            }
        }
    }

    /// Reports a path that a lower layer has as well.
    fn replace(&mut self, layer: u16, at: HashedPath<'_>, before: PathState, kind: PathKind) {
        let lower = before.layer() + 1;
        match (before.is_directory(), kind == PathKind::Directory) {
            (true, true) => {}
            (true, false) => {
                self.stack.delete(layer, at);
                let message = format!("replaces a directory of layer {lower} and everything in it");
                self.report(Finding::info("replaced-directory", message), layer, at.path);
            }
            (false, true) if before.kind() == PathKind::Symlink => {
                let message = format!(
                    "is a directory where layer {lower} has a link: paths through the link no longer exist"
                );
                self.report(Finding::warning("directory-over-link", message), layer, at.path);
            }
            _ => {
                self.replaced.0 += 1;
                if !self.linked.contains(&at.hash) {
                    self.replaced.1 += before.size();
                }
                let message = format!("replaces a file of layer {lower} ({})", size(before.size()));
                self.report(Finding::info("duplicate-file", message), layer, at.path);
            }
        }
    }

    /// Checks that the target of a hard link is there when the link is created.
    fn check_link(&mut self, layer: u16, entry: &ListedMember) {
        let target = String::from_utf8_lossy(entry.link);
        let find = |within| self.targets.lead(&self.stack, entry.link, within, false);
        let message = match (find(Within::All), find(Within::Layer(layer))) {
            (PathEnd::Directory, _) | (_, PathEnd::Directory) => {
                format!("is a hard link to '{target}', which is a directory")
            }
            (_, PathEnd::Other) => return,
            (PathEnd::Other, _) => format!(
                "is a hard link to '{target}', which is in a lower layer: Docker, Podman and containerd do not find it there if their storage is overlayfs"
            ),
            _ => format!("is a hard link to '{target}', which is not there"),
        };
        self.report(Finding::error("tar-link", message), layer, entry.path);
    }

    /// Applies a whiteout.
    fn delete(&mut self, layer: u16, path: &[u8]) {
        let at = HashedPath::of(path);
        if self.stack.last(at) == Some(layer) {
            let message =
                "has a whiteout after it in its own layer: Docker, Podman and containerd refuse it";
            self.report(Finding::error("whiteout", message), layer, path);
        } else if self.stack.is_deleted_by(layer, at) {
            let message = "has two whiteouts in one layer: Docker, Podman and containerd refuse it";
            self.report(Finding::error("duplicate-member", message), layer, path);
        } else if self.above_whiteouts.contains(&at.hash) {
            let message = "is deleted after something below it: Docker and Podman refuse it";
            self.report(Finding::error("whiteout", message), layer, path);
        } else if !self.stack.is_below(layer, at) && !self.stack.is_through_link(path) {
            let message = "is deleted, but no lower layer has it";
            self.report(Finding::warning("whiteout-nothing", message), layer, path);
        }
        self.stack.delete(layer, at);
    }

    /// Applies an opaque whiteout, which empties a directory.
    fn empty(&mut self, layer: u16, path: &[u8]) {
        let at = HashedPath::of(path);
        let there = match path {
            b"" => layer > 0,
            _ => self.stack.is_below(layer, at) || self.stack.is_through_link(path),
        };
        if self.stack.is_emptied_by(layer, at) {
            let message = "has two opaque whiteouts in one layer: Docker and Podman refuse it";
            self.report(Finding::error("duplicate-member", message), layer, path);
        } else if !there {
            // Builders mark every new directory as opaque.
            let message = "is emptied, but no lower layer has it";
            self.report(Finding::info("whiteout-nothing", message), layer, path);
        }
        self.stack.empty(layer, at);
    }
}

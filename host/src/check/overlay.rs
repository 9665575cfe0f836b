//! What layers do to each other: their members replayed, lowest layer first.
//!
//! A path is kept as a keyed hash of 64 bits (nobody can choose two that collide; by chance, among a
//! million, one in some thirty million runs has a pair), and what is known of it in 64 more.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use super::finding::{Finding, Findings};
use super::roll::{Act, Entry, Roll};
use crate::report::size;

/// The image as it is so far.
#[derive(Default)]
pub struct Overlay {
    key: RandomState,
    /// What each path is, in the last layer that had it.
    paths: Map<State>,
    /// The last layer that deleted a path, or put something else in the place of a directory.
    deleted: Map<u16>,
    /// The last layer that emptied a directory.
    emptied: Map<u16>,
    /// Links through which something was written, by layer: told once.
    through: HashSet<(u16, u64)>,
    /// How many files were written again, and their bytes that nobody sees.
    again: (u64, u64),
    /// What was found.
    pub findings: Findings,
}

type Map<T> = HashMap<u64, T, BuildHasherDefault<Same>>;

/// Keys are hashes already.
#[derive(Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// Layer (10 bits: `MOST_LAYERS` is 1,000), kind (2 bits), whether a lower layer has it as well
/// (1 bit), size (the rest).
#[derive(Clone, Copy, PartialEq, Eq)]
struct State(u64);

/// Two petabytes, as large as sizes get here.
const LARGEST: u64 = (1 << 51) - 1;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Something lies below it.
    Implied,
    Directory,
    Symlink,
    File,
}

impl State {
    fn new(layer: u16, kind: Kind, size: u64) -> Self {
        Self(u64::from(layer) << 54 | (kind as u64) << 52 | size.min(LARGEST))
    }

    /// On top of what a lower layer has.
    fn over(self, lower: bool) -> Self {
        Self(self.0 | u64::from(lower) << 51)
    }

    fn layer(self) -> u16 {
        (self.0 >> 54) as u16
    }

    fn kind(self) -> Kind {
        [Kind::Implied, Kind::Directory, Kind::Symlink, Kind::File][(self.0 >> 52 & 3) as usize]
    }

    fn size(self) -> u64 {
        self.0 & LARGEST
    }

    /// Whether layers below `layer` have it.
    fn is_below(self, layer: u16) -> bool {
        self.layer() < layer || self.0 >> 51 & 1 == 1
    }

    fn is_directory(self) -> bool {
        matches!(self.kind(), Kind::Implied | Kind::Directory)
    }
}

/// Folders that a path is in, the uppermost first.
fn folders(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.map(|(at, _)| &path[..at])
}

fn folder(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(b"", |at| &path[..at])
}

impl Overlay {
    /// Put a layer on those before.
    pub fn add(&mut self, layer: u16, roll: &Roll) {
        let mut last: Option<Vec<u8>> = None;
        roll.each(|entry| {
            let parent = folder(entry.path);
            let own =
                matches!(entry.act, Act::Directory | Act::Symlink | Act::File | Act::HardLink);
            if own && last.as_deref() != Some(parent) {
                self.descend(layer, entry.path);
                last = Some(parent.to_vec());
            }
            match entry.act {
                Act::Delete => self.delete(layer, entry.path),
                Act::Empty => self.empty(layer, entry.path),
                _ => self.put(layer, entry),
            }
            // What it was may have changed.
            if own && entry.act != Act::Directory {
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

    fn hash(&self, path: &[u8]) -> u64 {
        self.key.hash_one(path)
    }

    fn say(&mut self, finding: Finding, layer: u16, path: &[u8]) {
        self.findings.push(finding.layer(layer.into()).path(path));
    }

    /// What a path is; `None` where nothing is left of it.
    fn state(&self, path: &[u8], hash: u64) -> Option<State> {
        let state = *self.paths.get(&hash)?;
        let since = |map: &Map<u16>, hash| map.get(&hash).is_some_and(|at| *at > state.layer());
        if since(&self.deleted, hash) {
            return None;
        }
        if self.deleted.is_empty() && self.emptied.is_empty() {
            return Some(state);
        }
        // The root can only be emptied.
        let above = std::iter::once(&path[..0]).chain(folders(path));
        let mut above = above.map(|folder| self.hash(folder));
        let gone = above.any(|hash| since(&self.deleted, hash) || since(&self.emptied, hash));
        (!gone).then_some(state)
    }

    /// Whether the layers below have a path.
    fn is_below(&self, layer: u16, path: &[u8]) -> bool {
        self.state(path, self.hash(path)).is_some_and(|state| state.is_below(layer))
    }

    /// Look at the folders of a path; those that no layer lists are implied.
    fn descend(&mut self, layer: u16, path: &[u8]) {
        for folder in folders(path) {
            let hash = self.hash(folder);
            let shown = || String::from_utf8_lossy(folder).into_owned();
            match self.state(folder, hash) {
                None => {
                    self.paths.insert(hash, State::new(layer, Kind::Implied, 0));
                }
                Some(state) if state.is_directory() => {}
                Some(state) if state.kind() == Kind::Symlink => {
                    if self.through.insert((layer, hash)) {
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

    fn put(&mut self, layer: u16, entry: &Entry) {
        let hash = self.hash(entry.path);
        let kind = match entry.act {
            Act::Directory => Kind::Directory,
            Act::Symlink => Kind::Symlink,
            _ => Kind::File,
        };
        let first = self.paths.get(&hash).is_none_or(|state| state.layer() < layer);
        // Of a file the whiteout does not matter.
        if kind == Kind::Directory && first && self.deleted.get(&hash) == Some(&layer) {
            let message = "is deleted and made again: some readers go on to show what lower layers have in it";
            self.say(Finding::warning("whiteout", message), layer, entry.path);
        }
        let before = self.state(entry.path, hash);
        if let Some(before) = before {
            match before.layer() == layer {
                true => self.twice(layer, entry.path, before, kind),
                false => self.replace(layer, entry.path, hash, before, kind),
            }
        }
        if entry.act == Act::HardLink {
            self.check_link(layer, entry);
        }
        let lower = before.is_some_and(|before| before.is_below(layer));
        self.paths.insert(hash, State::new(layer, kind, entry.size).over(lower));
    }

    fn twice(&mut self, layer: u16, path: &[u8], before: State, kind: Kind) {
        match (before.kind(), kind) {
            (Kind::Implied, Kind::Directory) => {}
            (Kind::Directory, Kind::Directory) => {
                let message = "is listed more than once";
                self.say(Finding::info("duplicate-member", message), layer, path);
            }
            _ => {
                let message = "is there more than once: the last one counts for most readers, and not for all";
                self.say(Finding::warning("duplicate-member", message), layer, path);
            }
        }
    }

    fn replace(&mut self, layer: u16, path: &[u8], hash: u64, before: State, kind: Kind) {
        let lower = before.layer() + 1;
        match (before.is_directory(), kind == Kind::Directory) {
            (true, true) => {}
            (true, false) => {
                self.deleted.insert(hash, layer);
                let message =
                    format!("takes the place of a directory of layer {lower}, and of all in it");
                self.say(Finding::info("replaced-directory", message), layer, path);
            }
            (false, true) if before.kind() == Kind::Symlink => {
                let message = format!(
                    "is a directory where layer {lower} has a link: what was reached through it is gone"
                );
                self.say(Finding::warning("directory-over-link", message), layer, path);
            }
            _ => {
                self.again.0 += 1;
                self.again.1 += before.size();
                let message =
                    format!("writes again what layer {lower} has ({})", size(before.size()));
                self.say(Finding::info("duplicate-file", message), layer, path);
            }
        }
    }

    /// The file must be there when the link is made.
    fn check_link(&mut self, layer: u16, entry: &Entry) {
        let target = String::from_utf8_lossy(entry.link).into_owned();
        let message = match self.state(entry.link, self.hash(entry.link)) {
            Some(state) if state.is_directory() => {
                format!("is a hard link to '{target}', which is a directory")
            }
            Some(_) => return,
            // Where a link leads to is for the reader to find out.
            None if self.is_through_link(entry.link) => return,
            None => format!("is a hard link to '{target}', which is not there"),
        };
        self.say(Finding::error("tar-link", message), layer, entry.path);
    }

    fn is_through_link(&self, path: &[u8]) -> bool {
        folders(path).any(|folder| {
            let state = self.state(folder, self.hash(folder));
            state.is_some_and(|state| state.kind() == Kind::Symlink)
        })
    }

    fn delete(&mut self, layer: u16, path: &[u8]) {
        let hash = self.hash(path);
        let own = self.paths.get(&hash).is_some_and(|state| state.layer() == layer);
        if own {
            let message = "has a whiteout, and is there as well: readers differ in what is left";
            self.say(Finding::warning("whiteout", message), layer, path);
        } else if !self.is_below(layer, path) && !self.is_through_link(path) {
            let message = "is deleted, and no lower layer has it";
            self.say(Finding::warning("whiteout-nothing", message), layer, path);
        }
        self.deleted.insert(hash, layer);
    }

    fn empty(&mut self, layer: u16, path: &[u8]) {
        let there = match path {
            b"" => layer > 0,
            _ => self.is_below(layer, path) || self.is_through_link(path),
        };
        if !there {
            // Builders mark every new directory so.
            let message = "is emptied, and no lower layer has it";
            self.say(Finding::info("whiteout-nothing", message), layer, path);
        }
        let hash = self.hash(path);
        self.emptied.insert(hash, layer);
    }
}

//! The image as it is so far: layers put on each other member by member, the lowest first.
//!
//! What is known of a path takes 64 bits, beside the hash that stands for it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::path::folders;

/// What is at each path.
#[derive(Default)]
pub struct Stack {
    /// What each path is, in the last layer that had it.
    paths: Map<State>,
    /// The last layer that deleted a path, or put something else in the place of a directory.
    deleted: Map<u16>,
    /// The last layer that emptied a directory.
    emptied: Map<u16>,
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

/// A path, and what stands for it.
#[derive(Clone, Copy)]
pub struct At<'a> {
    /// The path: a plain one.
    pub path: &'a [u8],
    /// What stands for it in this process.
    pub hash: u64,
}

impl<'a> At<'a> {
    /// Of a plain path.
    #[must_use]
    pub fn of(path: &'a [u8]) -> Self {
        Self { path, hash: super::hash(path) }
    }
}

/// What is at a path: layer (10 bits: `MOST_LAYERS` is 1,000), kind (2 bits), whether a lower layer
/// has it as well (1 bit), size (the rest).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct State(u64);

/// Two petabytes, as large as sizes get here.
const LARGEST: u64 = (1 << 51) - 1;

/// What somebody finds at a path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory that no layer lists: something lies below it.
    Implied,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Anything else.
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

    /// The last layer that had it, from 0.
    #[must_use]
    pub fn layer(self) -> u16 {
        (self.0 >> 54) as u16
    }

    /// What it is there.
    #[must_use]
    pub fn kind(self) -> Kind {
        [Kind::Implied, Kind::Directory, Kind::Symlink, Kind::File][(self.0 >> 52 & 3) as usize]
    }

    /// Bytes of its content.
    #[must_use]
    pub fn size(self) -> u64 {
        self.0 & LARGEST
    }

    /// Whether layers below `layer` have it.
    #[must_use]
    pub fn is_below(self, layer: u16) -> bool {
        self.layer() < layer || self.0 >> 51 & 1 == 1
    }

    /// Whether it is a directory, listed or not.
    #[must_use]
    pub fn is_directory(self) -> bool {
        matches!(self.kind(), Kind::Implied | Kind::Directory)
    }
}

impl Stack {
    /// What is at a path; `None` where nothing is left of it.
    #[must_use]
    pub fn state(&self, at: At<'_>) -> Option<State> {
        let state = *self.paths.get(&at.hash)?;
        let since = |map: &Map<u16>, hash| map.get(&hash).is_some_and(|by| *by > state.layer());
        if since(&self.deleted, at.hash) {
            return None;
        }
        if self.deleted.is_empty() && self.emptied.is_empty() {
            return Some(state);
        }
        // The root can only be emptied.
        let above = std::iter::once(&at.path[..0]).chain(folders(at.path));
        let mut above = above.map(super::hash);
        let gone = above.any(|hash| since(&self.deleted, hash) || since(&self.emptied, hash));
        (!gone).then_some(state)
    }

    /// Whether the layers below `layer` have a path.
    #[must_use]
    pub fn is_below(&self, layer: u16, at: At<'_>) -> bool {
        self.state(at).is_some_and(|state| state.is_below(layer))
    }

    /// Whether a path leads through a symbolic link.
    #[must_use]
    pub fn is_through_link(&self, path: &[u8]) -> bool {
        folders(path).any(|folder| {
            self.state(At::of(folder)).is_some_and(|state| state.kind() == Kind::Symlink)
        })
    }

    /// The last layer that had a path, whatever became of it since.
    #[must_use]
    pub fn last(&self, at: At<'_>) -> Option<u16> {
        self.paths.get(&at.hash).map(|state| state.layer())
    }

    /// Whether `layer` is the last one that deleted a path.
    #[must_use]
    pub fn is_deleted_by(&self, layer: u16, at: At<'_>) -> bool {
        self.deleted.get(&at.hash) == Some(&layer)
    }

    /// A layer has something at a path, where `before` was.
    pub fn put(&mut self, layer: u16, at: At<'_>, kind: Kind, size: u64, before: Option<State>) {
        let lower = before.is_some_and(|before| before.is_below(layer));
        self.paths.insert(at.hash, State::new(layer, kind, size).over(lower));
    }

    /// A layer deletes a path with all that is beneath, or has something else than a directory there.
    pub fn delete(&mut self, layer: u16, at: At<'_>) {
        self.deleted.insert(at.hash, layer);
    }

    /// A layer empties a directory of what the layers below have in it.
    pub fn empty(&mut self, layer: u16, at: At<'_>) {
        self.emptied.insert(at.hash, layer);
    }
}

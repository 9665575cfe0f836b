//! The state of an image while layers are applied member by member, the lowest first.
//!
//! The state of a path takes 64 bits, in addition to the hash of the path.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::path::folders;

/// The state of every path in the layers so far.
#[derive(Default)]
pub struct Stack {
    /// The state of each path, in the last layer that had it.
    paths: Map<PathState>,
    /// The last layer that deleted a path, or replaced a directory by something else.
    deleted: Map<u16>,
    /// The last layer that emptied a directory.
    emptied: Map<u16>,
}

type Map<T> = HashMap<u64, T, BuildHasherDefault<Same>>;

/// A hasher that returns its key, which is a hash already.
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

/// A path and its hash.
#[derive(Clone, Copy)]
pub struct HashedPath<'a> {
    /// The plain path.
    pub path: &'a [u8],
    /// Its hash in this process.
    pub hash: u64,
}

impl<'a> HashedPath<'a> {
    /// Hashes a plain path.
    #[must_use]
    pub fn of(path: &'a [u8]) -> Self {
        Self { path, hash: super::hash(path) }
    }
}

/// The state of a path: layer (10 bits: `MOST_LAYERS` is 1,000), kind (2 bits), whether a lower layer has the path as
/// well (1 bit), size (the other 51 bits).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PathState(u64);

/// The largest size that is stored: two petabytes.
const LARGEST: u64 = (1 << 51) - 1;

/// The kind of thing at a path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// A directory that no layer lists: a member is below it.
    Implied,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Anything else.
    File,
}

impl PathState {
    fn new(layer: u16, kind: PathKind, size: u64) -> Self {
        Self(u64::from(layer) << 54 | (kind as u64) << 52 | size.min(LARGEST))
    }

    /// Sets whether a lower layer has the path as well.
    fn over(self, lower: bool) -> Self {
        Self(self.0 | u64::from(lower) << 51)
    }

    /// Returns the last layer that had the path, from 0.
    #[must_use]
    pub fn layer(self) -> u16 {
        (self.0 >> 54) as u16
    }

    /// Returns the kind in that layer.
    #[must_use]
    pub fn kind(self) -> PathKind {
        [PathKind::Implied, PathKind::Directory, PathKind::Symlink, PathKind::File]
            [(self.0 >> 52 & 3) as usize]
    }

    /// Returns the bytes of the content.
    #[must_use]
    pub fn size(self) -> u64 {
        self.0 & LARGEST
    }

    /// Returns whether layers below `layer` have the path.
    #[must_use]
    pub fn is_below(self, layer: u16) -> bool {
        self.layer() < layer || self.0 >> 51 & 1 == 1
    }

    /// Returns whether it is a directory, listed or implied.
    #[must_use]
    pub fn is_directory(self) -> bool {
        matches!(self.kind(), PathKind::Implied | PathKind::Directory)
    }
}

impl Stack {
    /// Returns the state of a path; `None` where it does not exist or was deleted.
    #[must_use]
    pub fn state(&self, at: HashedPath<'_>) -> Option<PathState> {
        let state = *self.paths.get(&at.hash)?;
        let since = |map: &Map<u16>, hash| map.get(&hash).is_some_and(|by| *by > state.layer());
        if since(&self.deleted, at.hash) {
            return None;
        }
        if self.deleted.is_empty() && self.emptied.is_empty() {
            return Some(state);
        }
        // The root can be emptied, but not deleted.
        let above = std::iter::once(&at.path[..0]).chain(folders(at.path));
        let mut above = above.map(super::hash);
        let gone = above.any(|hash| since(&self.deleted, hash) || since(&self.emptied, hash));
        (!gone).then_some(state)
    }

    /// Returns whether the layers below `layer` have a path.
    #[must_use]
    pub fn is_below(&self, layer: u16, at: HashedPath<'_>) -> bool {
        self.state(at).is_some_and(|state| state.is_below(layer))
    }

    /// Returns whether a folder of a path is a symbolic link.
    #[must_use]
    pub fn is_through_link(&self, path: &[u8]) -> bool {
        folders(path).any(|folder| {
            self.state(HashedPath::of(folder))
                .is_some_and(|state| state.kind() == PathKind::Symlink)
        })
    }

    /// Returns the last layer that had a path, also if it was deleted since.
    #[must_use]
    pub fn last(&self, at: HashedPath<'_>) -> Option<u16> {
        self.paths.get(&at.hash).map(|state| state.layer())
    }

    /// Returns whether `layer` is the last one that deleted a path.
    #[must_use]
    pub fn is_deleted_by(&self, layer: u16, at: HashedPath<'_>) -> bool {
        self.deleted.get(&at.hash) == Some(&layer)
    }

    /// Returns whether `layer` is the last one that emptied a directory.
    #[must_use]
    pub fn is_emptied_by(&self, layer: u16, at: HashedPath<'_>) -> bool {
        self.emptied.get(&at.hash) == Some(&layer)
    }

    /// Notes that a layer has something at a path, whose state was `before`.
    pub fn put(
        &mut self,
        layer: u16,
        at: HashedPath<'_>,
        kind: PathKind,
        size: u64,
        before: Option<PathState>,
    ) {
        let lower = before.is_some_and(|before| before.is_below(layer));
        self.paths.insert(at.hash, PathState::new(layer, kind, size).over(lower));
    }

    /// Notes that a layer deletes a path with everything below it, or has something other than a directory there.
    pub fn delete(&mut self, layer: u16, at: HashedPath<'_>) {
        self.deleted.insert(at.hash, layer);
    }

    /// Notes that a layer empties a directory of what the lower layers have in it.
    pub fn empty(&mut self, layer: u16, at: HashedPath<'_>) {
        self.emptied.insert(at.hash, layer);
    }
}

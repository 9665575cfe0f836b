//! The effect of layers on each other: what a member of one layer deletes, empties or replaces in the layers below
//! (OCI image specification, "Applying Changesets").
//!
//! All other code uses this module for that: `search` and `info --tree` to learn what became of a file, `check` to
//! learn what is below a layer, the filters and plugins to recognise whiteouts. This module does not read layers, and
//! reports no problems. Names are compared by whole components and from the root of the image: `usr/.wh.lib` does not
//! affect `usr/lib64`, and `./usr` is `usr`.
//!
//! What it refuses: more members than [`MOST_MEMBERS`]; and to store names that it need not return, since a layer has
//! millions of them. It stores hashes with a random key of this process, so that an attacker cannot choose two names
//! with the same hash. By chance, one of some thirty million runs with a million names has such a pair.

mod lower_links;
mod member_list;
pub mod merged;
pub mod path;
mod placer;
mod stack;
mod symlinks;
mod trace;
pub mod whiteout;

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

pub use lower_links::LowerLinks;
pub use member_list::{Change, ListedMember, MOST_BYTES, MOST_MEMBERS, MemberBudget, MemberList};
pub use merged::Merged;
pub use placer::{PlacedMember, Placer};
pub use stack::{HashedPath, PathKind, PathState, Stack};
pub use symlinks::Symlinks;
pub use trace::{Fate, Trace, fate};
pub use whiteout::Whiteout;

/// A path in a table from which files are taken: two hashes with different keys, so that a pair of paths with the same
/// hashes, by chance, occurs in one of 10^26 images with a million paths.
type Key = (u64, u64);

/// Returns the key of a path in this process.
fn key(path: &[u8]) -> Key {
    static OTHER: OnceLock<RandomState> = OnceLock::new();
    (hash(path), OTHER.get_or_init(RandomState::new).hash_one(path))
}

/// Returns the hash that represents a path in this process.
fn hash(path: &[u8]) -> u64 {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    KEY.get_or_init(RandomState::new).hash_one(path)
}

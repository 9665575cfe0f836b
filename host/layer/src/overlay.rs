//! What layers do to each other: what a member of one deletes, empties or puts in the place of what
//! the layers below have (OCI image specification, "Applying Changesets").
//!
//! Whoever speaks of that asks here: `search` and `info --tree` what became of a file, `check` what
//! a layer is put on, the filters and plugins what a whiteout is. Nothing here judges, and nothing
//! here reads a layer. Names are compared by whole components and from the root of the image:
//! `usr/.wh.lib` is not about `usr/lib64`, and `./usr` is `usr`.
//!
//! What it refuses: names in clear that it need not give back (a layer has millions), so that they are
//! kept as hashes with a key of this process - nobody can choose two that meet; by chance, among a
//! million, one in some thirty million runs has a pair - and members beyond [`MOST_MEMBERS`].

mod links;
mod member_list;
pub mod path;
mod stack;
mod symlinks;
mod trace;
pub mod whiteout;

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

pub use links::Links;
pub use member_list::{Change, ListedMember, MOST_BYTES, MOST_MEMBERS, MemberBudget, MemberList};
pub use stack::{At, Kind, Stack, State};
pub use symlinks::Symlinks;
pub use trace::{Fate, Trace, fate};
pub use whiteout::Whiteout;

/// What stands for a path.
fn hash(path: &[u8]) -> u64 {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    KEY.get_or_init(RandomState::new).hash_one(path)
}

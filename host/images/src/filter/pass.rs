//! What a filter does with the members of one layer, one after the other.

use occystrap_base::error::Result;
use occystrap_layer::tar::Member;

/// What becomes of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It stays as it is.
    Same,
    /// It stays, and was changed.
    Changed,
    /// It goes.
    Drop,
}

/// A filter at work on one layer.
pub trait Pass {
    /// Decide about the next member. A link to a file that was dropped before comes as a file.
    fn member(&mut self, member: &mut Member) -> Result<Verdict>;

    /// The plain path of what a hard link to `path` leads to, where a member there is dropped.
    fn drops(&self, _path: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

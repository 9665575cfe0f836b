//! What the layers so far hide in the layers below them.

use std::collections::HashMap;

use super::super::path::folders;
use super::super::{Key, key};

/// The paths that are deleted, and the directories that are emptied.
#[derive(Default)]
pub struct Hidden(HashMap<Key, Extent>);

/// What of a path is hidden.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Everything below it.
    Below,
    /// The path itself, and everything below it.
    Whole,
}

impl Hidden {
    /// Adds a path that is deleted.
    pub fn delete(&mut self, path: &[u8]) {
        self.0.insert(key(path), Extent::Whole);
    }

    /// Adds a directory that is emptied. The root is empty.
    pub fn empty(&mut self, folder: &[u8]) {
        self.0.entry(key(folder)).or_insert(Extent::Below);
    }

    /// Returns whether a path is hidden.
    #[must_use]
    pub fn hides(&self, path: &[u8]) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let root = std::iter::once(&path[..0]).filter(|_| !path.is_empty());
        self.0.get(&key(path)) == Some(&Extent::Whole)
            || root.chain(folders(path)).any(|folder| self.0.contains_key(&key(folder)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_path_goes_with_what_is_below_and_an_emptied_one_stays() {
        let mut hidden = Hidden::default();
        assert!(!hidden.hides(b"a"));
        hidden.delete(b"a");
        hidden.empty(b"b");
        hidden.empty(b"a");
        let hides = |path: &str| hidden.hides(path.as_bytes());
        assert!(hides("a") && hides("a/x") && hides("b/x/y"));
        assert!(!hides("b") && !hides("ab") && !hides("") && !hides("c/a"));
        hidden.empty(b"");
        assert!(hidden.hides(b"c") && !hidden.hides(b""));
    }
}

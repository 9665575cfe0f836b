//! The symbolic links of an image while layers are applied, for names that lead through them.

use std::collections::BTreeMap;

use occystrap_layer::overlay::path::follow_folders;

/// The links of the layers so far: the target of each path, and the layer that has it.
#[derive(Default)]
pub struct FollowedLinks(BTreeMap<Vec<u8>, (Vec<u8>, u16)>);

impl FollowedLinks {
    /// Adds a link.
    pub fn add(&mut self, path: &[u8], target: &[u8], layer: u16) {
        self.0.insert(path.to_vec(), (target.to_vec(), layer));
    }

    /// Removes the link at a path, which a directory replaces.
    pub fn replace(&mut self, path: &[u8]) {
        if !self.0.is_empty() {
            self.0.remove(path);
        }
    }

    /// Removes the links of the layers below `layer` that are below a path, and the one at the path if `own` is set.
    pub fn remove(&mut self, path: &[u8], own: bool, layer: u16) {
        if self.0.is_empty() {
            return;
        }
        let is_lower = |(_, from): &(Vec<u8>, u16)| *from < layer;
        if own && self.0.get(path).is_some_and(is_lower) {
            self.0.remove(path);
        }
        let start = if path.is_empty() { Vec::new() } else { [path, b"/"].concat() };
        let below = self.0.range(start.clone()..);
        let below = below.take_while(|(known, _)| known.starts_with(&start));
        let gone: Vec<Vec<u8>> =
            below.filter(|(_, link)| is_lower(link)).map(|(known, _)| known.clone()).collect();
        for known in gone {
            self.0.remove(&known);
        }
    }

    /// Returns the path to which a name leads. Links in its folders are followed, the last component is not. A link never
    /// leads out of the image, as under a new root.
    #[must_use]
    pub fn follow(&self, path: &[u8]) -> Vec<u8> {
        follow_folders(path, |folder| self.0.get(folder).map(|(target, _)| target.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_as_long_as_they_are_there() {
        let mut links = FollowedLinks::default();
        assert_eq!(links.follow(b"lib/x"), b"lib/x");
        links.add(b"lib", b"usr/lib", 0);
        links.add(b"usr/lib/up", b"../../../..", 1);
        links.add(b"round", b"round", 0);
        assert_eq!(links.follow(b"lib/x"), b"usr/lib/x");
        assert_eq!(links.follow(b"lib"), b"lib");
        assert_eq!(links.follow(b"lib/up/etc/x"), b"etc/x");
        assert_eq!(links.follow(b"round/x"), b"round/x");
        // A whiteout is about the layers below.
        links.remove(b"lib", true, 0);
        assert_eq!(links.follow(b"lib/x"), b"usr/lib/x");
        links.remove(b"lib", true, 1);
        assert_eq!(links.follow(b"lib/x"), b"lib/x");
        links.remove(b"usr", false, 2);
        assert_eq!(links.follow(b"usr/lib/up/x"), b"usr/lib/up/x");
    }
}

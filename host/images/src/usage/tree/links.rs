//! The symbolic links of an image while layers are applied, for names that lead through them.

use std::collections::BTreeMap;

use occystrap_layer::overlay::path::split;

/// Most links that are followed for one name, as in Linux (path_resolution(7)).
const MOST_STEPS: usize = 40;

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
        let (folder, name) = split(path);
        let mut done = Vec::new();
        // The parts that are left, the next one last.
        let mut parts: Vec<Vec<u8>> = components(folder).rev().collect();
        let mut steps = 0;
        while let Some(part) = parts.pop() {
            if part == b".." {
                done.truncate(split(&done).0.len());
                continue;
            }
            let around = done.len();
            if around > 0 {
                done.push(b'/');
            }
            done.extend(part);
            if let Some((target, _)) = self.0.get(&done).filter(|_| steps < MOST_STEPS) {
                steps += 1;
                done.truncate(if target.starts_with(b"/") { 0 } else { around });
                parts.extend(components(target).rev());
            }
        }
        if !done.is_empty() && !name.is_empty() {
            done.push(b'/');
        }
        done.extend(name);
        done
    }
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> {
    let parts = path.split(|byte| *byte == b'/');
    parts.filter(|part| !part.is_empty() && *part != b".").map(<[u8]>::to_vec)
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

//! The targets of symbolic links, and where a path leads that goes through them.
//!
//! What it refuses: to follow more links in a path than Linux does.

use std::collections::HashMap;

use occystrap_layer::overlay::path::split;
use occystrap_layer::overlay::{At, Kind, Stack};

/// Most links that are followed for one path, as in Linux (path_resolution(7)).
const MOST_STEPS: usize = 40;

/// The end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// A directory.
    Directory,
    /// Something other than a directory.
    Other,
    /// Nothing: a part of the path is not there.
    Missing,
    /// Nothing: a folder of the path is not a directory.
    NotDirectory,
    /// Nothing: its links lead in a circle, or are more than Linux follows.
    Endless,
}

/// The layers in which a path is looked up.
#[derive(Clone, Copy)]
pub enum Within {
    /// All layers so far. containerd and umoci, and engines whose storage copies layers, unpack into them.
    All,
    /// This layer alone. Docker, Podman and containerd unpack into a folder of the layer, if their storage is overlayfs.
    Layer(u16),
}

/// Targets by the hashes of the links' paths. The texts lie in one buffer, because there may be millions. They take no
/// more than the member lists from which they come.
#[derive(Default)]
pub struct Targets {
    places: HashMap<u64, (u32, u16)>,
    texts: Vec<u8>,
}

impl Targets {
    /// Adds a link, or gives it another target. A target that is too long for Linux is left out, which is an error
    /// already.
    pub fn set(&mut self, link: At<'_>, target: &[u8]) {
        let place = (u32::try_from(self.texts.len()), u16::try_from(target.len()));
        if let (Ok(start), Ok(length)) = place {
            self.places.insert(link.hash, (start, length));
            self.texts.extend_from_slice(target);
        }
    }

    fn get(&self, link: At<'_>) -> Option<&[u8]> {
        let (start, length) = *self.places.get(&link.hash)?;
        let start = start as usize;
        self.texts.get(start..start + usize::from(length))
    }

    /// Returns where a path leads. If `through` is true, its last component is followed as well, if it is a link. `..`
    /// does not lead above the root, as in a changed root.
    #[must_use]
    pub fn lead(&self, stack: &Stack, path: &[u8], within: Within, through: bool) -> Lead {
        let mut done = Vec::new();
        // The components that are left, the next one last.
        let mut parts: Vec<&[u8]> = components(path).rev().collect();
        let mut steps = 0;
        while let Some(part) = parts.pop() {
            if part == b".." {
                done.truncate(split(&done).0.len());
                continue;
            }
            let folder = done.len();
            if folder > 0 {
                done.push(b'/');
            }
            done.extend_from_slice(part);
            let (at, is_last) = (At::of(&done), parts.is_empty());
            let state = stack.state(at).filter(|state| match within {
                Within::All => true,
                Within::Layer(layer) => state.layer() == layer,
            });
            match state {
                None => return Lead::Missing,
                Some(state) if state.is_directory() => {}
                Some(state) if state.kind() == Kind::Symlink && (through || !is_last) => {
                    steps += 1;
                    let Some(to) = self.get(at).filter(|_| steps <= MOST_STEPS) else {
                        return Lead::Endless;
                    };
                    done.truncate(if to.starts_with(b"/") { 0 } else { folder });
                    parts.extend(components(to).rev());
                }
                Some(_) if is_last => return Lead::Other,
                Some(_) => return Lead::NotDirectory,
            }
        }
        Lead::Directory
    }
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_followed_through_its_links() {
        let (mut stack, mut targets) = (Stack::default(), Targets::default());
        let mut put = |layer, path: &str, kind, to: &str| {
            let at = At::of(path.as_bytes());
            stack.put(layer, at, kind, 0, None);
            targets.set(at, to.as_bytes());
        };
        for (layer, path, kind, to) in [
            (0, "usr", Kind::Directory, ""),
            (0, "usr/lib", Kind::Directory, ""),
            (0, "usr/lib/a", Kind::File, ""),
            (1, "lib", Kind::Symlink, "usr/lib"),
            (1, "up", Kind::Symlink, "../../.."),
            (1, "own", Kind::Directory, ""),
            (1, "abs", Kind::Symlink, "/own/"),
            (1, "own/up", Kind::Symlink, "../lib/./"),
            (1, "one", Kind::Symlink, "two"),
            (1, "two", Kind::Symlink, "one"),
            (1, "gone", Kind::Symlink, "nothing"),
        ] {
            put(layer, path, kind, to);
        }
        let lead =
            |path: &str, within, through| targets.lead(&stack, path.as_bytes(), within, through);
        let own = Within::Layer(1);
        for (path, all, alone) in [
            ("lib", Lead::Directory, Lead::Missing),
            ("lib/a", Lead::Other, Lead::Missing),
            ("lib/a/b", Lead::NotDirectory, Lead::Missing),
            ("own/up/a", Lead::Other, Lead::Missing),
            ("up", Lead::Directory, Lead::Directory),
            ("up/own", Lead::Directory, Lead::Directory),
            ("abs", Lead::Directory, Lead::Directory),
            ("abs/up", Lead::Directory, Lead::Missing),
            ("gone", Lead::Missing, Lead::Missing),
            ("one", Lead::Endless, Lead::Endless),
            ("one/x", Lead::Endless, Lead::Endless),
            ("", Lead::Directory, Lead::Directory),
        ] {
            assert_eq!(
                (lead(path, Within::All, true), lead(path, own, true)),
                (all, alone),
                "{path}"
            );
        }
        assert_eq!(lead("one", own, false), Lead::Other);
    }
}

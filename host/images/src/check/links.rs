//! The targets of symbolic links, and where a path leads that goes through them.
//!
//! What it refuses: to follow more links in a path than Linux does.

use std::collections::HashMap;

use occystrap_layer::overlay::path::{MOST_LINKS, Reached, follow};
use occystrap_layer::overlay::{HashedPath, PathKind, Stack};

/// The end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathEnd {
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
    pub fn set(&mut self, link: HashedPath<'_>, target: &[u8]) {
        let place = (u32::try_from(self.texts.len()), u16::try_from(target.len()));
        if let (Ok(start), Ok(length)) = place {
            self.places.insert(link.hash, (start, length));
            self.texts.extend_from_slice(target);
        }
    }

    fn get(&self, link: HashedPath<'_>) -> Option<&[u8]> {
        let (start, length) = *self.places.get(&link.hash)?;
        let start = start as usize;
        self.texts.get(start..start + usize::from(length))
    }

    /// Returns where a path leads. If `through` is true, its last component is followed as well, if it is a link. `..`
    /// does not lead above the root, as in a changed root.
    #[must_use]
    pub fn lead(&self, stack: &Stack, path: &[u8], within: Within, through: bool) -> PathEnd {
        let led = follow(path, |at, Reached { is_last, links }| {
            let at = HashedPath::of(at);
            let state = stack.state(at).filter(|state| match within {
                Within::All => true,
                Within::Layer(layer) => state.layer() == layer,
            });
            match state {
                None => Err(PathEnd::Missing),
                Some(state) if state.is_directory() => Ok(None),
                Some(state) if state.kind() == PathKind::Symlink && (through || !is_last) => {
                    match self.get(at).filter(|_| links < MOST_LINKS) {
                        None => Err(PathEnd::Endless),
                        target => Ok(target),
                    }
                }
                Some(_) if is_last => Err(PathEnd::Other),
                Some(_) => Err(PathEnd::NotDirectory),
            }
        });
        led.err().unwrap_or(PathEnd::Directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_followed_through_its_links() {
        let (mut stack, mut targets) = (Stack::default(), Targets::default());
        let mut put = |layer, path: &str, kind, to: &str| {
            let at = HashedPath::of(path.as_bytes());
            stack.put(layer, at, kind, 0, None);
            targets.set(at, to.as_bytes());
        };
        for (layer, path, kind, to) in [
            (0, "usr", PathKind::Directory, ""),
            (0, "usr/lib", PathKind::Directory, ""),
            (0, "usr/lib/a", PathKind::File, ""),
            (1, "lib", PathKind::Symlink, "usr/lib"),
            (1, "up", PathKind::Symlink, "../../.."),
            (1, "own", PathKind::Directory, ""),
            (1, "abs", PathKind::Symlink, "/own/"),
            (1, "own/up", PathKind::Symlink, "../lib/./"),
            (1, "one", PathKind::Symlink, "two"),
            (1, "two", PathKind::Symlink, "one"),
            (1, "gone", PathKind::Symlink, "nothing"),
        ] {
            put(layer, path, kind, to);
        }
        let lead =
            |path: &str, within, through| targets.lead(&stack, path.as_bytes(), within, through);
        let own = Within::Layer(1);
        for (path, all, alone) in [
            ("lib", PathEnd::Directory, PathEnd::Missing),
            ("lib/a", PathEnd::Other, PathEnd::Missing),
            ("lib/a/b", PathEnd::NotDirectory, PathEnd::Missing),
            ("own/up/a", PathEnd::Other, PathEnd::Missing),
            ("up", PathEnd::Directory, PathEnd::Directory),
            ("up/own", PathEnd::Directory, PathEnd::Directory),
            ("abs", PathEnd::Directory, PathEnd::Directory),
            ("abs/up", PathEnd::Directory, PathEnd::Missing),
            ("gone", PathEnd::Missing, PathEnd::Missing),
            ("one", PathEnd::Endless, PathEnd::Endless),
            ("one/x", PathEnd::Endless, PathEnd::Endless),
            ("", PathEnd::Directory, PathEnd::Directory),
        ] {
            assert_eq!(
                (lead(path, Within::All, true), lead(path, own, true)),
                (all, alone),
                "{path}"
            );
        }
        assert_eq!(lead("one", own, false), PathEnd::Other);
    }
}

//! The symbolic links of one layer, for following names that lead through them.
//!
//! What it refuses: more links in a name than Linux follows, and more than `MOST_BYTES` of names.

use std::collections::HashMap;

use super::path::follow_folders;
use crate::tar::{Member, MemberKind};

/// Most bytes of names in memory. A layer of a large distribution has some megabytes.
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// Bytes that a link takes in addition to its names.
const OVERHEAD: usize = 64;

/// The targets of the symbolic links so far, by their plain paths.
#[derive(Default)]
pub struct Symlinks {
    links: HashMap<Box<[u8]>, Box<[u8]>>,
    bytes: usize,
}

impl Symlinks {
    /// Takes the next member of the layer and its plain path. A link is added; another member replaces a link of its
    /// name.
    /// `None` when the names have more than `MOST_BYTES`.
    pub fn see(&mut self, path: &[u8], member: &Member) -> Option<()> {
        if member.kind == MemberKind::Symlink {
            let link = member.link.as_slice();
            self.bytes += path.len() + link.len() + OVERHEAD;
            self.links.insert(path.into(), link.into());
        } else {
            self.links.remove(path);
        }
        (self.bytes <= MOST_BYTES).then_some(())
    }

    /// Returns whether a plain path is a link.
    #[must_use]
    pub fn has(&self, path: &[u8]) -> bool {
        self.links.contains_key(path)
    }

    /// Returns whether there are no links.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Returns the target of the link of this plain path; `None` if there is no such link.
    #[must_use]
    pub fn target(&self, path: &[u8]) -> Option<&[u8]> {
        self.links.get(path).map(AsRef::as_ref)
    }

    /// Returns the plain path to which a name leads. Links in its folders are followed; its last part is not, as for
    /// the target of a hard link. Following stops after [`MOST_LINKS`](super::path::MOST_LINKS) links, which ends circles.
    #[must_use]
    pub fn follow(&self, path: &[u8]) -> Vec<u8> {
        follow_folders(path, |folder| self.target(folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_followed_and_the_last_part_is_not() {
        let mut symlinks = Symlinks::default();
        for (path, link) in [
            ("./bin", "usr/bin"),
            ("usr/lib64", "lib"),
            ("opt/up", "../usr//./lib64"),
            ("a/b/abs", "/opt"),
            ("round", "round"),
            ("out", "../../etc"),
        ] {
            let member = Member { link: link.into(), ..Member::new(MemberKind::Symlink, path) };
            symlinks.see(&member.plain_path(), &member).unwrap();
        }
        for (path, to) in [
            ("bin/sh", "usr/bin/sh"),
            ("bin", "bin"),
            ("/bin", "bin"),
            ("usr/lib64/x/y", "usr/lib/x/y"),
            ("opt/up/x", "usr/lib/x"),
            ("a/b/abs/up/x", "usr/lib/x"),
            ("out/passwd", "etc/passwd"),
            ("a/../bin/sh", "usr/bin/sh"),
            ("none/x", "none/x"),
        ] {
            assert_eq!(symlinks.follow(path.as_bytes()), to.as_bytes(), "{path}");
        }
        assert_eq!(symlinks.follow(b"round/x"), b"round/x");
        assert_eq!(
            (symlinks.target(b"bin"), symlinks.target(b"usr")),
            (Some(&b"usr/bin"[..]), None)
        );
        symlinks.see(b"bin", &Member::new(MemberKind::Directory, "bin/")).unwrap();
        assert_eq!(symlinks.follow(b"bin/sh"), b"bin/sh");
    }

    #[test]
    fn more_than_any_image_has_are_not_remembered() {
        let mut symlinks = Symlinks::default();
        let mut member = Member::new(MemberKind::Symlink, "");
        member.link = vec![b'x'; 1024 * 1024];
        let seen = (0..100).take_while(|index| {
            member.path = index.to_string().into();
            symlinks.see(&member.plain_path(), &member).is_some()
        });
        assert_eq!(seen.count(), MOST_BYTES / (1024 * 1024) - 1);
    }
}

//! Whiteouts: members that delete paths of the layers below (OCI image specification, "Whiteouts", "Opaque Whiteout").

use super::path::split;

/// Prefix of the name of a whiteout.
pub const PREFIX: &str = ".wh.";

/// Name of the whiteout that hides everything that lower layers have in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Prefix of AUFS's own files, which readers ignore.
const AUFS: &[u8] = b".wh..wh.";

/// The path that a whiteout hides, by its name in the layers below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whiteout {
    /// This path, with everything below it.
    Of(Vec<u8>),
    /// Everything that lower layers have in this directory. The root is empty.
    Opaque(Vec<u8>),
}

impl Whiteout {
    /// Returns what a member of this name hides; `None` for an ordinary member and for AUFS's own files.
    #[must_use]
    pub fn of(path: &[u8]) -> Option<Self> {
        let (folder, name) = split(path);
        if name == OPAQUE {
            return Some(Self::Opaque(folder.to_vec()));
        }
        let hidden = target(path).filter(|_| !is_aufs(path))?;
        Some(Self::Of([&path[..path.len() - name.len()], hidden].concat()))
    }

    /// Returns whether it names a path that it may hide. `.wh.` alone names none; `.wh..` and `.wh...` name `.` and
    /// `..`.
    #[must_use]
    pub fn is_named(&self) -> bool {
        match self {
            Self::Of(hidden) => !matches!(split(hidden).1, b"" | b"." | b".."),
            Self::Opaque(_) => true,
        }
    }
}

/// Returns the part of a name after the prefix of whiteouts, also for AUFS's own files.
#[must_use]
pub fn target(path: &[u8]) -> Option<&[u8]> {
    split(path).1.strip_prefix(PREFIX.as_bytes())
}

/// Returns whether a member is one of AUFS's own files, which hide nothing.
#[must_use]
pub fn is_aufs(path: &[u8]) -> bool {
    let (_, name) = split(path);
    name.starts_with(AUFS) && name != OPAQUE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_component_counts() {
        let of = |path: &[u8]| Some(Whiteout::Of(path.to_vec()));
        assert_eq!(Whiteout::of(b"usr/.wh.lib"), of(b"usr/lib"));
        assert_eq!(Whiteout::of(b".wh.lib"), of(b"lib"));
        assert_eq!(Whiteout::of(b"./.wh.lib"), of(b"./lib"));
        assert_eq!(Whiteout::of(b".wh.a/b"), None);
        assert_eq!(Whiteout::of(b"a.wh.b"), None);
        assert_eq!(Whiteout::of(b".wh..wh.plnk"), None);
        assert_eq!(Whiteout::of(b"a/.wh..wh..opq"), Some(Whiteout::Opaque(b"a".to_vec())));
        assert_eq!(Whiteout::of(b".wh..wh..opq"), Some(Whiteout::Opaque(Vec::new())));
    }

    #[test]
    fn some_say_nothing() {
        let is_named = |path: &[u8]| Whiteout::of(path).unwrap().is_named();
        for path in [&b"usr/.wh.lib"[..], b".wh.lib", b"a/.wh..git", b".wh..wh..opq"] {
            assert!(is_named(path), "{path:?}");
        }
        for path in [&b"a/.wh."[..], b".wh.", b"a/.wh..", b"a/.wh..."] {
            assert!(!is_named(path), "{path:?}");
        }
        assert!(is_aufs(b"a/.wh..wh.plnk"));
        assert!(!is_aufs(b".wh..wh..opq") && !is_aufs(b".wh..wh.plnk/a") && !is_aufs(b".wh.a"));
    }
}

//! Whiteouts: members that say what of the layers below is not there any more (OCI image
//! specification, "Whiteouts", "Opaque Whiteout").

use super::path::split;

/// How the name of a whiteout begins.
pub const PREFIX: &str = ".wh.";

/// Hides all of a directory that lower layers have.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// AUFS's own files begin so; readers leave them out.
const AUFS: &[u8] = b".wh..wh.";

/// What a whiteout hides, by the name that the layers below have for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whiteout {
    /// This, with all that is beneath.
    Of(Vec<u8>),
    /// All that is beneath this directory, but not what this layer puts there. Empty is the root.
    Opaque(Vec<u8>),
}

impl Whiteout {
    /// What a member of that name hides; `None` where it is an ordinary one, or one of AUFS's own.
    #[must_use]
    pub fn of(path: &[u8]) -> Option<Self> {
        let (folder, name) = split(path);
        if name == OPAQUE {
            return Some(Self::Opaque(folder.to_vec()));
        }
        let hidden = target(path).filter(|_| !is_aufs(path))?;
        Some(Self::Of([&path[..path.len() - name.len()], hidden].concat()))
    }

    /// Whether it says what it hides. `.wh.` alone names nothing, `.wh..` and `.wh...` name folders
    /// that are not theirs.
    #[must_use]
    pub fn is_named(&self) -> bool {
        match self {
            Self::Of(hidden) => !matches!(split(hidden).1, b"" | b"." | b".."),
            Self::Opaque(_) => true,
        }
    }
}

/// What follows the prefix of a whiteout, or of anything that is called like one.
#[must_use]
pub fn target(path: &[u8]) -> Option<&[u8]> {
    split(path).1.strip_prefix(PREFIX.as_bytes())
}

/// Whether a member is one of AUFS's own, which hides nothing.
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

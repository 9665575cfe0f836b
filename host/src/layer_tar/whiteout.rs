//! Whiteouts: members that say what of the layers below is not there any more (OCI image
//! specification, "Whiteouts").

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What a whiteout hides, by the name that the layers below have for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whiteout {
    /// This, with all that is beneath.
    Of(Vec<u8>),
    /// All that is beneath this directory, but not what this layer puts there. Empty is the root.
    Opaque(Vec<u8>),
}

impl Whiteout {
    /// What a member of that name hides; `None` where it is an ordinary one. Names with two `.wh.`
    /// in front are aufs' own, and hide nothing.
    #[must_use]
    pub fn of(path: &[u8]) -> Option<Self> {
        let at = path.iter().rposition(|byte| *byte == b'/');
        let (folder, name) = match at {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&path[..0], path),
        };
        if name == OPAQUE {
            return Some(Self::Opaque(folder.to_vec()));
        }
        let hidden = name.strip_prefix(PREFIX).filter(|rest| !rest.starts_with(PREFIX))?;
        Some(Self::Of(match at {
            Some(at) => [&path[..=at], hidden].concat(),
            None => hidden.to_vec(),
        }))
    }
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
}

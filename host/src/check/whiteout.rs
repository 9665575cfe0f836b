//! Rules about whiteouts, by themselves: files that stand for a deletion (OCI image specification,
//! "Whiteouts").

use super::finding::Finding;
use crate::layer_tar::whiteout::Whiteout;
use crate::layer_tar::{Member, MemberKind};

/// How the name of a whiteout begins.
const PREFIX: &[u8] = b".wh.";

/// Hides all of a directory that lower layers have.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// AUFS's own files begin so; readers leave them out.
const AUFS: &[u8] = b".wh..wh.";

/// What the name of a member means.
#[derive(Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It is what it is called.
    Itself,
    /// Of this path nothing is left.
    Deletes(Vec<u8>),
    /// Of this directory nothing is left that lower layers had.
    Empties(Vec<u8>),
    /// Nothing that a reader looks at.
    Nothing,
}

/// What a plain path stands for, whatever is wrong with it.
#[must_use]
pub fn meaning(path: &[u8]) -> Meaning {
    let (_, base) = split(path);
    match Whiteout::of(path) {
        Some(Whiteout::Opaque(folder)) => Meaning::Empties(folder),
        // These name nothing, or a folder that is not theirs.
        Some(Whiteout::Of(_)) if matches!(base, b".wh." | b".wh.." | b".wh...") => Meaning::Nothing,
        Some(Whiteout::Of(path)) => Meaning::Deletes(path),
        None if base.starts_with(AUFS) => Meaning::Nothing,
        None => Meaning::Itself,
    }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// All rules of a whiteout; nothing for other members.
pub fn check(member: &Member, say: &mut dyn FnMut(Finding)) {
    let path = member.plain_path();
    let (_, base) = split(&path);
    let Some(target) = base.strip_prefix(PREFIX) else { return };
    let mut say = |finding: Finding| say(finding.path(&member.path));
    match target {
        b"" => say(Finding::error("whiteout", "deletes nothing: no name follows '.wh.'")),
        b"." | b".." => {
            say(Finding::error("whiteout", "deletes the folder that it is in, or the one above"));
        }
        _ if base != OPAQUE && base.starts_with(AUFS) => {
            say(Finding::info("whiteout", "is a file of AUFS's own, which readers leave out"));
            return;
        }
        _ => {}
    }
    if member.kind != MemberKind::File {
        let message = format!("is a {}, and whiteouts are files", member.kind.name());
        say(Finding::warning("whiteout", message));
    } else if member.size > 0 {
        let message = format!("carries {} bytes, and whiteouts are empty", member.size);
        say(Finding::warning("whiteout-size", message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_name_is_meant() {
        for (path, expected) in [
            ("usr/.wh.lib", Meaning::Deletes(b"usr/lib".to_vec())),
            (".wh.lib", Meaning::Deletes(b"lib".to_vec())),
            ("usr/.wh..wh..opq", Meaning::Empties(b"usr".to_vec())),
            (".wh..wh..opq", Meaning::Empties(Vec::new())),
            (".wh..wh.plnk", Meaning::Nothing),
            ("a/.wh.", Meaning::Nothing),
            ("a/.wh...", Meaning::Nothing),
            ("a/x.wh.b", Meaning::Itself),
            (".wh.a/b", Meaning::Itself),
        ] {
            assert_eq!(meaning(path.as_bytes()), expected, "{path}");
        }
    }
}

//! The fate of a file in the layers above it.
//!
//! | in a layer above | effect |
//! | --- | --- |
//! | a whiteout | deletes the path that it names |
//! | an opaque directory | deletes everything that lower layers have below it |
//! | a member of the same name | replaces the file |
//! | a file where a folder of the path was | deletes that folder |

use super::path::folders;
use super::{Whiteout, hash};
use crate::tar::{Member, MemberKind};

/// The fate of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is in the image.
    Present,
    /// The layer of this index deletes it.
    Deleted(usize),
    /// The layer of this index has another member of its name.
    Replaced(usize),
}

/// The effect of a layer on the layers below it, in eight bytes per member.
#[derive(Default)]
pub struct Trace {
    /// Hashes of the members. The lowest bit is set for a directory.
    members: Vec<u64>,
    deleted: Vec<u64>,
    opaque: Vec<u64>,
}

impl Trace {
    /// Adds a member.
    pub fn add(&mut self, member: &Member, path: &[u8]) {
        match Whiteout::of(path) {
            Some(Whiteout::Of(path)) => self.deleted.push(hash(&path)),
            Some(Whiteout::Opaque(folder)) => self.opaque.push(hash(&folder)),
            None => self.members.push(entry(path, member.kind == MemberKind::Directory)),
        }
    }

    /// Prepares the members for looking up. Call it after the last one was added.
    pub fn seal(&mut self) {
        for hashes in [&mut self.members, &mut self.deleted, &mut self.opaque] {
            hashes.sort_unstable();
            hashes.dedup();
            hashes.shrink_to_fit();
        }
    }

    fn has(&self, path: &[u8], directory: bool) -> bool {
        self.members.binary_search(&entry(path, directory)).is_ok()
    }

    fn deletes(&self, path: &[u8]) -> bool {
        let has = |hashes: &[u64], path: &[u8]| hashes.binary_search(&hash(path)).is_ok();
        has(&self.deleted, path)
            || has(&self.opaque, b"")
            || folders(path).any(|folder| {
                has(&self.deleted, folder) || has(&self.opaque, folder) || self.has(folder, false)
            })
    }

    /// Returns the effect on a member of a lower layer: `Some(true)` if it is replaced, `Some(false)` if it is deleted.
    fn change(&self, path: &[u8], directory: bool) -> Option<bool> {
        let deletes = self.deletes(path);
        match (self.has(path, false), self.has(path, true)) {
            // A directory that is listed again keeps its content.
            (false, true) if directory && !deletes => None,
            (false, false) => deletes.then_some(false),
            _ => Some(true),
        }
    }
}

/// Returns the fate of the member at `path` in layer `index`. `traces` are those of all layers.
#[must_use]
pub fn fate<'a>(
    path: &[u8],
    directory: bool,
    index: usize,
    traces: impl Iterator<Item = &'a Trace>,
) -> Fate {
    for (above, trace) in traces.enumerate().skip(index + 1) {
        match trace.change(path, directory) {
            Some(true) => return Fate::Replaced(above),
            Some(false) => return Fate::Deleted(above),
            None => {}
        }
    }
    Fate::Present
}

fn entry(path: &[u8], directory: bool) -> u64 {
    hash(path) & !1 | u64::from(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes traces from names. Names that end with a slash are directories.
    fn traces(layers: &[&[&str]]) -> Vec<Trace> {
        let trace = |names: &&[&str]| {
            let mut trace = Trace::default();
            for name in *names {
                let plain = name.trim_end_matches('/');
                let kind = if plain == *name { MemberKind::File } else { MemberKind::Directory };
                trace.add(&Member::new(kind, plain), plain.as_bytes());
            }
            trace.seal();
            trace
        };
        layers.iter().map(trace).collect()
    }

    fn of(path: &str, above: &[&[&str]]) -> Fate {
        let layers = [&[&[][..]], above].concat();
        let plain = path.trim_end_matches('/');
        fate(plain.as_bytes(), plain != path, 0, traces(&layers).iter())
    }

    #[test]
    fn whole_components_are_compared() {
        assert_eq!(of("usr/lib/x", &[&["usr/.wh.lib"]]), Fate::Deleted(1));
        assert_eq!(of("usr/lib64/x", &[&["usr/.wh.lib"]]), Fate::Present);
        assert_eq!(of("usr/lib64/x", &[&["usr/lib/.wh..wh..opq"]]), Fate::Present);
        assert_eq!(of("usr/lib64/x", &[&["usr/lib"]]), Fate::Present);
    }

    #[test]
    fn whiteouts_and_opaque_directories_delete() {
        assert_eq!(of("a/b", &[&["c"], &["a/.wh.b"], &["a/b"]]), Fate::Deleted(2));
        assert_eq!(of("a/b/c", &[&["a/.wh..wh..opq"]]), Fate::Deleted(1));
        assert_eq!(of("a/", &[&["a/.wh..wh..opq"]]), Fate::Present);
        assert_eq!(of("a", &[&[".wh..wh..opq"]]), Fate::Deleted(1));
        assert_eq!(of("a/b", &[&["a/.wh..wh.plnk", "a/.wh."]]), Fate::Present);
    }

    #[test]
    fn files_replace() {
        assert_eq!(of("a/b", &[&["a/b"]]), Fate::Replaced(1));
        assert_eq!(of("a/b", &[&["a/.wh.b", "a/b"]]), Fate::Replaced(1));
        assert_eq!(of("a/b", &[&["a"]]), Fate::Deleted(1));
        assert_eq!(of("a/b", &[&["a/", "a/b/"]]), Fate::Replaced(1));
        assert_eq!(of("a/b/", &[&["a/", "a/b/"]]), Fate::Present);
        assert_eq!(of("a/b/", &[&["a/b"]]), Fate::Replaced(1));
        assert_eq!(of("a/b/", &[&["a/.wh.b", "a/b/"]]), Fate::Replaced(1));
    }

    #[test]
    fn a_layer_does_nothing_to_itself_or_to_those_above() {
        let traces = traces(&[&["a/.wh.b"], &["a/b"], &["c"]]);
        assert_eq!(fate(b"a/b", false, 1, traces.iter()), Fate::Present);
    }
}

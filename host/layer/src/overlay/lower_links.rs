//! The symbolic links of the layers below a layer, and whether the layer writes through one of them.
//!
//! Engines differ on such a member: umoci follows the link, and Docker, Podman and containerd put a directory in its place.
//! A layer that lists the directory before the member replaces the link in all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::path::folders;
use super::{Change, ListedMember, MemberList};

/// The symbolic links of the layers so far, each with the number of its layer.
#[derive(Default)]
pub struct LowerLinks {
    links: BTreeMap<Vec<u8>, usize>,
    /// The directories of the layers so far, if they are kept as well.
    folders: Option<BTreeSet<Vec<u8>>>,
}

impl LowerLinks {
    /// Returns an empty list that keeps directories as well.
    #[must_use]
    pub fn with_folders() -> Self {
        Self { links: BTreeMap::new(), folders: Some(BTreeSet::new()) }
    }

    /// Takes the directories of the layers so far, and keeps no further ones.
    #[must_use]
    pub fn take_folders(&mut self) -> BTreeSet<Vec<u8>> {
        self.folders.take().unwrap_or_default()
    }

    /// Returns the link of a lower layer through which a layer writes, deletes or links something first, and the number of
    /// that link's layer.
    #[must_use]
    pub fn written_through(&self, list: &MemberList) -> Option<(Vec<u8>, usize)> {
        if self.links.is_empty() {
            return None;
        }
        let (mut left, mut found) = (None, None);
        list.each(|entry| {
            if found.is_some() || entry.act == Change::Ignored {
                return;
            }
            // Most layers replace no link of a lower layer, so that nothing is copied.
            let links = left.as_ref().unwrap_or(self);
            let folder = Some(entry.path).filter(|_| entry.act == Change::Empty);
            let target = Some(entry.link).filter(|_| entry.act == Change::HardLink);
            let all = folders(entry.path).chain(folder).chain(target.into_iter().flat_map(folders));
            let mut all = all.filter_map(|folder| links.links.get_key_value(folder));
            found = all.next().map(|(link, layer)| (link.clone(), *layer));
            if found.is_none() && links.is_changed_by(entry) {
                let copy = || Self { links: self.links.clone(), folders: None };
                left.get_or_insert_with(copy).remove_for(entry);
            }
        });
        found
    }

    /// Adds a layer with this number, above those so far.
    pub fn add(&mut self, list: &MemberList, number: usize) {
        // Whiteouts are about the layers below, wherever they stand in the layer.
        list.each(|entry| {
            if matches!(entry.act, Change::Delete | Change::Empty) {
                self.remove_for(entry);
            }
        });
        list.each(|entry| {
            let is_link = match entry.act {
                Change::Delete | Change::Empty | Change::Ignored => return,
                // Another name of a symbolic link is one as well.
                Change::HardLink => self.links.contains_key(entry.link),
                act => act == Change::Symlink,
            };
            self.remove_for(entry);
            if is_link {
                self.links.insert(entry.path.to_vec(), number);
            }
            if let Some(known) = &mut self.folders {
                let own = Some(entry.path).filter(|_| entry.act == Change::Directory);
                for folder in folders(entry.path).chain(own) {
                    if !known.contains(folder) {
                        known.insert(folder.to_vec());
                    }
                }
            }
        });
    }

    /// Returns whether a member replaces or hides one of the links.
    fn is_changed_by(&self, entry: &ListedMember<'_>) -> bool {
        (entry.act != Change::Empty && self.links.contains_key(entry.path))
            || (entry.act != Change::Directory && self.has_below(entry.path))
    }

    fn has_below(&self, folder: &[u8]) -> bool {
        let begin = beginning(folder);
        self.links.range(begin.clone()..).next().is_some_and(|(link, _)| link.starts_with(&begin))
    }

    fn remove_for(&mut self, entry: &ListedMember<'_>) {
        if entry.act != Change::Empty {
            self.links.remove(entry.path);
        }
        if entry.act == Change::Directory {
            return;
        }
        let begin = beginning(entry.path);
        let gone = self.links.range(begin.clone()..).map(|(link, _)| link);
        let gone: Vec<Vec<u8>> =
            gone.take_while(|link| link.starts_with(&begin)).cloned().collect();
        gone.iter().for_each(|link| _ = self.links.remove(link));
        let Some(known) = &mut self.folders else { return };
        let gone = known.range(begin.clone()..).take_while(|folder| folder.starts_with(&begin));
        let gone: Vec<Vec<u8>> = gone.cloned().collect();
        gone.iter().for_each(|folder| _ = known.remove(folder));
        if entry.act != Change::Empty {
            known.remove(entry.path);
        }
    }
}

/// Returns how the paths below a directory begin. The root is empty.
fn beginning(folder: &[u8]) -> Vec<u8> {
    if folder.is_empty() { Vec::new() } else { [folder, b"/"].concat() }
}

#[cfg(test)]
mod tests {
    use super::super::MemberBudget;
    use super::*;
    use crate::tar::{Member, MemberKind};

    /// Returns a layer: `a/` is a directory, `a@x` a symbolic link, `a=b` a hard link.
    fn list(texts: &[&str]) -> MemberList {
        let (mut list, budget) = (MemberList::default(), MemberBudget::default());
        for text in texts {
            let (kind, path, link) = match (text.split_once('='), text.split_once('@')) {
                (Some((path, to)), _) => (MemberKind::HardLink, path, to),
                (_, Some((path, to))) => (MemberKind::Symlink, path, to),
                _ if text.ends_with('/') => (MemberKind::Directory, *text, ""),
                _ => (MemberKind::File, *text, ""),
            };
            let member = Member { link: link.into(), ..Member::new(kind, path) };
            assert!(list.add(&member, &budget), "{text}");
        }
        list
    }

    fn through(lower: &[&[&str]], upper: &[&str]) -> Option<String> {
        let mut links = LowerLinks::default();
        lower.iter().enumerate().for_each(|(index, texts)| links.add(&list(texts), index + 1));
        let found = links.written_through(&list(upper));
        found.map(|(link, layer)| format!("{} {layer}", String::from_utf8_lossy(&link)))
    }

    #[test]
    fn members_whiteouts_and_targets_lead_through_a_link_until_the_layer_replaces_it() {
        let lower: &[&[&str]] = &[&["usr/", "bin@usr"]];
        for upper in [
            &["bin/x"][..],
            &["bin/x/"],
            &["bin/.wh.x"],
            &["bin/.wh..wh..opq"],
            &["c=bin/x"],
            &["bin/x", "bin/"],
            &["bin/x", ".wh.bin"],
        ] {
            assert_eq!(through(lower, upper).as_deref(), Some("bin 1"), "{upper:?}");
        }
        for upper in [
            &["bin/", "bin/x"][..],
            &[".wh.bin", "bin/x"],
            &[".wh..wh..opq", "bin/x"],
            &["bin@x"],
            &["usr/x", "binary/x", "c=bin"],
        ] {
            assert_eq!(through(lower, upper), None, "{upper:?}");
        }
    }

    #[test]
    fn links_are_those_that_the_lower_layers_have_in_the_end() {
        for gone in [&[".wh.a"][..], &["a/", "a/l/"], &["a"], &["a/.wh..wh..opq"]] {
            assert_eq!(through(&[&["a/", "a/l@x"], gone], &["a/l/x"]), None, "{gone:?}");
        }
        assert_eq!(through(&[&["l@x"], &["l/"], &["l@y"]], &["l/x"]).as_deref(), Some("l 3"));
        // A whiteout does not delete what its own layer has.
        assert_eq!(through(&[&["l@x"], &["l@y", ".wh.l"]], &["l/x"]).as_deref(), Some("l 2"));
        assert_eq!(through(&[&["l@x", "m=l"]], &["m/x"]).as_deref(), Some("m 1"));
    }
}

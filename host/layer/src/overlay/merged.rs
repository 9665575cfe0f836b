//! Several layers as one: which of their members are in the layer that replaces them, which whiteouts that layer needs
//! for the layers below, and what becomes of hard links.
//!
//! The layers are compared from the highest to the lowest. Each path has at most one member in the result: that of the
//! highest layer which has the path, unless a layer above deletes it. A path takes some 50 bytes in memory, besides
//! the lists of members.
//!
//! What it refuses: layers on which engines differ. A member that a layer writes through a symbolic link of a lower
//! layer replaces that link in Docker, Podman and containerd, and follows it in umoci; a member below a file is an error
//! in some of them.

mod hard_links;
mod hidden;

use std::collections::{BTreeSet, HashMap, HashSet};

use self::hard_links::HardLinks;
pub use self::hard_links::LinkFate;
use self::hidden::Hidden;
use super::path::folders;
use super::{Change, Key, LowerLinks, MemberList, key};

/// A name of a member: the index of its layer, and its number in the layer ([`PlacedMember::At`]).
///
/// [`PlacedMember::At`]: super::PlacedMember::At
pub type MemberId = (u16, u32);

/// The kind of what is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MergedKind {
    /// A directory that no layer lists: a member is below it.
    Implied,
    Directory,
    Symlink,
    /// Anything else.
    File,
}

impl MergedKind {
    fn is_directory(self) -> bool {
        matches!(self, Self::Implied | Self::Directory)
    }
}

/// What the result has at a path.
#[derive(Clone, Copy)]
struct Slot {
    id: MemberId,
    kind: MergedKind,
}

/// The result: the members that stay.
#[derive(Default)]
pub struct Merged {
    slots: HashMap<Key, Slot>,
    whiteouts: BTreeSet<Vec<u8>>,
    opaque: BTreeSet<Vec<u8>>,
    unlisted: BTreeSet<Vec<u8>>,
    early: BTreeSet<Vec<u8>>,
    links: HardLinks,
}

/// The fate of a member.
#[derive(Debug, PartialEq, Eq)]
pub enum MemberFate<'a> {
    /// It is left out.
    Gone,
    /// It stays.
    Stays,
    /// It stays under this path, which a hard link to it had: its own path is gone.
    Renamed(&'a [u8]),
    /// It stays as a hard link.
    Link(&'a LinkFate),
}

impl Merged {
    /// Merges layers, the lowest first. `base` is whether there are layers below them, which stay as they are, and `lower`
    /// has the symbolic links of those. Errors say which member engines do not agree on. Layers in errors count from
    /// `first`, the number of the lowest one.
    pub fn of(
        lists: &[MemberList],
        base: bool,
        mut lower: LowerLinks,
        first: usize,
    ) -> Result<Self, String> {
        let base_folders = lower.take_folders();
        for (index, list) in lists.iter().enumerate() {
            let number = first + index;
            if let Some((link, layer)) = lower.written_through(list) {
                return Err(through(number, layer, &link));
            }
            lower.add(list, number);
        }
        let mut merger = Merger {
            merged: Self::default(),
            hidden: Hidden::default(),
            replaced: HashSet::new(),
            emptied: BTreeSet::new(),
            base,
            first,
        };
        for (layer, list) in lists.iter().enumerate().rev() {
            let layer = layer as u16;
            merger.keep(layer, list)?;
            merger.hide(layer, list);
        }
        let Merger { mut merged, hidden, emptied, .. } = merger;
        let is_implied = |path: &Vec<u8>| {
            merged.slots.get(&key(path)).is_some_and(|slot| slot.kind == MergedKind::Implied)
        };
        let emptied = emptied.into_iter().filter(|path| is_implied(path));
        // What the layers below list there counts, unless it is hidden.
        let is_listed =
            |path: &Vec<u8>| base_folders.contains(path) && !merged.is_hidden(&hidden, path);
        let emptied: Vec<_> = emptied.filter(|path| !is_listed(path)).collect();
        merged.unlisted.extend(emptied);
        merged.leave_out_needless();
        merged.complete_early();
        let alive = |path: &[u8], id: MemberId| {
            let slot = merged.slots.get(&key(path));
            slot.is_some_and(|slot| slot.id == id && !slot.kind.is_directory())
        };
        let in_base = |path: &[u8]| {
            base && !merged.slots.contains_key(&key(path)) && !merged.is_hidden(&hidden, path)
        };
        let links = HardLinks::of(lists, first, &alive, &in_base)?;
        Ok(Self { links, ..merged })
    }

    /// Returns the fate of a member that is not a whiteout, whose path is `path`.
    #[must_use]
    pub fn fate(&self, id: MemberId, path: &[u8]) -> MemberFate<'_> {
        if let Some(name) = self.links.renamed(id) {
            return MemberFate::Renamed(name);
        }
        match self.slots.get(&key(path)) {
            Some(slot) if slot.id == id && slot.kind != MergedKind::Implied => {
                match self.links.fate(id) {
                    None => MemberFate::Stays,
                    Some(LinkFate::Became) => MemberFate::Gone,
                    Some(link) => MemberFate::Link(link),
                }
            }
            _ => MemberFate::Gone,
        }
    }

    /// Returns the hard link whose metadata a member has in the end, because it is the last name of the member's file; `None`
    /// if its own metadata count.
    #[must_use]
    pub fn last_name(&self, id: MemberId) -> Option<MemberId> {
        Some(self.links.last_name(id)).filter(|last| *last != id)
    }

    /// Returns the paths that are deleted in the layers below, in order.
    pub fn whiteouts(&self) -> impl Iterator<Item = &[u8]> {
        self.whiteouts.iter().map(Vec::as_slice)
    }

    /// Returns the directories that are emptied of what the layers below have in them, in order. The root is empty.
    pub fn opaque(&self) -> impl Iterator<Item = &[u8]> {
        self.opaque.iter().map(Vec::as_slice)
    }

    /// Returns the directories that no layer lists and that the result must list, in order: those that were something else
    /// before, since the layers below may have a file there, and those of which every member is gone.
    pub fn unlisted(&self) -> impl Iterator<Item = &[u8]> {
        self.unlisted.iter().map(Vec::as_slice)
    }

    /// Returns whether some directories must be written before everything else ([`Self::is_early`]).
    #[must_use]
    pub fn has_early(&self) -> bool {
        !self.early.is_empty() || !self.unlisted.is_empty()
    }

    /// Returns whether a directory must be written before everything else, the upper ones first. The layers below may have
    /// a symbolic link in its place, through which some engines would write what is in it, and would read whiteouts.
    #[must_use]
    pub fn is_early(&self, path: &[u8]) -> bool {
        self.early.contains(path)
    }

    /// Adds the directories of whiteouts, and those above directories that are written early.
    fn complete_early(&mut self) {
        let Self { whiteouts, opaque, unlisted, early, .. } = self;
        early.extend(opaque.iter().filter(|folder| !folder.is_empty()).cloned());
        let all = early.iter().chain(&*unlisted).chain(&*whiteouts);
        let above = all.flat_map(|path| folders(path)).map(<[u8]>::to_vec);
        let above: Vec<Vec<u8>> = above.collect();
        early.extend(above);
    }

    /// Returns whether a layer above hides a path of a lower layer.
    fn is_hidden(&self, hidden: &Hidden, path: &[u8]) -> bool {
        let file = |folder: &[u8]| {
            self.slots.get(&key(folder)).is_some_and(|slot| !slot.kind.is_directory())
        };
        hidden.hides(path) || folders(path).any(file)
    }

    /// Leaves out whiteouts below what is deleted, emptied or replaced as a whole.
    fn leave_out_needless(&mut self) {
        let Self { slots, whiteouts, opaque, .. } = self;
        let (all_whiteouts, all_opaque) = (whiteouts.clone(), opaque.clone());
        let needed = |path: &Vec<u8>| {
            let above = |folder: &[u8]| {
                all_whiteouts.contains(folder)
                    || all_opaque.contains(folder)
                    || slots.get(&key(folder)).is_some_and(|slot| !slot.kind.is_directory())
            };
            path.is_empty() || !(all_opaque.contains(&b""[..]) || folders(path).any(above))
        };
        whiteouts.retain(needed);
        opaque.retain(needed);
    }
}

/// The layers so far, from the highest.
struct Merger {
    merged: Merged,
    hidden: Hidden,
    /// Paths at which the current layer has a file, and a layer above a directory.
    replaced: HashSet<Key>,
    /// Directories that no layer so far lists, and of which a layer above has deleted a member.
    emptied: BTreeSet<Vec<u8>>,
    base: bool,
    first: usize,
}

impl Merger {
    /// Adds the members of a layer that no layer above hides or replaces.
    fn keep(&mut self, layer: u16, list: &MemberList) -> Result<(), String> {
        let (mut number, mut wrong) = (0, None);
        list.each(|entry| {
            let id = (layer, number);
            number += 1;
            let kind = match entry.act {
                Change::Directory => MergedKind::Directory,
                Change::Symlink => MergedKind::Symlink,
                Change::File | Change::HardLink => MergedKind::File,
                Change::Delete | Change::Empty | Change::Ignored => return,
            };
            if wrong.is_none() {
                wrong = self.keep_member(id, kind, entry.path).err();
            }
        });
        wrong.map_or_else(|| self.nothing_below_files(layer, list), Err)
    }

    /// Checks that a layer has nothing below its own files for which a layer above has a directory: in the result, the
    /// directory would have it.
    fn nothing_below_files(&mut self, layer: u16, list: &MemberList) -> Result<(), String> {
        let replaced = std::mem::take(&mut self.replaced);
        let mut wrong = None;
        if replaced.is_empty() {
            return Ok(());
        }
        list.each(|entry| {
            if wrong.is_none()
                && !matches!(entry.act, Change::Delete | Change::Empty | Change::Ignored)
            {
                let file = folders(entry.path).find(|folder| replaced.contains(&key(folder)));
                wrong = file.map(|file| self.below(layer, layer, MergedKind::File, file));
            }
        });
        wrong.map_or(Ok(()), Err)
    }

    fn keep_member(&mut self, id: MemberId, kind: MergedKind, path: &[u8]) -> Result<(), String> {
        let slots = &self.merged.slots;
        let known = slots.get(&key(path)).copied();
        let stays = match known {
            // The later of two members counts.
            Some(slot) if slot.id.0 == id.0 && slot.kind.is_directory() == kind.is_directory() => {
                true
            }
            Some(slot) if slot.id.0 == id.0 => return Err(self.twice(id, path)),
            Some(slot) if slot.kind != MergedKind::Implied => {
                if slot.kind == MergedKind::Directory && kind != MergedKind::Directory {
                    self.replaced.insert(key(path));
                }
                false
            }
            known => match self.is_hidden(id.0, path) {
                true => false,
                // A layer above has something below this path.
                false if known.is_some() && kind != MergedKind::Directory => {
                    return Err(self.below(known.map_or(id.0, |slot| slot.id.0), id.0, kind, path));
                }
                false => true,
            },
        };
        if !stays {
            // Engines make the directories of a member that is deleted later, and these stay.
            for folder in folders(path) {
                if !self.merged.slots.contains_key(&key(folder)) && !self.is_hidden(id.0, folder) {
                    self.merged.slots.insert(key(folder), Slot { id, kind: MergedKind::Implied });
                    self.emptied.insert(folder.to_vec());
                }
            }
            return Ok(());
        }
        // What is in it was seen before, and so is written before it.
        if self.base && kind == MergedKind::Directory && known.is_some() {
            self.merged.early.insert(path.to_vec());
        }
        self.merged.slots.insert(key(path), Slot { id, kind });
        let above: Vec<&[u8]> = folders(path).collect();
        for folder in above.into_iter().rev() {
            match self.merged.slots.get(&key(folder)) {
                Some(slot) if !slot.kind.is_directory() => {
                    return Err(self.below(id.0, slot.id.0, slot.kind, folder));
                }
                Some(_) => break,
                None => {
                    let slot = Slot { id, kind: MergedKind::Implied };
                    self.merged.slots.insert(key(folder), slot);
                }
            }
        }
        Ok(())
    }

    /// Returns whether a layer above `layer` deletes a path or replaces one of its folders.
    fn is_hidden(&self, layer: u16, path: &[u8]) -> bool {
        let file = |folder: &[u8]| {
            let slot = self.merged.slots.get(&key(folder));
            slot.is_some_and(|slot| !slot.kind.is_directory() && slot.id.0 > layer)
        };
        self.hidden.hides(path) || folders(path).any(file)
    }

    /// Adds what a layer hides in the layers below.
    fn hide(&mut self, layer: u16, list: &MemberList) {
        list.each(|entry| {
            let path = entry.path;
            let slot = self.merged.slots.get(&key(path)).copied();
            match entry.act {
                Change::Directory | Change::Ignored => {}
                Change::Delete | Change::Empty if self.is_hidden(layer, path) => {}
                Change::Delete => {
                    match slot {
                        None => self.whiteout(path),
                        Some(slot) if slot.kind.is_directory() => {
                            self.empty(path);
                            if self.base && slot.kind == MergedKind::Implied {
                                self.merged.unlisted.insert(path.to_vec());
                            }
                        }
                        Some(_) => {}
                    }
                    self.hidden.delete(path);
                }
                Change::Empty => {
                    if slot.is_none_or(|slot| slot.kind.is_directory()) {
                        self.empty(path);
                    }
                    self.hidden.empty(path);
                }
                // A layer above has a directory in its place, which does not show what a directory below had.
                Change::File | Change::HardLink | Change::Symlink => {
                    let is_replaced = |slot: Slot| slot.kind.is_directory() && slot.id.0 > layer;
                    if slot.is_some_and(is_replaced) && !self.is_hidden(layer, path) {
                        self.empty(path);
                        self.hidden.empty(path);
                    }
                }
            }
        });
    }

    fn whiteout(&mut self, path: &[u8]) {
        if self.base {
            self.merged.whiteouts.insert(path.to_vec());
        }
    }

    fn empty(&mut self, folder: &[u8]) {
        if self.base {
            self.merged.opaque.insert(folder.to_vec());
        }
    }

    fn twice(&self, id: MemberId, path: &[u8]) -> String {
        let (layer, path) = (self.number(id.0), String::from_utf8_lossy(path));
        format!("layer {layer} has '{path}' as a directory and as something else")
    }

    /// Returns the error for a member of layer `above` below `path`, which is not a directory in layer `layer`.
    fn below(&self, above: u16, layer: u16, kind: MergedKind, path: &[u8]) -> String {
        let (above, layer) = (self.number(above), self.number(layer));
        let path = String::from_utf8_lossy(path);
        match kind {
            MergedKind::Symlink => through(above, layer, path.as_bytes()),
            _ => format!("layer {above} has a member below '{path}', a file of layer {layer}"),
        }
    }

    fn number(&self, layer: u16) -> usize {
        self.first + usize::from(layer)
    }
}

/// Returns the error for a layer that writes through a symbolic link of a lower layer.
fn through(above: usize, layer: usize, link: &[u8]) -> String {
    let link = String::from_utf8_lossy(link);
    format!(
        "layer {above} writes through '{link}', a symbolic link of layer {layer}, which some \
         engines follow and others replace"
    )
}

#[cfg(test)]
mod tests;

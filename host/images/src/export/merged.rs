//! The members of the merged file system, in the order of a walk.

use std::collections::HashMap;

use super::spool::SpooledLayer;
use super::window::Window;
use crate::usage::tree::{NodeId, NodeKind, PathVersion, Sums, Tree, TreeBuilder};
use occystrap_base::error::{Error, Result};
use occystrap_layer::blob::from_io;
use occystrap_layer::image::Image;
use occystrap_layer::overlay::Fate;
use occystrap_layer::tar::member::Records;
use occystrap_layer::tar::{Member, MemberKind, TarReader, Writer};

/// Permissions of a directory that no layer lists: those with which engines make it.
const IMPLIED: u32 = 0o755;

/// PAX records that are part of a file, and not of the archive that it was in: extended attributes and ACLs, in the
/// spelling that GNU tar, Go and libarchive read.
const KEPT: [&[u8]; 2] = [b"SCHILY.xattr.", b"SCHILY.acl."];

/// A member of a layer, by its number in the layer's list.
type ExportedContent = (usize, u32);

/// The merged file system of an image.
pub struct MergedFileSystem {
    image: String,
    layers: Vec<SpooledLayer>,
    files: Vec<Option<Window>>,
    tree: Tree,
    /// Number of members of the merged file system at and below each path.
    present: Sums,
    walk: std::vec::IntoIter<NodeId>,
    /// Content with several names, and the name under which it was written.
    shared: HashMap<ExportedContent, Option<Vec<u8>>>,
    /// Content with several names, and the last of the hard links to it, also if a layer deletes that link. Docker, Podman and
    /// containerd set the metadata of each name on the one file, so that those of the last name count.
    last_names: HashMap<ExportedContent, ExportedContent>,
}

/// A member that is to be written.
pub struct MergedEntry<'a> {
    member: Member,
    place: &'a str,
    content: Option<TarReader<&'a mut Window>>,
}

impl MergedEntry<'_> {
    /// Appends the member to a tar.
    pub fn append<W: std::io::Write>(mut self, writer: &mut Writer<W>) -> Result<()> {
        let written = match &mut self.content {
            Some(reader) => writer.append(&self.member, &mut reader.content()),
            None => writer.append(&self.member, &mut std::io::empty()),
        };
        written.map_err(|cause| from_io(cause, self.place))
    }
}

impl MergedFileSystem {
    /// Merges layers. Errors when a file lies below something that is not a directory, or a hard link leads nowhere.
    pub fn of(image: &Image, mut layers: Vec<SpooledLayer>) -> Result<Self> {
        let mut builder = TreeBuilder::through_links();
        for layer in &layers {
            builder.layer(&layer.members);
        }
        if builder.cut {
            return Err(Error::source(format!("'{}': has too many paths", image.name)));
        }
        let tree = builder.finish();
        let files = layers.iter_mut().map(|layer| layer.file.take().map(Window::new)).collect();
        let present = tree.sums(|version| u64::from(version.fate == Fate::Present));
        let mut merged = Self {
            image: image.name.to_string(),
            layers,
            files,
            present,
            walk: tree.walk().into_iter(),
            shared: HashMap::new(),
            last_names: HashMap::new(),
            tree,
        };
        merged.find_links()?;
        Ok(merged)
    }

    /// Returns what a container sees at a path. Of a directory that is listed several times, the last counts.
    fn seen(&self, node: NodeId) -> Option<&PathVersion> {
        self.tree.versions(node).iter().rev().find(|version| version.fate == Fate::Present)
    }

    /// Finds content with several names.
    fn find_links(&mut self) -> Result<()> {
        for node in self.tree.nodes() {
            for link in self.tree.versions(node) {
                if link.kind == NodeKind::HardLink
                    && let Some((_, target)) = self.tree.content(link)
                {
                    let this = (link.layer, link.ordinal);
                    let last = self.last_names.entry((target.layer, target.ordinal));
                    let last = last.or_insert(this);
                    *last = this.max(*last);
                }
            }
            let Some(link) = self.seen(node).filter(|seen| seen.kind == NodeKind::HardLink) else {
                continue;
            };
            // What it leads to must be there, under whatever name the content came into the image.
            let is_there = self.tree.target(link).is_some_and(|(_, target)| {
                target.layer == link.layer || target.is_seen_at(link.layer - 1)
            });
            match self.tree.content(link).filter(|_| is_there) {
                Some((_, target)) => {
                    self.shared.insert((target.layer, target.ordinal), None);
                }
                None => {
                    let place = &self.layers[link.layer].place;
                    let path = self.text(node);
                    let why =
                        format!("{place}: '{path}' is a hard link to a file that is not there");
                    return Err(refused(why));
                }
            }
        }
        Ok(())
    }

    fn text(&self, node: NodeId) -> String {
        String::from_utf8_lossy(&self.tree.path(node)).into_owned()
    }

    /// Returns the next member, the root first if a layer lists it.
    pub fn next_entry(&mut self) -> Result<Option<MergedEntry<'_>>> {
        while let Some(node) = self.walk.next() {
            if node == Tree::ROOT {
                let root = self.layers.iter().rposition(|layer| layer.root.is_some());
                let Some(layer) = root else { continue };
                let at = self.layers[layer].root.unwrap_or_default();
                return self.entry(layer, at, b"./".to_vec()).map(Some);
            }
            if self.present.at(node) == 0 {
                continue;
            }
            let path = self.tree.path(node);
            let Some(seen) = self.seen(node).copied() else {
                let member = Member { mode: IMPLIED, ..Member::new(MemberKind::Directory, path) };
                let place = &self.image;
                return Ok(Some(MergedEntry { member, place, content: None }));
            };
            if seen.kind != NodeKind::Directory && self.present.at(node) > 1 {
                let below = self.tree.children(node).find(|child| self.present.at(*child) > 0);
                let below = below.map(|child| self.text(child)).unwrap_or_default();
                let place = &self.layers[seen.layer].place;
                let why = format!(
                    "{place}: '{}' is not a directory, but '{below}' is below it",
                    self.text(node)
                );
                return Err(refused(why));
            }
            let content = match seen.kind {
                // It was found before.
                NodeKind::HardLink => self.tree.content(&seen).map_or(seen, |(_, target)| *target),
                _ => seen,
            };
            let (layer, ordinal) = (content.layer, content.ordinal);
            let at = self.layers[layer].positions[ordinal as usize];
            let first = match self.shared.get_mut(&(layer, ordinal)) {
                Some(Some(first)) => Some(first.clone()),
                Some(first) => {
                    *first = Some(path.clone());
                    None
                }
                None => None,
            };
            let last = match self.last_names.get(&(layer, ordinal)).copied() {
                None => None,
                Some((layer, ordinal)) => {
                    let at = self.layers[layer].positions[ordinal as usize];
                    Some(self.entry(layer, at, Vec::new())?.member)
                }
            };
            let mut entry = self.entry(layer, at, path)?;
            if let Some(Member { mode, uid, gid, mtime, records, .. }) = last {
                let file = &mut entry.member;
                (file.uid, file.gid, file.mtime) = (uid, gid, mtime);
                if file.kind != MemberKind::Symlink {
                    file.mode = mode;
                }
                file.records.extend(records);
            }
            if let Some(first) = first {
                let Member { path, mode, uid, gid, mtime, .. } = entry.member;
                let link = Member::new(MemberKind::HardLink, path);
                entry.member = Member { link: first, mode, uid, gid, mtime, ..link };
                entry.content = None;
            }
            return Ok(Some(entry));
        }
        Ok(None)
    }

    /// Reads the member at a position of a layer. It gets another path, and loses what is not part of the file.
    fn entry(&mut self, layer: usize, at: u64, path: Vec<u8>) -> Result<MergedEntry<'_>> {
        let place = &self.layers[layer].place;
        let gone = || Error::source(format!("{place}: a member is not there any more"));
        let window = self.files[layer].as_mut().ok_or_else(gone)?;
        window.move_to(at);
        let mut reader = TarReader::new(window, place.as_str());
        let mut member = reader.next_member()?.ok_or_else(gone)?;
        member.path = path;
        // Names of owners would take precedence over their numbers, and mean other users elsewhere.
        (member.owner, member.group) = (Vec::new(), Vec::new());
        // Some writers add type bits.
        member.mode &= 0o7777;
        let records: Records = std::mem::take(&mut member.records);
        let is_kept = |keyword: &[u8]| KEPT.iter().any(|kept| keyword.starts_with(kept));
        member.records = records.into_iter().filter(|(keyword, _)| is_kept(keyword)).collect();
        Ok(MergedEntry { member, place, content: Some(reader) })
    }
}

fn refused(why: String) -> Error {
    Error::source(why).hint("'occystrap check' lists all problems of an image")
}

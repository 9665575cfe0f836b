//! The paths of all layers of an image in one tree.
//!
//! Each path has *versions*: what each layer has there, and which later layer deletes or replaces it. The merged file
//! system, the file system up to a layer, what a layer changed and what is wasted are questions to the versions.
//!
//! Whiteouts and replaced directories have the meaning of `occystrap_layer::overlay`; a property test compares both. What
//! it refuses: more than `MOST_NODES` paths.

mod build;
mod fates;
mod links;

use occystrap_layer::overlay::Fate;

pub use build::TreeBuilder;

/// Most paths of one tree, folders included: twice the members that a [`MemberList`] keeps. A path takes about 70 bytes
/// while the tree is built.
///
/// [`MemberList`]: occystrap_layer::overlay::MemberList
const MOST_NODES: usize = 8_000_000;

/// Most hard links in a row that are followed, as in `occystrap_layer::overlay`.
const LONGEST: usize = 40;

/// No node.
const NONE: u32 = u32::MAX;

/// A path of a [`Tree`]. Parents have lower numbers than their children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

/// The kind of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A file, a device or a FIFO.
    File,
    /// Another name of a file.
    HardLink,
}

impl NodeKind {
    /// Returns the name of the kind, for JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::File => "file",
            Self::HardLink => "hardlink",
        }
    }
}

/// What one layer has at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathVersion {
    /// Number of the layer, from 0 for the lowest.
    pub layer: usize,
    /// The kind.
    pub kind: NodeKind,
    /// Bytes of the content in the layer, without the holes of a sparse file; 0 for links and directories.
    pub size: u64,
    /// Whether a layer deletes or replaces the version. That is a later layer, or the same one if it has the path
    /// twice.
    pub fate: Fate,
    /// Whether the image has the content under another name, although this name is gone.
    pub kept: bool,
    /// Number of the member in its layer's list, from 0.
    pub ordinal: u32,
    /// Whether the layer has nothing below a directory; `true` for other kinds.
    pub is_leaf: bool,
    /// The node that a hard link leads to.
    link: u32,
}

impl PathVersion {
    /// Returns the layer that deletes or replaces the version.
    #[must_use]
    pub fn end(&self) -> Option<usize> {
        match self.fate {
            Fate::Present => None,
            Fate::Deleted(by) | Fate::Replaced(by) => Some(by),
        }
    }

    /// Returns whether a container that is made of the layers up to `layer` has the version.
    #[must_use]
    pub fn is_seen_at(&self, layer: usize) -> bool {
        self.layer <= layer && self.end().is_none_or(|end| end > layer)
    }

    /// Returns the bytes that no container of the image sees.
    #[must_use]
    pub fn wasted(&self) -> u64 {
        if self.end().is_some() && !self.kept { self.size } else { 0 }
    }
}

/// What a layer does to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The layers below do not have the path.
    Added,
    /// The layers below have the path as well. A directory that is listed again is one.
    Replaced,
    /// The layer deletes the path.
    Deleted,
}

struct TreeNode {
    parent: u32,
    /// Offset and length of the name.
    name: (u32, u32),
    /// Start and number of the children in `Tree::order`.
    children: (u32, u32),
    /// Start and number of the versions.
    versions: (u32, u32),
}

/// A deletion of a path by a whiteout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cut {
    node: u32,
    layer: u16,
    /// Whether only what is below the path is deleted (an opaque directory).
    below: bool,
}

/// The paths of all layers of an image. See the module.
pub struct Tree {
    nodes: Vec<TreeNode>,
    names: Vec<u8>,
    /// Nodes by parent and name.
    order: Vec<u32>,
    /// Versions by node, then lowest layer first.
    versions: Vec<PathVersion>,
    /// Deletions by node and layer.
    cuts: Vec<Cut>,
}

/// A sum over the versions at and below each path.
pub struct Sums(Vec<u64>);

impl Sums {
    /// Returns the sum at and below a path.
    #[must_use]
    pub fn at(&self, node: NodeId) -> u64 {
        self.0[node.0 as usize]
    }
}

impl Tree {
    /// The root of the image.
    pub const ROOT: NodeId = NodeId(0);

    /// Returns the number of paths, with the root.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always a root")]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Returns all paths, parents before children, in no other order.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }

    fn node(&self, node: NodeId) -> &TreeNode {
        &self.nodes[node.0 as usize]
    }

    /// Returns the last component of a path; empty for the root.
    #[must_use]
    pub fn name(&self, node: NodeId) -> &[u8] {
        let (start, length) = self.node(node).name;
        &self.names[start as usize..][..length as usize]
    }

    /// Returns a path from the root, without a leading slash.
    #[must_use]
    pub fn path(&self, node: NodeId) -> Vec<u8> {
        let above = std::iter::successors(Some(node), |node| self.parent(*node));
        let mut names: Vec<&[u8]> = above.map(|node| self.name(node)).collect();
        names.pop();
        names.reverse();
        names.join(&b'/')
    }

    /// Returns the folder of a path; `None` for the root.
    #[must_use]
    pub fn parent(&self, node: NodeId) -> Option<NodeId> {
        Some(self.node(node).parent).filter(|parent| *parent != NONE).map(NodeId)
    }

    /// Returns the number of folders around a path: 0 for an entry of the root.
    #[must_use]
    pub fn depth(&self, node: NodeId) -> usize {
        std::iter::successors(self.parent(node), |node| self.parent(*node)).count().max(1) - 1
    }

    /// Returns the paths directly below a path, by name.
    pub fn children(&self, node: NodeId) -> impl DoubleEndedIterator<Item = NodeId> {
        let (start, count) = self.node(node).children;
        self.order[start as usize..][..count as usize].iter().copied().map(NodeId)
    }

    /// Returns the node of a plain path.
    #[must_use]
    pub fn find(&self, path: &[u8]) -> Option<NodeId> {
        let mut at = Self::ROOT;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            let (start, count) = self.node(at).children;
            let children = &self.order[start as usize..][..count as usize];
            let found = children.binary_search_by(|child| self.name(NodeId(*child)).cmp(name));
            at = NodeId(children[found.ok()?]);
        }
        Some(at)
    }

    /// Returns all paths in the order of a walk: each folder before its entries, entries by name.
    #[must_use]
    pub fn walk(&self) -> Vec<NodeId> {
        let (mut walked, mut rest) = (Vec::with_capacity(self.len()), vec![Self::ROOT]);
        while let Some(node) = rest.pop() {
            walked.push(node);
            rest.extend(self.children(node).rev());
        }
        walked
    }

    /// Returns what the layers have at a path, lowest layer first; nothing for a directory that no layer lists.
    #[must_use]
    pub fn versions(&self, node: NodeId) -> &[PathVersion] {
        let (start, count) = self.node(node).versions;
        &self.versions[start as usize..][..count as usize]
    }

    /// Returns what a container of the layers up to `layer` has at a path; also `None` for a directory that no layer
    /// lists.
    #[must_use]
    pub fn at(&self, node: NodeId, layer: usize) -> Option<&PathVersion> {
        self.versions(node).iter().rev().find(|version| version.is_seen_at(layer))
    }

    /// Returns what a layer does to a path; `None` if it leaves the path as it is.
    #[must_use]
    pub fn effect(&self, node: NodeId, layer: usize) -> Option<Effect> {
        let before = layer.checked_sub(1).and_then(|below| self.at(node, below));
        match (before, self.at(node, layer)) {
            (None, Some(version)) if version.layer == layer => Some(Effect::Added),
            (Some(_), Some(version)) if version.layer == layer => Some(Effect::Replaced),
            (Some(_), None) => Some(Effect::Deleted),
            _ => None,
        }
    }

    /// Returns the layers that delete a path itself by a whiteout, lowest first.
    pub fn deleted_by(&self, node: NodeId) -> impl Iterator<Item = usize> {
        let start = self.cuts.partition_point(|cut| cut.node < node.0);
        let own = self.cuts[start..].iter().take_while(move |cut| cut.node == node.0);
        own.filter(|cut| !cut.below).map(|cut| usize::from(cut.layer))
    }

    /// Returns the path and the version that have the content of a hard link. `None` for other kinds, and for a link that
    /// leads nowhere.
    #[must_use]
    pub fn content(&self, link: &PathVersion) -> Option<(NodeId, &PathVersion)> {
        let (mut node, mut version) = self.target(link)?;
        for _ in 0..LONGEST {
            if version.kind != NodeKind::HardLink {
                return Some((node, version));
            }
            (node, version) = self.target(version)?;
        }
        None
    }

    /// Returns what a hard link leads to: an earlier member of its own layer, or what the next lower layer has there.
    #[must_use]
    pub fn target(&self, link: &PathVersion) -> Option<(NodeId, &PathVersion)> {
        if link.link == NONE {
            return None;
        }
        let node = NodeId(link.link);
        let is_before = |target: &&PathVersion| {
            let place = (target.layer, target.ordinal);
            place < (link.layer, link.ordinal) && target.kind != NodeKind::Directory
        };
        self.versions(node).iter().rev().find(is_before).map(|found| (node, found))
    }

    /// Returns the sums of a number of each version, at and below each path.
    #[must_use]
    pub fn sums(&self, of: impl Fn(&PathVersion) -> u64) -> Sums {
        let own = |node: NodeId| self.versions(node).iter().map(&of).sum();
        let mut sums: Vec<u64> = self.nodes().map(own).collect();
        for node in self.nodes().rev() {
            if let Some(parent) = self.parent(node) {
                let below = sums[node.0 as usize];
                let around = &mut sums[parent.0 as usize];
                *around = around.saturating_add(below);
            }
        }
        Sums(sums)
    }
}

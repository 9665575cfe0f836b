//! Building a tree from the members of each layer, the lowest layer first.

use std::collections::HashMap;

use super::fates::set_fates;
use super::links::FollowedLinks;
use super::{Cut, MOST_NODES, NONE, NodeKind, PathVersion, Tree, TreeNode};
use occystrap_layer::overlay::path::split;
use occystrap_layer::overlay::{Change, Fate, HashedPath, ListedMember, MemberList};

/// A tree that is being built. Layers are added the lowest first.
pub struct TreeBuilder {
    nodes: Vec<TreeNode>,
    names: Vec<u8>,
    /// Nodes by the hash of their path.
    index: HashMap<u64, u32>,
    versions: Vec<(u32, PathVersion)>,
    cuts: Vec<Cut>,
    /// The last layer that has something below each node.
    below: Vec<u16>,
    /// The folders of the last path, and the path itself: length and node of each.
    last: Vec<(usize, u32)>,
    last_path: Vec<u8>,
    layers: u16,
    /// The symbolic links, if names that lead through them are followed.
    links: Option<FollowedLinks>,
    /// Whether paths are missing, because there are more than `MOST_NODES`.
    pub cut: bool,
}

/// No layer.
const NO_LAYER: u16 = u16::MAX;

impl Default for TreeBuilder {
    fn default() -> Self {
        let root = TreeNode { parent: NONE, name: (0, 0), children: (0, 0), versions: (0, 0) };
        Self {
            nodes: vec![root],
            names: Vec::new(),
            index: HashMap::new(),
            versions: Vec::new(),
            cuts: Vec::new(),
            below: vec![NO_LAYER],
            last: Vec::new(),
            last_path: Vec::new(),
            layers: 0,
            links: None,
            cut: false,
        }
    }
}

impl TreeBuilder {
    /// Returns a builder that follows symbolic links in the folders of a name, as containerd, Podman and umoci do when
    /// they apply a layer: after a layer with the link `lib` to `usr/lib`, `lib/x` is `usr/lib/x`.
    #[must_use]
    pub fn through_links() -> Self {
        Self { links: Some(FollowedLinks::default()), ..Self::default() }
    }

    /// Adds the next layer.
    pub fn layer(&mut self, members: &MemberList) {
        let first = self.versions.len();
        let mut ordinal = 0;
        members.each(|entry| {
            match &self.links {
                None => self.add(entry, ordinal),
                Some(links) => {
                    let path = links.follow(entry.path);
                    let link = match entry.act {
                        Change::HardLink => links.follow(entry.link),
                        _ => entry.link.to_vec(),
                    };
                    let entry = ListedMember { path: &path, link: &link, ..*entry };
                    self.add(&entry, ordinal);
                    self.note_link(&entry);
                }
            }
            ordinal += 1;
        });
        self.cut |= members.cut;
        for (node, version) in &mut self.versions[first..] {
            version.is_leaf =
                version.kind != NodeKind::Directory || self.below[*node as usize] != self.layers;
        }
        self.layers += 1;
    }

    /// Adds a member of the layer that is being added.
    fn add(&mut self, entry: &ListedMember, ordinal: u32) {
        let kind = match entry.act {
            Change::Directory => NodeKind::Directory,
            Change::Symlink => NodeKind::Symlink,
            Change::File => NodeKind::File,
            Change::HardLink => NodeKind::HardLink,
            Change::Delete | Change::Empty => return self.delete(entry),
            Change::Ignored => return,
        };
        let Some(node) = self.node(entry.path) else {
            self.cut = true;
            return;
        };
        let link = match entry.act {
            Change::HardLink => self.known(entry.link).unwrap_or(NONE),
            _ => NONE,
        };
        self.mark(self.nodes[node as usize].parent);
        let version = PathVersion {
            layer: usize::from(self.layers),
            kind,
            size: entry.size,
            fate: Fate::Present,
            kept: false,
            ordinal,
            is_leaf: true,
            link,
        };
        self.versions.push((node, version));
    }

    /// Notes a whiteout. One for a path that no layer has so far deletes nothing.
    fn delete(&mut self, entry: &ListedMember) {
        let below = entry.act == Change::Empty;
        if !below && let Some(folder) = self.known(split(entry.path).0) {
            self.mark(folder);
        }
        if let Some(node) = self.known(entry.path) {
            self.cuts.push(Cut { node, layer: self.layers, below });
        }
    }

    /// Notes that the layer has something below a node.
    fn mark(&mut self, node: u32) {
        let mut at = node;
        while at != NONE && self.below[at as usize] != self.layers {
            self.below[at as usize] = self.layers;
            at = self.nodes[at as usize].parent;
        }
    }

    /// Returns the node of a path that is in the tree.
    fn known(&self, path: &[u8]) -> Option<u32> {
        if path.is_empty() { Some(0) } else { self.index.get(&HashedPath::of(path).hash).copied() }
    }

    /// Returns the node of a path, which is added with its folders if it is new; `None` if there are too many.
    fn node(&mut self, path: &[u8]) -> Option<u32> {
        let shared = path.iter().zip(&self.last_path).take_while(|(a, b)| a == b).count();
        let is_folder =
            |end: usize| end <= shared && path.get(end).is_none_or(|byte| *byte == b'/');
        while self.last.last().is_some_and(|(end, _)| !is_folder(*end)) {
            self.last.pop();
        }
        self.last_path.clear();
        self.last_path.extend_from_slice(path);
        let (mut start, mut parent) =
            self.last.last().map_or((0, 0), |(end, node)| (end + 1, *node));
        while start < path.len() {
            let rest = &path[start..];
            let length = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            let end = start + length;
            let hash = HashedPath::of(&path[..end]).hash;
            let node = match self.index.get(&hash) {
                Some(node) => *node,
                None => {
                    let node = self.new_node(parent, &rest[..length])?;
                    self.index.insert(hash, node);
                    node
                }
            };
            self.last.push((end, node));
            (start, parent) = (end + 1, node);
        }
        Some(parent)
    }

    fn new_node(&mut self, parent: u32, name: &[u8]) -> Option<u32> {
        let start = u32::try_from(self.names.len()).ok()?;
        // The end must be a number as well.
        u32::try_from(self.names.len() + name.len()).ok()?;
        if self.nodes.len() >= MOST_NODES {
            return None;
        }
        self.names.extend_from_slice(name);
        let name = (start, name.len() as u32);
        self.nodes.push(TreeNode { parent, name, children: (0, 0), versions: (0, 0) });
        self.below.push(NO_LAYER);
        Some(self.nodes.len() as u32 - 1)
    }

    /// Notes what a member does to the links that are followed.
    fn note_link(&mut self, entry: &ListedMember) {
        let layer = self.layers;
        let Some(links) = &mut self.links else { return };
        match entry.act {
            Change::Delete => links.remove(entry.path, true, layer),
            Change::Empty => links.remove(entry.path, false, layer),
            Change::Ignored => {}
            // A directory does not replace what is below it.
            Change::Directory => links.replace(entry.path),
            Change::File | Change::HardLink => links.remove(entry.path, true, u16::MAX),
            Change::Symlink => {
                links.remove(entry.path, true, u16::MAX);
                links.add(entry.path, entry.link, layer);
            }
        }
    }

    /// Returns the tree of all layers.
    #[must_use]
    pub fn finish(self) -> Tree {
        let Self { mut nodes, names, index, versions, mut cuts, below, .. } = self;
        drop((index, below));
        let order = order(&mut nodes, &names);
        let versions = by_node(&mut nodes, versions);
        cuts.sort_unstable();
        cuts.dedup();
        let mut tree = Tree { nodes, names, order, versions, cuts };
        set_fates(&mut tree);
        tree
    }
}

/// Returns all nodes but the root by parent and name, and notes the children of each node.
fn order(nodes: &mut [TreeNode], names: &[u8]) -> Vec<u32> {
    let mut order: Vec<u32> = (1..nodes.len() as u32).collect();
    let name = |node: &TreeNode| &names[node.name.0 as usize..][..node.name.1 as usize];
    // A stable sort is fast for what is mostly in order.
    order.sort_by(|one, other| {
        let (one, other) = (&nodes[*one as usize], &nodes[*other as usize]);
        one.parent.cmp(&other.parent).then_with(|| name(one).cmp(name(other)))
    });
    for (at, node) in order.iter().enumerate() {
        let parent = nodes[*node as usize].parent;
        let children = &mut nodes[parent as usize].children;
        if children.1 == 0 {
            children.0 = at as u32;
        }
        children.1 += 1;
    }
    order
}

/// Returns versions by node, otherwise in the same order, and notes those of each node.
fn by_node(nodes: &mut [TreeNode], mut versions: Vec<(u32, PathVersion)>) -> Vec<PathVersion> {
    versions.sort_by_key(|(node, _)| *node);
    for (at, (node, _)) in versions.iter().enumerate() {
        let own = &mut nodes[*node as usize].versions;
        if own.1 == 0 {
            own.0 = at as u32;
        }
        own.1 += 1;
    }
    versions.into_iter().map(|(_, version)| version).collect()
}

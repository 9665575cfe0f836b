//! The fate of each version: which later layer deletes or replaces it, and whether a hard link keeps its content.

use super::{Cut, NONE, NodeId, NodeKind, PathVersion, Tree};
use occystrap_layer::overlay::Fate;

/// The layers that delete everything below a node: its own, in addition to those of a node above.
///
/// A node whose layers are all in the list above has no list of its own, so that a chain of lists is no longer than the
/// number of layers.
struct Deletions {
    above: u32,
    layers: Vec<u16>,
}

/// The lists of all nodes.
#[derive(Default)]
struct Lists(Vec<Deletions>);

impl Lists {
    /// Returns the first layer after `layer` that deletes what is below the node of a list.
    fn next(&self, list: u32, layer: usize) -> Option<usize> {
        let chain = std::iter::successors(self.get(list), |list| self.get(list.above));
        let after = |list: &Deletions| {
            let at = list.layers.partition_point(|own| usize::from(*own) <= layer);
            list.layers.get(at).copied()
        };
        chain.filter_map(after).min().map(usize::from)
    }

    fn get(&self, list: u32) -> Option<&Deletions> {
        self.0.get(list as usize)
    }

    fn has(&self, list: u32, layer: u16) -> bool {
        let mut chain = std::iter::successors(self.get(list), |list| self.get(list.above));
        chain.any(|list| list.layers.binary_search(&layer).is_ok())
    }

    /// Returns the list for what is below a node with these layers of its own.
    fn below(&mut self, above: u32, mut layers: Vec<u16>) -> u32 {
        layers.retain(|layer| !self.has(above, *layer));
        if layers.is_empty() {
            return above;
        }
        layers.sort_unstable();
        layers.dedup();
        self.0.push(Deletions { above, layers });
        self.0.len() as u32 - 1
    }
}

/// Sets the fate of each version of a tree.
pub fn set_fates(tree: &mut Tree) {
    let mut lists = Lists::default();
    // The list of each node, for what is below it.
    let mut below: Vec<u32> = Vec::with_capacity(tree.nodes.len());
    let mut cuts = tree.cuts.as_slice();
    for (index, node) in tree.nodes.iter().enumerate() {
        let above = below.get(node.parent as usize).copied().unwrap_or(NONE);
        let count = cuts.iter().take_while(|cut| cut.node as usize == index).count();
        let (own, rest) = cuts.split_at(count);
        cuts = rest;
        let (start, count) = node.versions;
        let versions = &mut tree.versions[start as usize..][..count as usize];
        of_versions(versions, own, |layer| lists.next(above, layer));
        let list = match node.children.1 {
            0 => above,
            _ => {
                let files = versions.iter().filter(|version| version.kind != NodeKind::Directory);
                let files = files.map(|version| version.layer as u16);
                lists.below(above, own.iter().map(|cut| cut.layer).chain(files).collect())
            }
        };
        below.push(list);
    }
    keep_linked(tree);
}

/// Sets the fates of the versions of one path. `cuts` are the whiteouts of the path, `gone` returns the first layer after
/// another that deletes a folder of the path.
fn of_versions(versions: &mut [PathVersion], cuts: &[Cut], gone: impl Fn(usize) -> Option<usize>) {
    // The next version above, the next that is not a directory, and the layers of the directories above.
    let (mut next, mut next_file) = (None, None);
    for index in (0..versions.len()).rev() {
        let PathVersion { layer, kind, .. } = versions[index];
        let own = cuts.iter().filter(|cut| !cut.below).map(|cut| usize::from(cut.layer));
        let deleted = [own.filter(|own| *own > layer).min(), gone(layer)];
        let deleted = deleted.into_iter().flatten().min();
        // A directory that is listed again keeps its content.
        let replaced = if kind == NodeKind::Directory { next_file } else { next };
        let is_repeated = next == Some(layer);
        versions[index].fate = match (deleted, replaced) {
            _ if is_repeated => Fate::Replaced(layer),
            (Some(by), Some(with)) if with <= by => Fate::Replaced(with),
            (None, Some(with)) => Fate::Replaced(with),
            (Some(by), _) => {
                let above = &versions[index + 1..];
                match above.binary_search_by_key(&by, |above| above.layer) {
                    Ok(_) => Fate::Replaced(by),
                    Err(_) => Fate::Deleted(by),
                }
            }
            (None, None) => Fate::Present,
        };
        next = Some(layer);
        if kind != NodeKind::Directory {
            next_file = Some(layer);
        }
    }
}

/// Notes which content hard links keep in the image.
fn keep_linked(tree: &mut Tree) {
    let seen = |version: &&PathVersion| version.fate == Fate::Present;
    let contents = tree.versions.iter().filter(seen).filter_map(|link| tree.content(link));
    let kept: Vec<_> =
        contents.map(|(node, version)| (node, version.layer, version.ordinal)).collect();
    for (NodeId(node), layer, ordinal) in kept {
        let (start, count) = tree.nodes[node as usize].versions;
        let versions = &mut tree.versions[start as usize..][..count as usize];
        let own = |version: &&mut PathVersion| (version.layer, version.ordinal) == (layer, ordinal);
        if let Some(version) = versions.iter_mut().find(own) {
            version.kept = true;
        }
    }
}

#[cfg(test)]
mod tests;

//! The efficiency of an image, as dive defines it (wagoodman/dive, `dive/filetree/efficiency.go` and
//! `dive/image/analysis.go`), so that both tools give one number and a `.dive-ci` file means the same.
//!
//! Each layer counts a path once: with the bytes of its file, with nothing for an empty directory or the whiteout of a
//! file, and with all bytes below it for the whiteout of a directory. The efficiency is the sum of the smallest count of
//! each path, divided by the sum of all counts. Opaque markers count nothing.

use serde::Serialize;

use super::tree::{NodeId, NodeKind, PathVersion, Tree};

/// The efficiency of an image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Efficiency {
    /// From 0 to 1; 1 for an image without files.
    pub score: f64,
    /// Bytes of all counts of the paths that are counted more than once.
    pub wasted_bytes: u64,
    /// `wasted_bytes` divided by the bytes of all layers but the lowest; 0 if those have none. It can be above 1.
    pub user_wasted_share: f64,
}

/// The counts of one path.
#[derive(Default)]
struct Counts {
    number: usize,
    sum: u64,
    smallest: Option<u64>,
}

impl Counts {
    fn add(&mut self, bytes: u64) {
        self.number += 1;
        self.sum = self.sum.saturating_add(bytes);
        self.smallest = Some(self.smallest.map_or(bytes, |known| known.min(bytes)));
    }
}

impl Efficiency {
    /// Computes the efficiency of the image of a tree.
    #[must_use]
    pub fn of(tree: &Tree) -> Self {
        let deleted = deleted_directories(tree);
        let (mut smallest, mut all, mut wasted) = (0_u64, 0_u64, 0_u64);
        let mut deletions = deleted.iter().peekable();
        for node in tree.nodes() {
            let mut counts = Counts::default();
            let versions = tree.versions(node);
            for (index, version) in versions.iter().enumerate() {
                // Of a member that a layer repeats, the last counts.
                let is_last = versions.get(index + 1).is_none_or(|next| next.layer > version.layer);
                if is_last && version.is_leaf {
                    counts.add(version.size);
                }
            }
            for layer in tree.deleted_by(node) {
                let of_directory = deletions.next_if(|(at, by, _)| (*at, *by) == (node, layer));
                let is_there = layer.checked_sub(1).is_some_and(|below| exists(tree, node, below));
                if is_there {
                    counts.add(of_directory.map_or(0, |(.., bytes)| *bytes));
                }
            }
            smallest = smallest.saturating_add(counts.smallest.unwrap_or_default());
            all = all.saturating_add(counts.sum);
            if counts.number > 1 {
                wasted = wasted.saturating_add(counts.sum);
            }
        }
        let user = tree.sums(|version| if version.layer > 0 { version.size } else { 0 });
        let user = user.at(Tree::ROOT);
        let share = |part: u64, whole: u64| part as f64 / whole as f64;
        Self {
            score: if all == 0 { 1.0 } else { share(smallest, all) },
            wasted_bytes: wasted,
            user_wasted_share: if user == 0 { 0.0 } else { share(wasted, user) },
        }
    }
}

/// Returns whether the layers up to `layer` have something at a path.
fn exists(tree: &Tree, node: NodeId, layer: usize) -> bool {
    tree.at(node, layer).is_some()
        || tree.children(node).any(|child| tree.at(child, layer).is_some())
}

/// Returns the whiteouts of directories that a layer lists, by node and layer: with the bytes that were below each.
fn deleted_directories(tree: &Tree) -> Vec<(NodeId, usize, u64)> {
    let mut found = Vec::new();
    for node in tree.nodes() {
        for layer in tree.deleted_by(node) {
            let before = layer.checked_sub(1).and_then(|below| tree.at(node, below));
            if before.is_some_and(|version| version.kind == NodeKind::Directory) {
                found.push((node, layer, 0));
            }
        }
    }
    let mut layers: Vec<usize> = found.iter().map(|(_, layer, _)| *layer).collect();
    layers.sort_unstable();
    layers.dedup();
    for layer in layers {
        let seen = |version: &PathVersion| version.is_seen_at(layer - 1);
        let sums = tree.sums(|version| if seen(version) { version.size } else { 0 });
        for (node, by, bytes) in &mut found {
            if *by == layer {
                *bytes = sums.at(*node);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use occystrap_layer::overlay::{MemberBudget, MemberList};
    use occystrap_layer::tar::{Member, MemberKind};

    use super::super::tree::TreeBuilder;
    use super::*;

    /// Names that end with a slash are directories.
    fn efficiency(layers: &[&[(&str, u64)]]) -> Efficiency {
        let mut builder = TreeBuilder::default();
        for members in layers {
            let mut list = MemberList::default();
            for (name, size) in *members {
                let kind = match name.strip_suffix('/') {
                    Some(_) => MemberKind::Directory,
                    None => MemberKind::File,
                };
                let member =
                    Member { size: *size, ..Member::new(kind, name.trim_end_matches('/')) };
                list.add(&member, &MemberBudget::default());
            }
            builder.layer(&list);
        }
        Efficiency::of(&builder.finish())
    }

    /// The cases of dive's own `efficiency_test.go`, and its counts for directories.
    #[test]
    fn it_is_dives_number() {
        let of = |score, wasted_bytes, user_wasted_share| Efficiency {
            score,
            wasted_bytes,
            user_wasted_share,
        };
        // A file in each of three layers: 2,000 + 3,000 + 5,000, and one that stays.
        let layers: [&[(&str, u64)]; 3] = [
            &[("etc/nginx/nginx.conf", 2_000), ("etc/nginx/public", 3_000)],
            &[("etc/nginx/nginx.conf", 5_000), ("etc/athing", 10_000)],
            &[("etc/.wh.nginx", 0)],
        ];
        // The folder 'etc/nginx' is in no layer as a member, so that its whiteout counts nothing.
        let found = efficiency(&layers);
        assert_eq!((found.score, found.wasted_bytes), (15_000.0 / 20_000.0, 7_000));
        assert_eq!(efficiency(&[]), of(1.0, 0, 0.0));
        assert_eq!(efficiency(&[&[("a", 5)]]), of(1.0, 0, 0.0));
        assert_eq!(efficiency(&[&[("a", 5)], &[(".wh.a", 0)]]), of(0.0, 5, 0.0));
        // The whiteout of a listed directory counts what was below it, once.
        let deleted = efficiency(&[&[("d/", 0), ("d/x", 8)], &[(".wh.d", 0), ("y", 4)]]);
        assert_eq!(deleted, of(1.0, 0, 0.0));
        // An empty directory counts as well, so that its path is counted twice.
        let deleted = efficiency(&[&[("d/", 0)], &[("d/x", 8)], &[(".wh.d", 0)]]);
        assert_eq!(deleted, of(8.0 / 16.0, 8, 1.0));
    }
}

//! The largest directories and files of a layer, or all of them.

use std::cell::OnceCell;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use super::tree::{NodeId, NodeKind, PathVersion, Sums, Tree};

/// How many entries are shown for a layer, unless the user wants another number.
pub const MOST: usize = 8;

/// An entry must have at least this fraction of the layer: a fiftieth. Smaller entries are not shown, unless the user asks
/// for a number of entries.
const SMALLEST_SHARE: u64 = 50;

/// An entry that has all bytes of its directory except at most a twentieth is shown instead of the directory.
const NEARLY_ALL: u64 = 20;

/// A directory or a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageEntry {
    /// Path from the root of the image, without a leading slash.
    pub path: Vec<u8>,
    /// `directory`, `file`, `symlink` or `hardlink`.
    pub kind: &'static str,
    /// Bytes of its files.
    pub size: u64,
    /// Number of entries before it that contain it.
    pub depth: usize,
}

/// How many entries are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// Those that a reader can take in at a glance.
    Glance,
    /// As many, whatever their share.
    Top(usize),
}

/// The part of a tree that is of interest: the versions of one layer, or those that one layer deletes.
pub struct LargestPart<'a> {
    tree: &'a Tree,
    is_in: Box<dyn Fn(&PathVersion) -> bool + 'a>,
    sizes: Sums,
    /// Numbers of versions, which only complete lists need.
    counts: OnceCell<Sums>,
}

impl<'a> LargestPart<'a> {
    /// Returns the part of those versions for which `is_in` holds.
    #[must_use]
    pub fn of(tree: &'a Tree, is_in: impl Fn(&PathVersion) -> bool + 'a) -> Self {
        Self {
            sizes: tree.sums(|version| if is_in(version) { version.size } else { 0 }),
            counts: OnceCell::new(),
            is_in: Box::new(is_in),
            tree,
        }
    }

    fn has(&self, node: NodeId) -> bool {
        let count = || self.tree.sums(|version| u64::from((self.is_in)(version)));
        self.counts.get_or_init(count).at(node) > 0
    }

    /// Returns the bytes of all files of the part.
    #[must_use]
    pub fn whole(&self) -> u64 {
        self.sizes.at(Tree::ROOT)
    }

    /// Calls `visit` for every path of the part: parents before children, the larger first.
    pub fn each(&self, mut visit: impl FnMut(&UsageEntry)) -> usize {
        let (mut rest, mut count) = (self.sorted(Tree::ROOT), 0);
        while let Some((node, depth)) = rest.pop() {
            visit(&self.entry(node, depth));
            count += 1;
            rest.extend(self.sorted(node).into_iter().map(|(child, _)| (child, depth + 1)));
        }
        count
    }

    /// Returns the number of paths of the part.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tree.nodes().skip(1).filter(|node| self.has(*node)).count()
    }

    /// Returns the children of a node that are in the part, the one to visit first at the end.
    fn sorted(&self, node: NodeId) -> Vec<(NodeId, usize)> {
        let children = self.tree.children(node).filter(|child| self.has(*child));
        let mut children: Vec<(NodeId, usize)> = children.map(|child| (child, 0)).collect();
        // Stable, so that equal sizes stay in the order of their names.
        children.sort_by_key(|(child, _)| Reverse(self.sizes.at(*child)));
        children.reverse();
        children
    }

    fn entry(&self, node: NodeId, depth: usize) -> UsageEntry {
        let own = self.tree.versions(node).iter().rev().find(|version| (self.is_in)(version));
        // A directory that the layer does not list has something below it.
        let kind = own.map_or(NodeKind::Directory, |version| version.kind);
        UsageEntry {
            path: self.tree.path(node),
            kind: kind.name(),
            size: self.sizes.at(node),
            depth,
        }
    }

    /// Returns the largest entries: parents before children, the larger first.
    #[must_use]
    pub fn largest(&self, amount: Amount) -> Vec<UsageEntry> {
        let whole = self.whole();
        let is_worth = |size: u64| match amount {
            Amount::Glance => size > 0 && size.saturating_mul(SMALLEST_SHARE) >= whole,
            Amount::Top(_) => size > 0,
        };
        let worth = |node: &NodeId| is_worth(self.sizes.at(*node));
        let mut chosen: Vec<NodeId> = self.tree.nodes().skip(1).filter(worth).collect();
        let is_shown_by_child = |node: &NodeId| {
            let around = self.sizes.at(*node);
            let has_nearly_all = |child: NodeId| {
                let size = self.sizes.at(child);
                size > 0 && around - size.min(around) <= around / NEARLY_ALL
            };
            self.tree.children(*node).filter(worth).any(has_nearly_all)
        };
        chosen.retain(|node| !is_shown_by_child(node));
        let most = match amount {
            Amount::Glance => MOST,
            Amount::Top(most) => most,
        };
        let size = |node: &NodeId| Reverse(self.sizes.at(*node));
        // Of a million entries only those are sorted by their paths that may be shown.
        if most < chosen.len() {
            let (_, last, _) = chosen.select_nth_unstable_by_key(most, size);
            let smallest = self.sizes.at(*last);
            chosen.retain(|node| self.sizes.at(*node) >= smallest);
        }
        // A parent is at least as large as its children, so that it comes before them.
        chosen.sort_by(|one, other| {
            let order = size(one).cmp(&size(other));
            order.then_with(|| self.tree.path(*one).cmp(&self.tree.path(*other)))
        });
        chosen.truncate(most);
        self.placed(&chosen)
    }

    /// Returns the chosen nodes, each followed by those within it.
    fn placed(&self, chosen: &[NodeId]) -> Vec<UsageEntry> {
        let known: HashSet<NodeId> = chosen.iter().copied().collect();
        let mut within: HashMap<Option<NodeId>, Vec<NodeId>> = HashMap::new();
        for node in chosen.iter().rev() {
            let mut above =
                std::iter::successors(self.tree.parent(*node), |at| self.tree.parent(*at));
            within.entry(above.find(|at| known.contains(at))).or_default().push(*node);
        }
        let mut rest: Vec<(NodeId, usize)> = Vec::new();
        let of = |node: Option<NodeId>, depth: usize| {
            within.get(&node).into_iter().flatten().map(move |node| (*node, depth))
        };
        rest.extend(of(None, 0));
        let mut placed = Vec::new();
        while let Some((node, depth)) = rest.pop() {
            placed.push(self.entry(node, depth));
            rest.extend(of(Some(node), depth + 1));
        }
        placed
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::TreeBuilder;
    use super::*;
    use occystrap_layer::overlay::{MemberBudget, MemberList};
    use occystrap_layer::tar::{Member, MemberKind};

    fn tree(files: &[(&str, u64)]) -> Tree {
        let (mut members, mut builder) = (MemberList::default(), TreeBuilder::default());
        for (path, size) in files {
            let member = Member { size: *size, ..Member::new(MemberKind::File, *path) };
            members.add(&member, &MemberBudget::default());
        }
        builder.layer(&members);
        builder.finish()
    }

    fn line(entry: &UsageEntry) -> String {
        let path = String::from_utf8_lossy(&entry.path);
        format!("{}{path} {}", " ".repeat(entry.depth), entry.size)
    }

    fn shown(files: &[(&str, u64)], amount: Amount) -> Vec<String> {
        let tree = tree(files);
        LargestPart::of(&tree, |_| true).largest(amount).iter().map(line).collect()
    }

    const FILES: [(&str, u64); 6] = [
        ("usr/lib/x86_64/libc", 400),
        ("usr/lib/x86_64/libm", 300),
        ("usr/lib/x86_64/small", 1),
        ("usr/share/doc/a", 150),
        ("var/lib/db", 100),
        ("etc/motd", 2),
    ];

    #[test]
    fn the_most_telling_entries_are_shown() {
        assert_eq!(
            shown(&FILES, Amount::Glance),
            [
                "usr 851",
                " usr/lib/x86_64 701",
                "  usr/lib/x86_64/libc 400",
                "  usr/lib/x86_64/libm 300",
                " usr/share/doc/a 150",
                "var/lib/db 100",
            ]
        );
        assert_eq!(shown(&[], Amount::Glance), [""; 0]);
        assert_eq!(shown(&[("a", 0)], Amount::Glance), [""; 0]);
        let many: Vec<String> = (0..30).map(|n| format!("f{n}")).collect();
        let many: Vec<(&str, u64)> = many.iter().map(|name| (name.as_str(), 5)).collect();
        assert_eq!(shown(&many, Amount::Glance).len(), MOST);
        assert_eq!(shown(&many, Amount::Top(25)).len(), 25);
        assert_eq!(shown(&FILES, Amount::Top(2)), ["usr 851", " usr/lib/x86_64 701"]);
        assert_eq!(shown(&FILES, Amount::Top(100)).last().unwrap(), "etc/motd 2");
    }

    #[test]
    fn nothing_is_left_out_of_all() {
        let tree = tree(&FILES);
        let part = LargestPart::of(&tree, |_| true);
        let mut lines = Vec::new();
        assert_eq!(part.each(|entry| lines.push(line(entry))), part.count());
        assert_eq!(lines.len(), 14);
        assert_eq!(
            lines[..4],
            ["usr 851", " usr/lib 701", "  usr/lib/x86_64 701", "   usr/lib/x86_64/libc 400"]
        );
        assert_eq!(lines[12..], ["etc 2", " etc/motd 2"]);
    }
}

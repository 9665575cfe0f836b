//! The largest directories and files of a layer.

use std::collections::BTreeMap;

use serde::Serialize;

use occystrap_layer::overlay::path::{folders, split};
use occystrap_layer::overlay::{Change, MemberList};

/// The largest number of entries that is shown for a layer.
const MOST: usize = 8;

/// An entry must have at least this fraction of the layer: a fiftieth. Smaller entries are not shown.
const SMALLEST_SHARE: u64 = 50;

/// An entry that has all bytes of its directory except at most a twentieth is shown instead of the directory.
const NEARLY_ALL: u64 = 20;

/// A directory or a file of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UsageEntry {
    /// Path from the root of the image, without a leading slash.
    pub path: String,
    /// `directory` or `file`.
    pub kind: &'static str,
    /// Bytes of its files.
    pub size: u64,
    /// Number of entries before it that contain it.
    pub depth: usize,
}

/// Returns the largest entries of a layer with `whole` bytes: parents before children, the larger first.
#[must_use]
pub fn largest(members: &MemberList, whole: u64) -> Vec<UsageEntry> {
    let mut nodes: BTreeMap<Vec<u8>, (u64, &'static str)> = BTreeMap::new();
    members.each(|entry| {
        if entry.act != Change::File {
            return;
        }
        for folder in folders(entry.path) {
            match nodes.get_mut(folder) {
                Some((size, _)) => *size += entry.size,
                None => drop(nodes.insert(folder.to_vec(), (entry.size, "directory"))),
            }
        }
        // Small files are left out here, because they are many and never shown.
        if is_worth(entry.size, whole) {
            nodes.entry(entry.path.to_vec()).or_insert((0, "file")).0 += entry.size;
        }
    });
    nodes.retain(|_, (size, _)| is_worth(*size, whole));
    let shown_by_child: Vec<Vec<u8>> = nodes
        .iter()
        .filter_map(|(path, (size, _))| {
            let (parent, _) = split(path);
            // The root is not an entry.
            let (around, _) = nodes.get(parent)?;
            (around - size.min(around) <= around / NEARLY_ALL).then(|| parent.to_vec())
        })
        .collect();
    nodes.retain(|path, _| !shown_by_child.contains(path));
    let mut largest: Vec<(Vec<u8>, u64, &'static str)> =
        nodes.into_iter().map(|(path, (size, kind))| (path, size, kind)).collect();
    // A parent is at least as large as its children, so that it comes before them.
    largest.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    largest.truncate(MOST);
    let mut ordered = Vec::new();
    place(&largest, None, 0, &mut ordered);
    ordered
}

/// Returns whether a size is large enough to be shown.
fn is_worth(size: u64, whole: u64) -> bool {
    size > 0 && size.saturating_mul(SMALLEST_SHARE) >= whole
}

/// Adds the entries directly within `around`, each followed by those within it.
fn place(
    all: &[(Vec<u8>, u64, &'static str)],
    around: Option<&[u8]>,
    depth: usize,
    to: &mut Vec<UsageEntry>,
) {
    for (path, size, kind) in all {
        let nearest = all.iter().map(|(other, ..)| other.as_slice());
        let nearest = nearest.filter(|other| is_within(path, other)).max_by_key(|path| path.len());
        if nearest != around {
            continue;
        }
        let shown = String::from_utf8_lossy(path).into_owned();
        to.push(UsageEntry { path: shown, kind, size: *size, depth });
        place(all, Some(path), depth + 1, to);
    }
}

/// Returns whether a path is below a folder.
fn is_within(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use occystrap_layer::overlay::MemberBudget;
    use occystrap_layer::tar::{Member, MemberKind};

    fn shown(files: &[(&str, u64)]) -> Vec<String> {
        let mut members = MemberList::default();
        for (path, size) in files {
            let member = Member { size: *size, ..Member::new(MemberKind::File, *path) };
            members.add(&member, &MemberBudget::default());
        }
        let whole = files.iter().map(|(_, size)| size).sum();
        let line = |entry: &UsageEntry| {
            format!("{}{} {}", " ".repeat(entry.depth), entry.path, entry.size)
        };
        largest(&members, whole).iter().map(line).collect()
    }

    #[test]
    fn what_says_it_best() {
        let files = [
            ("usr/lib/x86_64/libc", 400),
            ("usr/lib/x86_64/libm", 300),
            ("usr/lib/x86_64/small", 1),
            ("usr/share/doc/a", 150),
            ("var/lib/db", 100),
            ("etc/motd", 2),
        ];
        assert_eq!(
            shown(&files),
            [
                "usr 851",
                " usr/lib/x86_64 701",
                "  usr/lib/x86_64/libc 400",
                "  usr/lib/x86_64/libm 300",
                " usr/share/doc/a 150",
                "var/lib/db 100",
            ]
        );
        assert_eq!(shown(&[]), [""; 0]);
        assert_eq!(shown(&[("a", 0)]), [""; 0]);
        let many: Vec<String> = (0..30).map(|n| format!("f{n}")).collect();
        let many: Vec<(&str, u64)> = many.iter().map(|name| (name.as_str(), 5)).collect();
        assert_eq!(shown(&many).len(), MOST);
    }
}

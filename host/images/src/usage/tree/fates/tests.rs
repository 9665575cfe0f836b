//! The tree against two models: the effect of layers as `search` computes it, and a walk that applies layers one by one.

use std::collections::BTreeMap;

use occystrap_layer::overlay::{Fate, MemberBudget, MemberList, Trace, fate};
use occystrap_layer::tar::{Member, MemberKind};
use proptest::prelude::*;

use super::super::{NodeKind, Tree, TreeBuilder};

/// A member to be: its kind, its path and the target of a hard link.
type Spec = (u8, Vec<u8>, Vec<u8>);

fn specs() -> impl Strategy<Value = Vec<Vec<Spec>>> {
    let path = || proptest::collection::vec(0_u8..3, 1..4);
    proptest::collection::vec(proptest::collection::vec((0_u8..12, path(), path()), 0..9), 1..6)
}

fn name(parts: &[u8]) -> String {
    parts.iter().map(|part| ["a", "b", "c"][usize::from(*part)]).collect::<Vec<_>>().join("/")
}

fn member((kind, parts, link): &Spec, index: usize) -> Member {
    let path = name(parts);
    let whiteout = match path.rsplit_once('/') {
        Some((folder, last)) => format!("{folder}/.wh.{last}"),
        None => format!(".wh.{path}"),
    };
    let (kind, path, link) = match kind {
        0..=3 => (MemberKind::File, path, String::new()),
        4 | 5 => (MemberKind::Directory, path, String::new()),
        6 => (MemberKind::Symlink, path, "x".to_owned()),
        7 | 8 => (MemberKind::HardLink, path, name(link)),
        9 | 10 => (MemberKind::File, whiteout, String::new()),
        _ => (MemberKind::File, format!("{path}/.wh..wh..opq"), String::new()),
    };
    let size = if kind == MemberKind::File { 1 << index } else { 0 };
    Member { link: link.into(), size, ..Member::new(kind, path) }
}

/// A file system by path: the kind, and the layer and the path that the content comes from.
type Walked = BTreeMap<String, (MemberKind, (usize, String))>;

/// Returns whether a path can be added: nothing but directories is above it.
fn fits(walked: &Walked, path: &str) -> bool {
    let folders = path.match_indices('/').map(|(at, _)| &path[..at]);
    folders.filter_map(|folder| walked.get(folder)).all(|(kind, _)| *kind == MemberKind::Directory)
}

fn remove_below(walked: &mut Walked, path: &str, layer: usize) {
    let below = format!("{path}/");
    walked.retain(|known, (_, (from, _))| !known.starts_with(&below) || *from == layer);
}

/// Applies a layer, and returns those of its members that engines would accept.
fn apply(walked: &mut Walked, layer: usize, specs: &[Spec]) -> Vec<Member> {
    let (mut accepted, mut own) = (Vec::new(), Vec::<String>::new());
    let members: Vec<Member> =
        specs.iter().enumerate().map(|(at, spec)| member(spec, at)).collect();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let is_whiteout = |member: &Member| text(&member.path).contains(".wh.");
    // Whiteouts are about the layers below, wherever they stand.
    for member in members.iter().filter(|member| is_whiteout(member)) {
        let path = text(&member.path);
        if accepted.iter().any(|known: &Member| known.path == member.path) {
            continue;
        }
        if let Some(folder) = path.strip_suffix("/.wh..wh..opq") {
            remove_below(walked, folder, layer);
        } else {
            let hidden = path.replace(".wh.", "");
            walked.remove(&hidden);
            remove_below(walked, &hidden, layer);
        }
        accepted.push(member.clone());
    }
    let before = walked.clone();
    for member in members.into_iter().filter(|member| !is_whiteout(member)) {
        let path = text(&member.path);
        if own.contains(&path) || !fits(walked, &path) || !fits(&before, &path) {
            continue;
        }
        // A member below, and only then something that is no directory, is a layer that engines refuse.
        let is_directory = member.kind == MemberKind::Directory;
        if !is_directory && own.iter().any(|known| known.starts_with(&format!("{path}/"))) {
            continue;
        }
        let content = match member.kind {
            MemberKind::HardLink => match walked.get(&text(&member.link)) {
                Some((kind, content)) if *kind != MemberKind::Directory => content.clone(),
                _ => continue,
            },
            _ => (layer, path.clone()),
        };
        if !is_directory {
            let below = format!("{path}/");
            walked.retain(|known, _| !known.starts_with(&below));
        }
        walked.insert(path.clone(), (member.kind, content));
        own.push(path);
        accepted.push(member);
    }
    accepted
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_has_what_a_walk_finds(layers in specs()) {
        let budget = MemberBudget::default();
        let (mut builder, mut walked) = (TreeBuilder::default(), Walked::new());
        let mut steps: Vec<(Vec<Member>, Walked)> = Vec::new();
        for (layer, specs) in layers.iter().enumerate() {
            let accepted = apply(&mut walked, layer, specs);
            let mut list = MemberList::default();
            for member in &accepted {
                list.add(member, &budget);
            }
            builder.layer(&list);
            steps.push((accepted, walked.clone()));
        }
        let tree = builder.finish();
        let mut wasted = 0;
        for (layer, (members, walked)) in steps.iter().enumerate() {
            let seen: BTreeMap<String, NodeKind> = tree
                .nodes()
                .filter_map(|node| Some((node, tree.at(node, layer)?.kind)))
                .map(|(node, kind)| (String::from_utf8(tree.path(node)).unwrap(), kind))
                .collect();
            let expected: BTreeMap<String, NodeKind> = walked
                .iter()
                .map(|(path, (kind, _))| (path.clone(), match kind {
                    MemberKind::Directory => NodeKind::Directory,
                    MemberKind::Symlink => NodeKind::Symlink,
                    MemberKind::HardLink => NodeKind::HardLink,
                    _ => NodeKind::File,
                }))
                .collect();
            prop_assert_eq!(seen, expected, "after layer {}: {:?}", layer, members);
            // Content that no name of the whole image leads to.
            let last = &steps.last().unwrap().1;
            for member in members {
                let path = String::from_utf8(member.path.clone()).unwrap();
                let own = (layer, path.clone());
                if member.kind == MemberKind::File && !path.contains(".wh.")
                    && last.values().all(|(_, content)| *content != own)
                {
                    wasted += member.size;
                }
            }
        }
        let found = tree.sums(super::super::PathVersion::wasted).at(Tree::ROOT);
        prop_assert_eq!(found, wasted);
    }

    /// Also for layers that engines refuse, `info --tree` and `search` say the same.
    #[test]
    fn a_tree_and_a_search_agree(layers in specs()) {
        let budget = MemberBudget::default();
        let mut builder = TreeBuilder::default();
        let (mut traces, mut all) = (Vec::new(), Vec::new());
        for specs in &layers {
            let (mut list, mut trace, mut members) =
                (MemberList::default(), Trace::default(), Vec::<Member>::new());
            for (at, spec) in specs.iter().enumerate() {
                let member = member(spec, at);
                // A path twice in a layer has a test of its own.
                if members.iter().all(|known| known.path != member.path) {
                    list.add(&member, &budget);
                    trace.add(&member, &member.path);
                    members.push(member);
                }
            }
            trace.seal();
            builder.layer(&list);
            traces.push(trace);
            all.push(members);
        }
        let tree = builder.finish();
        for (layer, members) in all.iter().enumerate() {
            let whiteout = |member: &&Member| !member.path.windows(4).any(|part| part == b".wh.");
            for member in members.iter().filter(whiteout) {
                let node = tree.find(&member.path).unwrap();
                let version = tree.versions(node).iter().find(|version| version.layer == layer);
                let directory = member.kind == MemberKind::Directory;
                let expected = fate(&member.path, directory, layer, traces.iter());
                prop_assert_eq!(version.unwrap().fate, expected);
                prop_assert_eq!(&tree.path(node), &member.path);
            }
        }
    }
}

#[test]
fn a_member_that_its_layer_repeats_is_replaced() {
    let mut list = MemberList::default();
    for size in [3, 5] {
        let member = Member { size, ..Member::new(MemberKind::File, "a") };
        list.add(&member, &MemberBudget::default());
    }
    let mut builder = TreeBuilder::default();
    builder.layer(&list);
    let tree = builder.finish();
    let node = tree.find(b"a").unwrap();
    let fates: Vec<Fate> = tree.versions(node).iter().map(|version| version.fate).collect();
    assert_eq!(fates, [Fate::Replaced(0), Fate::Present]);
    assert_eq!(tree.sums(super::super::PathVersion::wasted).at(Tree::ROOT), 3);
    assert_eq!(tree.at(node, 0).unwrap().size, 5);
}

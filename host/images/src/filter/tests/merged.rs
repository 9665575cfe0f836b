//! The merged file system of an image before and after files were excluded: only these files differ, whatever its layers
//! do to each other and to themselves.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::tar_members::{Listed, read, write};
use super::{exclude, simply_gone, try_filtered};
use occystrap_layer::tar::{Member, MemberKind};

/// The merged files by name: `None` for a directory, else what a reader sees.
pub type Tree = BTreeMap<String, Option<String>>;

/// Returns a name from the root.
fn plain(name: &[u8]) -> String {
    let name = std::str::from_utf8(name).unwrap();
    let parts: Vec<&str> = name.split('/').filter(|part| !["", "."].contains(part)).collect();
    parts.join("/")
}

/// Removes everything below a name.
fn clear(tree: &mut Tree, folder: &str) {
    tree.retain(|name, _| {
        !folder.is_empty() && !name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    });
}

/// Merges layers; `None` if that is not possible: a link without a target, a file below a file.
pub fn merge(layers: &[Listed]) -> Option<Tree> {
    let mut tree = Tree::new();
    for layer in layers {
        // Whiteouts are about the layers below, wherever they stand in the layer.
        for (member, _) in layer {
            let path = plain(&member.path);
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if name == ".wh..wh..opq" {
                clear(&mut tree, folder);
            } else if let Some(hidden) = name.strip_prefix(".wh.") {
                let hidden = [folder, hidden].join("/").trim_start_matches('/').to_owned();
                clear(&mut tree, &hidden);
                tree.remove(&hidden);
            }
        }
        for (member, content) in layer {
            let path = plain(&member.path);
            if path.is_empty() || path.contains(".wh.") {
                continue;
            }
            for (at, _) in path.match_indices('/') {
                if tree.entry(path[..at].to_owned()).or_insert(None).is_some() {
                    return None;
                }
            }
            let node = match member.kind {
                MemberKind::Directory => None,
                MemberKind::HardLink => {
                    let target = plain(&member.link);
                    let there = tree.get(&target).filter(|_| target != path)?;
                    Some(there.clone()?)
                }
                MemberKind::Symlink => {
                    Some(format!("to {}", String::from_utf8_lossy(&member.link)))
                }
                _ => Some(String::from_utf8_lossy(content).into_owned()),
            };
            if node.is_some() {
                clear(&mut tree, &path);
            }
            tree.insert(path, node);
        }
    }
    Some(tree)
}

/// Generates names that collide often, in every spelling.
fn name() -> impl Strategy<Value = String> {
    "(|\\./|/)([abc]|[ab](/|//|/\\./)[ab])"
}

/// Generates members that collide often.
pub fn member() -> impl Strategy<Value = (Member, Vec<u8>)> {
    let folder = "(|\\./|[ab]/|\\./[ab]/)";
    let whiteout = (folder, "\\.wh\\.(\\.wh\\.\\.opq|[ab])");
    prop_oneof![
        4 => (name(), "[v-z]{0,2}").prop_map(|(path, text)| {
            let mut member = Member::new(MemberKind::File, path.as_str());
            member.size = text.len() as u64;
            (member, text.into_bytes())
        }),
        6 => (name(), name()).prop_map(|(path, to)| {
            (Member { link: to.into(), ..Member::new(MemberKind::HardLink, path.as_str()) }, vec![])
        }),
        1 => (name(), name()).prop_map(|(path, to)| {
            (Member { link: to.into(), ..Member::new(MemberKind::Symlink, path.as_str()) }, vec![])
        }),
        2 => name().prop_map(|path| (Member::new(MemberKind::Directory, path.as_str()), vec![])),
        1 => Just((Member::new(MemberKind::Directory, "."), vec![])),
        1 => whiteout.prop_map(|(folder, name)| {
            (Member::new(MemberKind::File, format!("{folder}{name}").as_str()), vec![])
        }),
    ]
}

/// Returns layers without the members that cannot be merged.
pub fn sound(layers: &[Vec<(Member, Vec<u8>)>]) -> Vec<Listed> {
    let mut sound: Vec<Listed> = Vec::new();
    for layer in layers {
        sound.push(Vec::new());
        for member in layer {
            sound.last_mut().unwrap().push(member.clone());
            if merge(&sound).is_none() {
                sound.last_mut().unwrap().pop();
            }
        }
    }
    sound
}

pub fn leaves(tree: Tree) -> BTreeMap<String, String> {
    tree.into_iter().filter_map(|(name, node)| Some((name, node?))).collect()
}

proptest! {
    #[test]
    fn an_image_loses_what_is_excluded_and_nothing_else(
        layers in vec(vec(member(), 1..16), 1..4),
        pattern in "(|/|\\./|\\*\\*/)[ab*?.](/[ab*?])?",
    ) {
        let layers = sound(&layers);
        let filter = exclude(&[&pattern]);
        let mut filtered = Vec::new();
        for layer in &layers {
            match try_filtered(&filter, &write(layer)) {
                Ok((_, out)) => filtered.push(read(&out).unwrap()),
                // The filter refuses the layer and writes nothing.
                Err(error) => {
                    prop_assert!(error.to_string().contains("is a link to"), "{}", error);
                    return Ok(());
                }
            }
        }
        let mut expected = leaves(merge(&layers).unwrap());
        expected.retain(|name, _| !simply_gone(&pattern, name));
        let found = merge(&filtered);
        prop_assert!(found.is_some(), "{:?}", filtered);
        prop_assert_eq!(leaves(found.unwrap()), expected, "{:?} {:?}", layers, filtered);
    }
}

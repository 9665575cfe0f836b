//! The canonical form: the same whatever the order and the spelling, and the same files as before.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

use super::super::arrange::{Arranged, Arranging, list_folders, roots};
use super::super::rewrite::rewrite;
use super::merged::{member, merge, sound};
use super::tar_members::{Listed, file, read, write};
use super::{Result, link, names};
use occystrap_layer::tar::{Member, MemberKind, Time};

/// Returns layers in the canonical form.
fn try_canonical(layers: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
    let folder = std::env::temp_dir();
    let (mut arranged, mut spools) = (Vec::new(), Vec::new());
    for layer in layers {
        let mut arranging = Arranging::new(&folder);
        let (changed, mut spool) = (AtomicBool::new(false), tempfile::tempfile().unwrap());
        let (mut none, to) = (Vec::new(), Some(&mut arranging));
        rewrite(layer.as_slice(), "'x'", &mut none, &mut spool, &changed, &folder, to)?;
        spool.flush().unwrap();
        arranged.push(Some(arranging.finish("'x'")?));
        spools.push(Arc::new(spool));
    }
    if arranged.iter().flatten().any(Arranged::needs_lower) {
        list_folders(&mut arranged, |_| true, |_, _| ())?;
    }
    let roots = roots(&arranged.iter().map(Option::as_ref).collect::<Vec<_>>());
    let all = arranged.iter().flatten().zip(&spools).zip(&roots);
    let made = all.map(|((arranged, spool), root)| {
        let mut made = Vec::new();
        match arranged.assemble(spool, root.as_ref())? {
            Some(mut assembled) => assembled.read_to_end(&mut made).unwrap(),
            None => at_start(spool).read_to_end(&mut made).unwrap(),
        };
        Ok(made)
    });
    made.collect()
}

fn at_start(spool: &File) -> impl Read {
    use std::io::Seek;
    let mut file = spool.try_clone().unwrap();
    file.rewind().unwrap();
    BufReader::new(file)
}

fn canonical(layers: &[Listed]) -> Vec<Listed> {
    let layers: Vec<_> = layers.iter().map(write).collect();
    try_canonical(&layers).unwrap().iter().map(|layer| read(layer).unwrap()).collect()
}

fn folder(path: &str, mode: u32) -> (Member, Vec<u8>) {
    (Member { mode, ..Member::new(MemberKind::Directory, path) }, Vec::new())
}

fn symlink(path: &str, to: &str) -> (Member, Vec<u8>) {
    (Member { link: to.into(), ..Member::new(MemberKind::Symlink, path) }, Vec::new())
}

/// Returns a line for each member: mode, kind, name, target, content.
fn lines(listed: &Listed) -> Vec<String> {
    let line = |(member, content): &(Member, Vec<u8>)| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (path, link) = (text(&member.path), text(&member.link));
        let to = if link.is_empty() { text(content) } else { format!("-> {link}") };
        format!("{:o} {} {path} {to}", member.mode, member.kind.name()).trim_end().to_owned()
    };
    listed.iter().map(line).collect()
}

fn lines_of(layers: &[Vec<u8>]) -> Vec<Vec<String>> {
    layers.iter().map(|layer| lines(&read(layer).unwrap())).collect()
}

#[test]
fn members_are_sorted_spelled_and_listed_with_their_folders() {
    let mut odd = file(b"./usr//bin/./sh", b"sh");
    (odd.0.owner, odd.0.group, odd.0.mode) = (b"me".to_vec(), b"us".to_vec(), 0o100_755);
    odd.0.records.insert(b"atime".to_vec(), b"1.5".to_vec());
    odd.0.records.insert(b"SCHILY.xattr.user.x".to_vec(), b"y".to_vec());
    let mut whiteout = file(b"/etc/.wh.motd", b"odd content");
    (whiteout.0.mode, whiteout.0.mtime) = (0o600, Time::seconds(9));
    let listed = vec![
        folder(".", 0o755),
        odd,
        file(b"etc/-", b"1"),
        whiteout,
        file(b"etc/.wh..wh..opq", b""),
        symlink("bin", "usr/bin"),
        file(b"bin/tool", b"t"),
        folder("etc", 0o700),
    ];
    let [made] = <[Listed; 1]>::try_from(canonical(&[listed])).unwrap();
    assert_eq!(
        lines(&made),
        [
            "777 symlink bin -> usr/bin",
            "700 directory etc",
            "0 file etc/.wh..wh..opq",
            "0 file etc/.wh.motd",
            "0 file etc/- 1",
            "755 directory usr",
            "755 directory usr/bin",
            "755 file usr/bin/sh sh",
            "0 file usr/bin/tool t",
        ]
    );
    let sh = &made[7].0;
    assert_eq!((sh.owner.as_slice(), sh.group.as_slice()), (b"".as_slice(), b"".as_slice()));
    assert_eq!(sh.records.keys().collect::<Vec<_>>(), [b"SCHILY.xattr.user.x"]);
    assert_eq!(made[3].0.mtime, Time::default());
}

#[test]
fn the_first_name_of_a_file_has_its_content() {
    let one = vec![file(b"b", b"B"), link("./c", "/b"), link("a", "c"), link("x", "below")];
    let other = vec![link("x", "/below"), file(b"c", b"B"), link("a", "c"), link("b", "./a")];
    let expected =
        vec!["0 file a B", "0 hardlink b -> a", "0 hardlink c -> a", "0 hardlink x -> below"];
    for listed in [one, other] {
        assert_eq!(lines(&canonical(&[listed])[0]), expected);
    }
}

#[test]
fn attributes_in_the_spelling_of_libarchive_are_left_out_because_engines_do_not_read_them() {
    let mut both = file(b"a", b"");
    both.0.records.insert(b"SCHILY.xattr.user.x".to_vec(), b"y".to_vec());
    let alone = both.clone();
    both.0.records.insert(b"LIBARCHIVE.xattr.user.x".to_vec(), b"eQ==".to_vec());
    assert_eq!(canonical(&[vec![both]]), canonical(&[vec![alone]]));
}

#[test]
fn the_root_is_listed_from_the_layer_on_that_changes_it() {
    let root = folder(".", 0o700);
    let (first, second) = (vec![root.clone(), file(b"a", b"")], vec![file(b"b", b"")]);
    let made = canonical(&[first.clone(), second.clone()]);
    assert_eq!(lines(&made[1]), ["700 directory .", "0 file b"]);
    let listed = vec![file(b"b", b""), root];
    assert_eq!(canonical(&[first.clone(), listed]), made);
    let usual = vec![folder(".", 0o755), file(b"b", b"")];
    let made = canonical(&[first, usual.clone(), second]);
    assert_eq!(lines(&made[1]), ["755 directory .", "0 file b"]);
    assert_eq!(lines(&made[2]), ["0 file b"]);
    assert_eq!(lines(&canonical(&[usual])[0]), ["0 file b"]);
}

#[test]
fn an_order_that_counts_for_engines_that_follow_links_of_lower_layers_is_refused() {
    let lower = vec![folder("usr", 0o755), file(b"usr/x", b"1"), symlink("bin", "usr")];
    let error = |upper: Listed| {
        let layers: Vec<_> = [&lower, &upper].map(write).into();
        try_canonical(&layers).err().map(|error| error.to_string())
    };
    let replaced = "'x': 'bin/x' comes before 'bin', a symbolic link of a layer below, is replaced in the same layer";
    for upper in [
        vec![file(b"bin/x", b"2"), folder("bin", 0o755)],
        vec![file(b"bin/x", b"2"), symlink("bin", "opt")],
        vec![file(b"bin/x", b"2"), file(b".wh.bin", b"")],
        vec![link("c", "bin/x"), folder("bin", 0o755)],
    ] {
        assert_eq!(error(upper.clone()).as_deref(), Some(replaced), "{:?}", lines(&upper));
    }
    let one = |a: &str, b: &str| {
        Some(format!(
            "'x': '{a}' and '{b}' are one place for engines that follow the symbolic links of the layers below"
        ))
    };
    assert_eq!(error(vec![file(b"usr/x", b"A"), file(b"bin/x", b"B")]), one("usr/x", "bin/x"));
    assert_eq!(error(vec![file(b"usr/.wh.x", b""), file(b"bin/x", b"B")]), one("usr/x", "bin/x"));
    for upper in [
        vec![file(b"bin/x", b"2"), file(b"usr/y", b"")],
        vec![folder("bin", 0o755), file(b"bin/x", b"2")],
        vec![link("c", "bin/x")],
    ] {
        assert_eq!(error(upper.clone()), None, "{:?}", lines(&upper));
    }
}

/// Engines set the metadata of every name, so that the last one counts, and take no attribute away.
#[test]
fn a_file_has_the_metadata_of_its_last_name() {
    let mut last = link("a", "b");
    (last.0.mode, last.0.uid) = (0o600, 7);
    last.0.records.insert(b"SCHILY.xattr.user.l".to_vec(), b"2".to_vec());
    let mut first = file(b"b", b"B");
    first.0.records.insert(b"SCHILY.xattr.user.f".to_vec(), b"1".to_vec());
    let made = canonical(&[vec![first, last]]).remove(0);
    assert_eq!(lines(&made), ["600 file a B", "600 hardlink b -> a"]);
    assert!(made.iter().all(|(member, _)| member.uid == 7 && member.records.len() == 2));
}

#[test]
fn a_link_keeps_the_file_that_another_one_replaced() {
    let listed = vec![file(b"b", b"old"), link("c", "b"), link("a", "b"), file(b"b", b"new")];
    let made = canonical(&[listed]).remove(0);
    assert_eq!(lines(&made), ["0 file a old", "0 file b new", "0 hardlink c -> a"]);
    let error = try_canonical(&[write(&vec![file(b"d", b""), folder("d", 0o755)])]).err().unwrap();
    assert_eq!(
        error.to_string(),
        "'x': 'd' is a folder after it was something else in the same layer"
    );
    // What was in a folder goes with it.
    let listed = vec![file(b"d/x", b"1"), symlink("d", "e"), file(b"y", b"2"), link("z", "y")];
    let made = canonical(&[listed]).remove(0);
    assert_eq!(lines(&made), ["777 symlink d -> e", "0 file y 2", "0 hardlink z -> y"]);
}

#[test]
fn a_folder_that_is_not_listed_is_listed_as_it_is_below() {
    let layers = [
        vec![
            folder("tmp", 0o1777),
            folder("opt", 0o700),
            symlink("lib", "usr/lib"),
            folder("var", 0o711),
        ],
        vec![file(b".wh.opt", b""), file(b"tmp/a", b"1"), file(b"var/.wh.x", b"")],
        vec![file(b"opt/b", b"2"), file(b"lib/c", b"3"), file(b"tmp/d/e", b"4")],
    ];
    let made: Vec<_> = canonical(&layers).iter().map(lines).collect();
    assert_eq!(
        made[1..],
        [
            vec![
                "0 file .wh.opt",
                "1777 directory tmp",
                "0 file tmp/a 1",
                "711 directory var",
                "0 file var/.wh.x"
            ],
            vec![
                "0 file lib/c 3",
                "755 directory opt",
                "0 file opt/b 2",
                "1777 directory tmp",
                "755 directory tmp/d",
                "0 file tmp/d/e 4"
            ]
        ]
    );
}

#[test]
fn the_root_is_listed_where_a_layer_changes_it() {
    let usual = vec![folder("./", 0o755), file(b"a", b"1")];
    assert_eq!(lines(&canonical(std::slice::from_ref(&usual))[0]), ["0 file a 1"]);
    let made = canonical(&[usual, vec![folder(".", 0o700)]]);
    let made: Vec<_> = made.iter().map(lines).collect();
    assert_eq!(made, [vec!["0 file a 1"], vec!["700 directory ."]]);
}

#[test]
fn a_link_to_a_layer_below_that_would_come_too_late_is_refused() {
    let below = vec![file(b"b", b"old"), folder("d", 0o755), file(b"d/x", b"x")];
    for (link, end) in [
        (link("c", "b"), file(b"b", b"new")),
        (link("c", "b"), file(b".wh.b", b"")),
        (link("e", "d/x"), symlink("d", "f")),
        (link("e", "d/x"), file(b"d/.wh..wh..opq", b"")),
        (link("e", "d/x"), folder("d/x", 0o755)),
    ] {
        let layers = [below.clone(), vec![link.clone(), end.clone()]].map(|layer| write(&layer));
        let error = try_canonical(&layers).err().unwrap().to_string();
        let to = String::from_utf8_lossy(&link.0.link).into_owned();
        let said =
            format!("is a link to '{to}' in a layer below, which the same layer replaces or hides");
        assert!(error.contains(&said), "{error}");
    }
    // These come before.
    let above = vec![link("a", "b"), file(b"b", b"new"), link("d/y", "d/x"), file(b"e", b"")];
    assert_eq!(canonical(&[below, above]).len(), 2);
}

#[test]
fn links_to_one_file_of_a_layer_below_have_the_metadata_of_the_last_one() {
    let (mut first, mut last) = (link("z", "b"), link("a", "b"));
    (first.0.mode, last.0.mode) = (0o644, 0o600);
    let made = canonical(&[vec![file(b"b", b"x")], vec![first, last, link("c", "a")]]);
    let found: Vec<_> = made[1]
        .iter()
        .map(|(member, _)| (member.path.clone(), member.link.clone(), member.mode))
        .collect();
    let names = [b"a", b"c", b"z"].map(|name| (name.to_vec(), b"b".to_vec()));
    let mode = found[1].2;
    assert_eq!(found, names.map(|(name, to)| (name, to, mode)));
    // The last of them is a link to a link, whose mode is that of the helper.
    assert_eq!(mode, link("c", "a").0.mode);
}

#[test]
fn symbolic_links_that_lead_to_each_other_are_refused() {
    let layer = vec![symlink("a", "b"), symlink("b", "a"), file(b"a/x", b"")];
    let error = try_canonical(&[write(&layer)]).err().unwrap();
    assert_eq!(
        error.to_string(),
        "canonical: 'a/x' leads through symbolic links that lead to each other"
    );
}

#[test]
fn links_that_lead_from_one_to_the_next_for_ever_are_refused() {
    let mut listed = vec![file(b"0", b"x")];
    listed.extend((1..90).map(|at| link(&format!("{at:02}"), &format!("{:02}", at - 1))));
    listed[1].0.link = b"0".to_vec();
    let error = try_canonical(&[write(&listed)]).err().unwrap();
    assert_eq!(
        error.to_string(),
        "'x': has more than 64 hard links that lead from one to the next"
    );
    assert_eq!(names(&canonical(&[listed[..60].to_vec()])[0])[..2], ["0", "01"]);
}

/// What a file system has at a path, apart from folders that no layer lists.
type Node = (MemberKind, u32, i64, i64, Time, BTreeMap<Vec<u8>, Vec<u8>>, Vec<u8>);

/// Returns the nodes of a layer whose names are distinct.
fn nodes(listed: &Listed) -> BTreeMap<Vec<u8>, Node> {
    let node = |(member, content): &(Member, Vec<u8>)| {
        let Member { kind, mode, uid, gid, mtime, records, link, .. } = member.clone();
        let content = if link.is_empty() { content.clone() } else { link };
        let mode = if kind == MemberKind::Symlink { 0o777 } else { mode & 0o7777 };
        (member.plain_path(), (kind, mode, uid, gid, mtime, records, content))
    };
    listed.iter().map(node).collect()
}

/// A file with one to three names, a folder or a symbolic link.
fn entry() -> impl Strategy<Value = (u8, Vec<u8>, u32, i64, Time, usize)> {
    let time = (0..1_i64 << 33, prop_oneof![Just(0_u32), 1..1_000_000_000_u32]);
    let time = time.prop_map(|(seconds, nanos)| Time { seconds, nanos });
    (0..4_u8, vec(any::<u8>(), 0..700), 0..0o10_000_u32, 0..5_000_000_i64, time, 1..4_usize)
}

proptest! {
    #[test]
    fn the_order_and_the_spelling_make_no_difference(
        entries in vec(entry(), 1..12),
        orders in (vec(any::<Index>(), 48), vec(any::<Index>(), 48)),
        listed_folders in subsequence(vec!["d", "d/e", "f"], 0..=3),
        spellings in vec(any::<u8>(), 48),
    ) {
        let place = |index: usize| ["", "d/", "d/e/", "f/"][index % 4];
        let build = |order: &[Index], spell: bool| {
            let mut groups: Vec<Listed> = entries.iter().enumerate().map(|(index, entry)| {
                let (kind, content, mode, owner, time, count) = entry.clone();
                let name = |copy: usize| format!("{}n{index}-{}", place(index + copy), 3 - copy);
                let set = |mut member: Member| {
                    (member.mode, member.uid, member.gid, member.mtime) = (mode, owner, owner / 2, time);
                    if spell {
                        member.owner = b"builder".to_vec();
                        member.path = [b"./".as_slice(), &member.path].concat();
                    }
                    member
                };
                match kind {
                    0 => vec![(set(folder(&name(0), 0).0), Vec::new())],
                    1 => vec![(set(symlink(&name(0), "to").0), Vec::new())],
                    _ => {
                        let (first, content) = file(name(0).as_bytes(), &content);
                        let mut group = vec![(set(first), content)];
                        group.extend((1..count).map(|copy| {
                            (set(link(&name(copy), &name(0)).0), Vec::new())
                        }));
                        group
                    }
                }
            }).collect();
            for path in ["d", "d/e", "f"] {
                // A folder that is listed with what engines create anyway makes no difference if it has something in it.
                let is_used = groups.iter().flatten().any(|(member, _)| {
                    member.plain_path().starts_with(format!("{path}/").as_bytes())
                });
                if is_used && (!spell || listed_folders.contains(&path)) {
                    groups.push(vec![folder(path, 0o755)]);
                }
            }
            // Another name of a file may come first, and groups come in any order.
            if spell {
                for (group, spelling) in groups.iter_mut().zip(&spellings) {
                    if group.len() > 1 && spelling % 2 == 0 {
                        let (first, second) = (group[0].0.path.clone(), group[1].0.path.clone());
                        group[0].0.path = second.clone();
                        group[1].0.path = first;
                        group.iter_mut().skip(1).for_each(|(member, _)| member.link = second.clone());
                    }
                }
            }
            let mut listed = Listed::new();
            for index in order {
                if groups.is_empty() { break; }
                let at = index.index(groups.len());
                let member = groups[at].remove(0);
                listed.push(member);
                if groups[at].is_empty() { groups.remove(at); }
            }
            listed.extend(groups.into_iter().flatten());
            listed
        };
        let (one, other) = (build(&orders.0, false), build(&orders.1, true));
        let made = try_canonical(&[write(&one)]).unwrap();
        let of_other = try_canonical(&[write(&other)]).unwrap();
        prop_assert!(of_other == made, "{:?}\n{:?}", lines_of(&of_other), lines_of(&made));
        let again = try_canonical(&made).unwrap();
        prop_assert!(again == made, "{:?}\n{:?}", lines_of(&again), lines_of(&made));
        // The same entries, and names of one file have one content.
        let resolved = |listed: &Listed| {
            let all = nodes(listed);
            all.iter().map(|(path, node)| {
                let mut node = node.clone();
                while node.0 == MemberKind::HardLink {
                    let target = occystrap_layer::tar::member::plain(&node.6);
                    node = all[&target].clone();
                }
                (path.clone(), node)
            }).collect::<BTreeMap<_, _>>()
        };
        prop_assert_eq!(resolved(&read(&made[0]).unwrap()), resolved(&one));
    }

    #[test]
    fn whatever_layers_do_to_themselves_the_files_stay(layers in vec(vec(member(), 1..16), 1..4)) {
        let layers = sound(&layers);
        let tars: Vec<_> = layers.iter().map(write).collect();
        let made = match try_canonical(&tars) {
            Ok(made) => made,
            // The filter refuses the layer and writes nothing.
            Err(error) => {
                let said = error.to_string();
                let refused = said.contains("in a layer below, which the same layer")
                    || said.contains("is a folder after it was something else")
                    || said.contains("symbolic links that lead to each other")
                    || said.contains("symbolic link of a layer below, is replaced")
                    || said.contains("are one place for engines");
                prop_assert!(refused, "{}", said);
                return Ok(());
            }
        };
        let again = try_canonical(&made).unwrap();
        prop_assert!(again == made, "{:?}\n{:?}", lines_of(&again), lines_of(&made));
        let made: Vec<_> = made.iter().map(|layer| read(layer).unwrap()).collect();
        prop_assert_eq!(merge(&made), merge(&layers), "{:?} {:?}", layers, made);
    }

    #[test]
    fn no_layer_makes_it_panic(listed in vec(super::tar_members::member(), 1..6)) {
        let tar = write(&listed);
        if let Ok(made) = try_canonical(&[tar]) {
            let again = try_canonical(&made).unwrap();
            prop_assert!(again == made, "{:?}\n{:?}", lines_of(&again), lines_of(&made));
        }
    }
}

//! Layers written as texts: `a/` is a directory, `a@x` a symbolic link to `x`, `a=b` a hard link to `b`.

use super::*;
use crate::overlay::{MemberBudget, PlacedMember, Placer};
use crate::tar::{Member, MemberKind};

fn member(text: &str) -> Member {
    let (kind, path, link) = if let Some((path, to)) = text.split_once('=') {
        (MemberKind::HardLink, path, to)
    } else if let Some((path, to)) = text.split_once('@') {
        (MemberKind::Symlink, path, to)
    } else if let Some(path) = text.strip_suffix('/') {
        (MemberKind::Directory, path, "")
    } else {
        (MemberKind::File, text, "")
    };
    Member { link: link.into(), ..Member::new(kind, path) }
}

/// Returns the layer that replaces these, member by member: `a/` is a directory that no layer lists, `-a` a whiteout, `!a` an
/// opaque marker, `b<a` is the file `a` under the name `b`, and a link that must
/// come last begins with `+`.
fn merged(base: bool, layers: &[&[&str]]) -> Result<Vec<String>, String> {
    let budget = MemberBudget::default();
    let lists: Vec<MemberList> = layers
        .iter()
        .map(|layer| {
            let (mut list, mut placer) = (MemberList::default(), Placer::default());
            for text in *layer {
                let mut member = member(text);
                placer.place(&mut member).unwrap();
                list.add(&member, &budget);
            }
            list
        })
        .collect();
    let merged = Merged::of(&lists, base, LowerLinks::default(), 1)?;
    let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    let mut all: Vec<String> = merged.unlisted().map(|path| format!("{}/", text(path))).collect();
    all.extend(merged.whiteouts().map(|path| format!("-{}", text(path))));
    all.extend(merged.opaque().map(|path| format!("!{}", text(path))));
    for (layer, members) in layers.iter().enumerate().rev() {
        let mut placer = Placer::default();
        for source in *members {
            let mut member = member(source);
            let Ok(PlacedMember::At(number)) = placer.place(&mut member) else { continue };
            if crate::overlay::Whiteout::of(&member.path).is_some() {
                continue;
            }
            let path = text(&member.path);
            all.extend(match merged.fate((layer as u16, number), &member.path) {
                MemberFate::Gone | MemberFate::Link(LinkFate::Became) => None,
                MemberFate::Stays => Some(path),
                MemberFate::Renamed(name) => Some(format!("{}<{path}", text(name))),
                MemberFate::Link(LinkFate::Leads(to)) => Some(format!("{path}={}", text(to))),
                MemberFate::Link(LinkFate::LeadsDown(to)) => Some(format!("+{path}={}", text(to))),
            });
        }
    }
    Ok(all)
}

fn all(layers: &[&[&str]]) -> Vec<String> {
    merged(false, layers).unwrap()
}

fn upper(layers: &[&[&str]]) -> Vec<String> {
    merged(true, layers).unwrap()
}

#[test]
fn the_highest_member_of_a_path_stays_unless_it_is_deleted() {
    assert_eq!(all(&[&["a/", "a/b", "c"], &["a/", "a/b"]]), ["a", "a/b", "c"]);
    assert_eq!(all(&[&["a/", "a/b", "c"], &["a/.wh.b", ".wh.c"], &["c"]]), ["c", "a"]);
    assert_eq!(all(&[&["a/", "a/b", "a/c"], &["a/.wh..wh..opq", "a/c"]]), ["a/c", "a"]);
    assert_eq!(all(&[&["a/", "a/b"], &["a"], &["a/", "a/c"]]), ["a", "a/c"]);
    assert_eq!(all(&[&["a", "a"], &["b/"], &[".wh..wh..opq"]]), [""; 0]);
    assert_eq!(all(&[&["usr/", "lib@usr", "lib/x"], &["usr/.wh.x"]]), ["usr", "lib"]);
}

#[test]
fn the_layers_below_lose_what_they_lost_before() {
    // Deleted; deleted and made again; replaced by a file, and by a directory after it.
    assert_eq!(upper(&[&["a/.wh.b"], &["c"]]), ["-a/b", "c"]);
    assert_eq!(upper(&[&[".wh.a"], &["a/", "a/b"]]), ["!a", "a", "a/b"]);
    assert_eq!(upper(&[&[".wh.a"], &["a/b"]]), ["a/", "!a", "a/b"]);
    assert_eq!(upper(&[&["a"], &["a/"]]), ["!a", "a"]);
    assert_eq!(upper(&[&["a@x"], &[".wh.a"]]), ["-a"]);
    assert_eq!(upper(&[&["a/.wh..wh..opq"], &["a/b"]]), ["!a", "a/b"]);
    assert_eq!(upper(&[&[".wh.a"], &["a"]]), ["a"]);
    // What lies below something that goes as a whole is not said.
    assert_eq!(upper(&[&["a/b/.wh.c"], &["a/.wh.d"], &[".wh.a"]]), ["-a"]);
    assert_eq!(upper(&[&[".wh.a"], &["a/"], &["a/.wh.x"]]), ["!a", "a"]);
    assert_eq!(upper(&[&["a/.wh.b", ".wh.c"], &[".wh..wh..opq", "d"]]), ["!", "d"]);
    assert_eq!(upper(&[&["a/.wh.b"], &["a"]]), ["a"]);
}

#[test]
fn a_link_keeps_its_content() {
    assert_eq!(all(&[&["a", "b=a", "c=b"]]), ["a", "b=a", "c=a"]);
    assert_eq!(all(&[&["a", "b=a", "c=b"], &[".wh.a"]]), ["b<a", "c=b"]);
    assert_eq!(all(&[&["a", "b=a", "c=a"], &["a", "b"]]), ["a", "b", "c<a"]);
    assert_eq!(all(&[&["a"], &["b=a"]]), ["+b=a", "a"]);
    assert_eq!(all(&[&["a"], &["b=a"], &[".wh.a", "c=b"]]), ["+c=b", "b<a"]);
    assert_eq!(all(&[&["a", "b=a", "a"]]), ["b<a", "a"]);
    assert_eq!(all(&[&["s@x", "t=s"], &[".wh.s"]]), ["t<s"]);
    assert_eq!(upper(&[&["b=a"]]), ["b=a"]);
    let error = |base, layers| merged(base, layers).unwrap_err();
    let lost = "layer 1 has 'b' as a hard link to 'a', which is not in these layers";
    assert_eq!(error(false, &[&["b=a"]]), lost);
    assert_eq!(error(true, &[&["b=a"], &[".wh.a"]]), lost);
    assert_eq!(error(true, &[&["b=a"], &["a"]]), lost);
}

#[test]
fn layers_on_which_engines_differ_are_refused() {
    let error = |layers| merged(false, layers).unwrap_err();
    assert_eq!(
        error(&[&["usr/lib/", "lib@usr/lib"], &["lib/x"]]),
        "layer 2 writes through 'lib', a symbolic link of layer 1, which some engines follow and \
         others replace"
    );
    let through = "layer 2 writes through 'lib', a symbolic link of layer 1, which some engines \
                   follow and others replace";
    for upper in [&["lib/x", "lib/"][..], &["lib/.wh.x"], &["lib/.wh..wh..opq"], &["c=lib/x"]] {
        let layers: [&[&str]; 3] = [&["usr/", "usr/x", "lib@usr"], upper, &["lib/"]];
        assert_eq!(merged(false, &layers[..2]).unwrap_err(), through, "{upper:?}");
        assert_eq!(merged(false, &layers).unwrap_err(), through, "{upper:?}");
    }
    assert_eq!(error(&[&["a"], &["a/b"]]), "layer 2 has a member below 'a', a file of layer 1");
    assert_eq!(error(&[&["a", "a/b"]]), "layer 1 has a member below 'a', a file of layer 1");
    let below = "layer 1 has a member below 'b', a file of layer 1";
    assert_eq!(error(&[&["c", "b/b", "b=c"], &["b/"]]), below);
    assert_eq!(error(&[&["b", "b/b"], &["b/"]]), below);
    assert_eq!(
        error(&[&["a/", "a/b", "a"]]),
        "layer 1 has 'a' as a directory and as something else"
    );
    assert_eq!(all(&[&["lib@x"], &["lib/", "lib/y"]]), ["lib", "lib/y"]);
}

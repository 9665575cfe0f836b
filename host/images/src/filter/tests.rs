//! Filters on unusual layers, written by hand and generated.

mod canonical;
mod engines;
pub(super) mod made;
pub(super) mod merged;
#[path = "../../../../tests/support/tar_members.rs"]
mod tar_members;

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::atomic::AtomicBool;

use proptest::collection::vec;
use proptest::prelude::*;

use super::exclude::Exclude;
use super::rewrite::rewrite;
use super::timestamps::NormalizeTimestamps;
use super::*;
use occystrap_base::oci::{Digest, ImageName, Platform};
use occystrap_base::terminal::progress::Progress;
use occystrap_layer::tar::{Expanded, Member, MemberKind, Time};
use tar_members::{Listed, file, member, read, write};

fn image() -> Image {
    Image {
        name: ImageName { repository: "x".into(), tag: None },
        platform: Platform { os: "linux".into(), architecture: "amd64".into(), variant: None },
        config: b"{}".as_slice().into(),
        id: Digest::of(b"{}"),
        layers: Vec::new(),
        manifest: None,
        note: None,
        artifact: None,
    }
}

/// Returns whether the layer changed, and the layer that was written.
fn filtered(filter: &dyn Filter, tar: &[u8]) -> (bool, Vec<u8>) {
    try_filtered(filter, tar).unwrap()
}

fn try_filtered(filter: &dyn Filter, tar: &[u8]) -> Result<(bool, Vec<u8>)> {
    let image = image();
    let applied = filter.begin(&image);
    let mut out = Vec::new();
    let mut passes = vec![applied.pass(0)];
    let folder = std::env::temp_dir();
    let changed = AtomicBool::new(false);
    rewrite(tar, "'x'", &mut passes, &mut out, &changed, &folder, None)?;
    Ok((changed.into_inner(), out))
}

fn exclude(patterns: &[&str]) -> Exclude {
    let options: Vec<String> =
        patterns.iter().map(|pattern| format!("pattern='{pattern}'")).collect();
    Exclude::new(&Spec::parse(&format!("exclude:{}", options.join(",")), &|_| None).unwrap())
        .unwrap()
}

pub(super) fn no_source(uri: &str) -> Result<Source> {
    Err(Error::usage(format!("no source '{uri}' in this test")))
}

fn normalize(text: &str) -> NormalizeTimestamps {
    normalize_in(text, &|_| None).unwrap()
}

fn normalize_in(
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<NormalizeTimestamps> {
    let results = Results::printed(&Progress::hidden());
    NormalizeTimestamps::new(
        &Spec::parse(text, &|_| None)?,
        &FilterInputs { environment, results: &results, source: &no_source },
    )
}

fn link(path: &str, to: &str) -> (Member, Vec<u8>) {
    let member = Member { link: to.into(), ..Member::new(MemberKind::HardLink, path) };
    (member, Vec::new())
}

fn names(listed: &Listed) -> Vec<String> {
    listed.iter().map(|(member, _)| String::from_utf8_lossy(&member.path).into_owned()).collect()
}

#[test]
fn a_directory_takes_what_is_beneath_and_a_whiteout_goes_with_its_file() {
    let of = |names: &[&str]| names.iter().map(|name| file(name.as_bytes(), b"x")).collect();
    let listed: Listed = of(&[
        "src/.git",
        "src/.git/HEAD",
        "src/.wh..git",
        "src/.gitignore",
        "src/.git/.wh..wh..opq",
        "src/.wh.main",
        "./src/.git/refs/a",
        ".wh.src",
    ]);
    let (changed, out) = filtered(&exclude(&["**/.git"]), &write(&listed));
    assert!(changed);
    assert_eq!(names(&read(&out).unwrap()), ["src/.gitignore", "src/.wh.main", ".wh.src"]);
}

#[test]
fn a_link_to_an_excluded_file_becomes_the_file() {
    let listed = vec![
        file(b"cache/a", b"content"),
        link("cache/b", "./cache/a"),
        link("bin/c", "cache/b"),
        link("bin/d", "cache/a"),
        link("cache/e", "bin/c"),
        link("bin/f", "cache/e"),
        file(b"bin/empty", b""),
    ];
    let (_, out) = filtered(&exclude(&["cache"]), &write(&listed));
    let out = read(&out).unwrap();
    assert_eq!(names(&out), ["bin/c", "bin/d", "bin/f", "bin/empty"]);
    assert_eq!((out[0].0.kind, out[0].1.as_slice()), (MemberKind::File, b"content".as_slice()));
    assert_eq!(out[1].0.link, b"bin/c");
    assert_eq!(out[2].0.link, b"bin/c");
}

#[test]
fn a_link_to_a_layer_below_says_what_is_wrong() {
    let error = try_filtered(&exclude(&["cache"]), &write(&vec![link("bin/c", "cache/a")]));
    let error = error.unwrap_err();
    assert_eq!(
        error.to_string(),
        "'x': 'bin/c' is a link to 'cache/a' in a layer below, which is excluded"
    );
}

#[test]
fn a_link_that_leads_through_symbolic_links_says_what_is_wrong() {
    let symlink = Member { link: "d".into(), ..Member::new(MemberKind::Symlink, "s") };
    let listed = vec![file(b"d/a", b"1"), (symlink, Vec::new()), link("k", "s/a")];
    let error = try_filtered(&exclude(&["d/a"]), &write(&listed)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "'x': 'k' is a link to 's/a', which is 'd/a' through symbolic links, which is excluded"
    );
    let (_, out) = filtered(&exclude(&["d/a", "k"]), &write(&listed));
    assert_eq!(names(&read(&out).unwrap()), ["s"]);
}

/// A reader that unpacks a layer follows the symbolic links in it, whatever a member is called.
#[test]
fn a_member_behind_a_symbolic_link_goes_by_both_names() {
    let symlink = Member { link: "usr/bin".into(), ..Member::new(MemberKind::Symlink, "bin") };
    let folder = |path: &str| (Member::new(MemberKind::Directory, path), Vec::new());
    let listed = vec![
        folder("usr/bin"),
        file(b"usr/bin/sh", b"s"),
        (symlink, Vec::new()),
        file(b"bin/tool", b"t"),
        file(b"bin/.wh.old", b""),
    ];
    let left = |pattern| names_of(&filtered(&exclude(&[pattern]), &write(&listed)).1);
    assert_eq!(left("usr/bin/tool"), ["usr/bin", "usr/bin/sh", "bin", "bin/.wh.old"]);
    assert_eq!(left("bin/tool"), ["usr/bin", "usr/bin/sh", "bin", "bin/.wh.old"]);
    assert_eq!(left("usr/bin/old"), ["usr/bin", "usr/bin/sh", "bin", "bin/tool"]);
    // No link without a target is left.
    assert_eq!(left("usr/bin"), ["bin"]);
}

#[test]
fn a_link_before_its_file_says_what_is_wrong() {
    let listed = vec![link("bin/c", "./cache/a"), file(b"x", b"1"), file(b"cache/a", b"a")];
    let error = try_filtered(&exclude(&["cache"]), &write(&listed)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "'x': 'bin/c' is a link to './cache/a', which is excluded and comes only after it"
    );
}

#[test]
fn the_spelling_of_names_is_nothing_that_a_pattern_sees() {
    let listed = vec![
        (Member::new(MemberKind::Directory, "."), Vec::new()),
        file(b"./d/o", b"content"),
        link("d/h", "./d/o"),
        link("./d/i", "/d/o"),
        file(b"./d/.hid", b""),
        file(b"/.env", b""),
    ];
    for pattern in ["**/.*", "**/.?*", "{**/,}.*"] {
        let (_, out) = filtered(&exclude(&[pattern]), &write(&listed));
        assert_eq!(read(&out).unwrap(), listed[..4], "{pattern}");
    }
}

#[test]
fn a_pattern_for_hidden_files_does_not_bring_back_what_was_deleted() {
    let names =
        ["etc/.wh.secret", "etc/.wh..hid", "etc/.wh..wh..opq", ".wh..wh..opq", "./etc/.hid"];
    let listed: Listed = names.iter().map(|name| file(name.as_bytes(), b"")).collect();
    let left = |pattern| names_of(&filtered(&exclude(&[pattern]), &write(&listed)).1);
    assert_eq!(left("**/.*"), ["etc/.wh.secret", "etc/.wh..wh..opq", ".wh..wh..opq"]);
    assert_eq!(left("etc"), [".wh..wh..opq"]);
    // A pattern with the name of whiteouts matches them.
    assert_eq!(left("**/.wh.*"), ["./etc/.hid"]);
    assert_eq!(
        left("etc/.wh.s*"),
        ["etc/.wh..hid", "etc/.wh..wh..opq", ".wh..wh..opq", "./etc/.hid"]
    );
}

fn names_of(tar: &[u8]) -> Vec<String> {
    names(&read(tar).unwrap())
}

#[test]
fn a_link_never_leads_to_what_came_later_under_that_name() {
    let symlink = |path: &str, to: &str| {
        (Member { link: to.into(), ..Member::new(MemberKind::Symlink, path) }, Vec::new())
    };
    let lines = |listed: &Listed| {
        let (_, out) = filtered(&exclude(&["cache"]), &write(listed));
        let line = |(member, content): &(Member, Vec<u8>)| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let what = match member.kind {
                MemberKind::File => text(content),
                kind => format!("{} {}", kind.name(), text(&member.link)),
            };
            format!("{}: {what}", text(&member.path))
        };
        read(&out).unwrap().iter().map(line).collect::<Vec<_>>()
    };
    // The member that became 'cache/a' is replaced by another file.
    let mut listed = vec![
        file(b"cache/a", b"A"),
        link("bin/c", "cache/a"),
        file(b"./bin/c", b"other"),
        link("bin/d", "cache/a"),
        link("bin/e", "cache/a"),
    ];
    assert_eq!(lines(&listed), ["bin/c: A", "./bin/c: other", "bin/d: A", "bin/e: hardlink bin/d"]);
    // Its folder becomes something else.
    listed[2] = symlink("bin", "usr/bin");
    assert_eq!(lines(&listed)[2..], ["bin/d: A", "bin/e: hardlink bin/d"]);
    // A folder that is listed once more does not change what is in it.
    listed[2] = (Member::new(MemberKind::Directory, "bin"), Vec::new());
    assert_eq!(lines(&listed)[2..], ["bin/d: hardlink bin/c", "bin/e: hardlink bin/c"]);
    // The same link twice.
    listed[2] = link("bin/c", "cache/a");
    assert_eq!(lines(&listed)[..2], ["bin/c: A", "bin/c: A"]);
    // The excluded name is a file first, and something else then.
    let listed = vec![file(b"cache/a", b"A"), symlink("cache/a", "to"), link("bin/c", "cache/a")];
    assert_eq!(lines(&listed), ["bin/c: symlink to"]);
    // A file that stays loses its name, which links to an excluded name of it would need.
    let listed = vec![
        file(b"bin/c", b"A"),
        link("cache/a", "bin/c"),
        file(b"bin/c", b"other"),
        link("bin/d", "cache/a"),
    ];
    let error = try_filtered(&exclude(&["cache"]), &write(&listed)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "'x': 'bin/d' is a link to 'cache/a', which is excluded, and its file is replaced in the same layer"
    );
}

#[test]
fn a_member_without_a_name_cannot_be_written_again() {
    let error = try_filtered(&exclude(&["x"]), &write(&vec![file(b"", b"")])).unwrap_err();
    assert_eq!(error.to_string(), "'x': has a member without a name");
}

#[test]
fn options_are_checked_before_anything_is_fetched() {
    let environment = |name: &str| (name == "SOURCE_DATE_EPOCH").then(|| "17".to_owned());
    let time = |text: &str| {
        let filter = normalize_in(text, &environment)?;
        let (_, out) = filtered(&filter, &write(&vec![file(b"a", b"")]));
        Ok::<_, Error>(read(&out)?[0].0.mtime.seconds)
    };
    assert_eq!(time("normalize-timestamps").unwrap(), 17);
    assert_eq!(time("normalize-timestamps:ts=-1").unwrap(), -1);
    assert_eq!(time("normalize-timestamps:timestamp=5,config=yes").unwrap(), 5);
    for bad in [
        "ts=abc",
        "ts=1.5",
        "ts=",
        "ts=1,timestamp=1",
        "ts=1,ts=2",
        "config=maybe",
        "t=1",
        "ts=999999999999999",
    ] {
        assert!(time(&format!("normalize-timestamps:{bad}")).is_err(), "{bad}");
    }
    let results = Results::printed(&Progress::hidden());
    for bad in [
        "exclude",
        "exclude:pattern=",
        "exclude:pattern=[a",
        "exclude:patern=a",
        "search",
        "search:pattern=",
        "search:pattern=[a",
        "search:pattern=(a,regex=true",
        "search:pattern=a,regex=perhaps",
        "search:pattern=a,pattern=b",
    ] {
        let inputs =
            FilterInputs { environment: &environment, results: &results, source: &no_source };
        assert!(Filters::parse(&[bad.to_owned()], &inputs).is_err(), "{bad}");
    }
}

/// Returns the members as a reader sees them, with holes as zeros.
fn seen(tar: &[u8]) -> Vec<(Member, Vec<u8>)> {
    let mut listed = read(tar).unwrap();
    for (member, content) in &mut listed {
        if let Some(sparse) = member.sparse.take() {
            let mut whole = Vec::new();
            let mut expanded = Expanded::new(content.as_slice(), &sparse, member.size);
            expanded.read_to_end(&mut whole).unwrap();
            *content = whole;
        }
    }
    listed
}

/// Returns whether a name is dropped. It is slow and simple, and shares no code with the filter.
fn simply_gone(pattern: &str, name: &str) -> bool {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/').filter(|part| !["", "."].contains(part)) {
        match (part, parts.last()) {
            ("..", Some(last)) if *last != ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    let Some((last, folders)) = parts.split_last() else { return false };
    // A whiteout counts as the file that it hides.
    let parts = [folders, &[last.strip_prefix(".wh.").unwrap_or(last)]].concat();
    let mut pattern = pattern;
    while let Some(rest) = pattern.strip_prefix('/').or_else(|| pattern.strip_prefix("./")) {
        pattern = rest;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    (1..=parts.len()).any(|count| {
        let name: Vec<char> = parts[..count].join("/").chars().collect();
        simply_matches(&pattern, &name, true)
    })
}

/// Matches letter by letter. `starts` is true at the start of a component of the pattern.
fn simply_matches(pattern: &[char], name: &[char], starts: bool) -> bool {
    let stars = pattern.iter().take_while(|letter| **letter == '*').count();
    match (pattern, name) {
        ([], _) => name.is_empty(),
        (['*', '*', '/', rest @ ..], _) if starts => {
            let slashes = (0..name.len()).filter(|at| name[*at] == '/').map(|at| at + 1);
            [0].into_iter().chain(slashes).any(|at| simply_matches(rest, &name[at..], true))
        }
        (['*', ..], _) => {
            (0..=name.len()).any(|at| simply_matches(&pattern[stars..], &name[at..], false))
        }
        ([letter, rest @ ..], [first, others @ ..]) => {
            (*letter == '?' || letter == first) && simply_matches(rest, others, *letter == '/')
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn normalising_changes_times_and_nothing_else(listed in vec(member(), 0..5), seconds in 0..1_i64 << 33) {
        let tar = write(&listed);
        let filter = normalize(&format!("normalize-timestamps:ts={seconds}"));
        let (_, out) = filtered(&filter, &tar);
        let mut expected = seen(&tar);
        for (member, _) in &mut expected {
            member.mtime = Time::seconds(seconds);
        }
        prop_assert_eq!(seen(&out), expected);
        let (changed, again) = filtered(&filter, &out);
        prop_assert!(!changed);
        prop_assert_eq!(again, out);
    }

    #[test]
    fn excluding_nothing_changes_no_byte(listed in vec(member(), 0..5)) {
        let tar = write(&listed);
        let (changed, out) = filtered(&exclude(&["no such name/"]), &tar);
        prop_assert!(!changed);
        prop_assert_eq!(out, tar);
    }

    #[test]
    fn excluding_takes_what_matches_and_nothing_else(
        names in vec("(/|\\./|)[ab.]{1,2}(/|/\\./|//)([ab.]{1,2}/)?(\\.wh\\.|)[ab]{1,2}", 1..12),
        pattern in "(/|\\./|\\*\\*/|)[ab.?*]{1,2}(/(\\*\\*/)?[ab.?*]{1,2})?",
    ) {
        let distinct: BTreeSet<&String> = names.iter().collect();
        let listed: Listed =
            distinct.iter().map(|name| file(name.as_bytes(), name.as_bytes())).collect();
        let filter = exclude(&[&pattern]);
        let (changed, out) = filtered(&filter, &write(&listed));
        let (lost, stays): (Listed, Listed) = listed
            .into_iter()
            .partition(|(member, _)| simply_gone(&pattern, std::str::from_utf8(&member.path).unwrap()));
        prop_assert_eq!(read(&out).unwrap(), stays);
        prop_assert_eq!(changed, !lost.is_empty());
    }

    #[test]
    fn no_layer_makes_a_filter_panic(listed in vec(member(), 1..4), at in any::<usize>(), flip in 1_u8..) {
        let mut tar = write(&listed);
        let at = at % tar.len();
        tar[at] ^= flip;
        let _ = try_filtered(&normalize("normalize-timestamps"), &tar);
        let _ = try_filtered(&exclude(&["*a*"]), &tar);
    }
}

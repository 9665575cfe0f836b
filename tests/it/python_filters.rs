//! Filters, compared with those of the predecessor: the same image and the same filter give the same members, with their
//! types, modes, owners, times, link targets, extended attributes and contents.
//!
//! Where the predecessor is wrong, a test is named for it: it shows both what it does and what we do.

use std::path::PathBuf;

use occystrap_base::oci::Digest;
use occystrap_layer::glob::Globs;
use occystrap_layer::tar::member::plain;
use serde_json::json;

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{TestImage, noise};
use crate::support::python::{self, Member, Python, layer_files, link, name};
use crate::support::raw_tar::{Raw, tar};
use crate::support::rich;

/// An image in a sandbox, and both programs.
struct Pair {
    sandbox: Sandbox,
    python: Python,
    source: String,
}

/// The results of the predecessor and of occystrap: the members of the layers.
struct Both {
    theirs: Vec<Vec<Member>>,
    ours: Vec<Vec<Member>>,
    sandbox: Sandbox,
}

impl Pair {
    fn new(test: &str, image: &TestImage) -> Option<Self> {
        let python = Python::find(test)?;
        let sandbox = Sandbox::new();
        rich::docker_save(image).write(&sandbox.path("source.tar"));
        let source = sandbox.uri("tar", "source.tar");
        Some(Self { sandbox, python, source })
    }

    /// An image of one layer.
    fn of(test: &str, members: &[Raw]) -> Option<Self> {
        Self::new(test, &TestImage::with_layers("test/one:1", vec![tar(members)]))
    }

    fn theirs(&self, filters: &[&str]) -> Ran {
        self.python.process(
            &self.sandbox,
            &self.source,
            &self.sandbox.uri("dir", "theirs"),
            filters,
        )
    }

    fn ours(&self, filters: &[&str]) -> Ran {
        let options: Vec<&str> = filters.iter().flat_map(|filter| ["-f", filter]).collect();
        let options = [&options[..], &["--verify=full"]].concat();
        self.sandbox.process(&self.source, &self.sandbox.uri("dir", "ours"), &options)
    }

    /// Both, to a good end.
    #[track_caller]
    fn both(self, filters: &[&str]) -> Both {
        self.each(filters, filters)
    }

    /// Both, where the filters must be written differently.
    #[track_caller]
    fn each(self, theirs: &[&str], ours: &[&str]) -> Both {
        self.theirs(theirs).exits(0);
        self.ours(ours).verified();
        let files = |folder| layer_files(&self.sandbox.path(folder));
        let (their, our) = (files("theirs"), files("ours"));
        let mut theirs = self.python.members(&[their.clone(), our].concat());
        let ours = theirs.split_off(their.len());
        Both { theirs, ours, sandbox: self.sandbox }
    }
}

impl Both {
    #[track_caller]
    fn same_members(&self) {
        assert_eq!(self.theirs.len(), self.ours.len(), "layers");
        for (index, (theirs, ours)) in self.theirs.iter().zip(&self.ours).enumerate() {
            for (their, our) in theirs.iter().zip(ours) {
                assert_eq!(
                    their,
                    our,
                    "layer {index}: Python's '{}', ours '{}'",
                    name(their),
                    name(our)
                );
            }
            let names = |members: &[Member]| members.iter().map(name).collect::<Vec<_>>();
            assert_eq!(names(theirs), names(ours), "layer {index}");
        }
    }

    /// Configs differ in the diff-ids alone, each of which is its layer's.
    #[track_caller]
    fn same_configs(&self) {
        let read = |folder: &str| {
            let (mut config, name) = python::config(&self.sandbox.path(folder));
            let diff_ids = config["rootfs"]["diff_ids"].take();
            let digests: Vec<String> = layer_files(&self.sandbox.path(folder))
                .iter()
                .map(|file| Digest::of(&std::fs::read(file).unwrap()).to_string())
                .collect();
            assert_eq!(diff_ids, json!(digests), "{folder}: {name}");
            config
        };
        assert_eq!(read("theirs"), read("ours"));
    }

    fn names(members: &[Vec<Member>]) -> Vec<String> {
        members.concat().iter().map(name).collect()
    }

    fn our_names(&self) -> Vec<String> {
        Self::names(&self.ours)
    }

    fn their_names(&self) -> Vec<String> {
        Self::names(&self.theirs)
    }
}

/// Our layer's file; the image has one.
fn our_layer(sandbox: &Sandbox) -> PathBuf {
    layer_files(&sandbox.path("ours")).remove(0)
}

#[test]
fn times_are_normalised_as_python_does_it() {
    let test = "times_are_normalised_as_python_does_it";
    for filter in ["normalize-timestamps:ts=0", "normalize-timestamps:timestamp=1234567890"] {
        let Some(pair) = Pair::new(test, &rich::image("test/rich:1")) else { return };
        let both = pair.both(&[filter]);
        both.same_members();
        both.same_configs();
    }
}

#[test]
fn members_are_excluded_as_python_does_it() {
    let test = "members_are_excluded_as_python_does_it";
    // '*' crosses '/', '?' is one character, the whole path is matched, case counts.
    let filters = [
        &["exclude:pattern=etc/*"][..],
        &["exclude:pattern=*.pyc"],
        &["exclude:pattern=*s*/[u-z]*", "exclude:pattern=*DEV*"],
        &["exclude:pattern=names/?????-?", "exclude:pattern=[!a-n]wice", "exclude:pattern=dev/*"],
        &[
            "exclude:pattern=*/.wh.*",
            "exclude:pattern=names/new?line",
            "exclude:pattern=names/*[[]x]",
        ],
    ];
    for filters in filters {
        let Some(pair) = Pair::new(test, &rich::image("test/rich:1")) else { return };
        let both = pair.both(filters);
        both.same_members();
        both.same_configs();
    }
}

/// Patterns of four pieces and names of four letters, as chance has them.
#[test]
fn patterns_match_what_python_matches() {
    let Some(python) = Python::find("patterns_match_what_python_matches") else { return };
    let pieces =
        ["a", "b", "/", "é", "*", "?", "[ab]", "[!a]", "[^a]", "[]b]", "[a-é]", "[!]/-]", "]", "^"];
    let letters = ["a", "b", "c", "/", "é", "]", "^", "-", ".", "\\", "\n"];
    let texts = |from: &[&str], seed: u64, count: usize| -> Vec<String> {
        let chance = noise(seed, 4 * count);
        let piece = |byte: &u8| from[usize::from(*byte) % from.len()];
        chance.chunks(4).map(|four| four.iter().map(piece).collect()).collect()
    };
    // '**/' has got a meaning, and names are matched without what does not count in them, of which
    // patterns are rid as well.
    let new = |pattern: &String| pattern.contains("**/") || pattern.starts_with('/');
    let counts = |name: &String| plain(name.as_bytes()) != name.as_bytes();
    let mut patterns = texts(&pieces, 1, 1_000);
    patterns.retain(|pattern| !new(pattern));
    let mut names = texts(&letters, 2, 300);
    names.retain(|name| !counts(name));
    assert!(patterns.len() > 900 && names.len() > 150, "{} {}", patterns.len(), names.len());
    let theirs = python.matches(&patterns, &names);
    let mut hits = 0;
    for (pattern, theirs) in patterns.iter().zip(theirs) {
        let ours = Globs::new([pattern.as_str()]).unwrap();
        for (name, theirs) in names.iter().zip(theirs) {
            let ours = !ours.matches(name.as_bytes()).is_empty();
            assert_eq!(ours, theirs, "{pattern:?} {name:?}");
            hits += usize::from(ours);
        }
    }
    assert!(hits > 1_000, "{hits}");
}

#[test]
fn chains_give_what_python_gives() {
    let test = "chains_give_what_python_gives";
    let Some(pair) = Pair::new(test, &rich::image("test/rich:1")) else { return };
    let both = pair.both(&[
        "exclude:pattern=usr/lib/*",
        "Normalize_Timestamps:ts=7",
        "exclude:pattern=sparse/*",
    ]);
    both.same_members();
    both.same_configs();
    assert!(both.ours.concat().iter().all(|member| member["mtime"] == "7"));
}

#[test]
fn wrong_in_python_a_hard_link_to_an_excluded_file_leads_nowhere() {
    let test = "wrong_in_python_a_hard_link_to_an_excluded_file_leads_nowhere";
    let members = [
        Raw::file("bin/tool", b"a tool").mode(0o755),
        Raw::link(b'1', "bin/first", "bin/tool").mode(0o755),
        Raw::link(b'1', "bin/second", "bin/tool").mode(0o755),
    ];
    let Some(pair) = Pair::of(test, &members) else { return };
    let both = pair.both(&["exclude:pattern=bin/tool"]);
    assert_eq!(both.their_names(), both.our_names());
    assert_eq!(link(&both.theirs[0][0]), "bin/tool", "which is not there");
    let [first, second] = &both.ours[0][..] else { panic!("{:?}", both.ours) };
    assert_eq!((&first["kind"], &first["content"][0]), (&json!("0"), &json!(6)));
    assert_eq!(first["mode"], "755");
    // The file may be there twice, or once with another name.
    match link(second).as_str() {
        "bin/first" => assert_eq!(second["kind"], "1"),
        _ => assert_eq!(second["content"], first["content"]),
    }
}

#[test]
fn wrong_in_python_an_excluded_directory_leaves_its_files() {
    let test = "wrong_in_python_an_excluded_directory_leaves_its_files";
    let members = [
        Raw::dir("usr/doc"),
        Raw::file("usr/doc/manual", b"text"),
        Raw::file("usr/doc-tool", b"another name with that beginning"),
    ];
    let Some(pair) = Pair::of(test, &members) else { return };
    let both = pair.both(&["exclude:pattern=usr/doc"]);
    assert_eq!(both.their_names(), ["usr/doc/manual", "usr/doc-tool"]);
    assert_eq!(both.our_names(), ["usr/doc-tool"]);
}

#[test]
fn wrong_in_python_a_whiteout_of_an_excluded_file_stays() {
    let test = "wrong_in_python_a_whiteout_of_an_excluded_file_stays";
    let members = [Raw::file("etc/.wh.motd", b""), Raw::file("etc/.wh.other", b"")];
    let Some(pair) = Pair::of(test, &members) else { return };
    let both = pair.both(&["exclude:pattern=etc/motd"]);
    assert_eq!(both.their_names(), ["etc/.wh.motd", "etc/.wh.other"]);
    assert_eq!(both.our_names(), ["etc/.wh.other"]);
}

#[test]
fn wrong_in_python_a_pattern_for_hidden_files_brings_deleted_ones_back() {
    let test = "wrong_in_python_a_pattern_for_hidden_files_brings_deleted_ones_back";
    let below = tar(&[Raw::file("etc/secret", b"deleted above"), Raw::file("etc/.hid", b"")]);
    let above = tar(&[
        Raw::file("etc/.wh.secret", b""),
        Raw::file("etc/.wh..hid", b""),
        Raw::file("etc/.wh..wh..opq", b""),
        Raw::file("etc/x", b"x"),
    ]);
    for pattern in ["exclude:pattern=*/.*", "exclude:pattern=etc/.*"] {
        let image = TestImage::with_layers("test/two:1", vec![below.clone(), above.clone()]);
        let Some(pair) = Pair::new(test, &image) else { return };
        let both = pair.both(&[pattern]);
        assert_eq!(both.their_names(), ["etc/secret", "etc/x"], "and 'etc/secret' is seen again");
        let expected = ["etc/secret", "etc/.wh.secret", "etc/.wh..wh..opq", "etc/x"];
        assert_eq!(both.our_names(), expected);
    }
}

#[test]
fn wrong_in_python_patterns_see_how_a_layer_spells_its_names() {
    let test = "wrong_in_python_patterns_see_how_a_layer_spells_its_names";
    // Names in the form of 'tar -C dir -c .'.
    let names = ["./etc/secret", "./etc/.hid", "./etc/x", "./.env"];
    let members: Vec<Raw> = [Raw::dir("."), Raw::dir("./etc")]
        .into_iter()
        .chain(names.map(|n| Raw::file(n, b"")))
        .collect();
    for (pattern, theirs, ours) in [
        (
            "**/.*",
            &[".", "./etc", "./etc/secret", "./etc/x"][..],
            &["./etc", "./etc/secret", "./etc/x"][..],
        ),
        (".*", &[], &["./etc", "./etc/secret", "./etc/.hid", "./etc/x"]),
        (
            "/etc/x",
            &[".", "./etc", "./etc/secret", "./etc/.hid", "./etc/x", "./.env"],
            &["./etc", "./etc/secret", "./etc/.hid", "./.env"],
        ),
        (
            "./etc/x",
            &[".", "./etc", "./etc/secret", "./etc/.hid", "./.env"],
            &["./etc", "./etc/secret", "./etc/.hid", "./.env"],
        ),
    ] {
        let Some(pair) = Pair::of(test, &members) else { return };
        let both = pair.both(&[&format!("exclude:pattern={pattern}")]);
        assert_eq!(both.their_names(), theirs, "{pattern}");
        let mut kept = both.our_names();
        // The root stays, whatever it is called.
        assert!([".", ""].contains(&kept.remove(0).as_str()), "{pattern}");
        assert_eq!(kept, ours, "{pattern}");
    }
}

#[test]
fn wrong_in_python_of_several_patterns_the_last_one_counts() {
    let test = "wrong_in_python_of_several_patterns_the_last_one_counts";
    let members = ["a", "b", "c"].map(|name| Raw::file(name, b""));
    let Some(pair) = Pair::of(test, &members) else { return };
    let both = pair.both(&["exclude:pattern=a,pattern=b"]);
    assert_eq!(both.their_names(), ["a", "c"]);
    assert_eq!(both.our_names(), ["c"]);
}

#[test]
fn wrong_in_python_a_comma_in_a_pattern_cannot_be_typed() {
    let test = "wrong_in_python_a_comma_in_a_pattern_cannot_be_typed";
    let members = ["a", "b", "c"].map(|name| Raw::file(name, b""));
    let Some(pair) = Pair::of(test, &members) else { return };
    let filters = ["exclude:pattern={a,b}"];
    pair.theirs(&filters).exits(1).says("missing =");
    pair.ours(&filters).verified();
    let members = pair.python.layers(&pair.sandbox.path("ours"));
    assert_eq!(Both::names(&members), ["c"]);
}

#[test]
fn wrong_in_python_two_stars_and_a_slash_do_not_match_at_the_root() {
    let test = "wrong_in_python_two_stars_and_a_slash_do_not_match_at_the_root";
    let members = ["cache", "usr/cache", "usr/cache2"].map(|name| Raw::file(name, b""));
    let Some(pair) = Pair::of(test, &members) else { return };
    let both = pair.both(&["exclude:pattern=**/cache"]);
    assert_eq!(both.their_names(), ["cache", "usr/cache2"]);
    assert_eq!(both.our_names(), ["usr/cache2"]);
}

#[test]
fn wrong_in_python_numbers_as_patterns_and_unknown_options() {
    let test = "wrong_in_python_numbers_as_patterns_and_unknown_options";
    let members = ["5", "true", "c"].map(|name| Raw::file(name, b""));
    let Some(pair) = Pair::of(test, &members) else { return };
    pair.theirs(&["exclude:pattern=5"]).exits(1).says("AttributeError");
    pair.theirs(&["normalize-timestamps:no-such=1"]).exits(0);
    pair.theirs(&["normalize-timestamps:ts=soon"]).exits(1).says("ValueError");

    pair.ours(&["normalize-timestamps:no-such=1"]).exits(2).says("no-such");
    pair.ours(&["normalize-timestamps:ts=soon"]).exits(2).says("soon");
    assert!(!pair.sandbox.path("ours").exists(), "nothing was touched");
    pair.ours(&["exclude:pattern=5", "exclude:pattern=true"]).verified();
    let members = pair.python.layers(&pair.sandbox.path("ours"));
    assert_eq!(Both::names(&members), ["c"]);
}

#[test]
fn wrong_in_python_nanoseconds_are_rounded_by_exclude() {
    let test = "wrong_in_python_nanoseconds_are_rounded_by_exclude";
    let exact = "1700000000.123456789";
    let members = [Raw::file("a", b"").pax("mtime", exact), Raw::file("b", b"")];
    let Some(pair) = Pair::of(test, &members) else { return };
    let both = pair.both(&["exclude:pattern=b"]);
    assert_eq!(both.theirs[0][0]["mtime"], "1700000000.1234567");
    assert_eq!(both.ours[0][0]["mtime"], exact);
}

#[test]
fn wrong_in_python_what_follows_a_member_of_unknown_type_is_lost() {
    let test = "wrong_in_python_what_follows_a_member_of_unknown_type_is_lost";
    let members = [
        Raw::file("a", b"a"),
        Raw::new(b'Z', "odd", &[b'z'; 700]),
        Raw::file("after", b"after"),
        Raw::file("gone", b"gone"),
    ];
    let Some(pair) = Pair::of(test, &members) else { return };
    let both = pair.both(&["exclude:pattern=gone"]);
    assert_eq!(
        both.their_names(),
        ["a", "odd"],
        "the header of 'odd' announces content that is not there"
    );
    assert_eq!(both.our_names(), ["a", "odd", "after"]);
    assert_eq!(both.ours[0][1]["kind"], "Z");
    let bytes = std::fs::read(our_layer(&both.sandbox)).unwrap();
    assert!(bytes.windows(700).any(|window| window == [b'z'; 700]));
}

#[test]
fn wrong_in_python_what_follows_a_damaged_header_is_lost() {
    let test = "wrong_in_python_what_follows_a_damaged_header_is_lost";
    let mut layer = tar(&["a", "b", "c"].map(|name| Raw::file(name, b"content")));
    // In the name of 'b'.
    layer[1024 + 10] ^= 1;
    let image = TestImage::with_layers("test/one:1", vec![layer]);
    let Some(pair) = Pair::new(test, &image) else { return };
    for filter in ["normalize-timestamps:ts=0", "exclude:pattern=c"] {
        pair.theirs(&[filter]).exits(0).says("verified OK");
        assert_eq!(Both::names(&pair.python.layers(&pair.sandbox.path("theirs"))), ["a"]);
        pair.ours(&[filter]).exits(1).says("1024");
    }
    assert!(!pair.sandbox.path("ours").exists());
}

#[test]
fn wrong_in_python_a_layer_that_is_cut_in_a_header_is_taken_for_whole() {
    let test = "wrong_in_python_a_layer_that_is_cut_in_a_header_is_taken_for_whole";
    let mut layer = tar(&["a", "b"].map(|name| Raw::file(name, b"content")));
    layer.truncate(1024 + 100);
    let image = TestImage::with_layers("test/one:1", vec![layer]);
    let Some(pair) = Pair::new(test, &image) else { return };
    pair.theirs(&["normalize-timestamps:ts=0"]).exits(0).says("verified OK");
    pair.ours(&["normalize-timestamps:ts=0"]).exits(1);
}

#[test]
fn wrong_in_python_times_of_gnu_tar_are_taken_for_a_part_of_the_name() {
    let test = "wrong_in_python_times_of_gnu_tar_are_taken_for_a_part_of_the_name";
    // The form in which GNU tar writes access and change times in its own format (--incremental).
    let times = Raw::file("file", b"x").gnu().number(345, 11, 1).number(357, 11, 2);
    let Some(pair) = Pair::of(test, &[times, Raw::file("b", b"")]) else { return };
    let both = pair.both(&["exclude:pattern=b"]);
    assert_eq!(both.their_names(), ["00000000001/file"]);
    assert_eq!(both.our_names(), ["file"]);
}

#[test]
fn wrong_in_python_a_name_with_a_nul_becomes_another_files() {
    let test = "wrong_in_python_a_name_with_a_nul_becomes_another_files";
    let members =
        [Raw::file("etc/passwd", b"root"), Raw::file("x", b"").pax("path", b"etc/passwd\0x")];
    let Some(pair) = Pair::of(test, &members) else { return };
    pair.theirs(&["normalize-timestamps:ts=0"]).exits(0);
    let theirs = pair.python.layers(&pair.sandbox.path("theirs"));
    assert_eq!(Both::names(&theirs), ["etc/passwd", "etc/passwd"]);
    pair.ours(&["normalize-timestamps:ts=0"]).exits(1);
}

#[test]
fn wrong_in_python_a_filter_that_changes_nothing_changes_the_layer() {
    let test = "wrong_in_python_a_filter_that_changes_nothing_changes_the_layer";
    let image = rich::image("test/rich:1");
    let Some(pair) = Pair::new(test, &image) else { return };
    let both = pair.both(&["exclude:pattern=no-such-file"]);
    both.same_members();
    let read = |folder: &str| layer_files(&both.sandbox.path(folder))[0].clone();
    assert!(std::fs::read(read("theirs")).unwrap() != image.layers[0]);
    assert!(std::fs::read(read("ours")).unwrap() == image.layers[0], "digests stay what they were");
    assert_eq!(python::config(&both.sandbox.path("ours")).1, image.config_path());
}

#[test]
fn wrong_in_python_a_filter_is_bypassed_where_the_unfiltered_layer_is_there() {
    let test = "wrong_in_python_a_filter_is_bypassed_where_the_unfiltered_layer_is_there";
    let Some(pair) = Pair::new(test, &rich::image("test/rich:1")) else { return };
    pair.theirs(&[]).exits(0);
    pair.ours(&[]).verified();
    let both = pair.both(&["normalize-timestamps:ts=0"]);
    let times = |layers: &[Vec<Member>]| {
        layers.concat().iter().filter(|member| member["mtime"] != "0").count()
    };
    assert!(times(&both.theirs) > 0);
    assert_eq!(times(&both.ours), 0);
}

#[test]
fn wrong_in_python_the_config_of_a_filtered_image_is_not_what_its_name_says() {
    let test = "wrong_in_python_the_config_of_a_filtered_image_is_not_what_its_name_says";
    let Some(pair) = Pair::new(test, &rich::image("test/rich:1")) else { return };
    let both = pair.both(&["exclude:pattern=etc/plain"]);
    let of = |folder: &str| {
        let (_, name) = python::config(&both.sandbox.path(folder));
        let bytes = std::fs::read(both.sandbox.path(folder).join(&name)).unwrap();
        (format!("{}.json", Digest::of(&bytes).hex()), name)
    };
    let (digest, name) = of("theirs");
    assert_ne!(digest, name);
    let (digest, name) = of("ours");
    assert_eq!(digest, name);
}

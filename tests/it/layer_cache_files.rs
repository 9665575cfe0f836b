//! `--layer-cache` at destinations with files: a file that is already there is read before it is used as a layer.

use std::path::PathBuf;

use occystrap_base::oci::Digest;

use crate::support::cli::{Ran, Sandbox, Tree};
use crate::support::image::{Pack, TestImage, noise, tar};
use crate::support::push::push;
use crate::support::registry::Registry;
use crate::support::shape;

const OUTPUTS: [&str; 3] = ["dir", "oci-layout", "tar"];
const FILTER: [&str; 2] = ["-f", "normalize-timestamps:ts=7"];

struct Place {
    image: TestImage,
    sandbox: Sandbox,
    from: Registry,
    source: String,
    output: &'static str,
}

impl Place {
    fn new(output: &'static str) -> Self {
        let (image, from) = (TestImage::new("team/app:1"), Registry::start());
        let source = push(&from, &image, Pack::Gzip);
        Self { image, sandbox: Sandbox::new(), from, source, output }
    }

    fn there(&self) -> String {
        self.sandbox.uri(self.output, "there")
    }

    fn said(&self, source: &str, more: &[&str]) -> Ran {
        let cache = self.sandbox.path("cache").display().to_string();
        self.sandbox.process(
            source,
            &self.there(),
            &[&["-v", "--layer-cache", &cache], more].concat(),
        )
    }

    /// Moves the image, and returns what is there then, how many layers were fetched, and how many
    /// known.
    fn run(&self, source: &str, more: &[&str]) -> (Tree, usize, usize) {
        let before = self.fetched();
        let said = self.said(source, &[more, &["--verify=full"]].concat());
        let known = said.verified().stderr.matches("the destination has it already, as").count();
        (self.sandbox.tree("there"), self.fetched() - before, known)
    }

    fn fetched(&self) -> usize {
        let layers = self.image.layers.iter().map(|layer| Digest::of(&Pack::Gzip.pack(layer)));
        let count = |digest: Digest| self.from.requests_of("GET", &digest.to_string()).len();
        layers.map(count).sum()
    }

    /// The file that has the largest layer.
    fn largest(&self) -> PathBuf {
        let there = self.sandbox.path("there");
        match self.output {
            "tar" => there,
            _ => {
                let size = |path: &PathBuf| path.metadata().unwrap().len();
                let files = self.sandbox.tree("there").into_keys().map(|name| there.join(name));
                files.filter(|path| path.is_file()).max_by_key(size).unwrap()
            }
        }
    }
}

#[test]
fn layers_that_were_filtered_before_are_not_fetched_again() {
    for output in OUTPUTS {
        let place = Place::new(output);
        let (first, fetched, known) = place.run(&place.source, &FILTER);
        assert_eq!((fetched, known), (3, 0), "{output}");
        assert_eq!(place.run(&place.source, &FILTER), (first, 0, 3), "{output}");

        // Another chain is another thing, and leaves its own beside it where there is room.
        let other = ["-f", "exclude:pattern=usr/lib"];
        assert_eq!(place.run(&place.source, &other).1, 3, "{output}");
        assert_eq!(place.run(&place.source, &other).1, 0, "{output}");
        let again = if output == "tar" { 3 } else { 0 };
        assert_eq!(place.run(&place.source, &FILTER).1, again, "{output}");
        place.sandbox.run(&["check", &place.there()]).exits(0);
        place.sandbox.assert_clean();
    }
}

#[test]
fn layers_are_compressed_or_unpacked_once() {
    let place = Place::new("oci-layout");
    shape::legacy(&[&place.image], Pack::Plain).write(&place.sandbox.path("a.tar"));
    let tar = place.sandbox.uri("tar", "a.tar");
    let (first, ..) = place.run(&tar, &[]);
    assert_eq!(place.run(&tar, &[]), (first, 0, 3));
    assert_eq!(place.run(&tar, &["--compression", "zstd"]).2, 0);
    assert_eq!(place.run(&tar, &["--compression", "zstd"]).2, 3);
    // Layers that are compressed at the source are copied unchanged.
    assert_eq!(place.run(&place.source, &[]).2, 0);
    let layers = place.sandbox.path("there/blobs/sha256");
    for layer in &place.image.layers {
        assert!(layers.join(Digest::of(&Pack::Gzip.pack(layer)).hex()).exists());
    }

    let place = Place::new("tar");
    let (first, fetched, _) = place.run(&place.source, &[]);
    assert_eq!(fetched, 3);
    assert_eq!(place.run(&place.source, &[]), (first, 0, 3));
    // A plain tar is what it would be: nothing is gained by reading it elsewhere.
    shape::legacy(&[&place.image], Pack::Plain).write(&place.sandbox.path("a.tar"));
    assert_eq!(place.run(&place.sandbox.uri("tar", "a.tar"), &[]).2, 0);
}

#[test]
fn a_layer_that_nothing_changes_is_known_as_such() {
    for output in OUTPUTS {
        let place = Place::new(output);
        let nothing = ["-f", "exclude:pattern=nothing"];
        let (first, fetched, _) = place.run(&place.source, &nothing);
        assert_eq!(fetched, 3);
        let (second, fetched, _) = place.run(&place.source, &nothing);
        assert_eq!((second, fetched), (first, 0), "{output}");
    }
}

#[test]
fn damaged_or_missing_layers_are_made_again() {
    type Damage = fn(&PathBuf);
    let flip: Damage = |path| {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    let cut: Damage = |path| {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    };
    let gone: Damage = |path| std::fs::remove_file(path).unwrap();
    let link: Damage = |path| {
        let other = path.with_extension("other");
        std::fs::rename(path, &other).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path).unwrap();
    };
    for output in OUTPUTS {
        for (what, damage) in [("flip", flip), ("cut", cut), ("gone", gone), ("link", link)] {
            if (output, what) == ("tar", "link") {
                // A writer does not follow a link there.
                continue;
            }
            let place = Place::new(output);
            let (first, ..) = place.run(&place.source, &FILTER);
            let largest = place.largest();
            damage(&largest);
            let (second, fetched, known) = place.run(&place.source, &FILTER);
            let _ = std::fs::remove_file(largest.with_extension("other"));
            assert!(fetched >= 1, "{output}, {what}");
            assert_eq!(fetched + known, 3, "{output}, {what}");
            let other = |name: &String| !name.ends_with(".other");
            let second: Tree = second.into_iter().filter(|(name, _)| other(name)).collect();
            assert_eq!(second, first, "{output}, {what}");
        }
    }
}

/// Changes the cache as an attacker who knows the format of the file would.
fn edit(place: &Place, change: impl FnOnce(&mut Vec<serde_json::Value>)) {
    let path = place.sandbox.path("cache");
    let mut document: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(document["entries"].as_array_mut().unwrap());
    let entries = document["entries"].to_string();
    let (version, sha256) = (&document["occystrap_layer_cache"], Digest::of(entries.as_bytes()));
    let changed =
        format!(r#"{{"occystrap_layer_cache":{version},"sha256":"{sha256}","entries":{entries}}}"#);
    std::fs::write(&path, changed).unwrap();
}

#[test]
fn an_entry_that_is_wrong_never_stands_for_a_layer() {
    for output in OUTPUTS {
        let mut place = Place::new(output);
        let layer = |seed| tar(&[("file", &noise(seed, 100_000))]);
        place.image = TestImage::with_layers("team/app:1", vec![layer(1), layer(2)]);
        place.source = push(&place.from, &place.image, Pack::Gzip);
        let (first, ..) = place.run(&place.source, &FILTER);
        for what in [&["blob", "size", "at"][..], &["at"], &["size"], &["diff_id"]] {
            edit(&place, |entries| {
                for what in what {
                    let one = entries[0]["known"][what].take();
                    let other = std::mem::replace(&mut entries[1]["known"][what], one);
                    entries[0]["known"][what] = other;
                }
            });
            let (second, fetched, known) = place.run(&place.source, &FILTER);
            assert_eq!(second, first, "{output}, {what:?}");
            assert_eq!(fetched + known, 2, "{output}, {what:?}");
            if what.len() > 1 {
                assert_eq!(known, 0, "{output}, {what:?}");
            }
        }
        for path in ["../cache", "/etc/hostname", "", "home", "a\0b"] {
            edit(&place, |entries| entries[0]["known"]["at"]["path"] = path.into());
            let (second, fetched, known) = place.run(&place.source, &FILTER);
            assert_eq!((second, fetched, known), (first.clone(), 1, 1), "{output}, '{path}'");
        }
        edit(&place, |entries| entries[0]["known"]["at"]["offset"] = u64::MAX.into());
        assert_eq!(place.run(&place.source, &FILTER), (first, 1, 1), "{output}");
    }
}

#[test]
fn archives_do_not_get_in_each_other_s_way() {
    let place = Place::new("tar");
    let cache = place.sandbox.path("cache").display().to_string();
    let to = |name: &str| {
        let before = place.fetched();
        let more = [&FILTER[..], &["--force", "--layer-cache", &cache]].concat();
        place.sandbox.process(&place.source, &place.sandbox.uri("tar", name), &more).verified();
        place.fetched() - before
    };
    assert_eq!([to("a"), to("b"), to("a"), to("b")], [3, 3, 0, 0]);
    // Something else in its place.
    std::fs::write(place.sandbox.path("a"), noise(3, 2_000_000)).unwrap();
    assert_eq!([to("a"), to("a"), to("b")], [3, 0, 0]);
}

#[test]
fn a_destination_that_is_not_there_yet_or_is_something_else() {
    for output in OUTPUTS {
        let place = Place::new(output);
        place.run(&place.source, &FILTER);
        let there = place.sandbox.path("there");
        if output == "tar" {
            std::fs::remove_file(&there).unwrap();
            std::fs::create_dir(&there).unwrap();
            place.said(&place.source, &FILTER).exits(1).says("is a directory, not a file");
        } else {
            std::fs::remove_dir_all(&there).unwrap();
            assert_eq!(place.run(&place.source, &FILTER).1, 3);
            std::fs::remove_dir_all(&there).unwrap();
            std::fs::write(&there, b"x").unwrap();
            place.said(&place.source, &FILTER).exits(1).says("is a file, not a directory");
        }
    }
}

#[test]
fn images_of_one_source_share_what_was_made_of_their_layers() {
    let sandbox = Sandbox::new();
    let base = TestImage::new("team/base:1").layers;
    let image = |number: u64| {
        let own = tar(&[("own", &noise(number, 1_000))]);
        TestImage::with_layers(&format!("team/app:{number}"), [&base[..], &[own]].concat())
    };
    let images = [image(1), image(2), image(3)];
    shape::legacy(&images.each_ref(), Pack::Plain).write(&sandbox.path("a.tar"));
    let tar = sandbox.uri("tar", "a.tar");
    for (output, more) in [
        ("dir", &FILTER[..]),
        ("oci-layout", &FILTER[..]),
        ("oci-layout", &["--compression=zstd"][..]),
    ] {
        let alone = sandbox.uri(output, "alone");
        for number in 1..4 {
            let source = format!("{tar}?image=team/app:{number}");
            sandbox.process(&source, &format!("{alone}{}", unique(output)), more).verified();
        }
        let there = format!("{}{}", sandbox.uri(output, "there"), unique(output));
        for side_by_side in ["-J1", "-J3"] {
            let more = [&["-v", side_by_side, "--verify=full"], more].concat();
            let said = sandbox.process(&tar, &there, &more);
            assert_eq!(
                said.verified().stderr.matches("the destination has it already, as").count(),
                6,
                "{output}"
            );
            // Who comes first stands first in an index.
            let tree = |name| {
                let mut tree = sandbox.tree(name);
                tree.remove("index.json");
                tree
            };
            assert_eq!(tree("there"), tree("alone"), "{output}");
            std::fs::remove_dir_all(sandbox.path("there")).unwrap();
        }
        std::fs::remove_dir_all(sandbox.path("alone")).unwrap();
    }
    // An object that an output finds by itself is not looked for twice.
    let there = format!("{}{}", sandbox.uri("dir", "d"), unique("dir"));
    let said = sandbox.process(&tar, &there, &["-v", "-J1"]);
    let known = "the destination has it already, as";
    assert!(!said.verified().stderr.contains(known), "{}", said.stderr);
    sandbox.assert_clean();
}

#[test]
fn an_image_that_waits_for_a_layer_that_fails_continues() {
    let sandbox = Sandbox::new();
    let base = TestImage::new("team/base:1").layers;
    let image = |number: u64, layers: &[Vec<u8>]| {
        let own = tar(&[("own", &noise(number, 1_000))]);
        TestImage::with_layers(&format!("team/app:{number}"), [layers, &[own]].concat())
    };
    let images = [image(1, &base), image(2, &base), image(3, &base[..1])];
    let mut archive = shape::legacy(&images.each_ref(), Pack::Plain);
    let largest = archive.0.iter_mut().max_by_key(|(_, content)| content.len()).unwrap();
    largest.1[5_000] ^= 1;
    archive.write(&sandbox.path("a.tar"));
    let (tar, there) = (sandbox.uri("tar", "a.tar"), sandbox.uri("oci-layout", "there"));
    for more in [&FILTER[..], &[]] {
        let said = sandbox.process(&tar, &there, &[more, &["-J3"]].concat());
        said.exits(1).says("Summary: 1/3 images").says("1/3 verified");
        assert_eq!(said.stderr.matches("digest of the uncompressed layer").count(), 2);
    }
    sandbox.assert_clean();
}

/// The option with which images share a directory.
fn unique(output: &str) -> &'static str {
    if output == "dir" { "?unique_names=true" } else { "" }
}

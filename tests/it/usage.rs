//! `occystrap info --tree`: where the bytes of an image are.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage, noise, tar};
use crate::support::layer::{file, hardlink, layer};
use crate::support::push::push;
use crate::support::random_image::{self, RandomImage};
use crate::support::raw_tar::{self, Raw};
use crate::support::registry::Registry;
use crate::support::shape;

fn image() -> TestImage {
    let bytes = noise(7, 400_000);
    TestImage::with_layers(
        "team/app:1",
        vec![
            tar(&[
                ("usr/lib/a.so", &bytes[..300_000]),
                ("usr/lib/b.so", &bytes[..100_000]),
                ("usr/lib64/c.so", &bytes[..90_000]),
                ("etc/motd", b"hello"),
            ]),
            tar(&[("var/cache/apt/x", &bytes[..200_000]), ("usr/lib/b.so", &bytes[..50_000])]),
            tar(&[("var/cache/.wh..wh..opq", b""), ("usr/.wh.lib", b"")]),
        ],
    )
}

#[test]
fn the_largest_entries_and_the_waste_are_shown() {
    let (image, sandbox, registry) = (image(), Sandbox::new(), Registry::start());
    shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("a.tar"));
    let said = sandbox.run(&["info", "--tree", &sandbox.uri("tar", "a.tar")]);
    said.exits(0);
    insta::assert_snapshot!(said.stdout);
    let source = push(&registry, &image, Pack::Zstd);
    let remote = sandbox.run(&["info", "--tree", "-O", "json", &source]);
    remote.exits(0);
    let document = remote.json();
    let image = &document["images"][0];
    assert_eq!((&image["size"], &image["wasted"]), (&740_005.into(), &650_000.into()));
    let worst = &image["waste"][0];
    assert_eq!(worst["path"], "usr/lib/a.so");
    assert_eq!((&worst["fate"], &worst["by"]), (&"deleted".into(), &2.into()));
    // Not a prefix of its name.
    assert!(
        !remote
            .stdout
            .contains("usr/lib64/c.so\",\n          \"size\": 90000,\n          \"layer\"")
    );
    sandbox.assert_clean();
}

#[test]
fn a_layer_that_is_none_is_an_error() {
    let sandbox = Sandbox::new();
    let image = TestImage::with_layers("team/app:1", vec![b"hello ".repeat(200)]);
    shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("a.tar"));
    let said = sandbox.run(&["info", "--tree", &sandbox.uri("tar", "a.tar")]);
    said.exits(1).says("is no tar archive");
}

#[test]
fn a_file_with_another_name_is_not_wasted() {
    let sandbox = Sandbox::new();
    let bytes = noise(7, 10_000);
    let lower = [
        file("a", &bytes[..1_000]),
        hardlink("a2", "./a"),
        file("b", &bytes[..200]),
        hardlink("b2", "b"),
        hardlink("b3", "b2"),
        file("c", &bytes[..30]),
        hardlink("c2", "c"),
        file("d", &bytes[..4]),
    ];
    let upper = [
        file(".wh.a", b""),
        file("b", b"new"),
        file(".wh.b2", b""),
        file(".wh.c", b""),
        file(".wh.c2", b""),
        hardlink("d2", "d"),
    ];
    let top = [file(".wh.d", b"")];
    let layers = vec![layer(&lower), layer(&upper), layer(&top)];
    let image = TestImage::with_layers("team/app:1", layers);
    shape::legacy(&[&image], Pack::Plain).write(&sandbox.path("a.tar"));
    let tar = sandbox.uri("tar", "a.tar");
    let document = sandbox.run(&["info", "--tree", "-O", "json", &tar]).exits(0).json();
    // All names of c are deleted.
    assert_eq!(document["images"][0]["wasted"], 30);
    assert_eq!(document["images"][0]["waste"][0]["path"], "c");
    // containerd rejects the link to a file of a lower layer.
    let said = sandbox.run(&["check", "-O", "json", &tar]);
    assert!(said.exits(1).stdout.contains("0 B are not visible"), "{}", said.stdout);
}

/// A sparse file has any size, and a manifest says what it likes.
#[test]
fn sizes_beyond_all_numbers_are_no_trouble() {
    let sandbox = Sandbox::new();
    let huge = |name: &str| {
        Raw::file(name, b"")
            .pax("GNU.sparse.size", i64::MAX.to_string())
            .pax("GNU.sparse.numblocks", "1")
            .pax("GNU.sparse.map", "0,0")
    };
    let files = [huge("a/1"), huge("a/2"), huge("a/3")];
    let image = TestImage::with_layers("app:1", vec![raw_tar::tar(&files), raw_tar::tar(&files)]);
    shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("a.tar"));
    for command in ["info --tree tar://a.tar", "check tar://a.tar", "search tar://a.tar a*"] {
        let said = sandbox.run(&command.split(' ').collect::<Vec<_>>());
        assert!(said.code < 2, "{command:?}: {}", said.stderr);
    }
    let document = sandbox.run(&["info", "--tree", "-O", "json", "tar://a.tar"]).json();
    // Only the part that the layer stores counts.
    assert_eq!(document["images"][0]["size"], 0);

    let registry = Registry::start();
    let source = push(&registry, &TestImage::new("team/app:1"), Pack::Gzip);
    let (media_type, manifest) = registry.manifest("team/app", "1").unwrap();
    let mut manifest: Value = serde_json::from_slice(&manifest).unwrap();
    for layer in manifest["layers"].as_array_mut().unwrap() {
        layer["size"] = u64::MAX.into();
    }
    registry.put_manifest("team/app", "1", &media_type, manifest.to_string());
    for command in [&["info"][..], &["info", "--tree"], &["check"], &["process"]] {
        let to = if command == ["process"] { &["dir://out"][..] } else { &[] };
        let said = sandbox.run(&[command, &[source.as_str()], to].concat());
        assert!(said.code < 2, "{command:?}: {}", said.stderr);
    }
}

/// Every path of every layer is in the document, and the numbers are those of a walk.
#[test]
fn the_numbers_are_those_of_a_walk() {
    let sandbox = Sandbox::new();
    for seed in 0..150 {
        let RandomImage { image, walked, size } = random_image::image(seed);
        shape::legacy(&[&image], Pack::Plain).write(&sandbox.path("a.tar"));
        let document =
            sandbox.run(&["info", "--tree", "-O", "json", "tar://a.tar"]).exits(0).json();
        let found = &document["images"][0];
        assert_eq!(found["size"], size, "seed {seed}");
        assert_eq!(found["wasted"], size - random_image::kept(&walked), "seed {seed}");
        let sum = |list: &Value| -> u64 {
            list.as_array().unwrap().iter().map(|one| one["size"].as_u64().unwrap()).sum()
        };
        assert_eq!(sum(&found["waste"]), found["wasted"], "seed {seed}");
        assert_eq!(sum(&found["waste_by_directory"]), found["wasted"], "seed {seed}");
        let searched = sandbox.run(&["search", "-O", "json", "tar://a.tar", "*"]).exits(0).json();
        let matches = searched["images"][0]["matches"].as_array().unwrap();
        for layer in found["layers"].as_array().unwrap() {
            let entries = layer["entries"].as_array().unwrap();
            let top = entries.iter().filter(|entry| entry["depth"] == 0);
            let whole: u64 = top.map(|entry| entry["size"].as_u64().unwrap()).sum();
            assert_eq!(layer["size"], whole, "seed {seed}");
            // `search` lists members, and so no directories that are only in the names of others.
            let own = matches.iter().filter(|found| found["layer"] == layer["index"]);
            let own: Vec<&Value> = own
                .filter(|found| !matches!(found["kind"].as_str(), Some("whiteout" | "opaque")))
                .collect();
            let paths: HashSet<&Value> = entries.iter().map(|entry| &entry["path"]).collect();
            assert_eq!(paths.len(), entries.len(), "seed {seed}");
            assert!(own.iter().all(|found| paths.contains(&found["path"])), "seed {seed}");
            let stored: u64 = own.iter().map(|found| found["size"].as_u64().unwrap()).sum();
            assert_eq!(layer["size"], stored, "seed {seed}");
        }
        // What is left out is counted.
        let few =
            sandbox.run(&["info", "--tree", "--top", "2", "-O", "json", "tar://a.tar"]).json();
        let few = &few["images"][0];
        let count = |list: &Value| list.as_array().unwrap().len() as u64;
        for list in ["waste", "waste_by_directory"] {
            let left = few["left_out"][list].as_u64().unwrap();
            assert_eq!(count(&few[list]) + left, count(&found[list]), "seed {seed}");
            assert!(count(&few[list]) <= 2);
        }
        for (few, all) in
            few["layers"].as_array().unwrap().iter().zip(found["layers"].as_array().unwrap())
        {
            for list in ["entries", "deleted_entries"] {
                let left = few["left_out"][list].as_u64().unwrap();
                assert_eq!(count(&few[list]) + left, count(&all[list]), "seed {seed}");
            }
        }
    }
}

/// The rules of the command line and of a file of dive: exit code, text and document.
#[test]
fn an_image_that_wastes_too_much_fails() {
    let (image, sandbox) = (image(), Sandbox::new());
    shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("a.tar"));
    let run = |more: &[&str]| sandbox.run(&[&["info", "--tree", "tar://a.tar"], more].concat());
    run(&["--fail-if", "efficiency<0.1", "--fail-if", "wasted>650000"]).exits(0);
    let failed = run(&["--fail-if", "efficiency<90%", "--fail-if", "wasted>50MB"]);
    let rules = failed.exits(1).stdout.split_once("Rules\n").unwrap().1.to_owned();
    insta::assert_snapshot!(rules);
    let document = run(&["-O", "json", "--fail-if", "wasted>=650kB"]).exits(1).json();
    assert_eq!(
        document["images"][0]["rules"],
        json!([{ "rule": "wasted>=650kB", "failed": true, "found": 650_000, "limit": 650_000 }])
    );
    std::fs::write(
        sandbox.path(".dive-ci"),
        "rules:\n  lowestEfficiency: off\n  highestUserWastedPercent: off\n",
    )
    .unwrap();
    run(&["--dive-ci", ".dive-ci"]).exits(0);
    std::fs::write(sandbox.path(".dive-ci"), "rules:\n  highestWastedBytes: 1kB\n").unwrap();
    let document = run(&["--dive-ci", ".dive-ci", "-O", "json"]).exits(1).json();
    let failed: Vec<&Value> = (document["images"][0]["rules"].as_array().unwrap().iter())
        .filter(|rule| rule["failed"] == true)
        .map(|rule| &rule["rule"])
        .collect();
    assert_eq!(
        failed,
        ["lowestEfficiency: 0.9", "highestWastedBytes: 1kB", "highestUserWastedPercent: 0.1"]
    );
    run(&["--fail-if", "waste>5"]).exits(2).says("'waste' is none of efficiency");
    run(&["--dive-ci", "none"]).exits(2).says("cannot read 'none'");
    sandbox.run(&["info", "tar://a.tar", "--fail-if", "wasted>5"]).exits(2).says("--tree");
}

/// On a terminal of any width a file can be found by what is printed.
#[test]
fn names_of_files_are_never_cut() {
    let sandbox = Sandbox::new();
    let name = format!("usr/share/{}/{}", "a-long-name".repeat(4), "another-long-name".repeat(4));
    let lower = raw_tar::tar(&[Raw::file("x", &[7; 5_000]).pax("path", &name)]);
    let upper = raw_tar::tar(&[Raw::file("x", b"").pax("path", &name), Raw::file("y", &[7; 900])]);
    let image = TestImage::with_layers("app:1", vec![lower, upper]);
    shape::legacy(&[&image], Pack::Plain).write(&sandbox.path("a.tar"));
    let mut command = sandbox.command(&["info", "--tree", "tar://a.tar"]);
    command.env("COLUMNS", "40");
    let said = Ran::of(command);
    let lines = said.exits(0).stdout.lines().filter(|line| line.contains(&name)).count();
    // As an entry of its layer, and as a wasted file.
    assert_eq!(lines, 2, "{}", said.stdout);
}

/// A sparse file has one size in all commands: what its layer stores.
#[test]
fn a_sparse_file_has_one_size() {
    let sandbox = Sandbox::new();
    let map = [(0, 512), (20_971_520, 0)];
    let data = noise(1, 512);
    let sparse = |name: &str| Raw::pax_sparse(name, &map, 20_971_520, &data);
    let gnu = Raw::gnu_sparse("gnu", &[(0, 512), (20_971_520, 0)], 20_971_520, &data);
    let layers = vec![raw_tar::tar(&[sparse("pax")]), raw_tar::tar(&[sparse("pax"), gnu])];
    let image = TestImage::with_layers("app:1", layers);
    shape::legacy(&[&image], Pack::Plain).write(&sandbox.path("a.tar"));
    let document = sandbox.run(&["info", "--tree", "-O", "json", "tar://a.tar"]).exits(0).json();
    let image = &document["images"][0];
    assert_eq!((&image["size"], &image["wasted"]), (&1_536.into(), &512.into()));
    let found = sandbox.run(&["search", "-O", "json", "tar://a.tar", "*"]).exits(0).json();
    for found in found["images"][0]["matches"].as_array().unwrap() {
        assert_eq!((&found["size"], &found["apparent_size"]), (&512.into(), &20_971_520.into()));
    }
    let said = sandbox.run(&["search", "tar://a.tar", "gnu"]);
    assert!(said.exits(0).stdout.contains("gnu (file, 512 bytes, 20971520 with holes)"));
    let said = sandbox.run(&["check", "-O", "json", "tar://a.tar"]);
    assert!(said.stdout.contains("512 B are not visible"), "{}", said.stdout);
}

#[test]
fn a_platform_that_the_image_does_not_state_is_null() {
    let sandbox = Sandbox::new();
    let mut image = TestImage::tiny("app:1");
    let mut config: Value = serde_json::from_slice(&image.config).unwrap();
    config.as_object_mut().unwrap().remove("os");
    config.as_object_mut().unwrap().remove("architecture");
    image.config = config.to_string().into_bytes();
    shape::legacy(&[&image], Pack::Plain).write(&sandbox.path("a.tar"));
    for arguments in [
        &["info"][..],
        &["info", "--tree"],
        &["info", "--html", "page.html"],
        &["search", "*"],
        &["export", "-o", "rootfs.tar"],
    ] {
        let (command, more) = arguments.split_first().unwrap();
        let arguments = match *command {
            "search" => vec!["search", "-O", "json", "tar://a.tar", "*"],
            command => [&[command, "-O", "json", "tar://a.tar"], more].concat(),
        };
        let document = sandbox.run(&arguments).exits(0).json();
        assert_eq!(document["images"][0].get("platform"), Some(&Value::Null), "{arguments:?}");
    }
}

#[test]
fn text_fits_a_narrow_terminal() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&image()], Pack::Gzip).write(&sandbox.path("a.tar"));
    for columns in [40, 50, 59, 66] {
        for arguments in [&["info", "--tree", "tar://a.tar"][..], &["info", "tar://a.tar"]] {
            let mut command = sandbox.command(arguments);
            command.env("COLUMNS", columns.to_string());
            let said = Ran::of(command);
            // Names of files are never cut; those of this image are short.
            let shown = said.exits(0).stdout.split("\nWasted").next().unwrap();
            for line in shown.lines() {
                assert!(line.chars().count() <= columns, "{columns}: {line}\n{shown}");
            }
            if arguments.contains(&"--tree") {
                assert!(shown.contains("lib64/c.so") && shown.contains("wasted"), "{shown}");
            } else {
                let is_digest = |word: &str| {
                    let hex = word.trim_end_matches('…');
                    hex.len() == 12 && u64::from_str_radix(hex, 16).is_ok()
                };
                assert_eq!(
                    shown.split_whitespace().filter(|word| is_digest(word)).count(),
                    3,
                    "{shown}"
                );
            }
        }
    }
}

//! `occystrap search`: which layer has a file, and whether a later layer deletes or replaces it.

use serde_json::{Value, json};

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage};
use crate::support::python::Python;
use crate::support::raw_tar::{Raw, tar};
use crate::support::registry::Registry;
use crate::support::rich;
use crate::support::shape::{self, Archive};

/// A file of each fate, and names that only begin like those that are deleted.
fn layered() -> TestImage {
    TestImage::with_layers(
        "test/layered:1",
        vec![
            tar(&[
                Raw::dir("etc"),
                Raw::file("etc/motd", b"hi"),
                Raw::file("etc/hosts", b"localhost"),
                Raw::file("usr/lib/libc.so", b"libc"),
                Raw::file("usr/lib64/libc.so", b"libc"),
                Raw::file("var/log/old", b"log"),
                Raw::file("opt/tool/bin", b"bin"),
                Raw::link(b'2', "bin/sh", "bash"),
                Raw::link(b'1', "etc/again", "etc/motd"),
                Raw::new(b'3', "dev/null", b"").device(1, 3),
            ]),
            tar(&[
                Raw::file("etc/hosts", b"127.0.0.1 localhost"),
                Raw::file("usr/.wh.lib", b""),
                Raw::file("var/log/.wh..wh..opq", b""),
                Raw::file("var/log/new", b"log"),
            ]),
            tar(&[
                Raw::dir("etc"),
                Raw::file("etc/.wh.motd", b""),
                Raw::link(b'2', "opt/tool", "../usr"),
                Raw::file("var/log/new", b"first"),
                Raw::file("var/log/new", b"second"),
            ]),
        ],
    )
}

fn sandbox(archive: &Archive) -> Sandbox {
    let sandbox = Sandbox::new();
    archive.write(&sandbox.path("image.tar"));
    sandbox
}

#[test]
fn the_text_of_a_search_is_readable() {
    let sandbox = sandbox(&rich::docker_save(&layered()));
    let mut transcript = String::new();
    for arguments in
        [&["*"][..], &["etc"], &["libc.so"], &["--regex", "^var/.*(old|new)$"], &["nothing"]]
    {
        let ran = sandbox.run(&[&["search", "tar:image.tar"], arguments].concat());
        ran.exits(0);
        assert_eq!(ran.stderr, "");
        transcript += &format!("$ occystrap search tar:image.tar {}\n", arguments.join(" "));
        transcript += &(sandbox.redact(&ran.stdout) + "\n");
    }
    insta::assert_snapshot!(transcript);
    sandbox.assert_clean();
}

/// (layer, path, fate, by layer) of each match.
fn fates(
    sandbox: &Sandbox,
    source: &str,
    pattern: &str,
) -> Vec<(u64, String, String, Option<u64>)> {
    let ran = sandbox.run(&["search", source, pattern, "-O", "json"]);
    let document = ran.exits(0).json();
    let matches = document["images"][0]["matches"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    matches
        .map(|found| {
            let (layer, by) = (found["layer"].as_u64().unwrap(), found["by_layer"].as_u64());
            (layer, text(&found["path"]), text(&found["fate"]), by)
        })
        .collect()
}

#[test]
fn fates_of_files_are_decided_by_whole_components() {
    let sandbox = sandbox(&rich::docker_save(&layered()));
    let found = fates(&sandbox, "tar:image.tar", "*");
    let expected = [
        (0, "etc", "present", None),
        (0, "etc/motd", "deleted", Some(2)),
        (0, "etc/hosts", "replaced", Some(1)),
        (0, "usr/lib/libc.so", "deleted", Some(1)),
        (0, "usr/lib64/libc.so", "present", None),
        (0, "var/log/old", "deleted", Some(1)),
        // The directory is a link now.
        (0, "opt/tool/bin", "deleted", Some(2)),
        (0, "bin/sh", "present", None),
        (0, "etc/again", "present", None),
        (0, "dev/null", "present", None),
        (1, "etc/hosts", "present", None),
        (1, "usr/.wh.lib", "present", None),
        (1, "var/log/.wh..wh..opq", "present", None),
        (1, "var/log/new", "replaced", Some(2)),
        (2, "etc", "present", None),
        (2, "etc/.wh.motd", "present", None),
        (2, "opt/tool", "present", None),
        (2, "var/log/new", "replaced", Some(2)),
        (2, "var/log/new", "present", None),
    ];
    let expected =
        expected.map(|(layer, path, fate, by)| (layer, path.to_owned(), fate.to_owned(), by));
    assert_eq!(found, expected);
}

#[test]
fn one_layer_is_searched_and_those_above_it_are_still_read() {
    let sandbox = sandbox(&rich::docker_save(&layered()));
    let all = fates(&sandbox, "tar:image.tar", "*");
    for layer in 0..3 {
        let number = (layer + 1).to_string();
        let ran = sandbox.run(&["search", "--layer", &number, "tar:image.tar", "*", "-O", "json"]);
        let document = ran.exits(0).json();
        let found: Vec<(&Value, &Value)> = (document["images"][0]["matches"].as_array().unwrap())
            .iter()
            .map(|found| (&found["path"], &found["fate"]))
            .collect();
        let expected: Vec<_> = all.iter().filter(|(of, ..)| *of == layer).collect();
        assert_eq!(found.len(), expected.len());
        for ((path, fate), (_, expected, expected_fate, _)) in found.iter().zip(expected) {
            assert_eq!((*path, *fate), (&json!(expected), &json!(expected_fate)));
        }
    }
    let ran = sandbox.run(&["search", "--layer", "4", "tar:image.tar", "*"]);
    ran.exits(1).says("expected 1 to 3, found 4");
    sandbox.run(&["search", "--layer", "0", "tar:image.tar", "*"]).exits(2);
}

#[test]
fn every_source_and_compression_gives_the_same() {
    let image = layered();
    let reference = {
        let sandbox = sandbox(&rich::docker_save(&image));
        fates(&sandbox, "tar:image.tar", "*o*")
    };
    assert!(reference.len() > 5);
    for pack in Pack::ALL {
        let sandbox = sandbox(&shape::oci(&[&image], pack));
        assert_eq!(fates(&sandbox, "tar:image.tar", "*o*"), reference, "{pack:?}");
    }
    let sandbox = sandbox(&rich::docker_save(&image));
    for scheme in ["dir", "oci-layout"] {
        let to = sandbox.uri(scheme, scheme);
        sandbox.process("tar:image.tar", &to, &[]).verified();
        assert_eq!(fates(&sandbox, &to, "*o*"), reference, "{scheme}");
    }
}

#[test]
fn a_registry_is_searched_without_a_trace() {
    let image = layered();
    let registry = Registry::start();
    let sandbox = Sandbox::new();
    let manifest = shape::oci_manifest(&image, Pack::Gzip);
    for layer in &image.layers {
        registry.put_blob(Pack::Gzip.pack(layer));
    }
    registry.put_blob(image.config.clone());
    registry.put_manifest(
        "app",
        "1",
        "application/vnd.oci.image.manifest.v1+json",
        manifest.into_bytes(),
    );
    let ran = sandbox.run(&[
        "--insecure",
        "search",
        &format!("registry://{}/app:1", registry.url_host()),
        "motd",
    ]);
    assert!(
        ran.exits(0).stdout.contains("etc/motd (file, 2 bytes, deleted by layer 3)"),
        "{ran:?}"
    );
    sandbox.assert_clean();
}

#[test]
fn a_program_reads_all_of_it() {
    let sandbox = sandbox(&rich::docker_save(&rich::image("test/rich:1")));
    let ran = sandbox.run(&["search", "tar:image.tar", "su", "-O", "json"]);
    let document = ran.exits(0).json();
    let found = &document["images"][0]["matches"][0];
    let diff_id = rich::image("x:1").diff_ids()[0].to_string();
    assert_eq!(
        *found,
        json!({
            "layer": 0, "diff_id": diff_id, "path": "usr/bin/su", "kind": "file", "size": 6, "apparent_size": null,
            "link": null,
            "mode": "4755", "uid": 0, "gid": 0, "mtime": 1_700_000_000.0, "fate": "present", "by_layer": null,
        })
    );
    assert_eq!(document["summary"], json!({ "images": 1, "layers": 2, "matches": 1 }));
    let ran = sandbox.run(&["search", "tar:image.tar", "latin*", "-O", "json"]);
    let found = &ran.exits(0).json()["images"][0]["matches"][0];
    assert_eq!(
        (&found["path"], &found["path_base64"]),
        (&json!("names/latin-\u{fffd}"), &json!("bmFtZXMvbGF0aW4t6Q=="))
    );
}

#[test]
fn scripts_of_the_predecessor_find_their_lines() {
    let Some(python) = Python::find("scripts_of_the_predecessor_find_their_lines") else { return };
    let mut image = rich::image("test/rich:1");
    // Names that need not be text are tested elsewhere: the sandbox reads text.
    let members: Vec<Raw> =
        rich::members().into_iter().filter(|raw| raw.bytes().is_ascii()).collect();
    image = TestImage::with_layers(&image.name, vec![tar(&members), image.layers[1].clone()]);
    let sandbox = sandbox(&rich::docker_save(&image));
    for arguments in
        [&["*"][..], &["plain"], &["usr/b*"], &["--regex", "^usr/.*[gm]$"], &["no-such"]]
    {
        let arguments = [&["search", "--script-friendly", "tar:image.tar"], arguments].concat();
        let ours = sandbox.run(&arguments).exits(0).stdout.clone();
        let source = sandbox.uri("tar", "image.tar");
        let arguments: Vec<&str> = arguments
            .iter()
            .map(|argument| if *argument == "tar:image.tar" { &source } else { *argument })
            .collect();
        let theirs = python.run(&sandbox, &arguments);
        // Its log goes to standard output as well; and a newline in a name makes two lines.
        let theirs: String = theirs
            .exits(0)
            .stdout
            .replace("new\nline", "new\\nline")
            .split_inclusive('\n')
            .filter(|line| line.starts_with("test/rich:"))
            .collect();
        assert_eq!(ours, theirs, "{arguments:?}");
    }
}

#[test]
fn a_name_cannot_look_like_another_line() {
    let evil = "x\ntest/other:1:00:etc/shadow\x1b[2J";
    let image = TestImage::with_layers("test/evil:1", vec![tar(&[Raw::file(evil, b"")])]);
    let sandbox = sandbox(&rich::docker_save(&image));
    let ran = sandbox.run(&["search", "--script-friendly", "tar:image.tar", "*"]);
    assert_eq!(ran.exits(0).stdout.lines().count(), 1);
    assert!(ran.stdout.ends_with("x\\ntest/other:1:00:etc/shadow\\033[2J\n"), "{ran:?}");
    let ran = sandbox.run(&["search", "tar:image.tar", "*"]);
    assert!(
        ran.exits(0).stdout.contains("  x?test/other:1:00:etc/shadow?[2J (file, 0 bytes)\n"),
        "{ran:?}"
    );
}

#[test]
fn nothing_is_said_of_bytes_that_are_not_the_images() {
    let image = layered();
    let mut archive = rich::docker_save(&image);
    let mut layer = image.layers[1].clone();
    // In the content of a file, where no header is.
    layer[512] ^= 1;
    archive.set(&image.layer_path(1), layer);
    let sandbox = sandbox(&archive);
    let ran = sandbox.run(&["search", "tar:image.tar", "*"]);
    ran.exits(1).says("layer 2 of 3").says("diff-id");
    assert_eq!(ran.stdout, "");

    let mut layer = tar(&[Raw::file("a", b"a"), Raw::file("b", b"b")]);
    layer[1024 + 5] ^= 1;
    let image = TestImage::with_layers("test/damaged:1", vec![layer]);
    rich::docker_save(&image).write(&sandbox.path("image.tar"));
    let ran = sandbox.run(&["search", "tar:image.tar", "a"]);
    ran.exits(1).says("layer 1 of 1").says("offset 1024").says("checksum");
    assert_eq!(ran.stdout, "");
}

#[test]
fn mistakes_are_said_before_anything_is_read() {
    let sandbox = Sandbox::new();
    let mut transcript = String::new();
    for arguments in [
        &["tar:not-there.tar", "[a"][..],
        &["--regex", "tar:not-there.tar", "(a"],
        &["--regex", "tar:not-there.tar", "(?<=a)b"],
        &["--script-friendly", "-O", "json", "tar:not-there.tar", "a"],
        &["ftp://x", "a"],
        &["tar:not-there.tar?frobnicate=1", "a"],
    ] {
        let ran = sandbox.run(&[&["search"], arguments].concat());
        let document = arguments.contains(&"json");
        assert_eq!(ran.exits(2).stdout.is_empty(), !document, "{}", ran.stdout);
        transcript += &format!("$ occystrap search {}\n{}\n", arguments.join(" "), ran.stderr);
    }
    insta::assert_snapshot!(transcript);
    sandbox.run(&["search", "tar:not-there.tar", "a"]).exits(1).says("not-there.tar");
}

#[test]
fn a_reader_of_the_first_lines_causes_no_error() {
    let files: Vec<Raw> =
        (0..4_000).map(|number| Raw::file(format!("a-long-name/{number}"), b"")).collect();
    let image = TestImage::with_layers("test/many:1", vec![tar(&files)]);
    let sandbox = sandbox(&rich::docker_save(&image));
    let mut command = sandbox.command(&["search", "tar:image.tar", "*"]);
    let (reader, writer) = std::io::pipe().unwrap();
    command.stdout(writer);
    // The reader of the pipe is gone.
    drop(reader);
    let ran = Ran::of(command);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

/// The filter prints the same as the command, and the image stays unchanged.
#[test]
fn the_filter_looks_and_leaves_everything_as_it_is() {
    let image = layered();
    let sandbox = sandbox(&rich::docker_save(&image));
    sandbox.process("tar:image.tar", &sandbox.uri("dir", "plain"), &[]).verified();
    let filter = ["-f", "search:pattern=*o*,script_friendly=true"];
    let ran = sandbox.process("tar:image.tar", &sandbox.uri("dir", "looked"), &filter);
    let command = sandbox.run(&["search", "--script-friendly", "tar:image.tar", "*o*"]);
    assert_eq!(ran.exits(0).stdout, command.stdout);
    assert!(ran.stderr.ends_with("1/1 verified\n") && ran.stdout.lines().count() > 5, "{ran:?}");
    assert_eq!(sandbox.tree("looked"), sandbox.tree("plain"));

    let ran = sandbox.process(
        "tar:image.tar",
        &sandbox.uri("dir", "text"),
        &["-f", "search:pattern=motd"],
    );
    let command = sandbox.run(&["search", "tar:image.tar", "motd"]);
    assert_eq!(ran.exits(0).stdout, format!("Image: test/layered:1\n{}", command.stdout));

    let options = ["-O", "json", "-f", "search:pattern=^etc/m,regex=true"];
    let ran = sandbox.process("tar:image.tar", &sandbox.uri("dir", "json"), &options);
    assert_eq!(ran.exits(0).json()["images"][0]["status"], "verified");
    ran.says("  etc/motd (file, 2 bytes, deleted by layer 3)\n");
    sandbox.assert_clean();
}

#[test]
fn the_filter_sees_what_others_left() {
    let sandbox = sandbox(&rich::docker_save(&layered()));
    let filters = [
        "-f",
        "search:pattern=etc/*,script_friendly=true",
        "-f",
        "exclude:pattern=etc/motd",
        "-f",
        "search:pattern=etc/*,script_friendly=true",
    ];
    let ran = sandbox.process("tar:image.tar", &sandbox.uri("dir", "out"), &filters);
    let paths = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.rsplit(':').next().unwrap().to_owned()).collect()
    };
    let before = ["etc/motd", "etc/hosts", "etc/again", "etc/hosts", "etc/.wh.motd"];
    let after = ["etc/hosts", "etc/again", "etc/hosts"];
    assert_eq!(paths(&ran.exits(0).stdout), [&before[..], &after].concat());
    // The layers are those that were written.
    let written = sandbox.tree("out");
    for line in ran.stdout.lines() {
        let layer = line.split(':').nth(2).unwrap();
        assert!(written.contains_key(&format!("{layer}/layer.tar")), "{line}");
    }
}

#[test]
fn images_side_by_side_keep_their_lines_together() {
    let names: Vec<String> = (0..6).map(|number| format!("test/app{number}:1")).collect();
    let images: Vec<TestImage> = names.iter().map(|name| TestImage::new(name)).collect();
    let sandbox = Sandbox::new();
    let listed: Vec<&TestImage> = images.iter().collect();
    shape::legacy(&listed, Pack::Gzip).write(&sandbox.path("image.tar"));
    let to = format!("{}?unique_names=true", sandbox.uri("dir", "out"));
    let ran = sandbox.process("tar:image.tar", &to, &["-J", "4", "-f", "search:pattern=noise"]);
    let mut blocks: Vec<&str> = ran.exits(0).stdout.split_inclusive("in 1 layer.\n").collect();
    blocks.sort_unstable();
    assert_eq!(blocks.len(), names.len(), "{}", ran.stdout);
    for (block, name) in blocks.iter().zip(&names) {
        let lines: Vec<&str> = block.lines().collect();
        assert_eq!(lines[0], format!("Image: {name}"));
        assert_eq!(
            lines[2..],
            [
                "  usr/lib/noise (file, 600000 bytes, deleted by layer 3)",
                "",
                "Found 1 match in 1 layer."
            ]
        );
    }
    let ran = sandbox.run(&["search", "tar:image.tar", "noise"]);
    assert_eq!(ran.exits(0).stdout.matches("Image: ").count(), 6);
    assert!(ran.stdout.ends_with("Found 6 matches in 6 layers.\n"), "{ran:?}");
}

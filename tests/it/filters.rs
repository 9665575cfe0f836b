//! Filters, through the binary: which layers change, which keep their bytes, and what is printed.

use occystrap_base::oci::Digest;
use serde_json::Value;

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage};
use crate::support::layer::{file, hardlink, layer};
use crate::support::push::{holds, push, to};
use crate::support::registry::Registry;
use crate::support::shape;

const NORMALIZE: &[&str] = &["--verify=full", "-f", "normalize-timestamps:ts=7"];
const EXCLUDE: &[&str] = &["--verify=full", "-f", "exclude:pattern=usr/lib"];

/// The diff-ids that a directory's config promises, and the names in each layer.
fn held(sandbox: &Sandbox, folder: &str) -> (Value, Vec<(Digest, Vec<String>)>) {
    let read = |path: String| std::fs::read(sandbox.path(&format!("{folder}/{path}"))).unwrap();
    let manifest: Value = serde_json::from_slice(&read("manifest.json".into())).unwrap();
    let name = manifest[0]["Config"].as_str().unwrap();
    let bytes = read(name.to_owned());
    assert_eq!(format!("{}.json", Digest::of(&bytes).hex()), name);
    let config: Value = serde_json::from_slice(&bytes).unwrap();
    let layers = config["rootfs"]["diff_ids"].as_array().unwrap().iter().map(|diff_id| {
        let diff_id: Digest = diff_id.as_str().unwrap().parse().unwrap();
        let layer = read(format!("{}/layer.tar", diff_id.hex()));
        assert_eq!(Digest::of(&layer), diff_id);
        let mut archive = tar::Archive::new(layer.as_slice());
        let names = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            format!("{} {}", entry.path().unwrap().display(), entry.header().mtime().unwrap())
        });
        (diff_id, names.collect())
    });
    let layers = layers.collect();
    (config, layers)
}

#[test]
fn a_filtered_image_is_one_with_other_layers() {
    let (image, sandbox, registry) =
        (TestImage::new("team/app:1"), Sandbox::new(), Registry::start());
    shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("a.tar"));
    let tar = sandbox.uri("tar", "a.tar");
    let remote = push(&registry, &image, Pack::Zstd);
    for (source, out) in [(&tar, "from-tar"), (&remote, "from-registry")] {
        sandbox.process(source, &sandbox.uri("dir", out), NORMALIZE).verified();
        let (config, layers) = held(&sandbox, out);
        let names: Vec<_> = layers.iter().flat_map(|(_, names)| names).collect();
        assert_eq!(
            names,
            [
                "etc/hostname 7",
                "etc/motd 7",
                "usr/lib/noise 7",
                "usr/lib/zeros 7",
                "usr/bin/true 7",
                "usr/.wh.lib 7"
            ]
        );
        assert_eq!(config["created"], "2026-01-02T03:04:05Z");
        assert!(layers.iter().all(|(diff_id, _)| !image.diff_ids().contains(diff_id)));
    }
    let layers = |folder: &str| {
        let mut tree = sandbox.tree(folder);
        // They know what the image is called, which is not the same.
        tree.retain(|name, _| name != "manifest.json" && name != "catalog.json");
        tree
    };
    assert_eq!(layers("from-tar"), layers("from-registry"));
    // A layer is fetched once, whatever becomes of it.
    let first = registry.requests_of("GET", "/blobs/").len();
    assert_eq!(first, 1 + image.layers.len());

    // The archive is the same, and a second pass changes nothing.
    sandbox.process(&tar, &sandbox.uri("tar", "b.tar"), NORMALIZE).verified();
    let again = ["--verify=full", "-f", "normalize-timestamps:ts=7", "-f", "exclude:pattern=no"];
    sandbox.process(&sandbox.uri("tar", "b.tar"), &sandbox.uri("tar", "c.tar"), &again).verified();
    assert_eq!(sandbox.tree("b.tar"), sandbox.tree("c.tar"));
    sandbox.assert_clean();
}

#[test]
fn times_in_the_config_are_changed_where_that_is_asked_for() {
    let (image, sandbox) = (TestImage::new("team/app:1"), Sandbox::new());
    shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("a.tar"));
    let filter = ["-f", "normalize-timestamps:ts=86400,config=true"];
    sandbox.process(&sandbox.uri("tar", "a.tar"), &sandbox.uri("dir", "d"), &filter).verified();
    let (config, _) = held(&sandbox, "d");
    assert_eq!(config["created"], "1970-01-02T00:00:00Z");
    assert_eq!(config["config"]["Labels"]["who"], "äöü");
}

#[test]
fn unchanged_layers_keep_their_bytes() {
    let (image, sandbox) = (TestImage::new("team/app:1"), Sandbox::new());
    let (from, registry) = (Registry::start(), Registry::start());
    let source = push(&from, &image, Pack::JoinedMembers);
    // The middle layer loses all that it has, and the last one a whiteout.
    sandbox.process(&source, &to(&registry, "copy/app:1"), EXCLUDE).verified();
    let (_, manifest) = registry.manifest("copy/app", "1").unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let kept = Digest::of(&Pack::JoinedMembers.pack(&image.layers[0]));
    assert_eq!(manifest["layers"][0]["digest"], kept.to_string());
    assert_ne!(
        manifest["layers"][1]["digest"],
        Digest::of(&Pack::JoinedMembers.pack(&image.layers[1])).to_string()
    );
    assert_eq!(from.requests_of("GET", "/blobs/").len(), 1 + image.layers.len());
    sandbox.process(&to(&registry, "copy/app:1"), &sandbox.uri("dir", "d"), &[]).verified();
    let (_, layers) = held(&sandbox, "d");
    let names: Vec<Vec<String>> = layers.into_iter().map(|(_, names)| names).collect();
    let none: [&str; 0] = [];
    assert_eq!(names[1], none);
    assert_eq!(names[2], ["usr/bin/true 0"]);

    // If nothing matches, even the manifest keeps its bytes.
    let nothing = ["--verify=full", "-f", "exclude:pattern=nothing"];
    let ran = sandbox.process(&source, &to(&registry, "copy/same:1"), &nothing);
    ran.verified().says("exclude: 'nothing' matches nothing in 127.0.0.1:");
    holds(&registry, "copy/same:1", &image, Pack::JoinedMembers);
    sandbox.assert_clean();
}

#[test]
fn a_filter_applies_where_the_unfiltered_layer_is_already() {
    let (image, sandbox) = (TestImage::new("team/app:1"), Sandbox::new());
    shape::legacy(&[&image], Pack::Plain).write(&sandbox.path("a.tar"));
    let (tar, dir) = (sandbox.uri("tar", "a.tar"), sandbox.uri("dir", "d"));
    sandbox.process(&tar, &dir, &[]).verified();
    sandbox.process(&tar, &dir, EXCLUDE).verified();
    let (_, layers) = held(&sandbox, "d");
    assert!(layers[1].1.is_empty());
}

#[test]
fn a_damaged_layer_is_named_and_nothing_is_written() {
    let sandbox = Sandbox::new();
    let said = |ran: Ran| {
        ran.exits(1);
        assert_eq!(sandbox.tree("d").len(), 0);
        sandbox.redact(ran.stderr.lines().next().unwrap())
    };
    let mut cut = TestImage::new("team/app:1");
    cut.layers[1].truncate(300_000);
    let cut = TestImage::with_layers("team/app:1", cut.layers);
    let text = TestImage::with_layers("team/app:1", vec![b"hello ".repeat(200)]);
    for (image, expected) in [
        (
            cut,
            "error: '[T]/a.tar': layer 2 of 3 ('c693c285…/layer.tar'): the tar ends in the middle of 'usr/lib/noise', after 300000 bytes",
        ),
        (text, "error: '[T]/a.tar': layer 1 of 1 ('32730393…/layer.tar'): is no tar archive"),
    ] {
        shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("a.tar"));
        let (source, destination) = (sandbox.uri("tar", "a.tar"), sandbox.uri("dir", "d"));
        assert_eq!(said(sandbox.process(&source, &destination, NORMALIZE)), expected);
    }
    // The error for damaged bytes names the damage, and not its effect on the tar.
    let image = TestImage::new("team/app:1");
    let mut archive = shape::legacy(&[&image], Pack::Plain);
    let name = "usr/lib/noise";
    let mut bytes = archive.bytes();
    let at = bytes.windows(name.len()).position(|here| here == name.as_bytes()).unwrap();
    bytes[at] ^= 1;
    std::fs::write(sandbox.path("a.tar"), bytes).unwrap();
    let ran = sandbox.process(&sandbox.uri("tar", "a.tar"), &sandbox.uri("dir", "d"), NORMALIZE);
    assert!(said(ran).contains("digest of the uncompressed layer"));
    archive.remove("manifest.json");
    sandbox.assert_clean();
}

#[test]
fn wrong_filters_are_named_before_anything_is_fetched() {
    let sandbox = Sandbox::new();
    for (filter, message) in [
        ("nope", "error: there is no filter 'nope'\n"),
        ("exclude", "error: filter 'exclude': a pattern is missing\n"),
        ("exclude:pattern=[a", "a quote, bracket or brace does not end\n"),
        ("exclude:pattern=a,b", "error: filter 'exclude:pattern=a,b': 'b' has no value\n"),
        ("exclude:patern=a", "there is no option 'patern'\n"),
        ("exclude:pattern=[z-a]", "the pattern '[z-a]': the range 'z-a' is empty\n"),
        ("normalize-timestamps:ts=x", "ts=x: expected whole seconds since 1970\n"),
    ] {
        let ran = sandbox.process("tar:///no/such.tar", "dir:///no/such", &["-f", filter]);
        ran.exits(2).says(message);
    }
    let more = ["--all-platforms", "-f", "exclude:pattern=a"];
    sandbox.process("registry://h/a", "dir:///no/such", &more).exits(2).says("holds one platform");
}

#[test]
fn a_receipt_repairs_with_the_same_filters() {
    let (image, sandbox) = (TestImage::new("team/app:1"), Sandbox::new());
    shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("a.tar"));
    let receipt = sandbox.path("receipt").display().to_string();
    let more = [EXCLUDE, &["--receipt", &receipt]].concat();
    sandbox.process(&sandbox.uri("tar", "a.tar"), &sandbox.uri("tar", "b.tar"), &more).verified();
    std::fs::remove_file(sandbox.path("b.tar")).unwrap();
    let ran = sandbox.run(&["verify", &receipt]);
    ran.exits(1).says("process -f exclude:pattern=usr/lib tar://");
}

#[test]
fn inspect_tells_what_an_image_is_at_that_point_of_the_chain() {
    let (image, sandbox, registry) =
        (TestImage::new("team/app:1"), Sandbox::new(), Registry::start());
    let source = push(&registry, &image, Pack::Gzip);
    let lines = sandbox.path("lines").display().to_string();
    let inspect = format!("inspect:file={lines}");
    let more = ["-f", &inspect, "-f", "exclude:pattern=usr/lib", "-f", &inspect];
    sandbox.process(&source, &sandbox.uri("dir", "d"), &more).verified();
    assert_eq!(registry.requests_of("GET", "/blobs/").len(), 1 + image.layers.len());
    let text = std::fs::read_to_string(&lines).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    let (_, after) = held(&sandbox, "d");
    for (line, now) in
        lines.iter().zip([image.diff_ids(), after.iter().map(|(id, _)| *id).collect()])
    {
        assert!(line["name"].as_str().unwrap().ends_with("/team/app:1"));
        assert_eq!(line["tag"], "1");
        for (index, layer) in image.layers.iter().enumerate() {
            // Newest first, as in 0.4.17.
            let told = &line["layers"][image.layers.len() - 1 - index];
            assert_eq!(told["Before"], Digest::of(layer).to_string());
            assert_eq!(told["Id"], now[index].to_string());
            assert_eq!(told["CreatedBy"], "a test");
            if Digest::of(layer) == now[index] {
                assert_eq!(told["Size"], layer.len());
                assert_eq!(told["StoredSize"], Pack::Gzip.pack(layer).len());
            } else {
                assert_eq!(told["StoredSize"], Value::Null);
            }
        }
        assert_eq!(line["layers"][0]["Tags"][0], line["name"]);
        assert_eq!(line["layers"][1]["Tags"], Value::Null);
    }
    std::fs::write(sandbox.path("file"), "").unwrap();
    for (bad, why) in [
        ("inspect", "a file is missing"),
        ("inspect:file=", "a file is missing"),
        ("inspect:file=no/such/file", "'no/such/file' cannot be a file: its folder does not exist"),
        ("inspect:file=file/x", "'file/x' cannot be a file: its folder is not a folder"),
        ("inspect:file=.", "'.' cannot be a file: it is a folder"),
    ] {
        sandbox.process(&source, &sandbox.uri("dir", "e"), &["-f", bad]).exits(2).says(why);
    }
    std::fs::remove_file(sandbox.path("file")).unwrap();
    sandbox.assert_clean();
}

#[test]
fn where_a_tar_ends_is_not_guessed() {
    let sandbox = Sandbox::new();
    let process = |layer: Vec<u8>, more: &[&str]| {
        let image = TestImage::with_layers("team/app:1", vec![layer]);
        shape::legacy(&[&image], Pack::Plain).write(&sandbox.path("a.tar"));
        sandbox.process(&sandbox.uri("tar", "a.tar"), &sandbox.uri("dir", "out"), more)
    };
    let (one, two) = (layer(&[file("a", b"1")]), layer(&[file("b", b"2")]));
    let lone = [&one[..1_536], &two].concat();
    process(lone.clone(), NORMALIZE)
        .exits(1)
        .says("the tar goes on after a lone block of zeros at offset 1024");
    assert!(!sandbox.path("out").exists());
    // The members of a layer that is only copied are not read.
    process(lone, &[]).verified();
    let behind = [one, b"something".to_vec()].concat();
    process(behind.clone(), NORMALIZE)
        .verified()
        .says("data after the end of its tar is left out (9 bytes that are not zero)");
    let kept = process(behind, &["-f", "exclude:pattern=nothing"]);
    assert!(!kept.verified().stderr.contains("left out"), "{}", kept.stderr);
}

#[test]
fn names_are_taken_as_engines_take_them() {
    let sandbox = Sandbox::new();
    let members = [
        file("x/../gone", b"1"),
        file("file", b"content"),
        hardlink("link", "x/../file"),
        file("kept", b"2"),
    ];
    let image = TestImage::with_layers("team/app:1", vec![layer(&members)]);
    shape::legacy(&[&image], Pack::Plain).write(&sandbox.path("a.tar"));
    let (tar, out) = (sandbox.uri("tar", "a.tar"), sandbox.uri("dir", "out"));
    let more = ["-f", "exclude:pattern=gone", "-f", "exclude:pattern=file"];
    sandbox.process(&tar, &out, &[&more[..], NORMALIZE].concat()).verified();
    let (_, layers) = held(&sandbox, "out");
    assert_eq!(layers[0].1, ["link 7", "kept 7"]);
    let said = sandbox.run(&["search", "-O", "json", &out, "link"]);
    assert!(said.exits(0).stdout.contains("\"kind\": \"file\""), "{}", said.stdout);
}

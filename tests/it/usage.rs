//! `occystrap info --tree`: where the bytes of an image are.

use serde_json::Value;

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, noise, tar};
use crate::support::layer::{file, hardlink, layer};
use crate::support::push::push;
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
fn what_is_large_and_what_is_wasted() {
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
fn what_has_another_name_is_not_wasted() {
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
    let said = sandbox.run(&["check", "-O", "json", &tar]);
    assert!(said.exits(0).stdout.contains("0 B are not visible"), "{}", said.stdout);
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

//! Every form of archive that tools write is copied to a directory and to a tar, with the same layers and the same bytes.

use occystrap_base::oci::Digest;

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage, gzip, tar, zstd};
use crate::support::landed::{assert_in_archive, assert_in_directory};
use crate::support::shape::{self, Archive};

type Shape = fn(&[&TestImage], Pack) -> Archive;

pub const SHAPES: [(&str, Shape); 4] = [
    ("legacy", shape::legacy),
    ("docker25", shape::docker25),
    ("oci", shape::oci),
    ("crane", shape::crane),
];

/// Moves an archive to a directory and to a tar, verifying fully, and looks for itself.
#[track_caller]
fn moves(archive: &[u8], image: &TestImage) {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path("in.tar"), archive).unwrap();
    let source = sandbox.uri("tar", "in.tar");
    for (scheme, name) in [("dir", "out"), ("tar", "out.tar")] {
        sandbox.process(&source, &sandbox.uri(scheme, name), &["--verify=full"]).verified();
    }
    assert_in_directory(&sandbox.path("out"), image);
    assert_in_archive(&sandbox.path("out.tar"), image);
    sandbox.assert_clean();
}

#[test]
fn every_shape_with_every_compression() {
    let image = TestImage::new("busybox:1");
    for (name, shape) in SHAPES {
        for pack in Pack::ALL {
            println!("{name} {pack:?}");
            moves(&shape(&[&image], pack).bytes(), &image);
        }
    }
}

#[test]
fn archives_that_are_compressed_as_a_whole() {
    let image = TestImage::new("busybox:1");
    let bytes = shape::legacy(&[&image], Pack::Plain).bytes();
    moves(&gzip(&bytes), &image);
    moves(&zstd(&bytes), &image);
    moves(&Pack::JoinedMembers.pack(&bytes), &image);
    moves(&Pack::ZstdFrames.pack(&bytes), &image);
}

#[test]
fn the_same_layer_twice_and_a_layer_without_files() {
    let twice = tar(&[("a", b"the same in two places")]);
    // Docker's own empty layer: two zero blocks. And one of no bytes at all.
    let layers = vec![twice.clone(), vec![0; 1024], tar(&[("b", b"between")]), twice, Vec::new()];
    let image = TestImage::with_layers("twice:1", layers);
    for (name, shape) in SHAPES {
        println!("{name}");
        moves(&shape(&[&image], Pack::Gzip).bytes(), &image);
    }
}

#[test]
fn an_image_without_layers() {
    let image = TestImage::with_layers("scratch:1", Vec::new());
    for (name, shape) in SHAPES {
        println!("{name}");
        moves(&shape(&[&image], Pack::Plain).bytes(), &image);
    }
}

#[test]
fn fourteen_layers_of_kaniko_stay_fourteen() {
    // 0.4.17 took `<hex>.tar.gz` at the root for one file and wrote one layer.
    let layers = (0..14).map(|n| tar(&[(&format!("file-{n}"), &[n; 100])])).collect();
    let image = TestImage::with_layers("registry.example/team/app:1", layers);
    moves(&shape::crane(&[&image], Pack::Gzip).bytes(), &image);
}

#[test]
fn a_layer_that_is_a_link_to_another() {
    // `docker save` links a repeated layer to its first occurrence.
    let image = TestImage::with_layers("linked:1", vec![tar(&[("a", b"a")]), tar(&[("a", b"a")])]);
    let mut archive = shape::legacy(&[&image], Pack::Plain);
    let first = archive.0[1].0.clone();
    archive.edit("manifest.json", |manifest| manifest[0]["Layers"][1] = "linked/layer.tar".into());
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "linked/layer.tar", format!("../{first}")).unwrap();
    let mut bytes = builder.into_inner().unwrap();
    bytes.truncate(512);
    bytes.extend(archive.bytes());
    moves(&bytes, &image);
}

#[test]
fn the_same_image_gives_the_same_tar() {
    let image = TestImage::new("quay.io/team/app:1.2");
    let sandbox = Sandbox::new();
    let mut seen = Vec::new();
    for (name, shape) in SHAPES.into_iter().filter(|(name, _)| *name != "oci") {
        for pack in [Pack::Plain, Pack::Gzip] {
            shape(&[&image], pack).write(&sandbox.path("in.tar"));
            sandbox
                .process(&sandbox.uri("tar", "in.tar"), &sandbox.uri("tar", "out.tar"), &["-j1"])
                .verified();
            seen.push((name, Digest::of(&std::fs::read(sandbox.path("out.tar")).unwrap())));
        }
    }
    assert!(seen.iter().all(|(_, digest)| *digest == seen[0].1), "{seen:?}");
}

#[test]
fn there_and_back_again() {
    let image = TestImage::new("localhost:5000/a/b:v1");
    let sandbox = Sandbox::new();
    shape::docker25(&[&image], Pack::Zstd).write(&sandbox.path("in.tar"));
    let steps = [
        (sandbox.uri("tar", "in.tar"), sandbox.uri("dir", "one")),
        (sandbox.uri("dir", "one"), sandbox.uri("tar", "two.tar")),
        (sandbox.uri("tar", "two.tar"), sandbox.uri("directory", "three")),
        (sandbox.uri("dir", "three"), sandbox.uri("file", "four.tar")),
    ];
    for (from, to) in steps {
        sandbox.process(&from, &to, &["--verify-full", "--fsync"]).verified();
    }
    assert_eq!(sandbox.tree("one"), sandbox.tree("three"));
    assert_eq!(sandbox.tree("two.tar"), sandbox.tree("four.tar"));
    assert_in_archive(&sandbox.path("four.tar"), &image);
}

#[test]
fn names_are_those_that_docker_prints() {
    for (given, familiar) in [
        ("docker.io/library/busybox:1", "busybox:1"),
        ("docker.io/team/app:1", "team/app:1"),
        ("quay.io/x/y:1", "quay.io/x/y:1"),
    ] {
        let mut image = TestImage::tiny(given);
        let archive = shape::legacy(&[&image], Pack::Plain).bytes();
        image.name = familiar.into();
        moves(&archive, &image);
    }
}

#[test]
fn an_image_without_a_name_is_found_by_its_digest() {
    let image = TestImage::tiny("");
    let sandbox = Sandbox::new();
    shape::legacy(&[&image], Pack::Plain).write(&sandbox.path("in.tar"));
    let said: Ran = sandbox.process(&sandbox.uri("tar", "in.tar"), &sandbox.uri("dir", "out"), &[]);
    said.verified();
    let catalog = std::fs::read_to_string(sandbox.path("out/catalog.json")).unwrap();
    assert!(catalog.contains(&image.id().to_string()), "{catalog}");
    sandbox.process(&sandbox.uri("dir", "out"), &sandbox.uri("tar", "out.tar"), &[]).verified();
    sandbox.run(&["verify", &sandbox.uri("dir", "out")]).verified();
}

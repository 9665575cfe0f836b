//! Archives and layers in xz and bzip2, and compressions that are not supported: the error names them.

use serde_json::Value;

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, tar, xz};
use crate::support::landed::{assert_in_archive, assert_in_directory};
use crate::support::measured::peak;
use crate::support::push::{holds, push, to};
use crate::support::registry::Registry;
use crate::support::shape;

/// The first bytes of files in formats that are not read, as their tools write them.
const UNSUPPORTED: [(&str, &[u8]); 9] = [
    ("lz4", b"\x04\x22\x4d\x18\x64\x40\xa7\x0d\x00\x00\x80"),
    ("lz4", b"\x02\x21\x4c\x18\x0d\x00\x00\x00"),
    ("lzip", b"LZIP\x01\x0c\x00\x34"),
    ("lzma", b"\x5d\x00\x00\x80\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00\x33"),
    ("lzop", b"\x89LZO\x00\x0d\x0a\x1a\x0a\x10\x40"),
    ("compress (.Z)", b"\x1f\x9d\x90\x68\xca"),
    ("zip", b"PK\x03\x04\x0a\x00\x00\x00"),
    ("7z", b"7z\xbc\xaf\x27\x1c\x00\x04"),
    ("rar", b"Rar!\x1a\x07\x01\x00"),
];

#[test]
fn archives_in_xz_and_bzip2_arrive() {
    let image = TestImage::new("busybox:1");
    for pack in Pack::UNREGISTERED {
        let sandbox = Sandbox::new();
        // The archive as a whole, and its layers.
        let whole = pack.pack(&shape::legacy(&[&image], Pack::Plain).bytes());
        std::fs::write(sandbox.path("whole.tar"), whole).unwrap();
        shape::legacy(&[&image], pack).write(&sandbox.path("legacy.tar"));
        shape::docker25(&[&image], pack).write(&sandbox.path("docker25.tar"));
        shape::oci(&[&image], pack).write(&sandbox.path("oci.tar"));
        shape::crane(&[&image], pack).write(&sandbox.path("crane.tar"));
        for name in ["whole", "legacy", "docker25", "oci", "crane"] {
            println!("{pack:?} {name}");
            let source = sandbox.uri("tar", &format!("{name}.tar"));
            let (folder, file) = (format!("{name}-dir"), format!("{name}-out.tar"));
            for (scheme, to) in [("dir", &folder), ("tar", &file)] {
                sandbox.process(&source, &sandbox.uri(scheme, to), &["--verify=full"]).verified();
            }
            assert_in_directory(&sandbox.path(&folder), &image);
            assert_in_archive(&sandbox.path(&file), &image);
            sandbox.run(&["verify", &source]).exits(0);
            sandbox.run(&["info", &source]).exits(0);
            let layers = name != "whole";
            let said = sandbox.run(&["check", &source]);
            let warned = said.stdout.contains("layer-compression");
            assert_eq!(warned, layers, "{}{}", said.stdout, said.stderr);
            said.exits(0);
        }
        sandbox.assert_clean();
    }
}

#[test]
fn a_registry_and_a_layout_keep_the_bytes_of_such_layers() {
    let image = TestImage::new("app:1");
    for pack in Pack::UNREGISTERED {
        println!("{pack:?}");
        let (from, other) = (Registry::start(), Registry::start());
        let source = push(&from, &image, pack);
        let sandbox = Sandbox::new();
        sandbox.process(&source, &to(&other, "app:1"), &["--verify=full"]).verified();
        holds(&other, "app:1", &image, pack);
        let layout = sandbox.uri("oci-layout", "layout");
        sandbox.process(&source, &layout, &["--verify=full"]).verified();
        sandbox.run(&["verify", &layout]).exits(0);
        sandbox.process(&layout, &sandbox.uri("dir", "out"), &["--verify=full"]).verified();
        for (index, layer) in image.layers.iter().enumerate() {
            let written = std::fs::read(sandbox.path("out").join(image.layer_path(index)));
            assert!(written.unwrap() == *layer, "{pack:?}: layer {index}");
        }
        sandbox.run(&["verify", &to(&other, "app:1")]).exits(0);
        let said = sandbox.run(&["check", &source]);
        assert!(said.exits(0).stdout.contains("layer-compression"), "{}", said.stdout);
    }
}

#[test]
fn layers_without_a_media_type_are_compressed_with_gzip_for_a_registry() {
    let image = TestImage::new("app:1");
    for pack in [Pack::Xz, Pack::Bzip2] {
        let registry = Registry::start();
        let sandbox = Sandbox::new();
        shape::legacy(&[&image], pack).write(&sandbox.path("in.tar"));
        let from = sandbox.uri("tar", "in.tar");
        sandbox.process(&from, &to(&registry, "app:1"), &["--verify=full"]).verified();
        let (_, manifest) = registry.manifest("app", "1").unwrap();
        let manifest: Value = serde_json::from_slice(manifest.as_ref()).unwrap();
        for layer in manifest["layers"].as_array().unwrap() {
            assert!(layer["mediaType"].as_str().unwrap().ends_with("gzip"), "{layer}");
        }
    }
}

#[test]
fn filters_and_searches_look_into_such_layers() {
    let layer = tar(&[("etc/keep", b"kept"), ("etc/drop", b"dropped")]);
    let image = TestImage::with_layers("app:1", vec![layer]);
    for pack in Pack::UNREGISTERED {
        let sandbox = Sandbox::new();
        shape::legacy(&[&image], pack).write(&sandbox.path("in.tar"));
        let from = sandbox.uri("tar", "in.tar");
        let found = sandbox.run(&["search", &from, "etc/d*"]);
        assert!(found.exits(0).stdout.contains("etc/drop"), "{pack:?}: {}", found.stdout);
        let filter = ["-f", "exclude:pattern=etc/drop"];
        sandbox.process(&from, &sandbox.uri("tar", "out.tar"), &filter).verified();
        let left = sandbox.run(&["search", &sandbox.uri("tar", "out.tar"), "etc/*"]);
        let text = &left.stdout;
        assert!(text.contains("etc/keep") && !text.contains("etc/drop"), "{pack:?}: {text}");
    }
}

#[test]
fn compressions_that_are_not_read_are_named() {
    let sandbox = Sandbox::new();
    let image = TestImage::tiny("app:1");
    for (name, magic) in UNSUPPORTED {
        let bytes = [magic, &[0x55; 2_000]].concat();
        let rule = format!("is compressed with {name}, which is not supported");
        std::fs::write(sandbox.path("whole.tar"), &bytes).unwrap();
        // The archive is sound but for its layer.
        let mut archive = shape::legacy(&[&image], Pack::Plain);
        let place = archive.0.iter().position(|(name, _)| name.ends_with("layer.tar")).unwrap();
        archive.0[place].1 = bytes;
        archive.write(&sandbox.path("layer.tar"));
        for file in ["whole.tar", "layer.tar"] {
            let from = sandbox.uri("tar", file);
            for to in [sandbox.uri("dir", "out"), sandbox.uri("oci-layout", "layout")] {
                let said = sandbox.process(&from, &to, &[]);
                said.exits(1).says(&rule).says(file).says("hint: decompress it");
                assert!(!said.stderr.contains("diff-id"), "{name}: {}", said.stderr);
            }
            let said = sandbox.run(&["check", &from]);
            let text = format!("{}{}", said.stdout, said.stderr);
            assert!(text.contains(&rule), "{name}: {text}");
            let said = sandbox.run(&["verify", &from]);
            let text = format!("{}{}", said.stdout, said.stderr);
            assert!(text.contains(&rule), "{name}: {text}");
        }
    }
    assert!(!sandbox.path("out").exists() && !sandbox.path("layout").exists());
}

#[test]
fn a_layer_in_a_registry_is_named_as_well() {
    let (registry, other) = (Registry::start(), Registry::start());
    let image = TestImage::tiny("app:1");
    let source = push(&registry, &image, Pack::Gzip);
    let bytes = [UNSUPPORTED[0].1, &[0x55; 2_000]].concat();
    let (_, manifest) = registry.manifest("app", "1").unwrap();
    let mut manifest: Value = serde_json::from_slice(manifest.as_ref()).unwrap();
    manifest["layers"][0]["digest"] = registry.put_blob(&bytes).to_string().into();
    manifest["layers"][0]["size"] = bytes.len().into();
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    registry.put_manifest("app", "1", media_type, manifest.to_string());
    let sandbox = Sandbox::new();
    let rule = "is compressed with lz4, which is not supported";
    sandbox.process(&source, &sandbox.uri("dir", "out"), &[]).exits(1).says(rule);
    // From registry to registry a layer goes as it is, under its digest; `check` and `verify` look into it.
    sandbox.process(&source, &to(&other, "app:1"), &[]).verified();
    for arguments in [["check", &source], ["verify", &to(&other, "app:1")]] {
        let said = sandbox.run(&arguments);
        let text = format!("{}{}", said.stdout, said.stderr);
        assert!(said.code == 1 && text.contains(rule), "{text}");
    }
}

#[test]
fn a_dictionary_of_gigabytes_is_refused_with_the_limit() {
    let sandbox = Sandbox::new();
    let image = TestImage::tiny("app:1");
    let mut bytes = xz(&shape::legacy(&[&image], Pack::Plain).bytes());
    // The block's header behind the stream's: its size, flags, the filter LZMA2 with one byte of properties
    // (The .xz File Format, 3.1 and 5.3.1).
    assert_eq!(bytes[14..16], [0x21, 1]);
    let end = 12 + (usize::from(bytes[12]) + 1) * 4 - 4;
    let mut with_dictionary = |property: u8| {
        bytes[16] = property;
        let mut sum = flate2::Crc::new();
        sum.update(&bytes[12..end]);
        bytes[end..end + 4].copy_from_slice(&sum.sum().to_le_bytes());
        std::fs::write(sandbox.path("in.tar"), &bytes).unwrap();
        let from = sandbox.uri("tar", "in.tar");
        sandbox.process(&from, &sandbox.uri("dir", "out"), &[])
    };
    // 128 MiB, 192 MiB, 1.5 GiB, 4 GiB - 1.
    with_dictionary(30).verified();
    for property in [31, 37, 40] {
        with_dictionary(property)
            .exits(1)
            .says("in.tar': its xz dictionary takes more than 128 MiB of memory to decompress");
    }
}

#[test]
fn a_cut_archive_is_an_error() {
    let sandbox = Sandbox::new();
    let image = TestImage::tiny("app:1");
    for pack in [Pack::Xz, Pack::Bzip2] {
        let bytes = pack.pack(&shape::legacy(&[&image], Pack::Plain).bytes());
        let cut = &bytes[..bytes.len() - 5];
        std::fs::write(sandbox.path("in.tar"), cut).unwrap();
        let from = sandbox.uri("tar", "in.tar");
        let said = sandbox.process(&from, &sandbox.uri("dir", "out"), &[]);
        said.exits(1).says("the compressed data ends too early");
    }
}

#[test]
fn a_layer_that_unpacks_to_thousands_of_times_its_size_takes_no_memory() {
    const SIZE: usize = 300 << 20;
    let plain = tar(&[("zeros", &vec![0; SIZE])]);
    let image = TestImage::with_layers("app:1", vec![plain]);
    for pack in [Pack::Xz, Pack::Bzip2] {
        let sandbox = Sandbox::new();
        shape::docker25(&[&image], pack).write(&sandbox.path("in.tar"));
        let size = std::fs::metadata(sandbox.path("in.tar")).unwrap().len();
        assert!(size < SIZE as u64 / 1000, "{size}");
        let (from, to) = (sandbox.uri("tar", "in.tar"), sandbox.uri("dir", "out"));
        let (peak, well) = peak(&mut sandbox.command(&["process", &from, &to]));
        assert!(well && peak > 0);
        assert!(peak < 200 << 10, "{pack:?}: {peak} KiB");
    }
}

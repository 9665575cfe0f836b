//! Layers that were cut, checked without a receipt and without reading them: damage that can be seen is FAILED, and a
//! layer that cannot be judged is not called verified.

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, gzip, tar};
use crate::support::shape::{self, Archive};

#[test]
fn a_cut_layer_is_not_verified_however_it_was_cut() {
    let layer = tar(&[("a", b"x"), ("b", &[b'x'; 700])]);
    // Two headers, one block and two: the end of the content.
    let end = 5 * 512;
    let image = TestImage::with_layers("app:1", vec![tar(&[("c", b"y")]), layer]);
    let whole = image.layers[1].clone();
    let sandbox = Sandbox::new();
    shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("in.tar"));
    sandbox.process("tar://in.tar", "dir://cd", &[]).verified();
    let layer = sandbox.path("cd").join(image.layer_path(1));
    sandbox.run(&["verify", "--fast", "dir://cd"]).verified();
    for (length, code) in [(100, 1), (513, 1), (512, 1), (end, 3), (whole.len(), 0)] {
        std::fs::write(&layer, &whole[..length]).unwrap();
        let said = sandbox.run(&["verify", "--fast", "dir://cd"]);
        assert_eq!(said.code, code, "{length} of {}: {}", whole.len(), said.stderr);
    }
    // The same in an archive that says of itself that it is whole.
    let mut archive = shape::legacy(&[&image], Pack::Plain);
    let cut = archive.0.iter().position(|(_, content)| *content == whole).unwrap();
    archive.0[cut].1.truncate(1536);
    archive.write(&sandbox.path("cut.tar"));
    sandbox.run(&["verify", "--fast", "tar://cut.tar"]).exits(1).says("cut off");
    // The expected size of a compressed layer is not known.
    shape::docker25(&[&image], Pack::Gzip).write(&sandbox.path("packed.tar"));
    sandbox.run(&["verify", "--fast", "tar://packed.tar"]).exits(3);
}

#[test]
fn compressed_layers_are_unpacked_in_full() {
    let image = TestImage::new("app:1");
    let other = gzip(&tar(&[("usr/lib/evil", b"1")]));
    type Shape = fn(&[&TestImage], Pack) -> Archive;
    for shape in [shape::legacy as Shape, shape::crane, shape::podman] {
        for pack in Pack::ALL {
            let sandbox = Sandbox::new();
            let archive = shape(&[&image], pack);
            archive.write(&sandbox.path("in.tar"));
            sandbox.run(&["verify", "tar://in.tar"]).verified();
            let packed = pack.pack(&image.layers[1]);
            let at = archive.0.iter().position(|(_, content)| *content == packed).unwrap();
            let cut = packed[..packed.len() - 100].to_vec();
            let more = [&packed[..], &[0; 512]].concat();
            for content in [cut, more, other.clone()] {
                let mut wrong = archive.clone();
                wrong.0[at].1 = content;
                wrong.write(&sandbox.path("in.tar"));
                let said = sandbox.run(&["verify", "tar://in.tar"]);
                said.exits(1).says("layer 2 './in.tar:").says("1 FAILED");
            }
        }
    }
}

#[test]
fn archives_that_are_compressed_as_a_whole_and_layouts_in_them() {
    let image = TestImage::new("app:1");
    type Shape = fn(&[&TestImage], Pack) -> Archive;
    let sandbox = Sandbox::new();
    for shape in [shape::legacy as Shape, shape::docker25, shape::oci] {
        for pack in [Pack::Plain, Pack::Gzip] {
            let archive = shape(&[&image], pack);
            let mut wrong = archive.clone();
            let layer = pack.pack(&image.layers[1]);
            let at = wrong.0.iter().position(|(_, content)| *content == layer).unwrap();
            wrong.0[at].1[300_000] ^= 1;
            for whole in [<[u8]>::to_vec as fn(&[u8]) -> Vec<u8>, gzip] {
                std::fs::write(sandbox.path("in.tar"), whole(&archive.bytes())).unwrap();
                sandbox.run(&["verify", "tar://in.tar"]).verified().says("3 layers");
                let said = sandbox.run(&["verify", "--fast", "tar://in.tar"]);
                assert!(matches!(said.code, 0 | 3), "{}", said.stderr);
                std::fs::write(sandbox.path("in.tar"), whole(&wrong.bytes())).unwrap();
                let said = sandbox.run(&["verify", "tar://in.tar"]);
                said.exits(1).says("layer 2 './in.tar:").says("1 FAILED");
            }
        }
    }
    std::fs::write(sandbox.path("in.tar"), tar(&[("README", b"hello")])).unwrap();
    let said = sandbox.run(&["verify", "tar://in.tar"]);
    said.exits(1).says("holds neither manifest.json nor index.json");
}

#[test]
fn a_catalog_that_calls_an_image_what_its_manifest_does_not_is_doubtful() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::tiny("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    sandbox.process("tar://in.tar", "dir://out", &[]).verified();
    let path = sandbox.path("out/catalog.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"app\"", "\"prod\"")).unwrap();
    let said = sandbox.run(&["verify", "dir://out"]);
    said.exits(3).says("names the image 'prod:1'; its manifest names it 'app:1'");
    // If the manifest gives no name, the name in the catalog is not confirmed.
    std::fs::write(&path, text).unwrap();
    let path = sandbox.path("out/manifest.json");
    let list: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let mut unnamed = list.clone();
    unnamed[0]["RepoTags"] = serde_json::Value::Null;
    assert_ne!(unnamed, list);
    std::fs::write(&path, unnamed.to_string()).unwrap();
    let said = sandbox.run(&["verify", "dir://out"]);
    said.exits(3).says("names the image 'app:1'; its manifest names it nothing");
}

#[test]
fn a_file_that_is_no_receipt_is_pointed_to_its_uri() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::tiny("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    let said = sandbox.run(&["verify", "in.tar"]);
    said.exits(1).says("'in.tar' is not a receipt").says("'occystrap verify tar://in.tar'");
    std::fs::create_dir(sandbox.path("out")).unwrap();
    sandbox.run(&["verify", "out"]).exits(1).says("'occystrap verify dir://out'");
}

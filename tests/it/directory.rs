//! The output `dir` over time: several images, several processes, and files that were there before.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, tar};
use crate::support::landed::assert_in_directory;
use crate::support::real::installed;
use crate::support::shape;

fn catalog(sandbox: &Sandbox) -> Value {
    serde_json::from_slice(&std::fs::read(sandbox.path("out/catalog.json")).unwrap()).unwrap()
}

#[test]
fn unique_names_keep_likely_collisions_apart() {
    let sandbox = Sandbox::new();
    let out = sandbox.uri("dir", "out?unique_names=true");
    let names =
        ["a/b_c:1", "a_b/c:1", "a/b:c_1", "a:b_c_1", "a-b/c:1", "a/b-c:1", "a/b.c:1", "a.b/c:1"];
    let images: Vec<TestImage> = names.iter().map(|name| TestImage::tiny(name)).collect();
    for image in &images {
        shape::legacy(&[image], Pack::Gzip).write(&sandbox.path("in.tar"));
        sandbox.process(&sandbox.uri("tar", "in.tar"), &out, &[]).verified();
    }
    for image in &images {
        assert_in_directory(&sandbox.path("out"), image);
    }
    sandbox.run(&["verify", &sandbox.uri("dir", "out")]).verified().says("8/8 verified");
}

#[test]
fn all_images_of_an_archive_land_side_by_side() {
    let shared = tar(&[("base", b"in all of them")]);
    let images: Vec<TestImage> = (0..5)
        .map(|n| {
            TestImage::with_layers(
                &format!("app{n}:1"),
                vec![shared.clone(), tar(&[("own", &[n])])],
            )
        })
        .collect();
    let sandbox = Sandbox::new();
    shape::docker25(&images.iter().collect::<Vec<_>>(), Pack::Gzip).write(&sandbox.path("in.tar"));
    sandbox
        .process(
            &sandbox.uri("tar", "in.tar"),
            &sandbox.uri("dir", "out?unique_names=true"),
            &["--verify=full"],
        )
        .verified()
        .says("Summary: 5/5 images, 10 layers");
    for image in &images {
        assert_in_directory(&sandbox.path("out"), image);
    }
    let layers =
        sandbox.tree("out").into_keys().filter(|name| name.ends_with("/layer.tar")).count();
    assert_eq!(layers, 6, "the shared layer is there once");
}

#[test]
fn one_of_several_is_chosen_by_name_and_never_silently() {
    let images =
        [TestImage::tiny("one:1"), TestImage::tiny("two:latest"), TestImage::tiny("two:2")];
    let sandbox = Sandbox::new();
    shape::legacy(&images.each_ref(), Pack::Gzip).write(&sandbox.path("in.tar"));
    let source = sandbox.uri("tar", "in.tar");
    for to in ["tar", "dir"] {
        let said = sandbox.process(&source, &sandbox.uri(to, "out"), &[]);
        said.exits(2).says("holds 3 images").says("one:1, two:latest, two:2");
        assert!(sandbox.tree("out").is_empty());
    }
    for (wanted, chosen) in [("one", 0), ("one:1", 0), ("two", 1), ("two:2", 2)] {
        let from = format!("{source}?image={wanted}");
        sandbox.process(&from, &sandbox.uri("tar", "out.tar"), &[]).verified();
        crate::support::landed::assert_in_archive(&sandbox.path("out.tar"), &images[chosen]);
    }
    let said =
        sandbox.process(&format!("{source}?image=three"), &sandbox.uri("tar", "out.tar"), &[]);
    said.exits(1).says("holds no image 'three'").says("one:1, two:latest, two:2");
}

#[test]
fn checksums_are_what_sha256sum_takes() {
    let sandbox = Sandbox::new();
    let out = sandbox.uri("dir", "out?checksums=true&unique_names=true");
    for name in ["one:1", "two:1"] {
        shape::oci(&[&TestImage::new(name)], Pack::Zstd).write(&sandbox.path("in.tar"));
        sandbox.process(&sandbox.uri("tar", "in.tar"), &out, &[]).verified();
    }
    let check = || {
        let mut command = Command::new("sha256sum");
        command.args(["--check", "--strict", "SHA256SUMS"]).current_dir(sandbox.path("out"));
        command.output().unwrap()
    };
    let said = String::from_utf8(check().stdout).unwrap();
    // Two manifests, two configs, and five layers: the names differ, two of three layers do not.
    assert_eq!(said.lines().filter(|line| line.ends_with(": OK")).count(), 8, "{said}");
    std::fs::write(sandbox.path("out").join(TestImage::new("one:1").config_path()), "{}").unwrap();
    assert!(!check().status.success());
}

#[test]
fn eight_processes_at_once_lose_no_catalog_entry() {
    let sandbox = Sandbox::new();
    let out = sandbox.uri("dir", "out?unique_names=true&checksums=true");
    let images: Vec<TestImage> = (0..8).map(|n| TestImage::tiny(&format!("app{n}:1"))).collect();
    let running: Vec<_> = (images.iter().enumerate())
        .map(|(n, image)| {
            let name = format!("in{n}.tar");
            shape::legacy(&[image], Pack::Gzip).write(&sandbox.path(&name));
            let source = sandbox.uri("tar", &name);
            let mut command = sandbox.command(&["process", &source, &out, "--verify=full"]);
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    for process in running {
        crate::support::cli::Ran::ended(process.wait_with_output().unwrap()).verified();
    }
    for image in &images {
        assert_in_directory(&sandbox.path("out"), image);
    }
    let sums = std::fs::read_to_string(sandbox.path("out/SHA256SUMS")).unwrap();
    assert_eq!(sums.lines().count(), 24, "{sums}");
    sandbox.run(&["verify", &sandbox.uri("dir", "out")]).verified().says("8/8 verified");
}

#[test]
fn a_layer_that_is_there_is_not_trusted_by_its_name() {
    let image = TestImage::new("busybox:1");
    let sandbox = Sandbox::new();
    shape::legacy(&[&image], Pack::Gzip).write(&sandbox.path("in.tar"));
    let (source, out) = (sandbox.uri("tar", "in.tar"), sandbox.uri("dir", "out"));
    let layer = sandbox.path("out").join(image.layer_path(1));
    let good = &image.layers[1];
    let mut flipped = good.clone();
    flipped[300_000] ^= 4;
    for bad in [flipped, Vec::new(), good[..1000].to_vec()] {
        std::fs::create_dir_all(layer.parent().unwrap()).unwrap();
        std::fs::write(&layer, &bad).unwrap();
        sandbox.process(&source, &out, &[]).verified();
        assert_in_directory(&sandbox.path("out"), &image);
    }
    // And one that is right is left as it is.
    let written = |path: &std::path::Path| path.metadata().unwrap().modified().unwrap();
    let before = written(&layer);
    sandbox.process(&source, &out, &[]).verified();
    assert_eq!(written(&layer), before);
}

#[test]
fn a_new_image_takes_the_place_of_the_old_one() {
    let sandbox = Sandbox::new();
    for name in ["old:1", "new:1"] {
        shape::legacy(&[&TestImage::tiny(name)], Pack::Gzip).write(&sandbox.path("in.tar"));
        sandbox.process(&sandbox.uri("tar", "in.tar"), &sandbox.uri("dir", "out"), &[]).verified();
    }
    // Both would name manifest.json, which is about the new one.
    assert_eq!(catalog(&sandbox), json!({ "new": { "1": "manifest.json" } }));
    sandbox.run(&["verify", &sandbox.uri("dir", "out")]).verified().says("1/1 verified");
}

/// A directory as 0.4.17 wrote it: the config parsed and dumped by Python.
fn python_directory(sandbox: &Sandbox, image: &TestImage) {
    let out = sandbox.path("old");
    for (index, layer) in image.layers.iter().enumerate() {
        let path = out.join(image.layer_path(index));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, layer).unwrap();
    }
    let program = "import json,sys; sys.stdout.write(json.dumps(json.load(sys.stdin), indent=4, sort_keys=True))";
    let dump = |value: &[u8]| {
        let mut python = Command::new("python3");
        python
            .args(["-c", program])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped());
        let mut python = python.spawn().expect("python3");
        std::io::Write::write_all(&mut python.stdin.take().unwrap(), value).unwrap();
        python.wait_with_output().unwrap().stdout
    };
    std::fs::write(out.join(image.config_path()), dump(&image.config)).unwrap();
    let layers: Vec<String> =
        (0..image.layers.len()).map(|index| image.layer_path(index)).collect();
    let (repository, tag) = image.name.split_once(':').unwrap();
    let manifest = json!([{
        "Config": image.config_path(), "Layers": layers, "ImageName": repository, "RepoTags": [image.name],
    }]);
    let name = format!("manifest-{repository}-{tag}.json");
    std::fs::write(out.join(&name), dump(manifest.to_string().as_bytes())).unwrap();
    let catalog = json!({ repository: { tag: name } });
    std::fs::write(out.join("catalog.json"), dump(catalog.to_string().as_bytes())).unwrap();
}

#[test]
fn a_directory_of_0_4_17_is_read_with_a_warning() {
    if !installed("a_directory_of_0_4_17_is_read_with_a_warning", &["python3"]) {
        return;
    }
    let image = TestImage::new("busybox:1");
    let sandbox = Sandbox::new();
    python_directory(&sandbox, &image);
    let before = sandbox.tree("old");
    let said = sandbox.process(&sandbox.uri("dir", "old"), &sandbox.uri("dir", "new"), &[]);
    said.verified().says("warning: busybox:1: the config was rewritten by occystrap 0.4");
    assert_eq!(sandbox.tree("old"), before);

    let said = sandbox.run(&["verify", &sandbox.uri("dir", "old")]);
    said.exits(3).says("unchecked").says("0/1 verified, 1 UNCONFIRMED");

    // Any other difference is damage, not habit.
    let config = sandbox.path("old").join(image.config_path());
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replacen("    ", "   ", 1)).unwrap();
    sandbox.process(&sandbox.uri("dir", "old"), &sandbox.uri("dir", "new"), &[]).exits(1);
    sandbox.run(&["verify", &sandbox.uri("dir", "old")]).exits(1).says("0/1 verified, 1 FAILED");
}

#[test]
fn a_layer_that_a_link_leads_out_to_is_not_called_a_matter_of_permissions() {
    let sandbox = Sandbox::new();
    let image = TestImage::tiny("app:1");
    shape::legacy(&[&image], Pack::Plain).write(&sandbox.path("in.tar"));
    sandbox.process(&sandbox.uri("tar", "in.tar"), &sandbox.uri("dir", "out"), &[]).verified();
    let folder = sandbox.path(&format!("out/{}", image.diff_ids()[0].hex()));
    std::fs::rename(&folder, sandbox.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", &folder).unwrap();
    let said = sandbox.process(&sandbox.uri("dir", "out"), &sandbox.uri("tar", "out.tar"), &[]);
    said.exits(1).says("hint: a symbolic link there points out of its directory");
}

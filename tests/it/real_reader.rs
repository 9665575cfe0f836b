//! Other tools read what we wrote, and we read what they wrote: skopeo, GNU tar, sha256sum.

use std::path::Path;
use std::process::Command;

use occystrap_base::oci::Digest;

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage};
use crate::support::real::{RealRegistry, hello, installed, skopeo};
use crate::support::shape::legacy;

fn source(sandbox: &Sandbox) -> (TestImage, String) {
    let image = TestImage::new("test/reader:1");
    let archive = sandbox.path("source.tar");
    legacy(&[&image], Pack::Gzip).write(&archive);
    (image, format!("tar://{}", archive.display()))
}

#[test]
fn skopeo_loads_our_archive_with_the_same_config() {
    let name = "skopeo_loads_our_archive_with_the_same_config";
    let Some(registry) = RealRegistry::start(name) else { return };
    let sandbox = Sandbox::new();
    let (image, source) = source(&sandbox);
    sandbox.process(&source, &sandbox.uri("tar", "ours.tar"), &[]).verified();
    let ours = format!("docker-archive:{}", sandbox.path("ours.tar").display());

    let config = skopeo(&["inspect", "--config", "--raw", &ours]);
    assert_eq!(Digest::of(&config), image.id());

    registry.push(&sandbox.path("ours.tar"), "loaded:1", &[]);
    let manifest = registry.manifest("loaded", "1");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["config"]["digest"], image.id().to_string());
    assert_eq!(manifest["layers"].as_array().unwrap().len(), image.layers.len());

    // And round: what skopeo pushed of ours is, pulled, the same archive again.
    let pulled = registry.uri("loaded:1");
    let options = ["--insecure", "--verify=full"];
    sandbox.process(&pulled, &sandbox.uri("dir", "pulled"), &options).verified();
    sandbox.process(&source, &sandbox.uri("dir", "direct"), &options).verified();
    for index in 0..image.layers.len() {
        let layer = image.layer_path(index);
        assert_eq!(sandbox.tree("pulled")[&layer], sandbox.tree("direct")[&layer]);
    }
}

#[test]
fn an_oci_archive_that_skopeo_wrote() {
    if !installed("an_oci_archive_that_skopeo_wrote", &["skopeo"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let from = format!("docker-archive:{}", hello().display());
    for (file, to) in [
        ("oci.tar", format!("oci-archive:{}:hello:1.0", sandbox.path("oci.tar").display())),
        ("save.tar", format!("docker-archive:{}:hello:1.0", sandbox.path("save.tar").display())),
    ] {
        skopeo(&["copy", "--quiet", &from, &to]);
        let folder = format!("{file}.out");
        let ran = sandbox.process(
            &sandbox.uri("tar", file),
            &sandbox.uri("dir", &folder),
            &["--verify=full"],
        );
        ran.verified();
    }
    let layers = |folder: &str| {
        let tree = sandbox.tree(folder).into_iter();
        tree.filter(|(name, _)| name.ends_with("layer.tar")).collect::<Vec<_>>()
    };
    assert_eq!(layers("oci.tar.out"), layers("save.tar.out"));
    assert_eq!(layers("oci.tar.out").len(), 3);
}

#[test]
fn an_oci_layout_that_skopeo_reads_and_one_that_it_wrote() {
    if !installed("an_oci_layout_that_skopeo_reads_and_one_that_it_wrote", &["skopeo"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let (image, source) = source(&sandbox);
    let full: &[&str] = &["--verify=full"];
    sandbox.process(&source, &sandbox.uri("oci-layout", "ours"), full).verified();
    let ours = format!("oci:{}:1", sandbox.path("ours").display());
    let config = skopeo(&["inspect", "--config", "--raw", &ours]);
    assert_eq!(Digest::of(&config), image.id());
    let manifest = Digest::of(&skopeo(&["inspect", "--raw", &ours]));
    let blob = sandbox.path("ours/blobs/sha256").join(manifest.hex());
    assert!(blob.exists(), "{manifest}");

    // It copies every blob, and adds to the layout that we wrote.
    let theirs = format!("oci:{}:theirs", sandbox.path("theirs").display());
    skopeo(&["copy", "--quiet", &ours, &theirs]);
    let beside = format!("oci:{}:beside", sandbox.path("ours").display());
    skopeo(&["copy", "--quiet", &format!("docker-archive:{}", hello().display()), &beside]);
    sandbox.run(&["verify", &sandbox.uri("oci-layout", "ours")]).verified().says("2/2 verified");

    let from = format!("{}:theirs", sandbox.uri("oci-layout", "theirs"));
    sandbox.process(&from, &sandbox.uri("dir", "back"), full).verified();
    for index in 0..image.layers.len() {
        let layer = std::fs::read(sandbox.path("back").join(image.layer_path(index))).unwrap();
        assert!(layer == image.layers[index], "layer {index}");
    }
    // And we add to the one that it wrote; what it has is not written again.
    let to = format!("{}:ours", sandbox.uri("oci-layout", "theirs"));
    sandbox.process(&from, &to, full).verified();
    for tag in ["theirs", "ours"] {
        let layout = format!("oci:{}:{tag}", sandbox.path("theirs").display());
        assert_eq!(Digest::of(&skopeo(&["inspect", "--raw", &layout])), manifest);
    }
}

#[test]
fn all_platforms_through_a_real_registry_and_skopeo() {
    let name = "all_platforms_through_a_real_registry_and_skopeo";
    let Some(registry) = RealRegistry::start(name) else { return };
    let sandbox = Sandbox::new();
    let (_, source) = source(&sandbox);
    // An index of one, made of what skopeo writes, and pushed by us.
    sandbox.process(&source, &registry.uri("app:amd64"), &["--insecure"]).verified();
    let manifest = registry.manifest("app", "amd64");
    let media_type: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    let list = serde_json::json!({ "schemaVersion": 2, "mediaType": LIST, "manifests": [{
        "mediaType": media_type["mediaType"], "digest": Digest::of(&manifest).to_string(),
        "size": manifest.len(), "platform": { "os": "linux", "architecture": "amd64" },
    }]});
    let list = serde_json::to_vec_pretty(&list).unwrap();
    registry.put_manifest("app", "1", LIST, &list);

    let all = ["--insecure", "--all-platforms", "--verify=full"];
    let (from, to) = (registry.uri("app:1"), registry.uri("copy:1"));
    sandbox.process(&from, &to, &all).verified().says("2/2 verified");
    let raw = |name: &str| {
        let at = format!("docker://{}/{name}", registry.host());
        skopeo(&["inspect", "--raw", "--tls-verify=false", &at])
    };
    assert_eq!(raw("copy:1"), list);
    assert_eq!(raw(&format!("copy@{}", Digest::of(&manifest))), manifest);

    // skopeo writes such a layout, with entries for what the index lists.
    let there = format!("docker://{}/copy:1", registry.host());
    let layout = format!("oci:{}:1", sandbox.path("theirs").display());
    skopeo(&["copy", "--quiet", "--all", "--src-tls-verify=false", &there, &layout]);
    let from = format!("{}:1", sandbox.uri("oci-layout", "theirs"));
    sandbox.process(&from, &sandbox.uri("oci-layout", "ours"), &all[1..]).verified();
    let ours = format!("oci:{}:1", sandbox.path("ours").display());
    let theirs = skopeo(&["inspect", "--raw", &layout]);
    assert_eq!(skopeo(&["inspect", "--raw", &ours]), theirs);
}

#[test]
fn sha256sum_and_tar_read_what_we_wrote() {
    if !installed("sha256sum_and_tar_read_what_we_wrote", &["sha256sum", "tar"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let (image, source) = source(&sandbox);
    let checked = format!("{}?checksums=true", sandbox.uri("dir", "out"));
    sandbox.process(&source, &checked, &[]).verified();
    let check = run(&sandbox.path("out"), "sha256sum", &["-c", "--strict", "SHA256SUMS"]);
    // The config and each layer at least.
    assert!(check.lines().count() > image.layers.len(), "{check}");
    assert!(check.lines().all(|line| line.ends_with(": OK")), "{check}");

    sandbox.process(&source, &sandbox.uri("tar", "out.tar"), &[]).verified();
    let names = run(&sandbox.path(""), "tar", &["-tf", "out.tar"]);
    for index in 0..image.layers.len() {
        assert!(names.lines().any(|name| name == image.layer_path(index)), "{names}");
    }
}

fn run(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

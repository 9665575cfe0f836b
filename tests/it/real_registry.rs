//! Pulls from Debian's docker-registry, of images that skopeo pushed.

use occystrap_base::oci::Digest;
use serde_json::json;

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage, noise, tar};
use crate::support::real::{RealRegistry, SlowProxy, hello};
use crate::support::shape::legacy;

const FULL: &[&str] = &["--insecure", "--verify=full"];

/// The layers and the config, by what they are: names of images differ with where they came from.
fn content(sandbox: &Sandbox, folder: &str) -> Vec<(String, String)> {
    let tree = sandbox.tree(folder).into_iter();
    tree.filter(|(name, _)| name != "manifest.json" && name != "catalog.json").collect()
}

#[test]
fn an_image_that_skopeo_pushed_lands_as_it_was() {
    let Some(registry) = RealRegistry::start("an_image_that_skopeo_pushed_lands_as_it_was") else {
        return;
    };
    let sandbox = Sandbox::new();
    registry.push(&hello(), "team/hello:1.0", &[]);
    let source = registry.uri("team/hello:1.0");
    sandbox.process(&source, &sandbox.uri("dir", "pulled"), FULL).verified();
    sandbox.process(&source, &sandbox.uri("tar", "pulled.tar"), FULL).verified();

    let original = format!("tar://{}", hello().display());
    sandbox.process(&original, &sandbox.uri("dir", "read"), FULL).verified();
    assert_eq!(content(&sandbox, "pulled"), content(&sandbox, "read"));

    // Every reader of the archive gets the same.
    let archive = sandbox.uri("tar", "pulled.tar");
    sandbox.process(&archive, &sandbox.uri("dir", "again"), FULL).verified();
    assert_eq!(content(&sandbox, "again"), content(&sandbox, "read"));
    sandbox.assert_clean();
}

#[test]
fn layers_compressed_with_zstd_by_skopeo() {
    let Some(registry) = RealRegistry::start("layers_compressed_with_zstd_by_skopeo") else {
        return;
    };
    let sandbox = Sandbox::new();
    let image = TestImage::new("test/zstd:1");
    let archive = sandbox.path("source.tar");
    legacy(&[&image], Pack::Plain).write(&archive);
    registry.push(&archive, "zstd:1", &["--format=oci", "--dest-compress-format=zstd"]);
    let manifest = String::from_utf8(registry.manifest("zstd", "1")).unwrap();
    assert!(manifest.contains("tar+zstd"), "{manifest}");
    let source = registry.uri("zstd:1");
    sandbox.process(&source, &sandbox.uri("dir", "out"), FULL).verified();
    for (index, layer) in image.layers.iter().enumerate() {
        let path = sandbox.path("out").join(image.layer_path(index));
        assert!(std::fs::read(path).unwrap() == *layer, "layer {index}");
    }
}

#[test]
fn an_image_by_its_digest() {
    let Some(registry) = RealRegistry::start("an_image_by_its_digest") else { return };
    let sandbox = Sandbox::new();
    registry.push(&hello(), "hello:1.0", &[]);
    let digest = Digest::of(&registry.manifest("hello", "1.0"));
    let source = registry.uri(&format!("hello@{digest}"));
    sandbox.process(&source, &sandbox.uri("tar", "out.tar"), FULL).verified();

    let other = Digest::of(b"something else");
    let source = registry.uri(&format!("hello@{other}"));
    let ran = sandbox.process(&source, &sandbox.uri("tar", "other.tar"), FULL);
    ran.exits(1).says(&other.to_string()).says("not found");
    assert!(!sandbox.path("other.tar").exists());
}

#[test]
fn one_platform_of_several() {
    const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    let Some(registry) = RealRegistry::start("one_platform_of_several") else { return };
    let sandbox = Sandbox::new();
    let platforms = [("amd64", None), ("arm64", Some("v8")), ("arm", Some("v7"))];
    let mut entries = Vec::new();
    for (architecture, variant) in platforms {
        let motd = tar(&[("etc/motd", architecture.as_bytes())]);
        let mut image = TestImage::with_layers("test/multi:1", vec![motd]);
        let config = String::from_utf8(image.config).unwrap();
        image.config = config.replace("\"amd64\"", &format!("\"{architecture}\"")).into_bytes();
        let archive = sandbox.path("source.tar");
        legacy(&[&image], Pack::Plain).write(&archive);
        registry.push(&archive, &format!("multi:{architecture}"), &[]);
        let manifest = registry.manifest("multi", architecture);
        let media_type: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        let mut platform = json!({"os": "linux", "architecture": architecture});
        if let Some(variant) = variant {
            platform["variant"] = variant.into();
        }
        entries.push(json!({
            "mediaType": media_type["mediaType"],
            "digest": Digest::of(&manifest).to_string(),
            "size": manifest.len(),
            "platform": platform,
        }));
    }
    let list = json!({"schemaVersion": 2, "mediaType": LIST, "manifests": entries});
    registry.put_manifest("multi", "1", LIST, &serde_json::to_vec(&list).unwrap());

    let source = registry.uri("multi:1");
    for (wanted, found) in [("amd64", "amd64"), ("arm64", "arm64"), ("arm", "arm")] {
        let destination = sandbox.uri("tar", &format!("{wanted}.tar"));
        let options = [FULL, &["--architecture", wanted]].concat();
        sandbox.process(&source, &destination, &options).verified();
        let archive = std::fs::read(sandbox.path(&format!("{wanted}.tar"))).unwrap();
        let said = format!("\"architecture\":\"{found}\"");
        assert!(archive.windows(said.len()).any(|bytes| bytes == said.as_bytes()), "{said}");
    }
    let options = [FULL, &["--architecture", "s390x"]].concat();
    let ran = sandbox.process(&source, &sandbox.uri("tar", "none.tar"), &options);
    ran.exits(1).says("s390x");
    assert!(!sandbox.path("none.tar").exists());
}

#[test]
fn an_image_that_the_registry_does_not_have_is_an_error() {
    let Some(registry) =
        RealRegistry::start("an_image_that_the_registry_does_not_have_is_an_error")
    else {
        return;
    };
    let sandbox = Sandbox::new();
    let ran = sandbox.process(&registry.uri("nobody:1"), &sandbox.uri("dir", "out"), FULL);
    ran.exits(1).says("nobody");
    assert!(!sandbox.path("out").exists());
    sandbox.assert_clean();
}

#[test]
fn a_registry_that_dies_in_the_middle_leaves_the_destination_alone() {
    let name = "a_registry_that_dies_in_the_middle_leaves_the_destination_alone";
    let Some(mut registry) = RealRegistry::start(name) else { return };
    let sandbox = Sandbox::new();
    let before = format!("tar://{}", hello().display());
    std::fs::create_dir(sandbox.path("out")).unwrap();
    sandbox.process(&before, &sandbox.uri("tar", "out/image.tar"), FULL).verified();
    let tree = sandbox.tree("out");

    // More than fits the buffers of two sockets, which outlive the registry: 6 s at this rate.
    let image = TestImage::with_layers("big:1", vec![tar(&[("big", &noise(3, 24_000_000))])]);
    let archive = sandbox.path("source.tar");
    legacy(&[&image], Pack::Plain).write(&archive);
    registry.push(&archive, "big:1", &[]);
    let proxy = SlowProxy::start(registry.host(), 4_000_000);
    let source = format!("registry://{}/big:1", proxy.host());
    let destination = sandbox.uri("tar", "out/image.tar");
    let mut command =
        sandbox.command(&["process", &source, &destination, "--insecure", "--retries=1"]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    proxy.wait_for(2_000_000);
    registry.kill();
    let ran = Ran::ended(child.wait_with_output().unwrap());
    ran.exits(1).says("error: ");
    assert_eq!(sandbox.tree("out"), tree, "{ran:?}");
    sandbox.assert_clean();
}

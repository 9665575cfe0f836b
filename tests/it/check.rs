//! `check` of manifests, configs and indexes: for each rule an image that breaks it, and no other rule.

use occystrap_base::oci::Digest;
use serde_json::{Value, json};

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage};
use crate::support::layer::{file, layer};
use crate::support::multi::Multi;
use crate::support::push::{push, push_docker};
use crate::support::registry::Registry;
use crate::support::shape;

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// The finding that every image with OCI's media types has.
const NOTE: &str = "info oci-media-type";

fn findings(said: &Ran) -> Vec<String> {
    let document = said.json();
    let results = document["images"][0]["results"].as_array().unwrap();
    let text = |result: &Value, key: &str| result[key].as_str().unwrap_or_default().to_owned();
    let line = |result: &Value| {
        let layer = result["layer"].as_u64().map_or_else(String::new, |layer| format!(" {layer}"));
        format!("{} {}{layer}", text(result, "severity"), text(result, "check"))
    };
    results.iter().map(line).filter(|line| line != NOTE).collect()
}

/// An image in a registry, with its config and its manifest changed.
struct Changed {
    registry: Registry,
    sandbox: Sandbox,
    source: String,
}

impl Changed {
    fn new(config: impl FnOnce(&mut Value), manifest: impl FnOnce(&mut Value)) -> Self {
        let mut image = TestImage::tiny("team/app:1");
        let mut document = serde_json::from_slice(&image.config).unwrap();
        config(&mut document);
        image.config = document.to_string().into_bytes();
        Self::of(&image, manifest)
    }

    fn of(image: &TestImage, edit: impl FnOnce(&mut Value)) -> Self {
        let (registry, sandbox) = (Registry::start(), Sandbox::new());
        let source = push(&registry, image, Pack::Gzip);
        let mut manifest = serde_json::from_str(&shape::oci_manifest(image, Pack::Gzip)).unwrap();
        edit(&mut manifest);
        let media_type = manifest["mediaType"].as_str().unwrap_or(OCI).to_owned();
        registry.put_manifest("team/app", "1", &media_type, manifest.to_string());
        Self { registry, sandbox, source }
    }

    fn run(&self, more: &[&str]) -> Ran {
        self.sandbox.run(&[&["check", "-O", "json", self.source.as_str()], more].concat())
    }

    /// Found with and without `--fast`.
    #[track_caller]
    fn finds(&self, expected: &[&str]) {
        for more in [&["--fast"][..], &[]] {
            let said = self.run(more);
            assert_eq!(findings(&said), expected, "{more:?}: {said:?}");
            let errors = expected.iter().any(|line| line.starts_with("error"));
            assert_eq!(said.code, i32::from(errors), "{said:?}");
        }
    }
}

fn same(_: &mut Value) {}

#[track_caller]
fn config(edit: impl FnOnce(&mut Value), expected: &[&str]) {
    Changed::new(edit, same).finds(expected);
}

#[track_caller]
fn manifest(edit: impl FnOnce(&mut Value), expected: &[&str]) {
    Changed::new(same, edit).finds(expected);
}

#[test]
fn a_good_image_has_nothing_to_find() {
    config(same, &[]);
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    let source = push_docker(&registry, &TestImage::new("team/app:1"));
    let said = sandbox.run(&["check", "-O", "json", &source]);
    assert_eq!(findings(said.exits(0)), ["info docker-media-type"]);
}

#[test]
fn rules_of_manifests() {
    manifest(|m| m["schemaVersion"] = 3.into(), &["error schema-version"]);
    manifest(
        |m| drop(m.as_object_mut().unwrap().remove("schemaVersion")),
        &["error schema-version"],
    );
    manifest(|m| drop(m.as_object_mut().unwrap().remove("mediaType")), &["info media-type"]);
    manifest(|m| m["annotations"] = json!({ "a": 1 }), &["error annotations"]);
    manifest(|m| m["Layers"] = json!([]), &["error source"]);
    let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
    let wrong = Changed::new(same, |m| m["layers"][0]["mediaType"] = zstd.into());
    assert_eq!(findings(&wrong.run(&["--fast"])), ["warning zstd-compat"]);
    assert_eq!(findings(&wrong.run(&[])), ["warning media-type 0", "warning zstd-compat"]);
    manifest(
        |m| m["layers"][0]["mediaType"] = "application/vnd.in-toto+json".into(),
        &["error media-type 0"],
    );
    manifest(
        |m| {
            m["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip".into()
        },
        &["warning media-type 0"],
    );
    manifest(
        |m| {
            let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
            m["layers"][0]["mediaType"] = foreign.into();
        },
        &["warning foreign-layer 0"],
    );
    // An artifact, to which rules of images do not apply.
    manifest(|m| m["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json".into(), &[]);
    manifest(
        |m| m["config"]["mediaType"] = "application/vnd.docker.container.image.v1+json".into(),
        &["warning media-type"],
    );
}

#[test]
fn descriptors_that_promise_nothing() {
    let without = |m: &mut Value, key: &str| drop(m.as_object_mut().unwrap().remove(key));
    manifest(|m| without(&mut m["layers"][0], "mediaType"), &["error layer-descriptor 0"]);
    for edit in [
        |layer: &mut Value| layer["digest"] = "sha256:12".into(),
        |layer: &mut Value| layer["digest"] = 7.into(),
        |layer: &mut Value| layer["size"] = (-1).into(),
        |layer: &mut Value| layer["size"] = "7".into(),
    ] {
        let broken = Changed::new(same, |m| edit(&mut m["layers"][0]));
        assert_eq!(findings(broken.run(&["--fast"]).exits(1)), ["error layer-descriptor 0"]);
        // Its type cannot be found out.
        let full = findings(broken.run(&[]).exits(1));
        assert_eq!(full, ["error layer-descriptor 0", "unchecked layers"]);
    }
    let broken = Changed::new(same, |m| m["config"]["size"] = Value::Null);
    assert_eq!(findings(broken.run(&["--fast"]).exits(1)), ["error config-descriptor"]);
    for edit in [|m: &mut Value| m["config"] = Value::Null, |m: &mut Value| m["config"] = json!([])]
    {
        let found = findings(Changed::new(same, edit).run(&["--fast"]).exits(1));
        assert_eq!(found[0], "error config-descriptor");
    }
    manifest(
        |m| m["layers"] = json!({}),
        &["error history-count", "error layer-count", "error layer-descriptor"],
    );
}

#[test]
fn rules_of_configs() {
    config(|c| c["rootfs"]["type"] = "layer".into(), &["error rootfs-type"]);
    config(|c| c["architecture"] = "".into(), &["warning platform"]);
    config(|c| c["os"] = "Linux".into(), &["error platform"]);
    config(|c| drop(c["rootfs"].as_object_mut().unwrap().remove("type")), &["error rootfs-type"]);
    config(|c| drop(c.as_object_mut().unwrap().remove("os")), &["error platform"]);
    config(|c| c["history"] = json!([]), &["info history-count"]);
    config(|c| c["history"] = json!([{}, {}]), &["error history-count"]);
    config(|c| c["history"] = json!([{ "empty_layer": true }]), &["warning history-count"]);
    config(|c| c["history"] = 7.into(), &["error history-count"]);
    config(|c| c["created"] = "yesterday".into(), &["error created"]);
    config(|c| c["history"][0]["created"] = "yesterday".into(), &["error created"]);
    config(|c| c["config"]["ArgsEscaped"] = true.into(), &["warning args-escaped"]);
    config(|c| c["config"]["Env"] = json!(["PATH"]), &["error config-values"]);
    config(|c| c["config"]["Env"] = json!(["=x"]), &["error config-values"]);
    config(|c| c["config"]["ExposedPorts"] = json!({ "http": {} }), &["warning config-values"]);
    config(|c| c["config"]["ExposedPorts"] = json!({ "80": {}, "8000-8010/udp": {} }), &[]);
    config(|c| c["config"]["WorkingDir"] = "srv".into(), &["warning config-values"]);
    // Docker alone accepts a text.
    config(|c| c["config"]["Cmd"] = "/bin/sh".into(), &["error config"]);
    // Whatever else a strict reader refuses.
    config(|c| c["config"] = "text".into(), &["error config"]);
    let twice = |c: &mut Value| {
        let id = c["rootfs"]["diff_ids"][0].clone();
        c["rootfs"]["diff_ids"] = json!([id, id]);
    };
    config(twice, &["error layer-count"]);
    let other = Changed::new(|c| c["rootfs"]["diff_ids"] = json!(["sha512:00"]), same);
    assert_eq!(findings(other.run(&["--fast"]).exits(1)), ["error diff-id 0"]);
    let none = Changed::new(|c| c["rootfs"]["diff_ids"] = Value::Null, same);
    assert_eq!(findings(none.run(&["--fast"]).exits(1)), ["error diff-id"]);
}

#[test]
fn a_config_that_is_not_the_one() {
    let image = TestImage::tiny("team/app:1");
    let other = TestImage::tiny("team/other:1");
    let wrong = Changed::of(&image, |m| m["config"]["size"] = 5.into());
    assert_eq!(findings(wrong.run(&["--fast"]).exits(1)), ["error config-size"]);

    // In files whatever is there can be looked at.
    let sandbox = Sandbox::new();
    let mut archive = shape::oci(&[&image], Pack::Gzip);
    archive.set(&format!("blobs/sha256/{}", image.id().hex()), other.config.clone());
    archive.write(&sandbox.path("in.tar"));
    let said = sandbox.run(&["check", "-O", "json", &sandbox.uri("tar", "in.tar")]);
    assert_eq!(findings(said.exits(1)), ["error config-digest", "error diff-id 0"]);

    let mut archive = shape::legacy(&[&image], Pack::Gzip);
    archive.set(&image.config_path(), b"{\"a\":".to_vec());
    archive.write(&sandbox.path("in.tar"));
    let said = sandbox.run(&["check", "-O", "json", &sandbox.uri("tar", "in.tar")]);
    assert_eq!(findings(said.exits(1)), ["error config", "error config-digest"]);

    // The change that 0.4.17 made to configs of directories is recognised.
    let (mut archive, text) = (shape::legacy(&[&image], Pack::Gzip), image.config.clone());
    let value: Value = serde_json::from_slice(&text).unwrap();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    serde::Serialize::serialize(&value, &mut serializer).unwrap();
    let python = String::from_utf8(bytes).unwrap().replace("äöü", "\\u00e4\\u00f6\\u00fc");
    archive.set(&image.config_path(), python);
    archive.write(&sandbox.path("in.tar"));
    let said = sandbox.run(&["check", "-O", "json", &sandbox.uri("tar", "in.tar")]);
    assert_eq!(findings(said.exits(0)), ["warning config-digest"]);
}

#[test]
fn images_that_some_clients_refuse_are_reported() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    let image = TestImage::tiny("team/app:1");
    let source = push(&registry, &image, Pack::Zstd);
    let said = sandbox.run(&["check", "-O", "json", &source]);
    assert_eq!(findings(said.exits(0)), ["warning zstd-compat"]);

    let docker = Changed::of(&image, |m| {
        m["mediaType"] = DOCKER.into();
        m["config"]["mediaType"] = "application/vnd.docker.container.image.v1+json".into();
        m["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.zstd".into();
    });
    let found = findings(&docker.run(&["--fast"]));
    assert_eq!(found, ["warning zstd-compat", "warning zstd-compat", "info docker-media-type"]);

    let large = Changed::of(&image, |m| m["layers"][0]["size"] = 2_000_000_000_u64.into());
    let found = findings(&large.run(&["--fast"]));
    assert_eq!(found, ["error layer-size 0", "warning large-layer 0"]);

    let same = image.layers[0].clone();
    let deep = TestImage::with_layers("team/app:1", vec![same; 126]);
    let deep = Changed::of(&deep, |_| {});
    assert_eq!(findings(&deep.run(&["--fast"])), ["warning many-layers"]);
}

#[test]
fn indexes_and_platforms() {
    let check = |edit: &dyn Fn(&mut Value), more: &[&str]| {
        let (registry, sandbox) = (Registry::start(), Sandbox::new());
        let mut multi = Multi::build();
        multi.edit_index(|index| edit(index));
        let source = multi.push(&registry);
        sandbox.run(&[&["check", "-O", "json", &source], more].concat())
    };
    let arm64 = ["--architecture", "arm64"];
    let found = |edit: &dyn Fn(&mut Value), more: &[&str]| findings(&check(edit, more));
    assert_eq!(found(&|_| {}, &arm64), [""; 0]);
    let said = check(&|_| {}, &["--architecture", "mips"]);
    assert_eq!(findings(said.exits(1)), ["error platform"]);
    assert_eq!(found(&|i| i["schemaVersion"] = 3.into(), &arm64), ["error schema-version"]);
    assert_eq!(found(&|i| i["manifests"] = json!([{}]), &[]), ["error index"]);
    let other = |i: &mut Value| i["manifests"][1]["platform"]["architecture"] = "riscv64".into();
    assert_eq!(found(&other, &["--architecture", "riscv64"]), ["error platform"]);
    let twice =
        |i: &mut Value| i["manifests"][1]["platform"] = i["manifests"][0]["platform"].clone();
    assert_eq!(found(&twice, &[]), ["warning index"]);
    let lost = |i: &mut Value| {
        i["manifests"][1]["digest"] = format!("sha256:{}", "0".repeat(64)).into();
    };
    assert_eq!(found(&lost, &arm64), ["error manifest"]);
}

#[test]
fn a_manifest_of_another_size_or_version_hides_nothing() {
    let sandbox = Sandbox::new();
    let image = TestImage::with_layers("app:1", vec![layer(&[file("../out", b"")])]);
    let check = |edit: &dyn Fn(&mut Value), manifest: &dyn Fn(&mut Value)| {
        let mut archive = shape::oci(&[&image], Pack::Gzip);
        let index: Value = serde_json::from_slice(archive.get("index.json")).unwrap();
        let path = |digest: &Value| digest.as_str().unwrap().replace("sha256:", "blobs/sha256/");
        let old = path(&index["manifests"][0]["digest"]);
        let mut document: Value = serde_json::from_slice(archive.get(&old)).unwrap();
        archive.remove(&old);
        manifest(&mut document);
        let bytes = document.to_string();
        let digest = Digest::of(bytes.as_bytes()).to_string();
        archive.push(path(&digest.clone().into()), bytes.clone());
        archive.edit("index.json", |index| {
            index["manifests"][0]["digest"] = digest.into();
            index["manifests"][0]["size"] = bytes.len().into();
            edit(index);
        });
        archive.write(&sandbox.path("in.tar"));
        findings(&sandbox.run(&["check", "-O", "json", &sandbox.uri("tar", "in.tar")]))
    };
    let out = "error tar-path 0";
    assert_eq!(check(&|_| {}, &|_| {}), [out]);
    let size = |index: &mut Value| index["manifests"][0]["size"] = 17.into();
    assert_eq!(check(&size, &|_| {}), ["error manifest", out]);
    let found = check(&|_| {}, &|manifest| manifest["schemaVersion"] = 3.into());
    assert_eq!(found, ["error schema-version", out]);
    // The list of schema 1 has another form.
    let found = check(&|_| {}, &|manifest| manifest["schemaVersion"] = 1.into());
    assert_eq!(found, ["error manifest", "unchecked image"]);
}

#[test]
fn archives_that_readers_refuse() {
    let sandbox = Sandbox::new();
    let image = TestImage::tiny("app:1");
    let check = |archive: &shape::Archive| {
        archive.write(&sandbox.path("in.tar"));
        findings(&sandbox.run(&["check", "-O", "json", &sandbox.uri("tar", "in.tar")]))
    };
    let with = |edit: &dyn Fn(&mut shape::Archive)| {
        let mut archive = shape::oci(&[&image], Pack::Gzip);
        edit(&mut archive);
        check(&archive)
    };
    assert_eq!(with(&|_| {}), [""; 0]);
    assert_eq!(with(&|archive| archive.remove("oci-layout")), ["error layout"]);
    let version = r#"{"imageLayoutVersion":"2.0.0"}"#;
    assert_eq!(with(&|archive| archive.set("oci-layout", version)), ["error layout"]);
    let schema = |archive: &mut shape::Archive| {
        archive.edit("index.json", |index| index["schemaVersion"] = 1.into());
    };
    assert_eq!(with(&schema), ["error layout"]);
    let mut named = shape::legacy(&[&image], Pack::Gzip);
    named.edit("manifest.json", |list| list[0]["RepoTags"] = json!(["app:1", "no name"]));
    assert_eq!(check(&named), ["error name"]);
    for (tag, found) in [
        ("UPPER/x:1", &["error name"][..]),
        ("quay.io/a__b/c-d.e:1", &[]),
        ("localhost:5000/a:1", &[]),
        ("a//b:1", &["error name"]),
        ("a_:1", &["error name"]),
    ] {
        named.edit("manifest.json", |list| list[0]["RepoTags"] = json!([tag]));
        assert_eq!(check(&named), found, "{tag}");
    }
}

#[test]
fn fast_fetches_no_layer() {
    let changed = Changed::new(same, same);
    changed.run(&["--fast"]).exits(0);
    for request in changed.registry.requests_of("GET", "/blobs/") {
        let config = request.header("accept").is_empty() || request.header("range").is_empty();
        let range =
            request.header("range").strip_prefix("bytes=").and_then(|one| one.split_once('-'));
        assert!(config || range.is_some_and(|(first, last)| first == last), "{request:?}");
    }
    let whole = changed.registry.requests_of("GET", "/blobs/");
    assert_eq!(whole.iter().filter(|request| request.header("range").is_empty()).count(), 1);
    // In full, once.
    let before = whole.len();
    changed.run(&[]).exits(0);
    assert_eq!(changed.registry.requests_of("GET", "/blobs/").len(), before + 2);
}

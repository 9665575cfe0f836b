//! Choosing one of several platforms, from a registry and from an archive.

use serde_json::{Value, json};

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage};
use crate::support::landed::assert_in_directory;
use crate::support::push::push;
use crate::support::registry::Registry;
use crate::support::shape::{self, Archive, oci_manifest};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// `os/architecture[/variant]`, in an order in which the first is not the answer.
const PLATFORMS: [&str; 6] = [
    "windows/amd64",
    "linux/arm/v6",
    "linux/arm/v7",
    "linux/arm64/v8",
    "linux/amd64",
    "unknown/unknown",
];

pub fn image(platform: &str) -> TestImage {
    let mut image = TestImage::tiny(&format!("multi:{}", platform.replace('/', "-")));
    let (os, architecture) = platform.split_once('/').unwrap();
    let (architecture, variant) = architecture.split_once('/').unwrap_or((architecture, ""));
    let mut config: Value = serde_json::from_slice(&image.config).unwrap();
    (config["os"], config["architecture"]) = (os.into(), architecture.into());
    if !variant.is_empty() {
        config["variant"] = variant.into();
    }
    image.config = config.to_string().into_bytes();
    image
}

fn index() -> Value {
    let entries = PLATFORMS.map(|platform| {
        let manifest = oci_manifest(&image(platform), Pack::Gzip);
        let mut parts = platform.split('/');
        let mut said = json!({ "os": parts.next(), "architecture": parts.next() });
        if let Some(variant) = parts.next() {
            said["variant"] = variant.into();
        }
        json!({
            "mediaType": MANIFEST,
            "digest": occystrap_base::oci::Digest::of(manifest.as_bytes()).to_string(),
            "size": manifest.len(),
            "platform": said,
        })
    });
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries })
}

pub fn registry() -> Registry {
    let registry = Registry::start();
    for platform in PLATFORMS {
        push(&registry, &image(platform), Pack::Gzip);
    }
    registry.put_manifest("multi", "all", INDEX, index().to_string());
    registry
}

/// An OCI layout whose index lists the multi-platform index.
fn archive() -> Archive {
    let images = PLATFORMS.map(image);
    let mut archive = shape::oci(&images.each_ref(), Pack::Gzip);
    let inner = index().to_string();
    let digest = occystrap_base::oci::Digest::of(inner.as_bytes());
    archive.push(format!("blobs/sha256/{}", digest.hex()), inner.as_bytes());
    let entry = json!({
        "mediaType": INDEX, "digest": digest.to_string(), "size": inner.len(),
        "annotations": { "io.containerd.image.name": "docker.io/library/multi:all" },
    });
    archive.set("index.json", json!({ "schemaVersion": 2, "manifests": [entry] }).to_string());
    archive
}

/// Moves and looks which image arrived.
#[track_caller]
fn arrives(source: &str, more: &[&str], platform: &str, name: &str) {
    let sandbox = Sandbox::new();
    sandbox.process(source, &sandbox.uri("dir", "out"), more).verified();
    let mut image = image(platform);
    image.name = name.to_owned();
    assert_in_directory(&sandbox.path("out"), &image);
}

#[test]
fn the_platform_that_was_asked_for_arrives() {
    let registry = registry();
    let sandbox = Sandbox::new();
    archive().write(&sandbox.path("in.tar"));
    let remote = format!("registry://{}/multi:all?insecure=true", registry.url_host());
    let local = format!("{}?image=multi:all", sandbox.uri("tar", "in.tar"));
    for (more, query, platform) in [
        (&[][..], "", "linux/amd64"),
        (&["--architecture", "arm64"], "", "linux/arm64/v8"),
        (&["--architecture", "arm64", "--variant", "v8"], "", "linux/arm64/v8"),
        (&["--architecture=aarch64"], "", "linux/arm64/v8"),
        (&["--platform", "linux/arm64"], "", "linux/arm64/v8"),
        (&["--platform", "linux/arm/v6"], "", "linux/arm/v6"),
        (&["--platform=windows/amd64"], "&arch=x86_64", "windows/amd64"),
        (&["--architecture", "arm"], "", "linux/arm/v7"),
        (&["--architecture", "arm", "--variant", "v6"], "", "linux/arm/v6"),
        (&["--os", "windows"], "", "windows/amd64"),
        (&[], "&arch=arm&variant=v6", "linux/arm/v6"),
        (&["--architecture", "s390x"], "&architecture=arm64", "linux/arm64/v8"),
    ] {
        for (source, host) in
            [(&remote, format!("{}/", registry.url_host())), (&local, String::new())]
        {
            arrives(&format!("{source}{query}"), more, platform, &format!("{host}multi:all"));
        }
    }
}

#[test]
fn a_platform_that_is_not_there_is_told_with_those_that_are() {
    let registry = registry();
    let sandbox = Sandbox::new();
    archive().write(&sandbox.path("in.tar"));
    let remote = format!("registry://{}/multi:all?insecure=true", registry.url_host());
    let mut transcript = String::new();
    for source in [remote, sandbox.uri("tar", "in.tar")] {
        let more = ["--architecture", "s390x"];
        let said: Ran = sandbox.process(&source, &sandbox.uri("dir", "out"), &more);
        transcript += &sandbox.redact(&said.exits(1).stderr);
    }
    insta::assert_snapshot!(transcript);
}

/// An image for a single platform is used if no platform is requested, and never for another one.
#[test]
fn an_image_alone_is_no_other_platforms() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    let arm = image("linux/arm64/v8");
    shape::legacy(&[&arm], Pack::Gzip).write(&sandbox.path("in.tar"));
    let remote = push(&registry, &arm, Pack::Gzip);
    sandbox.process("tar://in.tar", "dir://in", &[]).verified();
    let mut transcript = String::new();
    for source in [remote.as_str(), "tar://in.tar", "dir://in"] {
        for more in [&[][..], &["--platform=linux/arm64"], &["--variant=v8"]] {
            sandbox.process(source, "dir://out", more).verified();
        }
        for more in ["--platform=linux/amd64", "--os=windows", "--variant=v9"] {
            let said: Ran = sandbox.process(source, "dir://other", &[more]);
            transcript += &sandbox.redact(&said.exits(1).stderr);
            assert!(!sandbox.path("other").exists());
        }
    }
    insta::assert_snapshot!(transcript);
}

/// A variant that is not named is the usual one, and no other.
#[test]
fn a_variant_that_nobody_names() {
    let (registry, sandbox) = (Registry::start(), Sandbox::new());
    for (platform, usual, other) in [
        ("linux/arm", Some("linux/arm/v7"), "linux/arm/v6"),
        ("linux/arm64", Some("linux/arm64/v8"), "linux/arm64/v9"),
        ("linux/amd64", None, "linux/amd64/v3"),
    ] {
        let bare = image(platform);
        let source = push(&registry, &bare, Pack::Gzip);
        shape::legacy(&[&bare], Pack::Gzip).write(&sandbox.path("in.tar"));
        for source in [source.as_str(), "tar://in.tar"] {
            if let Some(usual) = usual {
                sandbox.process(source, "dir://out", &["--platform", usual]).verified();
            }
            let ran = sandbox.process(source, "dir://out", &["--platform", other]);
            ran.exits(1).says(&format!("is for {platform}, and not for {other}"));
        }
        // An index may name it, where the config does not.
        let manifest = oci_manifest(&bare, Pack::Gzip);
        let entry = json!({ "mediaType": MANIFEST, "size": manifest.len(),
            "digest": occystrap_base::oci::Digest::of(manifest.as_bytes()).to_string(),
            "platform": { "os": "linux", "architecture": bare_architecture(platform),
                "variant": other.rsplit('/').next() } });
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });
        registry.put_manifest("multi", "named", INDEX, index.to_string());
        let named = format!("registry://{}/multi:named?insecure=true", registry.url_host());
        sandbox.process(&named, "dir://out", &["--platform", other]).verified();
    }
}

fn bare_architecture(platform: &str) -> &str {
    platform.split('/').nth(1).unwrap()
}

#[test]
fn a_digest_names_one_image_whatever_the_platform() {
    let registry = registry();
    let manifest = oci_manifest(&image("linux/arm/v6"), Pack::Gzip);
    let digest = occystrap_base::oci::Digest::of(manifest.as_bytes());
    let sandbox = Sandbox::new();
    let source = format!("registry://{}/multi@{digest}?insecure=true", registry.url_host());
    sandbox.process(&source, &sandbox.uri("dir", "out"), &[]).verified();
    let config = std::fs::read(sandbox.path("out").join(image("linux/arm/v6").config_path()));
    assert_eq!(config.unwrap(), image("linux/arm/v6").config);
    // 0.4.17 took the digest for a tag.
    let catalog = std::fs::read_to_string(sandbox.path("out/catalog.json")).unwrap();
    assert!(catalog.contains(&format!("{}/multi\"", registry.url_host())), "{catalog}");
    sandbox.run(&["verify", &sandbox.uri("dir", "out")]).verified();
}

//! Artifacts and encrypted images in a source of the inspecting commands: images beside them are handled, and what is no
//! image is named.

use occystrap_base::oci::Digest;
use serde_json::{Value, json};

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage, tar};
use crate::support::multi::{MANIFEST, described};
use crate::support::shape::{self, Archive};

const IMAGE: &str = "application/vnd.oci.image.config.v1+json";
const ENCRYPTED: &str = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";

fn image() -> TestImage {
    TestImage::with_layers("app:1", vec![tar(&[("etc/motd", b"hello")])])
}

fn put(archive: &mut Archive, blob: &[u8]) -> String {
    let digest = Digest::of(blob);
    let name = format!("blobs/sha256/{}", digest.hex());
    if !archive.0.iter().any(|(known, _)| *known == name) {
        archive.push(name, blob);
    }
    digest.to_string()
}

/// Adds a manifest to the index of a layout, under a tag.
fn list(archive: &mut Archive, tag: &str, manifest: &Value) {
    let bytes = manifest.to_string().into_bytes();
    put(archive, &bytes);
    let mut entry = described(MANIFEST, &bytes);
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
    archive.edit("index.json", |index| index["manifests"].as_array_mut().unwrap().insert(0, entry));
}

/// A layout of an image, with an artifact before it.
fn with_artifact() -> Archive {
    let mut archive = shape::oci(&[&image()], Pack::Gzip);
    let (config, layer) = (b"{\"name\":\"web\"}", b"chart");
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST,
        "config": described("application/vnd.cncf.helm.config.v1+json", config),
        "layers": [described("application/vnd.cncf.helm.chart.content.v1.tar+gzip", layer)] });
    put(&mut archive, config);
    put(&mut archive, layer);
    list(&mut archive, "chart", &manifest);
    archive
}

/// A layout of one image, whose only layer is encrypted.
fn encrypted() -> Archive {
    let mut archive = shape::oci(&[], Pack::Gzip);
    let (config, layer) = (image().config, [0x99; 300]);
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST,
        "config": described(IMAGE, &config), "layers": [described(ENCRYPTED, &layer)] });
    put(&mut archive, &config);
    put(&mut archive, &layer);
    list(&mut archive, "1", &manifest);
    archive
}

const NAMED: &str =
    "chart' is an OCI artifact (application/vnd.cncf.helm.config.v1+json), not an image";

#[test]
fn images_beside_an_artifact_are_searched_measured_and_exported() {
    let sandbox = Sandbox::new();
    with_artifact().write(&sandbox.path("in.tar"));
    let said = sandbox.run(&["search", "tar://in.tar", "motd"]);
    assert!(said.exits(0).stdout.contains("etc/motd (file, 5 bytes)"), "{}", said.stdout);
    said.says(&format!("warning: 'unknown:{NAMED}"));
    let found = sandbox.run(&["search", "-O", "json", "tar://in.tar", "motd"]).exits(0).json();
    assert_eq!(found["artifacts"][0]["tag"], "chart", "{found}");
    assert_eq!(found["images"][0]["matches"][0]["path"], "etc/motd", "{found}");
    let tree = sandbox.run(&["info", "--tree", "-O", "json", "tar://in.tar"]).exits(0).json();
    assert_eq!(
        (&tree["images"][0]["size"], tree["images"].as_array().unwrap().len()),
        (&json!(5), 1)
    );
    assert_eq!(tree["artifacts"][0]["type"], "application/vnd.cncf.helm.config.v1+json");
    let said = sandbox.run(&["export", "tar://in.tar", "-o", "rootfs.tar"]);
    said.exits(0).says(NAMED);
    assert!(sandbox.path("rootfs.tar").is_file());
}

#[test]
fn a_page_names_an_artifact_beside_images() {
    let sandbox = Sandbox::new();
    with_artifact().write(&sandbox.path("in.tar"));
    let said = sandbox.run(&["info", "--html", "page.html", "tar://in.tar"]);
    assert!(said.exits(0).stdout.contains("5 B of files in 1 layer"), "{}", said.stdout);
    assert!(
        said.stdout.contains("is an OCI artifact (application/vnd.cncf.helm"),
        "{}",
        said.stdout
    );
    let page = std::fs::read_to_string(sandbox.path("page.html")).unwrap();
    assert!(page.contains("unknown:chart  artifact</h1>") && page.contains("etc/motd"), "{page}");
    let said = sandbox.run(&["info", "--html", "page.html", "-O", "json", "tar://in.tar"]);
    let document = said.exits(0).json();
    let kinds: Vec<&Value> =
        document["images"].as_array().unwrap().iter().map(|image| &image["kind"]).collect();
    assert_eq!(kinds, ["artifact", "image"], "{document}");
    // Check and info describe both.
    for command in ["check", "info"] {
        let said = sandbox.run(&[command, "tar://in.tar"]);
        assert!(said.exits(0).stdout.contains("unknown:chart  artifact"), "{}", said.stdout);
        assert!(said.stdout.contains("linux/amd64"), "{}", said.stdout);
    }
}

#[test]
fn an_encrypted_image_is_called_one_and_nothing_is_claimed_of_its_layers() {
    let sandbox = Sandbox::new();
    encrypted().write(&sandbox.path("in.tar"));
    let what = format!("'unknown:1' is an encrypted image ({ENCRYPTED}), which cannot be read");
    for command in [
        &["search", "tar://in.tar", "x"][..],
        &["info", "--tree", "tar://in.tar"],
        &["info", "--html", "page.html", "tar://in.tar"],
        &["export", "tar://in.tar", "-o", "rootfs.tar"],
    ] {
        sandbox.run(command).exits(1).says(&what);
    }
    assert!(!sandbox.path("page.html").exists() && !sandbox.path("rootfs.tar").exists());
    let said = sandbox.run(&["check", "tar://in.tar"]);
    assert!(said.exits(0).stdout.starts_with("unknown:1  encrypted image\n"), "{}", said.stdout);
    assert!(said.stdout.contains("media-type          layer 1: is encrypted"), "{}", said.stdout);
    assert!(said.stdout.contains("0 errors, 1 warning"), "{}", said.stdout);
    let said = sandbox.run(&["info", "tar://in.tar"]);
    assert!(said.exits(0).stdout.starts_with("unknown:1  encrypted image\n"), "{}", said.stdout);
    let layer =
        &sandbox.run(&["info", "-O", "json", "tar://in.tar"]).json()["images"][0]["layers"][0];
    assert_eq!((&layer["compression"], &layer["unpacked"]), (&json!("encrypted"), &Value::Null));
}

//! `verify` and `verify --untrusted` of receipts of an index: everything that it lists counts.

use occystrap_base::oci::Digest;
use serde_json::{Value, json};

use crate::support::cli::Sandbox;
use crate::support::hostile::component;
use crate::support::image::{Pack, TestImage};
use crate::support::multi::{INDEX, MANIFEST, Multi, described};
use crate::support::receipts::{edit, sandbox, verdict, verify, write};
use crate::support::registry::Registry;
use crate::support::shape::oci_manifest;

/// A multi-platform image in a layout, and its receipts.
fn written(sandbox: &Sandbox) -> (Multi, String) {
    let registry = Registry::start();
    let multi = Multi::build();
    let receipt = sandbox.path("all.json").display().to_string();
    let to = sandbox.uri("oci-layout", "srv/all");
    let more = ["--all-platforms", "--receipt", &receipt];
    sandbox.process(&multi.push(&registry), &to, &more).verified();
    (multi, receipt)
}

/// Keep nothing but the receipt of the index.
fn alone(receipt: &str) {
    edit(receipt, |document| {
        let all = document["receipts"].as_array().unwrap();
        let index = all.iter().find(|one| one["image"]["part"] == "index").unwrap().clone();
        *document = index;
    });
}

fn blob(sandbox: &Sandbox, digest: &str) -> std::path::PathBuf {
    sandbox.path(&format!("srv/all/blobs/sha256/{}", digest.trim_start_matches("sha256:")))
}

#[test]
fn an_index_is_right_when_what_it_lists_is() {
    let sandbox = sandbox();
    let (multi, receipt) = written(&sandbox);
    let said = verify(&sandbox, &[&receipt], &[]);
    said.exits(0).says("6/6 verified");
    let kinds =
        |kind: &str| said.stdout.matches(&format!("\"kind\":\"{kind}\",\"platform\"")).count();
    assert_eq!((kinds("image"), kinds("index"), kinds("artifact")), (3, 2, 1), "{}", said.stdout);
    assert!(said.stdout.contains("\"kind\":\"image\",\"platform\":\"linux/amd64\""));
    alone(&receipt);
    let (status, line) = verdict(&sandbox, &receipt, &[]);
    assert_eq!(status, "verified", "{line}");
    assert!(line.contains("\"kind\":\"index\""), "{line}");
    sandbox.run(&["verify", &receipt]).verified();

    let index: Value = serde_json::from_slice(multi.index()).unwrap();
    let child = index["manifests"][0]["digest"].as_str().unwrap();
    let child = blob(&sandbox, child);
    let manifest: Value = serde_json::from_slice(&std::fs::read(&child).unwrap()).unwrap();
    let layer = blob(&sandbox, manifest["layers"][1]["digest"].as_str().unwrap());
    for gone in [layer, child] {
        let bytes = std::fs::read(&gone).unwrap();
        std::fs::remove_file(&gone).unwrap();
        let (status, line) = verdict(&sandbox, &receipt, &[]);
        assert_eq!(status, "failed", "{line}");
        assert!(line.contains("missing"), "{line}");
        sandbox.run(&["verify", &receipt]).exits(1).says("is not there");
        std::fs::write(&gone, &bytes).unwrap();
        // Other bytes are checked where they are read.
        std::fs::write(&gone, bytes.to_ascii_uppercase()).unwrap();
        assert_eq!(verdict(&sandbox, &receipt, &[]).0, "failed");
        std::fs::write(&gone, bytes).unwrap();
    }
    assert_eq!(verdict(&sandbox, &receipt, &[]).0, "verified");
}

#[test]
fn at_a_registry_too() {
    let sandbox = sandbox();
    let (from, to) = (Registry::start(), Registry::start());
    let multi = Multi::build();
    let receipt = sandbox.path("all.json").display().to_string();
    let there = format!("registry://{}/copy:2", to.url_host());
    let more = ["--all-platforms", "--insecure", "--receipt", &receipt];
    sandbox.process(&multi.push(&from), &there, &more).verified();
    let host = to.url_host();
    let granted = ["--insecure", "--allow-registry", host.as_str()];
    verify(&sandbox, &[&receipt], &granted).exits(0).says("6/6 verified");
    alone(&receipt);
    assert_eq!(verdict(&sandbox, &receipt, &granted).0, "verified");
    // The links to what the index lists are gone, as after a cleanup that went wrong.
    let empty = Registry::start();
    empty.put_manifest("copy", "2", INDEX, multi.index());
    edit(&receipt, |document| {
        document["destination"] = format!("registry://{}/copy:2", empty.url_host()).into();
    });
    let host = empty.url_host();
    let granted = ["--insecure", "--allow-registry", host.as_str()];
    let (status, line) = verdict(&sandbox, &receipt, &granted);
    assert_eq!(status, "failed", "{line}");
    assert!(line.contains("missing"), "{line}");
    for more in [&["--insecure"][..], &["--insecure", "--fast"]] {
        let said = sandbox.run(&[&["verify", &receipt], more].concat());
        said.exits(1).says("is not there");
    }
}

/// A receipt of an index in a layout, made by hand.
fn forged(sandbox: &Sandbox, index: &str) -> String {
    let (_, receipt) = written(sandbox);
    alone(&receipt);
    let digest = Digest::of(index.as_bytes());
    std::fs::write(blob(sandbox, &digest.to_string()), index).unwrap();
    let list = sandbox.path("srv/all/index.json");
    let mut document: Value = serde_json::from_slice(&std::fs::read(&list).unwrap()).unwrap();
    document["manifests"][0]["digest"] = digest.to_string().into();
    document["manifests"][0]["size"] = index.len().into();
    std::fs::write(list, document.to_string()).unwrap();
    edit(&receipt, |document| {
        document["image"]["id"] = digest.to_string().into();
        for one in document["expectations"].as_array_mut().unwrap() {
            if one["role"] == "manifest" {
                one["place"]["file"]["path"] = format!("blobs/sha256/{}", digest.hex()).into();
                (one["digest"], one["size"]) = (digest.to_string().into(), index.len().into());
            } else if one["place"]["entry"]["steps"][2] == "digest" {
                one["place"]["entry"]["value"] = digest.to_string().into();
            }
        }
        document["state"] = Value::Null;
        document.as_object_mut().unwrap().remove("state");
        document["journal"] = Value::Array(Vec::new());
    });
    receipt
}

#[test]
fn indexes_that_list_nothing_are_no_images() {
    let nobody = described(MANIFEST, b"nobody has this");
    for (index, verdict_is, why) in [
        (
            json!({ "schemaVersion": 2, "manifests": [] }).to_string(),
            "unconfirmed",
            "lists no image",
        ),
        (
            json!({ "schemaVersion": 2, "manifests": [nobody] }).to_string(),
            "failed",
            "is not there",
        ),
        ("hello, I am no image".to_owned(), "failed", "is not"),
        ("{}".to_owned(), "failed", "is not an index of images"),
    ] {
        let sandbox = sandbox();
        let receipt = forged(&sandbox, &index);
        let (status, line) = verdict(&sandbox, &receipt, &[]);
        assert_eq!(status, verdict_is, "{index}: {line}");
        assert!(line.contains(why), "{index}: {line}");
        let said = sandbox.run(&["verify", &receipt]);
        assert_ne!(said.code, 0, "{index}: {}", said.stderr);
    }
}

/// The tag stands for one, the receipt is about another, and names both.
#[test]
fn the_index_of_the_tag_is_the_one_that_is_looked_at() {
    let sandbox = sandbox();
    let other = json!({ "schemaVersion": 2, "manifests": [] }).to_string();
    let (_, receipt) = written(&sandbox);
    alone(&receipt);
    let digest = Digest::of(other.as_bytes());
    std::fs::write(blob(&sandbox, &digest.to_string()), &other).unwrap();
    let list = sandbox.path("srv/all/index.json");
    let text = std::fs::read_to_string(&list).unwrap();
    edit(&receipt, |document| {
        let id = document["image"]["id"].as_str().unwrap().to_owned();
        std::fs::write(&list, text.replace(&id, &digest.to_string())).unwrap();
        let all = document["expectations"].as_array_mut().unwrap();
        all.retain(|one| one["role"] == "manifest");
        let mut decoy = all[0].clone();
        decoy["place"]["file"]["path"] = format!("blobs/sha256/{}", digest.hex()).into();
        (decoy["digest"], decoy["size"]) = (digest.to_string().into(), other.len().into());
        all.insert(0, decoy);
        let keys = json!(["annotations", "org.opencontainers.image.ref.name"]);
        let steps = json!(["manifests", { "keys": keys, "value": "1" }, "digest"]);
        all.push(json!({ "role": "catalog", "size": null, "digest": null, "place": { "entry": {
            "path": "index.json", "steps": steps, "value": digest.to_string() } } }));
        document.as_object_mut().unwrap().remove("state");
        document["journal"] = Value::Array(Vec::new());
    });
    let (status, line) = verdict(&sandbox, &receipt, &[]);
    assert_eq!(status, "unconfirmed", "{line}");
    assert!(line.contains("does not say enough"), "{line}");
}

/// Whatever has bytes with a digest would be "the index".
#[test]
fn a_plugin_s_word_makes_no_index() {
    let sandbox = sandbox();
    let receipt = write(&sandbox, "hostile", "x", "?behaviour=verify-blind");
    let content = "hello, I am no image";
    std::fs::write(sandbox.path("srv/x/foo"), content).unwrap();
    edit(&receipt, |document| {
        let digest = Digest::of(content.as_bytes()).to_string();
        document["image"] = json!({ "name": "registry.example.com/prod/payments", "tag": "1.0",
            "id": digest, "part": "index" });
        document["expectations"] = json!([{ "role": "manifest", "size": content.len(),
            "place": { "file": { "path": "foo" } }, "digest": digest }]);
        document["journal"] = Value::Array(Vec::new());
    });
    let (status, line) = verdict(&sandbox, &receipt, &[]);
    assert_ne!(status, "verified", "{line}");
    let plugin = component().display().to_string();
    let said = sandbox.run(&["verify", &receipt, "--plugin", &plugin]);
    assert_ne!(said.code, 0, "{}", said.stderr);
}

/// An image, what buildkit attests of it, and an artifact with a config that is no image's.
#[test]
fn artifacts_beside_images_are_verified_as_artifacts() {
    let sandbox = sandbox();
    let registry = Registry::start();
    let image = TestImage::new("app:1");
    for layer in &image.layers {
        registry.put_blob(Pack::Gzip.pack(layer));
    }
    registry.put_blob(&image.config);
    let attested = b"{\"_type\":\"https://in-toto.io/Statement/v0.1\"}";
    let said = json!({ "os": "unknown", "architecture": "unknown", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(attested).to_string()] } });
    let mut entries = Vec::new();
    let mut push = |document: String, platform: Option<(&str, &str)>| {
        let tag = Digest::of(document.as_bytes()).hex();
        registry.put_manifest("multi", &tag, MANIFEST, &document);
        let mut entry = described(MANIFEST, document.as_bytes());
        if let Some((os, architecture)) = platform {
            entry["platform"] = json!({ "os": os, "architecture": architecture });
        }
        entries.push(entry);
    };
    push(oci_manifest(&image, Pack::Gzip), Some(("linux", "amd64")));
    for (config_type, config, layer_type, layer, platform) in [
        (
            "application/vnd.oci.image.config.v1+json",
            said.to_string(),
            "application/vnd.in-toto+json",
            &attested[..],
            Some(("unknown", "unknown")),
        ),
        ("application/vnd.oci.empty.v1+json", "{}".to_owned(), "text/plain", b"a text", None),
    ] {
        registry.put_blob(&config);
        registry.put_blob(layer);
        let document = json!({ "schemaVersion": 2, "mediaType": MANIFEST,
            "config": described(config_type, config.as_bytes()),
            "layers": [described(layer_type, layer)] });
        push(document.to_string(), platform);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
    registry.put_manifest("multi", "1", INDEX, index.to_string());
    let receipt = sandbox.path("all.json").display().to_string();
    let from = format!("registry://{}/multi:1", registry.url_host());
    let more = ["--all-platforms", "--insecure", "--receipt", &receipt];
    for scheme in ["oci-layout", "registry"] {
        let host = registry.url_host();
        let to = match scheme {
            "registry" => format!("registry://{host}/copy:1"),
            _ => sandbox.uri("oci-layout", "srv/all"),
        };
        sandbox.process(&from, &to, &more).verified().says("4/4 verified");
        sandbox.run(&["verify", "--insecure", &receipt]).verified().says("4/4 verified");
        let granted = ["--insecure", "--allow-registry", host.as_str()];
        let said = verify(&sandbox, &[&receipt], &granted);
        said.exits(0).says("4/4 verified");
        let kinds = said.stdout.matches("\"kind\":\"artifact\",\"platform\"").count();
        assert_eq!(kinds, 2, "{}", said.stdout);
    }
    // An artifact is not pulled as an image: with a tag of its own it is not one.
    edit(&receipt, |document| {
        let all = document["receipts"].as_array().unwrap();
        let mut one = all[2].clone();
        one["image"].as_object_mut().unwrap().remove("part");
        *document = one;
    });
    let host = registry.url_host();
    let granted = ["--insecure", "--allow-registry", host.as_str()];
    assert_ne!(verdict(&sandbox, &receipt, &granted).0, "verified");
}

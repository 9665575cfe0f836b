//! Artifacts and images of another platform in places where an image is expected.

use occystrap_base::oci::Digest;
use serde_json::{Value, json};

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage, tar};
use crate::support::multi::{INDEX, MANIFEST, described};
use crate::support::receipts::{edit, sandbox, verdict};
use crate::support::registry::Registry;
use crate::support::shape::oci_manifest;

const ALL: &[&str] = &["--all-platforms"];

/// An index at a registry.
struct Published {
    registry: Registry,
    entries: Vec<Value>,
}

impl Published {
    fn new() -> Self {
        Self { registry: Registry::start(), entries: Vec::new() }
    }

    /// An image, listed for a platform.
    fn list(&mut self, image: &TestImage, platform: (&str, &str), change: impl FnOnce(&mut Value)) {
        for layer in &image.layers {
            self.registry.put_blob(Pack::Gzip.pack(layer));
        }
        self.registry.put_blob(&image.config);
        let mut manifest = serde_json::from_str(&oci_manifest(image, Pack::Gzip)).unwrap();
        change(&mut manifest);
        let bytes = manifest.to_string();
        let tag = Digest::of(bytes.as_bytes()).hex();
        self.registry.put_manifest("multi", &tag, MANIFEST, &bytes);
        let mut entry = described(MANIFEST, bytes.as_bytes());
        let (os, architecture) = platform;
        entry["platform"] = json!({ "os": os, "architecture": architecture });
        self.entries.push(entry);
    }

    /// Its URI.
    fn uri(&self) -> String {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": self.entries });
        self.registry.put_manifest("multi", "1", INDEX, index.to_string());
        format!("registry://{}/multi:1?insecure=true", self.registry.url_host())
    }

    fn verify(&self, sandbox: &Sandbox, more: &[&str]) -> Ran {
        sandbox.run(&[&["verify", &self.uri()], more].concat())
    }
}

fn for_platform(architecture: &str) -> TestImage {
    let mut image = TestImage::new("multi:1");
    let mut config: Value = serde_json::from_slice(&image.config).unwrap();
    config["architecture"] = architecture.into();
    image.config = config.to_string().into_bytes();
    image
}

#[test]
fn an_image_with_one_foreign_media_type_is_not_moved_with_other_layers() {
    let sandbox = Sandbox::new();
    for (what, media_type) in
        [("layers", "application/octet-stream"), ("config", "application/vnd.oci.empty.v1+json")]
    {
        let evil = Pack::Gzip.pack(&tar(&[("evil", b"b")]));
        let mut published = Published::new();
        published.list(&for_platform("amd64"), ("linux", "amd64"), |manifest| {
            let retyped = match what {
                "config" => &mut manifest["config"],
                _ => &mut manifest["layers"][1],
            };
            retyped["mediaType"] = media_type.into();
        });
        let to = sandbox.uri("oci-layout", what);
        sandbox.process(&published.uri(), &to, ALL).verified().says(": artifact, 3 layers, ");
        published.registry.put_blob(&evil);
        published.entries.clear();
        published.list(&for_platform("amd64"), ("linux", "amd64"), |manifest| {
            let media_type = match what {
                "config" => "application/vnd.oci.image.layer.v1.tar+gzip",
                _ => media_type,
            };
            if what == "config" {
                manifest["config"]["mediaType"] = "application/vnd.oci.empty.v1+json".into();
            }
            manifest["layers"][1] = described(media_type, &evil);
        });
        published.verify(&sandbox, &[]).exits(1).says("0/2 verified, 2 FAILED");
        let ran = sandbox.process(&published.uri(), &to, ALL);
        ran.exits(1).says("digest of the uncompressed layer (its diff-id)");
    }
}

/// An index's receipt alone vouches for no more than those of its images would.
#[test]
fn an_encrypted_layer_beneath_an_index_is_unconfirmed() {
    let sandbox = sandbox();
    let mut published = Published::new();
    published.list(&for_platform("amd64"), ("linux", "amd64"), |manifest| {
        manifest["layers"][1]["mediaType"] =
            "application/vnd.oci.image.layer.v1.tar+gzip+encrypted".into();
    });
    let receipt = sandbox.path("all.json").display().to_string();
    let to = sandbox.uri("oci-layout", "srv/all");
    let more = ["--all-platforms", "--receipt", &receipt];
    sandbox.process(&published.uri(), &to, &more).verified();
    for part in [0, 1] {
        let one = receipt.replace("all.json", "one.json");
        std::fs::copy(&receipt, &one).unwrap();
        edit(&one, |document| *document = document["receipts"][part].clone());
        let (status, line) = verdict(&sandbox, &one, &[]);
        assert_eq!(status, "unconfirmed", "{line}");
        assert!(line.contains("is encrypted: only its key can show its content"), "{line}");
    }
}

#[test]
fn an_index_that_lists_images_for_other_platforms() {
    let sandbox = Sandbox::new();
    let mut published = Published::new();
    published.list(&for_platform("arm64"), ("linux", "amd64"), |_| {});
    published.list(&for_platform("s390x"), ("linux", "s390x"), |_| {});
    let said = "unchecked: is for another platform than the index says: \
                expected linux/amd64, found linux/arm64";
    for level in [&["--fast"][..], &[]] {
        let ran = published.verify(&sandbox, level);
        ran.exits(3).says(said).says("1/3 verified, 2 UNCONFIRMED");
        ran.says("(index): manifest").says("unchecked: 1 of the 2 that it lists: UNCONFIRMED");
    }
    // A copy warns about it, and a request for a platform gets no other one.
    let note = "is for linux/arm64 by its config, and the index lists it for linux/amd64";
    sandbox.process(&published.uri(), &sandbox.uri("dir", "one"), &[]).verified().says(note);
    let ran = sandbox.process(&published.uri(), &sandbox.uri("oci-layout", "all"), ALL);
    ran.says(note).says(said).says("1/3 verified, 2 UNCONFIRMED");
    let asked = ["--platform", "linux/amd64"];
    let ran = sandbox.process(&published.uri(), &sandbox.uri("dir", "none"), &asked);
    ran.exits(1).says("is for linux/arm64, and not for linux/amd64");
    // The same image, listed again for another one.
    published.entries.remove(0);
    let mut again = published.entries[0].clone();
    again["platform"]["architecture"] = "riscv64".into();
    published.entries.push(again);
    published.verify(&sandbox, &[]).exits(3).says("expected linux/riscv64, found linux/s390x");
}

#[test]
fn an_image_that_is_listed_again_with_another_size() {
    let sandbox = Sandbox::new();
    let mut published = Published::new();
    published.list(&for_platform("amd64"), ("linux", "amd64"), |_| {});
    let mut again = published.entries[0].clone();
    published.entries.push(again.clone());
    sandbox.process(&published.uri(), &sandbox.uri("oci-layout", "out"), ALL).verified();
    again["size"] = (again["size"].as_u64().unwrap() + 7).into();
    published.entries[1] = again;
    let ran = sandbox.process(&published.uri(), &sandbox.uri("oci-layout", "out"), ALL);
    ran.exits(1).says("in an index that lists it again: expected ");
    published.verify(&sandbox, &[]).exits(1).says("1/3 verified, 2 FAILED");
}

//! An OCI image layout without a receipt: whether config and layers belong together.

use occystrap_base::oci::Digest;
use serde_json::{Value, json};

use crate::support::cli::{Ran, Sandbox};
use crate::support::image::{Pack, TestImage, tar};
use crate::support::push::push;
use crate::support::registry::Registry;

/// A layout with one image, to be changed.
struct Layout {
    sandbox: Sandbox,
    image: TestImage,
}

impl Layout {
    fn new() -> Self {
        let (registry, image) = (Registry::start(), TestImage::new("team/app:1"));
        let (sandbox, source) = (Sandbox::new(), push(&registry, &image, Pack::Gzip));
        sandbox.process(&source, &sandbox.uri("oci-layout", "out"), &[]).verified();
        Self { sandbox, image }
    }

    /// Stores bytes under their digest.
    fn put(&self, bytes: &[u8]) -> (String, usize) {
        let digest = Digest::of(bytes);
        let path = self.sandbox.path("out/blobs/sha256").join(digest.hex());
        std::fs::write(path, bytes).unwrap();
        (digest.to_string(), bytes.len())
    }

    fn read(&self, path: &str) -> Value {
        let bytes = std::fs::read(self.sandbox.path("out").join(path)).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Changes the manifest, and all that leads to it.
    fn edit(&self, edit: impl FnOnce(&mut Value)) {
        let mut index = self.read("index.json");
        let digest = index["manifests"][0]["digest"].as_str().unwrap().replace(':', "/");
        let mut manifest = self.read(&format!("blobs/{digest}"));
        edit(&mut manifest);
        place(&mut index["manifests"][0], self.put(manifest.to_string().as_bytes()));
        std::fs::write(self.sandbox.path("out/index.json"), index.to_string()).unwrap();
    }

    fn verify(&self, more: &[&str]) -> Ran {
        let uri = self.sandbox.uri("oci-layout", "out");
        self.sandbox.run(&[&["verify", &uri], more].concat())
    }

    /// Found only in full, which says `text`.
    fn only_full_says(&self, text: &str) -> Ran {
        self.verify(&["--fast"]).verified();
        let ran = self.verify(&[]);
        ran.exits(1).says(text).says("1 FAILED");
        ran
    }
}

fn place(descriptor: &mut Value, (digest, size): (String, usize)) {
    (descriptor["digest"], descriptor["size"]) = (digest.into(), size.into());
}

#[test]
fn layers_of_another_order_are_found_in_full() {
    let layout = Layout::new();
    layout.edit(|manifest| manifest["layers"].as_array_mut().unwrap().swap(0, 2));
    let ran = layout.only_full_says("is, unpacked, not what the image's config says");
    let [first, _, last] = &layout.image.diff_ids()[..] else { unreachable!() };
    ran.says(&format!("expected {first}, found {last}"));
    assert_eq!(ran.stderr.matches("error: ").count(), 2, "{}", ran.stderr);
}

#[test]
fn a_config_of_another_image_is_found_in_full() {
    let layout = Layout::new();
    let other = TestImage::with_layers("app", vec![tar(&[("a", b"b")]); 3]);
    layout.edit(|manifest| place(&mut manifest["config"], layout.put(&other.config)));
    let ran = layout.only_full_says("is, unpacked, not what the image's config says");
    assert_eq!(ran.stderr.matches("error: ").count(), 3, "{}", ran.stderr);
}

#[test]
fn another_number_of_layers_than_the_config_has_is_always_found() {
    let layout = Layout::new();
    layout.edit(|manifest| drop(manifest["layers"].as_array_mut().unwrap().pop()));
    for level in [&["--fast"][..], &[]] {
        let said = "the manifest lists another number of layers than the config: \
                    expected 3 layers, found 2 layers";
        layout.verify(level).exits(1).says(said);
    }
}

#[test]
fn a_config_that_is_none_is_always_found_and_an_artifacts_need_not_be_one() {
    let layout = Layout::new();
    layout.edit(|manifest| place(&mut manifest["config"], layout.put(b"{}")));
    for level in [&["--fast"][..], &[]] {
        layout.verify(level).exits(1).says("unreadable: is not the config of an image");
    }
    layout.edit(|manifest| {
        manifest["config"]["mediaType"] = "application/vnd.oci.empty.v1+json".into();
    });
    layout.verify(&[]).verified();
    // An attestation has a config of an image, and layers that are none: what it gives as diff-id is the
    // digest of their bytes.
    let statement = b"a statement";
    for (said, is_right) in [(&statement[..], true), (b"another one", false)] {
        let config = json!({"os": "unknown", "architecture": "unknown",
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(said).to_string()]}});
        let layout = Layout::new();
        layout.edit(|manifest| {
            place(&mut manifest["config"], layout.put(config.to_string().as_bytes()));
            manifest["layers"].as_array_mut().unwrap().truncate(1);
            place(&mut manifest["layers"][0], layout.put(statement));
            manifest["layers"][0]["mediaType"] = "application/vnd.in-toto+json".into();
        });
        let index = layout.read("index.json").to_string();
        let index = index.replace("amd64", "unknown").replace("linux", "unknown");
        std::fs::write(layout.sandbox.path("out/index.json"), index).unwrap();
        if is_right {
            layout.verify(&[]).verified().says(": artifact, 1 layers, ");
        } else {
            layout.only_full_says("is, unpacked, not what the image's config says");
        }
    }
}

/// One unusual media type does not make an image an artifact: the diff-ids of its config count.
#[test]
fn a_config_with_diff_ids_is_believed_whatever_it_is_called() {
    let layer_type = |media_type: &'static str| {
        move |manifest: &mut Value| manifest["layers"][1]["mediaType"] = media_type.into()
    };
    let config_type = |media_type: &'static str| {
        move |manifest: &mut Value| manifest["config"]["mediaType"] = media_type.into()
    };
    type Edit = Box<dyn Fn(&mut Value)>;
    let edits: [Edit; 3] = [
        Box::new(layer_type("application/octet-stream")),
        Box::new(config_type("application/vnd.oci.empty.v1+json")),
        Box::new(config_type("application/vnd.example+json")),
    ];
    for edit in edits {
        let layout = Layout::new();
        layout.edit(&edit);
        layout.verify(&[]).verified().says(": artifact, 3 layers, ");
        let other = layout.put(&Pack::Gzip.pack(&tar(&[("evil", b"b")])));
        layout.edit(|manifest| place(&mut manifest["layers"][1], other));
        layout.only_full_says("is, unpacked, not what the image's config says");
        layout.edit(|manifest| manifest["layers"].as_array_mut().unwrap().truncate(1));
        layout.verify(&["--fast"]).exits(1).says("another number of layers than the config");
    }
    // An encrypted layer cannot be compared with its diff-id, and is reported as encrypted.
    let layout = Layout::new();
    layout.edit(layer_type("application/vnd.oci.image.layer.v1.tar+gzip+encrypted"));
    layout.verify(&["--fast"]).verified().says(": artifact, 3 layers, ");
    let ran = layout.verify(&[]);
    ran.exits(3).says("unchecked: is encrypted: only its key can show its content");
}

/// The manifest defines the image; the platform in its config is not proved by anything.
#[test]
fn a_config_for_no_platform_promises_its_layers_all_the_same() {
    let layout = Layout::new();
    let mut config: Value = serde_json::from_slice(&layout.image.config).unwrap();
    (config["os"], config["architecture"]) = ("unknown".into(), "unknown".into());
    let other = layout.put(&Pack::Gzip.pack(&tar(&[("evil", b"b")])));
    layout.edit(|manifest| {
        place(&mut manifest["config"], layout.put(config.to_string().as_bytes()));
    });
    let index = layout.read("index.json").to_string();
    let index = index.replace("amd64", "unknown").replace("linux", "unknown");
    std::fs::write(layout.sandbox.path("out/index.json"), index).unwrap();
    layout.verify(&[]).verified();
    layout.edit(|manifest| place(&mut manifest["layers"][1], other));
    layout.only_full_says("is, unpacked, not what the image's config says");
    layout.edit(|manifest| manifest["layers"].as_array_mut().unwrap().truncate(1));
    layout.verify(&["--fast"]).exits(1).says("another number of layers than the config");
}

#[test]
fn cut_and_uncompressed_layers_are_compared_as_well() {
    let layout = Layout::new();
    // Whole under its digest, and cut all the same.
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    let half = layout.put(&cut(Pack::Gzip.pack(&layout.image.layers[1])));
    layout.edit(|manifest| place(&mut manifest["layers"][1], half));
    layout.only_full_says("ends too early");

    let layout = Layout::new();
    let (right, wrong) = (layout.put(&layout.image.layers[1]), layout.put(&tar(&[("a", b"b")])));
    layout.edit(|manifest| place(&mut manifest["layers"][1], right));
    layout.verify(&[]).verified();
    layout.edit(|manifest| place(&mut manifest["layers"][1], wrong));
    layout.only_full_says("is, unpacked, not what the image's config says");
}

#[test]
fn damage_is_told_once_and_as_damage() {
    let layout = Layout::new();
    let stored = Pack::Gzip.pack(&layout.image.layers[1]);
    let blobs = layout.sandbox.path("out/blobs/sha256");
    for at in [0, 20, stored.len() / 2, stored.len() - 6] {
        let mut bytes = stored.clone();
        bytes[at] ^= 1;
        std::fs::write(blobs.join(Digest::of(&stored).hex()), &bytes).unwrap();
        let ran = layout.only_full_says("digest-mismatch: has other content");
        ran.says(&format!("found {}", Digest::of(&bytes)));
        assert_eq!(ran.stderr.matches("error: ").count(), 1, "{}", ran.stderr);
    }
    std::fs::write(blobs.join(Digest::of(&stored).hex()), &stored).unwrap();
    let mut config = layout.image.config.clone();
    config[5] ^= 1;
    std::fs::write(blobs.join(layout.image.id().hex()), &config).unwrap();
    // It is read for what it says of the layers.
    for level in [&["--fast"][..], &[]] {
        let ran = layout.verify(level);
        ran.exits(1).says(&format!("found {}", Digest::of(&config)));
        assert_eq!(ran.stderr.matches("error: ").count(), 1, "{}", ran.stderr);
    }
}

//! Images whose documents differ from those of most tools, but which Docker, Podman or skopeo accept.

use occystrap_base::oci::Digest;
use serde_json::{Value, json};

use super::image::{Pack, TestImage};
use super::multi::{MANIFEST, described};
use super::registry::Registry;
use super::shape::{self, Archive, oci_manifest};

/// A change of a document.
pub type Edit = fn(&mut Value);

/// An image in each form in which a source keeps it.
pub struct Odd {
    pub image: TestImage,
    pub manifest: String,
}

impl Odd {
    /// An image with a changed config and a changed manifest.
    pub fn new(config: Edit, manifest: Edit) -> Self {
        Self::of(TestImage::tiny("team/app:1"), config, manifest)
    }

    pub fn of(mut image: TestImage, config: Edit, manifest: Edit) -> Self {
        let mut document: Value = serde_json::from_slice(&image.config).unwrap();
        config(&mut document);
        image.config = document.to_string().into_bytes();
        let mut document = serde_json::from_str(&oci_manifest(&image, Pack::Gzip)).unwrap();
        manifest(&mut document);
        Self { image, manifest: document.to_string() }
    }

    pub fn digest(&self) -> Digest {
        Digest::of(self.manifest.as_bytes())
    }

    /// An entry for an index.
    pub fn entry(&self) -> Value {
        described(MANIFEST, self.manifest.as_bytes())
    }

    /// Puts the image into a registry, and returns its URI.
    pub fn push(&self, registry: &Registry, tag: &str) -> String {
        for layer in &self.image.layers {
            registry.put_blob(Pack::Gzip.pack(layer));
        }
        registry.put_blob(&self.image.config);
        registry.put_manifest("team/app", tag, MANIFEST, &self.manifest);
        format!("registry://{}/team/app:{tag}?insecure=true", registry.url_host())
    }

    pub fn layout(&self) -> Archive {
        let mut archive = Archive::default();
        archive.push("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
        let mut entry = self.entry();
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "1" });
        archive.push("index.json", json!({ "schemaVersion": 2, "manifests": [entry] }).to_string());
        let layers = self.image.layers.iter().map(|layer| Pack::Gzip.pack(layer));
        for blob in layers.chain([self.image.config.clone(), self.manifest.clone().into_bytes()]) {
            archive.push(format!("blobs/sha256/{}", Digest::of(&blob).hex()), blob);
        }
        archive
    }

    pub fn saved(&self) -> Archive {
        shape::legacy(&[&self.image], Pack::Plain)
    }
}

/// Leaves a document as it is.
pub fn same(_document: &mut Value) {}

/// Removes a key.
pub fn drop(document: &mut Value, key: &str) {
    document.as_object_mut().unwrap().remove(key);
}

/// Configs that Docker or Podman loads and skopeo copies.
pub const CONFIGS: &[(&str, Edit)] = &[
    ("rootfs without type, as the installer of Talos has it", |config| {
        drop(&mut config["rootfs"], "type")
    }),
    ("rootfs of an empty type", |config| config["rootfs"]["type"] = "".into()),
    ("rootfs with null as its type", |config| config["rootfs"]["type"] = Value::Null),
    ("no architecture, as buildpacks write it", |config| drop(config, "architecture")),
    ("neither architecture nor os, as docker import once did", |config| {
        drop(config, "architecture");
        drop(config, "os");
    }),
    ("an empty architecture", |config| config["architecture"] = "".into()),
    ("null as os", |config| config["os"] = Value::Null),
    ("an operating system that does not exist", |config| config["os"] = "plan10".into()),
    ("a variable without a value", |config| config["config"]["Env"] = json!(["A", "=b", ""])),
    ("null in the environment", |config| config["config"]["Env"] = json!([null, "A=b"])),
    ("null as environment", |config| config["config"]["Env"] = Value::Null),
    ("a label that is null", |config| config["config"]["Labels"] = json!({ "a": null })),
    ("null as labels", |config| config["config"]["Labels"] = Value::Null),
    ("an entrypoint that is a text", |config| config["config"]["Entrypoint"] = "sh".into()),
    ("a command that is a text", |config| config["config"]["Cmd"] = "sh".into()),
    ("null as entrypoint, command and shell", |config| {
        for key in ["Entrypoint", "Cmd", "Shell"] {
            config["config"][key] = Value::Null;
        }
    }),
    ("a volume that is null, and one with content", |config| {
        config["config"]["Volumes"] = json!({ "/a": null, "/b": { "x": 1 } });
    }),
    ("a port that is null", |config| config["config"]["ExposedPorts"] = json!({ "80/tcp": null })),
    ("no part that says how it runs", |config| drop(config, "config")),
    ("null in its place", |config| config["config"] = Value::Null),
    ("no history, as nix and ko write it", |config| drop(config, "history")),
    ("null as history", |config| config["history"] = Value::Null),
    ("a step of history that is null", |config| config["history"] = json!([null])),
    ("history with one step more", |config| config["history"] = json!([{}, {}])),
    ("no time", |config| drop(config, "created")),
    ("null as time", |config| config["created"] = Value::Null),
    ("the time before all others", |config| config["created"] = "0001-01-01T00:00:00Z".into()),
    ("a time with an offset", |config| config["created"] = "2020-01-02T03:04:05.5+02:00".into()),
    ("fields of other tools", |config| {
        config["moby.buildkit.buildinfo.v1"] = "e30=".into();
        config["io.buildpacks"] = json!({ "a": [1, null, { "b": 1e300 }] });
        config["config"]["Memory"] = "x".into();
        config["variant"] = "".into();
        config["os.features"] = Value::Null;
    }),
    ("an author that is null", |config| config["author"] = Value::Null),
];

/// Manifests that skopeo copies.
pub const MANIFESTS: &[(&str, Edit)] = &[
    ("no media type", |manifest| drop(manifest, "mediaType")),
    ("null as media type", |manifest| manifest["mediaType"] = Value::Null),
    ("an empty media type", |manifest| manifest["mediaType"] = "".into()),
    ("null as annotations", |manifest| manifest["annotations"] = Value::Null),
    ("an annotation that is null", |manifest| manifest["annotations"] = json!({ "a": null })),
    ("null as subject", |manifest| manifest["subject"] = Value::Null),
    ("null as urls, data, annotations and platform", |manifest| {
        for key in ["urls", "data", "annotations", "platform", "artifactType"] {
            manifest["layers"][0][key] = Value::Null;
            manifest["config"][key] = Value::Null;
        }
    }),
    ("a platform of the config that is empty", |manifest| {
        manifest["config"]["platform"] = json!({})
    }),
    ("fields of other tools", |manifest| {
        manifest["name"] = 5.into();
        manifest["layers"][0]["x"] = json!([1e300]);
        manifest["layers"][0]["annotations"] = json!({ "org.opencontainers.image.title": null });
    }),
];

/// Manifests of images without a layer, as of `FROM scratch`; the config has none either.
pub const WITHOUT_LAYERS: &[(&str, Edit, Edit)] = &[
    ("null as layers", |_| {}, |manifest| manifest["layers"] = Value::Null),
    ("no list of layers", |_| {}, |manifest| drop(manifest, "layers")),
    ("null as diff-ids", |config| config["rootfs"]["diff_ids"] = Value::Null, |_| {}),
    ("no diff-ids, as Docker builds it", |config| config["rootfs"] = json!({}), |_| {}),
];

//! `occystrap plugin add oci://...`: a component from a registry, and other artifacts that may be there instead.

use std::fmt::Write as _;

use occystrap_base::oci::Digest;
use serde_json::{Value, json};

use crate::support::cli::{Ran, Sandbox, Tree};
use crate::support::image::{Pack, TestImage};
use crate::support::plugin::{FOLDER, other_digest, plain};
use crate::support::real::RealRegistry;
use crate::support::registry::{ALWAYS, Auth, Fault, Registry};
use crate::support::shape;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A Wasm OCI artifact as tools push it.
struct Artifact {
    config: Value,
    manifest: Value,
}

impl Artifact {
    fn of(registry: &Registry, component: &[u8]) -> Self {
        registry.put_blob(component);
        Self::with(component)
    }

    fn with(component: &[u8]) -> Self {
        let layer = Digest::of(component);
        let config = json!({
            "created": "2026-01-02T03:04:05Z",
            "architecture": "wasm",
            "os": "wasip2",
            "layerDigests": [layer.to_string()],
            "component": { "exports": ["occystrap:output/writer@0.1.0"], "imports": [], "target": null },
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": { "mediaType": "application/vnd.wasm.config.v0+json" },
            "layers": [{
                "mediaType": "application/wasm",
                "digest": layer.to_string(),
                "size": component.len(),
                "annotations": { "org.opencontainers.image.title": "hostile.wasm" },
            }],
        });
        Self { config, manifest }
    }

    /// Its config and its manifest.
    fn bytes(mut self) -> (Vec<u8>, Vec<u8>) {
        let config = serde_json::to_vec(&self.config).unwrap();
        self.manifest["config"]["digest"] = Digest::of(&config).to_string().into();
        self.manifest["config"]["size"] = config.len().into();
        (config, serde_json::to_vec(&self.manifest).unwrap())
    }

    /// Its URI, with its digest.
    fn push(self, registry: &Registry) -> String {
        let (config, manifest) = self.bytes();
        registry.put_blob(&config);
        let digest = registry.put_manifest("me/hostile", "1.0", MANIFEST, manifest);
        uri(registry, digest)
    }
}

fn uri(registry: &Registry, digest: Digest) -> String {
    format!("oci://{}/me/hostile:1.0@{digest}", registry.url_host())
}

fn add(sandbox: &Sandbox, uri: &str, more: &[&str]) -> Ran {
    sandbox.run(&[&["plugin", "add", "--yes", "--insecure", uri], more].concat())
}

#[test]
fn it_is_added_from_a_registry_and_used_without_it() {
    let sandbox = Sandbox::new();
    shape::legacy(&[&TestImage::new("app:1")], Pack::Gzip).write(&sandbox.path("in.tar"));
    let registry = Registry::start();
    let uri = Artifact::of(&registry, &plain()).push(&registry);
    // The tag has been moved since.
    Artifact::of(&registry, &other_digest(&plain())).push(&registry);
    let said = add(&sandbox, &uri, &[]);
    said.exits(0).says(&format!("  from       {uri}\n")).says("added hostile 0.5.0");
    assert_eq!(std::fs::read(sandbox.kept(Digest::of(&plain()))).unwrap(), plain());
    assert!(std::fs::read_to_string(sandbox.record()).unwrap().contains(&uri));
    let asked = registry.requests().len();
    let to = sandbox.uri("hostile", "out");
    sandbox.process(&sandbox.uri("tar", "in.tar"), &to, &[]).verified();
    assert_eq!(registry.requests().len(), asked, "nothing is asked again");
}

#[test]
fn debians_registry_keeps_it_as_well() {
    let Some(registry) = RealRegistry::start("debians_registry_keeps_it_as_well") else { return };
    let (sandbox, name) = (Sandbox::new(), "me/hostile");
    let (config, manifest) = Artifact::with(&plain()).bytes();
    registry.put_blob(name, &plain());
    registry.put_blob(name, &config);
    registry.put_manifest(name, "1.0", MANIFEST, &manifest);
    let uri = format!("oci://{}/{name}@{}", registry.host(), Digest::of(&manifest));
    add(&sandbox, &uri, &[]).exits(0);
    assert_eq!(std::fs::read(sandbox.kept(Digest::of(&plain()))).unwrap(), plain());
}

#[test]
fn the_login_is_used_and_written_nowhere() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let uri = Artifact::of(&registry, &plain()).push(&registry);
    registry.require(Auth::basic("me", "hunter2"));
    add(&sandbox, &uri, &[]).exits(1).says("requires credentials");
    add(&sandbox, &uri, &["--username", "me", "--password", "wrong"]).exits(1);
    assert_eq!(sandbox.tree("home"), Tree::new());
    let login = uri.replace("oci://", "oci://me:hunter2@");
    let said = add(&sandbox, &login, &["--debug"]);
    said.exits(0);
    let record = std::fs::read_to_string(sandbox.record()).unwrap();
    assert!(!said.stderr.contains("hunter2") && !record.contains("hunter2"), "{said:?} {record}");
    assert!(record.contains(&uri), "{record}");
}

#[test]
fn passing_failures_are_retried() {
    let sandbox = Sandbox::new();
    let registry = Registry::start();
    let uri = Artifact::of(&registry, &plain()).push(&registry);
    registry.fault("GET", "/manifests/", Fault::status(503), 1);
    registry.fault("GET", "/blobs/", Fault::CutAfter(50), 2);
    add(&sandbox, &uri, &[]).exits(0);
}

#[test]
fn artifacts_that_are_no_plugins() {
    let mut transcript = String::new();
    let mut refused = |what: &str, change: &dyn Fn(&Registry) -> String| {
        let (sandbox, registry) = (Sandbox::new(), Registry::start());
        let uri = change(&registry);
        let said = add(&sandbox, &uri, &["--retries", "0"]);
        said.exits(1);
        assert_eq!(sandbox.tree(FOLDER), Tree::new(), "{what}");
        writeln!(transcript, "## {what}\n{}", sandbox.redact(&said.stderr)).unwrap();
    };
    let artifact = |registry: &Registry| Artifact::of(registry, b"\0asm\x0d\0\x01\0");
    refused("an image", &|registry| {
        let mut it = artifact(registry);
        it.manifest["config"]["mediaType"] = "application/vnd.oci.image.config.v1+json".into();
        it.push(registry)
    });
    refused("an image's layer", &|registry| {
        let mut it = artifact(registry);
        it.manifest["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar".into();
        it.push(registry)
    });
    refused("two layers", &|registry| {
        let mut it = artifact(registry);
        let layer = it.manifest["layers"][0].clone();
        it.manifest["layers"].as_array_mut().unwrap().push(layer);
        it.push(registry)
    });
    refused("no layer", &|registry| {
        let mut it = artifact(registry);
        it.manifest["layers"].as_array_mut().unwrap().clear();
        it.push(registry)
    });
    refused("an index", &|registry| {
        let index = "application/vnd.oci.image.index.v1+json";
        let body = json!({ "schemaVersion": 2, "mediaType": index, "manifests": [] }).to_string();
        uri(registry, registry.put_manifest("me/hostile", "1.0", index, body))
    });
    refused("for another machine", &|registry| {
        let mut it = artifact(registry);
        it.config["architecture"] = "amd64".into();
        it.push(registry)
    });
    refused("a config about something else", &|registry| {
        let mut it = artifact(registry);
        it.config["layerDigests"][0] = Digest::of(b"other").to_string().into();
        it.push(registry)
    });
    refused("a config that is none", &|registry| {
        let mut it = artifact(registry);
        it.config = "hello".into();
        it.push(registry)
    });
    refused("larger than any plugin", &|registry| {
        let mut it = artifact(registry);
        it.manifest["layers"][0]["size"] = (1_u64 << 40).into();
        it.push(registry)
    });
    refused("larger than it says", &|registry| {
        let mut it = artifact(registry);
        it.manifest["layers"][0]["size"] = 7.into();
        it.push(registry)
    });
    refused("other bytes", &|registry| {
        let uri = Artifact::of(registry, b"\0asm\x0d\0\x01\0").push(registry);
        let layer = Digest::of(b"\0asm\x0d\0\x01\0").to_string();
        registry.fault("GET", &layer, Fault::Body(b"\0asm\x0d\0\x01\x01".to_vec()), ALWAYS);
        uri
    });
    refused("another manifest", &|registry| {
        let uri = Artifact::of(registry, b"\0asm\x0d\0\x01\0").push(registry);
        registry.fault("GET", "/manifests/", Fault::Body(b"{}".to_vec()), ALWAYS);
        uri
    });
    refused("no component after all", &|registry| Artifact::of(registry, b"hello").push(registry));
    refused("not there", &|registry| uri(registry, Digest::of(b"nothing")));
    insta::assert_snapshot!(transcript);
}

//! The manifest of a filtered image: what the source says of it stays, as far as it is true.

use serde_json::{Value, json};

use crate::support::cli::Sandbox;
use crate::support::image::{Pack, TestImage};
use crate::support::layer::{file, layer};
use crate::support::push::{push_docker, to};
use crate::support::registry::Registry;
use crate::support::shape::oci_manifest;

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const TOC: &str = "containerd.io/snapshot/stargz/toc.digest";

/// Stores an image with two layers and annotations. Only the second layer has `gone`.
fn annotated(registry: &Registry) -> (String, Value) {
    let layers =
        vec![layer(&[file("kept", b"1")]), layer(&[file("gone", b"2"), file("more", b"3")])];
    let image = TestImage::with_layers("team/app:1", layers);
    for layer in &image.layers {
        registry.put_blob(Pack::Gzip.pack(layer));
    }
    registry.put_blob(&image.config);
    let mut manifest: Value = serde_json::from_str(&oci_manifest(&image, Pack::Gzip)).unwrap();
    manifest["annotations"] = json!({
        "org.opencontainers.image.licenses": "MIT",
        "org.opencontainers.image.created": "2024-01-01T00:00:00Z",
    });
    manifest["artifactType"] = json!("application/vnd.example.thing");
    manifest["subject"] = json!({
        "mediaType": OCI, "size": 2,
        "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    });
    for (index, layer) in manifest["layers"].as_array_mut().unwrap().iter_mut().enumerate() {
        layer["annotations"] = json!({ "com.example.number": index.to_string(), TOC: "sha256:00" });
    }
    registry.put_manifest("team/app", "1", OCI, manifest.to_string());
    (to(registry, "team/app:1"), manifest)
}

#[test]
fn fields_that_a_filter_does_not_change_stay_in_the_manifest() {
    let (from, registry, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    let (source, before) = annotated(&from);
    let of_registry = |name: &str| {
        let (media_type, bytes) = registry.manifest("copy/app", name).unwrap();
        assert_eq!(media_type, OCI);
        serde_json::from_slice::<Value>(&bytes).unwrap()
    };
    let of_layout = |name: &str| {
        let read = |path: String| {
            let bytes = std::fs::read(sandbox.path(name).join(path)).unwrap();
            serde_json::from_slice::<Value>(&bytes).unwrap()
        };
        let index = read("index.json".into());
        let digest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
        read(format!("blobs/sha256/{}", &digest[7..]))
    };
    for (name, options, changed) in [
        ("exclude", &["-f", "exclude:pattern=gone"][..], [false, true]),
        ("zstd", &["--compression", "zstd"], [true, true]),
        ("normal", &["-f", "normalize-timestamps:ts=7"], [true, true]),
        ("canonical", &["-f", "canonical:from-layer=2"], [false, true]),
        ("both", &["-f", "exclude:pattern=gone", "--compression", "zstd"], [true, true]),
    ] {
        let options = [&["--verify=full"], options].concat();
        for (to_uri, found) in [
            (to(&registry, &format!("copy/app:{name}")), &of_registry as &dyn Fn(&str) -> Value),
            (sandbox.uri("oci-layout", &format!("{name}:1")), &of_layout),
        ] {
            let ran = sandbox.process(&source, &to_uri, &options);
            ran.verified();
            let made = found(name);
            for field in ["mediaType", "annotations", "artifactType", "subject"] {
                assert_eq!(made[field], before[field], "{name}: {field}");
            }
            for index in 0..2 {
                let (made, before) = (&made["layers"][index], &before["layers"][index]);
                if changed[index] {
                    let number = json!({ "com.example.number": index.to_string() });
                    assert_eq!(made["annotations"], number, "{name}");
                    ran.says(&format!("layer {} of 2: {TOC}", index + 1));
                } else {
                    assert_eq!(made, before, "{name}");
                }
            }
        }
    }
    // The time of the image is set there, too.
    let dated = ["-f", "normalize-timestamps:ts=7,config=true"];
    sandbox.process(&source, &to(&registry, "copy/app:dated"), &dated).verified();
    let created = &of_registry("dated")["annotations"]["org.opencontainers.image.created"];
    assert_eq!(created, "1970-01-01T00:00:07Z");
    sandbox.assert_clean();
}

#[test]
fn an_image_of_dockers_schema_2_stays_one() {
    let (from, registry, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    let source = push_docker(&from, &TestImage::new("team/app:1"));
    for (tag, filter) in [
        ("a", "normalize-timestamps"),
        ("b", "exclude:pattern=etc/motd"),
        ("c", "normalize-timestamps:keep=true,ts=0,config=true,from-layer=3"),
    ] {
        let to = to(&registry, &format!("copy/app:{tag}"));
        sandbox.process(&source, &to, &["--verify=full", "-f", filter]).verified();
        let (media_type, bytes) = registry.manifest("copy/app", tag).unwrap();
        assert_eq!(media_type, "application/vnd.docker.distribution.manifest.v2+json");
        let made: Value = serde_json::from_slice(&bytes).unwrap();
        for layer in made["layers"].as_array().unwrap() {
            assert_eq!(layer["mediaType"], "application/vnd.docker.image.rootfs.diff.tar.gzip");
        }
    }
}

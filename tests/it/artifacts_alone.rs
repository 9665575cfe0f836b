//! Artifacts with a tag of their own: charts, components, signatures, SBOMs. They are copied unchanged, with their digest,
//! to destinations that store manifests, and are verified there. To try another one, add a line to `ARTIFACTS`.

use occystrap_base::oci::Digest;
use serde_json::{Value, json};

use crate::support::cli::Sandbox;
use crate::support::image::{gzip, tar};
use crate::support::multi::{MANIFEST, described};
use crate::support::odd::{Odd, same};
use crate::support::real;
use crate::support::registry::Registry;
use crate::support::shape::Archive;

/// An artifact: the media type and the bytes of its config, those of its layers, and what else its manifest says.
struct Artifact {
    what: &'static str,
    config: (&'static str, &'static str),
    layers: &'static [(&'static str, &'static str)],
    more: &'static str,
    /// The type by which messages name it.
    kind: &'static str,
}

const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const IMAGE: &str = "application/vnd.oci.image.config.v1+json";

const ARTIFACTS: &[Artifact] = &[
    Artifact {
        what: "a chart of Helm",
        config: (
            "application/vnd.cncf.helm.config.v1+json",
            r#"{"name":"web","version":"1.0.0","apiVersion":"v2"}"#,
        ),
        layers: &[
            ("application/vnd.cncf.helm.chart.content.v1.tar+gzip", "chart"),
            ("application/vnd.cncf.helm.chart.provenance.v1.prov", "-----BEGIN"),
        ],
        more: "{}",
        kind: "application/vnd.cncf.helm.config.v1+json",
    },
    Artifact {
        what: "a chart of an early Helm, with the config of an image",
        config: (IMAGE, "{}"),
        layers: &[("application/vnd.cncf.helm.chart.content.v1+tar", "chart")],
        more: "{}",
        kind: "application/vnd.cncf.helm.chart.content.v1+tar",
    },
    Artifact {
        what: "an SBOM with an empty config",
        config: (EMPTY, "{}"),
        layers: &[("application/spdx+json", r#"{"spdxVersion":"SPDX-2.3"}"#)],
        more: r#"{"artifactType":"application/spdx+json"}"#,
        kind: "application/spdx+json",
    },
    Artifact {
        what: "a WebAssembly component",
        config: (
            "application/vnd.wasm.config.v0+json",
            r#"{"architecture":"wasm","os":"wasip2","layerDigests":null}"#,
        ),
        layers: &[("application/wasm", "\0asm")],
        more: "{}",
        kind: "application/vnd.wasm.config.v0+json",
    },
    Artifact {
        what: "a module of wasm-to-oci",
        config: ("application/vnd.wasm.config.v1+json", "{}"),
        layers: &[("application/vnd.wasm.content.layer.v1+wasm", "\0asm")],
        more: r#"{"annotations":null}"#,
        kind: "application/vnd.wasm.config.v1+json",
    },
    Artifact {
        what: "a signature of cosign",
        config: (
            IMAGE,
            r#"{"architecture":"","created":"0001-01-01T00:00:00Z","history":[{"created":"0001-01-01T00:00:00Z"}],"os":"","rootfs":{"type":"layers","diff_ids":["sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"]},"config":{}}"#,
        ),
        layers: &[("application/vnd.dev.cosign.simplesigning.v1+json", "{}")],
        more: "{}",
        kind: "application/vnd.dev.cosign.simplesigning.v1+json",
    },
    Artifact {
        what: "what oras pushes without a type",
        config: ("application/vnd.unknown.config.v1+json", "{}"),
        layers: &[("application/vnd.oci.image.layer.v1.tar", "no tar")],
        more: "{}",
        kind: "application/vnd.unknown.config.v1+json",
    },
    Artifact {
        what: "a manifest without a layer that refers to another",
        config: ("image/gif", "{}"),
        layers: &[],
        more: r#"{"layers":null,"annotations":{"a":"b"}}"#,
        kind: "image/gif",
    },
    Artifact {
        what: "a policy with an empty layer",
        config: ("application/vnd.cncf.openpolicyagent.config.v1+json", ""),
        layers: &[(EMPTY, "{}"), (EMPTY, "{}")],
        more: "{}",
        kind: "application/vnd.cncf.openpolicyagent.config.v1+json",
    },
    Artifact {
        what: "the cache of buildkit",
        config: ("application/vnd.buildkit.cacheconfig.v0", r#"{"layers":[],"records":[]}"#),
        layers: &[("application/vnd.oci.image.layer.v1.tar+gzip", "layer")],
        more: "{}",
        kind: "application/vnd.buildkit.cacheconfig.v0",
    },
    Artifact {
        what: "a machine's disk",
        config: (IMAGE, r#"{"architecture":"amd64","os":"linux"}"#),
        layers: &[("application/vnd.diskimage.qcow2+gzip", "disk")],
        more: r#"{"artifactType":"application/vnd.diskimage"}"#,
        kind: "application/vnd.diskimage",
    },
];

impl Artifact {
    fn manifest(&self) -> Vec<u8> {
        let (media_type, config) = self.config;
        let layers = self.layers.iter().map(|(kind, bytes)| described(kind, bytes.as_bytes()));
        let mut manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST,
            "config": described(media_type, config.as_bytes()), "layers": Value::from_iter(layers) });
        let more: Value = serde_json::from_str(self.more).unwrap();
        manifest.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        manifest.to_string().into_bytes()
    }

    fn blobs(&self) -> impl Iterator<Item = &'static str> {
        self.layers.iter().map(|(_, bytes)| *bytes).chain([self.config.1])
    }

    fn push(&self, registry: &Registry, tag: &str) -> String {
        for blob in self.blobs() {
            registry.put_blob(blob);
        }
        registry.put_manifest("team/art", tag, MANIFEST, self.manifest());
        format!("registry://{}/team/art:{tag}?insecure=true", registry.url_host())
    }

    fn layout(&self) -> Archive {
        let (manifest, mut archive) = (self.manifest(), Archive::default());
        archive.push("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
        let mut entry = described(MANIFEST, &manifest);
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "1" });
        entry["artifactType"] = self.kind.into();
        archive.push("index.json", json!({ "schemaVersion": 2, "manifests": [entry] }).to_string());
        for blob in self.blobs().map(|blob| blob.as_bytes().to_vec()).chain([manifest.clone()]) {
            let name = format!("blobs/sha256/{}", Digest::of(&blob).hex());
            if !archive.0.iter().any(|(known, _)| *known == name) {
                archive.push(name, blob);
            }
        }
        archive
    }
}

#[test]
fn an_artifact_with_a_name_of_its_own_is_moved_and_verified_as_one() {
    for artifact in ARTIFACTS {
        let (sandbox, registry, what) = (Sandbox::new(), Registry::start(), artifact.what);
        artifact.layout().write(&sandbox.path("in.tar"));
        for (index, from) in
            [artifact.push(&registry, "1"), sandbox.uri("tar", "in.tar")].iter().enumerate()
        {
            let copy = format!("registry://{}/copy:{index}?insecure=true", registry.url_host());
            let layout = sandbox.uri("oci-layout", &format!("layout-{index}"));
            for to in [&copy, &layout] {
                let receipt = sandbox.path("receipt.json").display().to_string();
                let more = ["--verify=full", "--receipt", &receipt];
                let ran = sandbox.process(from, to, &more);
                assert_eq!(ran.code, 0, "{what}: {from}: {}", ran.stderr);
                assert!(ran.stderr.contains(": artifact, "), "{what}: {}", ran.stderr);
                sandbox.run(&["verify", &receipt]).exits(0).says(": artifact, ");
                let ran = sandbox.run(&["verify", to]);
                assert_eq!(ran.code, 0, "{what}: {to}: {}", ran.stderr);
                assert!(ran.stderr.contains("artifact"), "{what}: {}", ran.stderr);
            }
            let found = registry.manifest("copy", &index.to_string()).expect("a manifest").1;
            assert_eq!(&found[..], &artifact.manifest()[..], "{what}");
            let blob = format!("layout-{index}/blobs/sha256/{}", Digest::of(&found).hex());
            assert!(sandbox.path(&blob).is_file(), "{what}");
            for level in [&["--fast"][..], &[]] {
                let ran = sandbox.run(&[&["check", from], level].concat());
                assert_eq!(ran.code, 0, "{what}: {}{}", ran.stdout, ran.stderr);
                assert!(ran.stdout.contains("artifact"), "{what}: {}", ran.stdout);
            }
            let described = sandbox.run(&["info", from]);
            let title = described.exits(0).stdout.lines().next().unwrap_or_default();
            assert!(title.ends_with("  artifact"), "{title}");
            assert!(!described.stdout.contains("Image ID"), "{}", described.stdout);
        }
    }
}

#[test]
fn commands_and_outputs_for_images_alone_name_the_artifact_and_its_type() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    for (index, artifact) in ARTIFACTS.iter().enumerate() {
        let from = artifact.push(&registry, &index.to_string());
        let said =
            format!("team/art:{index}' is an OCI artifact ({}), not an image", artifact.kind);
        for (scheme, name) in [("dir", "dir"), ("tar", "out.tar")] {
            let ran = sandbox.process(&from, &sandbox.uri(scheme, name), &[]);
            ran.exits(1).says(&said).says("registry:// and oci-layout:// can hold it");
            assert!(!sandbox.path(name).exists());
        }
        let filter = ["--filter", "exclude:pattern=x"];
        let ran = sandbox.process(&from, &sandbox.uri("oci-layout", "layout"), &filter);
        ran.exits(1).says(&said).says("filters read and change images alone");
        assert!(!sandbox.path("layout").exists());
        sandbox.run(&["search", &from, "x"]).exits(1).says(&said);
        sandbox.run(&["info", "--tree", &from]).exits(1).says(&said);
    }
}

#[test]
fn damage_to_an_artifact_is_found() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let from = ARTIFACTS[0].push(&registry, "1");
    registry.shorten_blob(Digest::of(b"chart"), 2);
    sandbox.process(&from, &sandbox.uri("oci-layout", "out"), &[]).exits(1);
    sandbox.run(&["verify", &from]).exits(1).says("0/1 verified, 1 FAILED");
    sandbox.run(&["check", &from]).exits(1);
}

/// Tools that know no media types give none. Such an image is one, and not an artifact.
#[test]
fn an_image_whose_media_types_say_nothing_is_an_image() {
    const OCTETS: &str = "application/octet-stream";
    const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    let podman = "gives its config a media type that Podman rejects";
    let both = "gives its config a media type that Docker and Podman reject";
    for (config, layer, verified, who) in [
        (IMAGE, OCTETS, 0, ""),
        (IMAGE, "", 0, ""),
        (OCTETS, OCTETS, 3, podman),
        (OCTETS, GZIP, 3, podman),
        ("application/json", "", 3, podman),
        ("text/plain", "text/plain", 1, both),
        ("text/plain", GZIP, 1, both),
    ] {
        let (sandbox, registry) = (Sandbox::new(), Registry::start());
        let mut odd = Odd::new(same, same);
        let mut manifest: Value = serde_json::from_str(&odd.manifest).unwrap();
        manifest["config"]["mediaType"] = config.into();
        manifest["layers"][0]["mediaType"] = layer.into();
        odd.manifest = manifest.to_string();
        let from = odd.push(&registry, "1");
        sandbox.process(&from, &sandbox.uri("dir", "out"), &[]).verified();
        let ran = sandbox.run(&["verify", &from]);
        assert_eq!(ran.code, verified, "{config} {layer}: {}", ran.stderr);
        ran.says(who);
        let copy = format!("registry://{}/copy:1?insecure=true", registry.url_host());
        let ran = sandbox.process(&from, &copy, &["--strict"]);
        // A layer without a type is compressed anew, and the manifest that names it is a good one.
        let verified = if layer == GZIP { verified } else { 0 };
        assert_eq!(ran.code, verified, "{config} {layer}: {}", ran.stderr);
        ran.says(if layer == GZIP { who } else { "1/1 verified" });
    }
}

#[test]
fn skopeo_copies_each_artifact() {
    if !real::installed("skopeo_copies_each_artifact", &["skopeo"]) {
        return;
    }
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    for (index, artifact) in ARTIFACTS.iter().enumerate() {
        let _ = artifact.push(&registry, &index.to_string());
        let from = format!("docker://{}/team/art:{index}", registry.url_host());
        let to = format!("oci:{}:{index}", sandbox.path("skopeo").display());
        let _ = real::skopeo(&["copy", "--quiet", "--src-tls-verify=false", &from, &to]);
    }
}

#[test]
fn a_chart_is_not_compressed_otherwise() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start());
    let chart = gzip(&tar(&[("web/Chart.yaml", b"name: web\n")]));
    let config = br#"{"name":"web","version":"1.0.0","apiVersion":"v2"}"#;
    registry.put_blob(&chart);
    registry.put_blob(config);
    let manifest = json!({ "schemaVersion": 2,
        "config": described("application/vnd.cncf.helm.config.v1+json", config),
        "layers": [described("application/vnd.cncf.helm.chart.content.v1.tar+gzip", &chart)] });
    registry.put_manifest("charts/web", "1.0.0", MANIFEST, manifest.to_string());
    let from = format!("registry://{}/charts/web:1.0.0?insecure=true", registry.url_host());
    let zstd = ["--compression", "zstd"];
    sandbox.process(&from, &sandbox.uri("oci-layout", "out"), &zstd).verified();
    let blob = format!("out/blobs/sha256/{}", Digest::of(&chart).hex());
    assert_eq!(std::fs::read(sandbox.path(&blob)).unwrap(), chart);
}

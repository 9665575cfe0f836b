//! The manifest document, which lists the config and the layers.

use occystrap_plugin::types::{Descriptor, Manifest};
use serde_json::{Map, Value, json};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// The choices for the manifest that is to be written.
pub struct Document {
    /// The manifest of the source, if it has one.
    pub source: Option<Manifest>,
    /// Whether every layer is unchanged: then the manifest of the source is kept.
    pub unchanged: bool,
    /// Whether a new manifest is always an OCI manifest, whatever the source has.
    pub oci: bool,
}

impl Document {
    /// Returns the manifest of an image with this config and these layers, lowest first, and a line about the annotations
    /// of each layer that are left out, because they describe bytes that the image no longer has.
    ///
    /// Every field of the source's manifest stays, such as `annotations`, `artifactType` and `subject`. The descriptor of a
    /// layer that keeps its bytes stays as well.
    #[must_use]
    pub fn render(self, config: &Descriptor, layers: &[Descriptor]) -> (Manifest, Vec<String>) {
        let old = match self.source {
            Some(source) if self.unchanged => return (source, Vec::new()),
            source => source,
        };
        // Docker's schema 2 supports no compression except gzip.
        let only_oci = |layer: &Descriptor| {
            ONLY_OCI.iter().any(|(suffix, _)| layer.media_type.ends_with(suffix))
        };
        let was_oci = old.as_ref().is_some_and(|old| old.media_type == OCI);
        let is_oci = layers.iter().any(only_oci) || was_oci || self.oci;
        let media_type = if is_oci { OCI } else { DOCKER };
        let is_same_kind = old.as_ref().is_some_and(|old| old.media_type == media_type);
        let old = old.and_then(|old| serde_json::from_slice::<Value>(&old.bytes).ok());
        let mut document = match old {
            Some(Value::Object(old)) => old,
            _ => Map::new(),
        };
        let old_config = document.remove("config").unwrap_or_default();
        let old_layers = document.remove("layers").unwrap_or_default();
        document.insert("schemaVersion".to_owned(), json!(2));
        document.insert("mediaType".to_owned(), json!(media_type));
        let mut dropped = Vec::new();
        let mut renew = |old: &Value, blob: &Descriptor, media_type: &str, what: &str| {
            if is_same_kind && old["digest"] == blob.digest.as_str() {
                return old.clone();
            }
            renewed(old, blob, media_type, what, &mut dropped)
        };
        // A type that is not specified for configs is not kept: engines reject the image for it.
        let mut config = renew(&old_config, config, config_type(media_type), "the config");
        config["mediaType"] = json!(config_type(media_type));
        let layers = layers.iter().enumerate().map(|(index, layer)| {
            let what = format!("layer {} of {}", index + 1, layers.len());
            renew(&old_layers[index], layer, layer_type(media_type, layer), &what)
        });
        document.insert("layers".to_owned(), layers.collect());
        document.insert("config".to_owned(), config);
        let bytes = serde_json::to_vec(&document).unwrap_or_default();
        (Manifest { media_type: media_type.to_owned(), bytes }, dropped)
    }
}

/// Returns a descriptor with the annotations and other fields of an old one, apart from those about its bytes.
fn renewed(
    old: &Value,
    blob: &Descriptor,
    media_type: &str,
    what: &str,
    dropped: &mut Vec<String>,
) -> Value {
    let mut fields = old.as_object().cloned().unwrap_or_default();
    fields.retain(|field, _| !ABOUT_BYTES.contains(&field.as_str()));
    if old["digest"] != blob.digest.as_str()
        && let Some(Value::Object(said)) = fields.get_mut("annotations")
    {
        let is_false = |key: &str| OF_BYTES.iter().any(|prefix| key.starts_with(prefix));
        let gone: Vec<String> = said.keys().filter(|key| is_false(key)).cloned().collect();
        said.retain(|key, _| !is_false(key));
        if said.is_empty() {
            fields.remove("annotations");
        }
        if !gone.is_empty() {
            dropped.push(format!("{what}: {}", gone.join(", ")));
        }
    }
    for (field, value) in [
        ("mediaType", json!(media_type)),
        ("digest", json!(blob.digest)),
        ("size", json!(blob.size)),
    ] {
        fields.insert(field.to_owned(), value);
    }
    fields.into()
}

/// Fields of a descriptor that are about its bytes.
const ABOUT_BYTES: [&str; 5] = ["mediaType", "digest", "size", "urls", "data"];

/// Annotations of a layer that describe its bytes, by the beginning of their keys: tables of contents of eStargz
/// (stargz-snapshotter, docs/estargz.md) and zstd:chunked (containers/storage, pkg/chunked), block devices and chunks of
/// overlaybd, nydus and SOCI, and the diff-id that containerd and buildkit repeat.
/// The host has the same list for filters (`host/images/src/filter/manifest.rs`).
const OF_BYTES: [&str; 9] = [
    "containerd.io/snapshot/stargz/",
    "containerd.io/snapshot/remote/",
    "containerd.io/snapshot/overlaybd/",
    "containerd.io/snapshot/nydus-",
    "containerd.io/uncompressed",
    "io.containers.estargz.",
    "io.github.containers.zstd-chunked.",
    "buildkit/rewritten-timestamp",
    "com.amazon.soci.",
];

fn config_type(manifest: &str) -> &'static str {
    match manifest {
        OCI => "application/vnd.oci.image.config.v1+json",
        _ => "application/vnd.docker.container.image.v1+json",
    }
}

fn layer_type(manifest: &str, layer: &Descriptor) -> &'static str {
    let is = |suffix: &str| layer.media_type.ends_with(suffix);
    match (manifest, is("gzip")) {
        (OCI, true) => "application/vnd.oci.image.layer.v1.tar+gzip",
        (OCI, false) => {
            let known = ONLY_OCI.iter().find(|(suffix, _)| is(suffix));
            known.map_or("application/vnd.oci.image.layer.v1.tar", |(_, media_type)| media_type)
        }
        (_, true) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
        (_, false) => "application/vnd.docker.image.rootfs.diff.tar",
    }
}

/// The compressions that Docker's schema 2 has no media type for: the suffix, and the OCI media type. The media
/// types for xz and bzip2 are not registered anywhere; they are kept if the source has them.
const ONLY_OCI: [(&str, &str); 3] = [
    ("zstd", "application/vnd.oci.image.layer.v1.tar+zstd"),
    ("+xz", "application/vnd.oci.image.layer.v1.tar+xz"),
    ("+bzip2", "application/vnd.oci.image.layer.v1.tar+bzip2"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(media_type: &str) -> Descriptor {
        Descriptor { digest: "sha256:00".to_owned(), size: 7, media_type: media_type.to_owned() }
    }

    fn render(source: Option<Manifest>, unchanged: bool, layer: &str) -> Manifest {
        Document { source, unchanged, oci: false }.render(&blob("config"), &[blob(layer)]).0
    }

    fn source(media_type: &str) -> Option<Manifest> {
        let bytes = br#"{"annotations":{"a":"b"},"odd":  "spacing"}"#.to_vec();
        Some(Manifest { media_type: media_type.to_owned(), bytes })
    }

    #[test]
    fn an_unchanged_image_keeps_its_bytes() {
        let kept = render(source(DOCKER), true, "x+gzip");
        assert_eq!((kept.media_type.as_str(), kept.bytes), (DOCKER, source("").unwrap().bytes));
    }

    #[test]
    fn a_new_manifest_can_be_asked_to_be_ocis() {
        let document = Document { source: source(DOCKER), unchanged: false, oci: true };
        let (made, _) = document.render(&blob("config"), &[blob("a.tar.gzip")]);
        let document: Value = serde_json::from_slice(&made.bytes).unwrap();
        assert_eq!(document["mediaType"], OCI);
        assert_eq!(
            document["layers"][0]["mediaType"],
            "application/vnd.oci.image.layer.v1.tar+gzip"
        );
    }

    #[test]
    fn media_types_follow_the_source_and_zstd() {
        for (from, layer, manifest, expected) in [
            (None, "a.tar+gzip", DOCKER, "application/vnd.docker.image.rootfs.diff.tar.gzip"),
            (
                source(DOCKER),
                "a.tar.gzip",
                DOCKER,
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
            ),
            (source(DOCKER), "a.tar+zstd", OCI, "application/vnd.oci.image.layer.v1.tar+zstd"),
            (source(DOCKER), "a.tar+xz", OCI, "application/vnd.oci.image.layer.v1.tar+xz"),
            (source(OCI), "a.tar+bzip2", OCI, "application/vnd.oci.image.layer.v1.tar+bzip2"),
            (source(OCI), "a.tar.gzip", OCI, "application/vnd.oci.image.layer.v1.tar+gzip"),
            (source(OCI), "a.tar", OCI, "application/vnd.oci.image.layer.v1.tar"),
        ] {
            let annotated = from.is_some();
            let made = render(from, false, layer);
            let document: Value = serde_json::from_slice(&made.bytes).unwrap();
            assert_eq!(document["mediaType"], manifest);
            assert_eq!(made.media_type, manifest);
            assert_eq!(document["layers"][0]["mediaType"], expected);
            assert_eq!(document.get("annotations").is_some(), annotated);
        }
    }

    #[test]
    fn what_is_true_of_an_image_stays_with_it() {
        let layer = |digest: &str| Descriptor { digest: digest.to_owned(), ..blob("x.tar+gzip") };
        let old = json!({
            "schemaVersion": 2, "mediaType": OCI, "artifactType": "application/x", "annotations": {"a": "b"},
            "subject": {"digest": "sha256:5", "size": 1, "mediaType": OCI},
            "config": {"digest": "sha256:c", "size": 1, "mediaType": "application/x", "annotations": {"c": "d"}},
            "layers": [
                {"digest": "sha256:1", "size": 9, "mediaType": "odd", "urls": ["https://x/"], "annotations": {"k": "1"}},
                {"digest": "sha256:2", "size": 9, "mediaType": "odd", "data": "eA==",
                 "annotations": {"k": "2", "containerd.io/snapshot/stargz/toc.digest": "sha256:3"}},
                {"digest": "sha256:4", "size": 9, "mediaType": "odd",
                 "annotations": {"io.github.containers.zstd-chunked.manifest-position": "1:2"}},
            ],
        });
        let source =
            Manifest { media_type: OCI.to_owned(), bytes: serde_json::to_vec(&old).unwrap() };
        let document = Document { source: Some(source), unchanged: false, oci: true };
        let layers = [layer("sha256:1"), layer("sha256:7"), layer("sha256:8")];
        let (made, dropped) = document.render(&layer("sha256:9"), &layers);
        let made: Value = serde_json::from_slice(&made.bytes).unwrap();
        for field in ["artifactType", "annotations", "subject"] {
            assert_eq!(made[field], old[field], "{field}");
        }
        assert_eq!(made["layers"][0], old["layers"][0]);
        let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
        let second =
            json!({"digest": "sha256:7", "size": 7, "mediaType": gzip, "annotations": {"k": "2"}});
        assert_eq!(made["layers"][1], second);
        assert_eq!(made["layers"][2], json!({"digest": "sha256:8", "size": 7, "mediaType": gzip}));
        assert_eq!(made["config"]["annotations"], json!({"c": "d"}));
        assert_eq!(made["config"]["mediaType"], config_type(OCI));
        assert_eq!(
            dropped,
            [
                "layer 2 of 3: containerd.io/snapshot/stargz/toc.digest",
                "layer 3 of 3: io.github.containers.zstd-chunked.manifest-position"
            ]
        );
    }
}

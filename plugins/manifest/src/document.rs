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
    /// Returns the manifest of an image with this config and these layers, lowest first.
    #[must_use]
    pub fn render(self, config: &Descriptor, layers: &[Descriptor]) -> Manifest {
        let old = match self.source {
            Some(source) if self.unchanged => return source,
            source => source,
        };
        // Docker's schema 2 supports no compression except gzip.
        let only_oci = |layer: &Descriptor| {
            ONLY_OCI.iter().any(|(suffix, _)| layer.media_type.ends_with(suffix))
        };
        let was_oci = old.as_ref().is_some_and(|old| old.media_type == OCI);
        let is_oci = layers.iter().any(only_oci) || was_oci || self.oci;
        let media_type = if is_oci { OCI } else { DOCKER };
        let mut document = Map::new();
        document.insert("schemaVersion".to_owned(), json!(2));
        document.insert("mediaType".to_owned(), json!(media_type));
        document.insert("config".to_owned(), descriptor_json(config, config_type(media_type)));
        let layers: Vec<Value> = layers
            .iter()
            .map(|layer| descriptor_json(layer, layer_type(media_type, layer)))
            .collect();
        document.insert("layers".to_owned(), layers.into());
        // The annotations of the source's manifest are kept.
        let old = old.and_then(|old| serde_json::from_slice::<Value>(&old.bytes).ok());
        let annotations = old.as_ref().and_then(|old| old.get("annotations"));
        if let Some(annotations) = annotations.filter(|_| media_type == OCI) {
            document.insert("annotations".to_owned(), annotations.clone());
        }
        let bytes = serde_json::to_vec(&document).unwrap_or_default();
        Manifest { media_type: media_type.to_owned(), bytes }
    }
}

fn descriptor_json(blob: &Descriptor, media_type: &str) -> Value {
    json!({ "mediaType": media_type, "digest": blob.digest, "size": blob.size })
}

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
        Document { source, unchanged, oci: false }.render(&blob("config"), &[blob(layer)])
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
        let made = document.render(&blob("config"), &[blob("a.tar.gzip")]);
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
            let annotated = manifest == OCI && from.is_some();
            let made = render(from, false, layer);
            let document: Value = serde_json::from_slice(&made.bytes).unwrap();
            assert_eq!(document["mediaType"], manifest);
            assert_eq!(made.media_type, manifest);
            assert_eq!(document["layers"][0]["mediaType"], expected);
            assert_eq!(document.get("annotations").is_some(), annotated);
        }
    }
}

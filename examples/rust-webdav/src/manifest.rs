//! The manifest and the index of an image (OCI image specification, "Image Manifest", "Image Index").

use occystrap_plugin::types::{Descriptor, Manifest};
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Returns a manifest with this config and these layers, lowest first.
pub fn of(config: &Descriptor, layers: &[Descriptor]) -> Manifest {
    let layers: Vec<Value> =
        layers.iter().map(|layer| descriptor_json(layer, layer_type(layer))).collect();
    let document = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor_json(config, "application/vnd.oci.image.config.v1+json"),
        "layers": layers,
    });
    Manifest { media_type: MANIFEST.to_owned(), bytes: document.to_string().into_bytes() }
}

/// Returns an index that lists one image.
pub fn index(manifest: &Descriptor, tag: &str) -> Vec<u8> {
    let mut entry = descriptor_json(manifest, &manifest.media_type);
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });
    index.to_string().into_bytes()
}

fn descriptor_json(blob: &Descriptor, media_type: &str) -> Value {
    json!({ "mediaType": media_type, "digest": blob.digest, "size": blob.size })
}

/// Returns the OCI media type of a layer. The layer may have the media type of Docker's schema 2, which means
/// the same.
fn layer_type(layer: &Descriptor) -> &'static str {
    match layer.media_type.rsplit(['.', '+']).next() {
        Some("gzip") => "application/vnd.oci.image.layer.v1.tar+gzip",
        Some("zstd") => "application/vnd.oci.image.layer.v1.tar+zstd",
        _ => "application/vnd.oci.image.layer.v1.tar",
    }
}

//! The manifest of a filtered image: that of the source, with the config and the layers that the image has now.
//!
//! Its media type, annotations, `artifactType`, `subject` and unknown fields stay. The descriptor of a layer that keeps
//! its bytes stays as well. What it refuses: to keep annotations about bytes that are gone.

use serde_json::{Map, Value, json};

use super::config::{CREATED, Edits};
use occystrap_base::oci::manifest::{DOCKER_MANIFEST, OCI_MANIFEST};
use occystrap_base::oci::{Digest, Manifest};
use occystrap_layer::image::{Image, Layer};
use occystrap_net::context::Context;

/// Annotations of a layer that describe its bytes, by the beginning of their keys: tables of contents of eStargz
/// (stargz-snapshotter, docs/estargz.md) and zstd:chunked (containers/storage, pkg/chunked), block devices and chunks of
/// overlaybd, nydus and SOCI, and the diff-id that containerd and buildkit repeat.
/// `plugins/manifest` has the same list.
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

/// Fields of a descriptor that are about its bytes, and that are written anew or left out.
const ABOUT_BYTES: [&str; 5] = ["mediaType", "digest", "size", "urls", "data"];

/// The parts of a filtered image that its manifest lists.
pub struct ManifestParts<'a> {
    /// The config.
    pub config: &'a [u8],
    /// The layers, lowest first.
    pub layers: &'a [Layer],
    /// The times of the image.
    pub edits: Option<&'a Edits<'a>>,
}

/// Returns the manifest of a filtered image, and warns about annotations that were false and were dropped. Returns `None`
/// where the source has no manifest, or one that is not an object.
pub fn of(image: &Image, parts: &ManifestParts<'_>, context: &Context) -> Option<Manifest> {
    let (manifest, dropped) = fitting(image.manifest.as_ref()?, parts)?;
    for line in dropped {
        context.warnings.say(&format!(
            "{}: annotations about bytes that the filters changed are dropped, of {line}",
            context.called(&image.name)
        ));
    }
    Some(manifest)
}

/// Returns the manifest of a filtered image, and a line for each kind of annotation that was false and was dropped. Returns
/// `None` where the manifest of the source is not an object.
pub fn fitting(source: &Manifest, parts: &ManifestParts<'_>) -> Option<(Manifest, Vec<String>)> {
    let mut document: Map<String, Value> = serde_json::from_slice(&source.bytes).ok()?;
    let media_type = match source.media_type.as_str() {
        DOCKER_MANIFEST => DOCKER_MANIFEST,
        _ => OCI_MANIFEST,
    };
    let old = |value: Option<Value>| match value {
        Some(Value::Object(descriptor)) => descriptor,
        _ => Map::new(),
    };
    let config = old(document.remove("config"));
    let layers = match document.remove("layers") {
        Some(Value::Array(layers)) => layers.into_iter().map(|layer| old(Some(layer))).collect(),
        _ => Vec::new(),
    };
    let mut dropped = Vec::new();
    let config_type = match config.get("mediaType").and_then(Value::as_str) {
        Some(known) => known.to_owned(),
        None => "application/vnd.oci.image.config.v1+json".to_owned(),
    };
    let (digest, size) = (Digest::of(parts.config), parts.config.len() as u64);
    let config = renewed(config, &config_type, digest, size);
    let new = layers_of(layers, parts.layers, media_type, &mut dropped);
    document.insert("config".to_owned(), config.into());
    document.insert("layers".to_owned(), new.into());
    document.insert("mediaType".to_owned(), json!(media_type));
    if let Some(Value::Object(said)) = document.get_mut("annotations") {
        drop_false(said, "the manifest", &mut dropped);
        if let Some(created) = said.get_mut(CREATED)
            && let Some(time) =
                created.as_str().and_then(|known| parts.edits?.time_instead_of(known))
        {
            *created = json!(time);
        }
    }
    let bytes = serde_json::to_vec(&document).ok()?;
    let digest = Digest::of(&bytes);
    Some((Manifest { bytes: bytes.into(), media_type: media_type.to_owned(), digest }, dropped))
}

/// Returns the descriptors of the layers. The descriptor of the source is found by its place if the image has as many
/// layers as before, and by its digest otherwise.
fn layers_of(
    old: Vec<Map<String, Value>>,
    layers: &[Layer],
    media_type: &str,
    dropped: &mut Vec<String>,
) -> Vec<Value> {
    let is_of = |descriptor: &Map<String, Value>, layer: &Layer| {
        let digest = layer.digest.map(|digest| digest.to_string());
        digest.is_some() && descriptor.get("digest").and_then(Value::as_str) == digest.as_deref()
    };
    let descriptor = |(index, layer): (usize, &Layer)| {
        let known = match old.len() == layers.len() {
            true => old.get(index),
            false => old.iter().find(|known| is_of(known, layer)),
        };
        let known = known.cloned().unwrap_or_default();
        if is_of(&known, layer) {
            return known.into();
        }
        let now = layer.descriptor();
        let mut renewed =
            renewed(known, &layer_type(media_type, &now.media_type), now.digest, now.size);
        if let Some(Value::Object(said)) = renewed.get_mut("annotations") {
            drop_false(said, &format!("layer {} of {}", index + 1, layers.len()), dropped);
            if said.is_empty() {
                renewed.remove("annotations");
            }
        }
        renewed.into()
    };
    let new: Vec<Value> = layers.iter().enumerate().map(descriptor).collect();
    if old.len() != layers.len() {
        let is_gone = |known: &Map<String, Value>| !layers.iter().any(|layer| is_of(known, layer));
        for (index, known) in old.iter().enumerate().filter(|(_, known)| is_gone(known)) {
            if let Some(Value::Object(said)) =
                known.get("annotations").filter(|said| !is_empty(said))
            {
                let keys: Vec<&str> = said.keys().map(String::as_str).collect();
                let what = format!("layer {} of {}, which is replaced", index + 1, old.len());
                dropped.push(format!("{what}: {}", keys.join(", ")));
            }
        }
    }
    new
}

/// Returns whether annotations say nothing.
fn is_empty(said: &Value) -> bool {
    said.as_object().is_none_or(Map::is_empty)
}

/// Returns a descriptor of other bytes.
fn renewed(
    mut descriptor: Map<String, Value>,
    media_type: &str,
    digest: Digest,
    size: u64,
) -> Map<String, Value> {
    descriptor.retain(|field, _| !ABOUT_BYTES.contains(&field.as_str()));
    descriptor.insert("mediaType".to_owned(), json!(media_type));
    descriptor.insert("digest".to_owned(), json!(digest.to_string()));
    descriptor.insert("size".to_owned(), json!(size));
    descriptor
}

/// Removes annotations about bytes that are gone, and adds a line about them.
fn drop_false(said: &mut Map<String, Value>, what: &str, dropped: &mut Vec<String>) {
    let is_false = |key: &String| OF_BYTES.iter().any(|prefix| key.starts_with(prefix));
    let gone: Vec<String> = said.keys().filter(|key| is_false(key)).cloned().collect();
    said.retain(|key, _| !is_false(key));
    if !gone.is_empty() {
        dropped.push(format!("{what}: {}", gone.join(", ")));
    }
}

/// Returns the media type of a layer in a manifest of a kind.
fn layer_type(manifest: &str, layer: &str) -> String {
    match (manifest, layer.rsplit('+').next()) {
        (DOCKER_MANIFEST, Some("gzip")) => {
            "application/vnd.docker.image.rootfs.diff.tar.gzip".to_owned()
        }
        // buildkit's media type.
        (DOCKER_MANIFEST, Some("zstd")) => {
            "application/vnd.docker.image.rootfs.diff.tar.zstd".to_owned()
        }
        (DOCKER_MANIFEST, _) if layer.ends_with(".tar") => {
            "application/vnd.docker.image.rootfs.diff.tar".to_owned()
        }
        _ => layer.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_of_layers_that_are_replaced_are_named() {
        let digest = |text: &str| Digest::of(text.as_bytes());
        let manifest = json!({ "mediaType": OCI_MANIFEST, "layers": [
            { "digest": digest("a").to_string(), "annotations": { "mine": "x", "other": "y" } },
            { "digest": digest("b").to_string() },
            { "digest": digest("c").to_string(), "annotations": {} },
        ] });
        let bytes = manifest.to_string();
        let source = Manifest {
            digest: digest(&bytes),
            bytes: bytes.into_bytes().into(),
            media_type: OCI_MANIFEST.to_owned(),
        };
        let parts = ManifestParts { config: b"{}", layers: &[], edits: None };
        let (_, dropped) = fitting(&source, &parts).unwrap();
        assert_eq!(dropped, ["layer 1 of 3, which is replaced: mine, other"]);
    }

    #[test]
    fn plugins_drop_the_same_annotations() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/manifest/src/document.rs");
        let text = std::fs::read_to_string(path).unwrap();
        let (_, list) = text.split_once("const OF_BYTES").unwrap();
        let (list, _) = list.split_once("];").unwrap();
        let theirs: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
        assert_eq!(theirs, OF_BYTES);
    }
}

//! Artifacts: manifests of attestations, signatures, charts and the like, which stand in the place of an image and are
//! none (OCI image specification, "Guidelines for Artifact Usage").

use super::Digest;
use super::config_type::is_config;
use super::document::{ManifestDocument, RawDescriptor};
use super::manifest::type_or_not;

/// Returns whether the media types of config or layers are not those of an image. An attestation of buildkit has an
/// image's config, and layers of `application/vnd.in-toto+json`.
#[must_use]
pub fn is_artifact(manifest: &ManifestDocument) -> bool {
    let is_layer = |layer: &RawDescriptor| {
        LAYERS.iter().any(|known| layer.media_type().starts_with(known)) && !is_encrypted(layer)
    };
    !is_config(manifest.config_type()) || !manifest.layers().iter().all(is_layer)
}

/// Returns whether a manifest is that of an image in spite of its media types. The tool that made it gave it no media
/// types, or gave a wrong one to a layer that is a compressed tar by the config. The config must list as many layers as
/// the manifest.
#[must_use]
pub fn is_image_by_config(manifest: &ManifestDocument, config: &[u8]) -> bool {
    let layers = manifest.layers();
    let config_type = manifest.config_type();
    let Ok(config) = super::config::parse(config, "") else { return false };
    let is_compressed = |layer: &RawDescriptor, diff_id: Digest| {
        is_config(config_type) && Promise::of(layer, diff_id) == Promise::DiffId(diff_id)
    };
    !layers.is_empty()
        && config.diff_ids.len() == layers.len()
        && (is_config(config_type) || UNTYPED.contains(&config_type))
        && (layers.iter().zip(config.diff_ids))
            .all(|(layer, diff_id)| may_be_layer(layer) || is_compressed(layer, diff_id))
}

/// Returns whether no media type in a manifest shows that it is an artifact.
#[must_use]
pub fn is_untyped(manifest: &ManifestDocument) -> bool {
    let config_type = manifest.config_type();
    (is_config(config_type) || UNTYPED.contains(&config_type))
        && manifest.layers().iter().all(may_be_layer)
}

fn may_be_layer(layer: &RawDescriptor) -> bool {
    let said = layer.media_type();
    let is_typed = LAYERS.iter().any(|known| said.starts_with(known)) && !is_encrypted(layer);
    is_typed || UNTYPED.contains(&said)
}

/// Beginnings of the media types of layers.
const LAYERS: [&str; 2] =
    ["application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs."];

/// Media types that tools and servers give to content of an unknown type.
const UNTYPED: [&str; 10] = [
    "",
    "application/octet-stream",
    "application/json",
    "text/html",
    "text/plain",
    "application/x-tar",
    "application/tar",
    "application/gzip",
    "application/x-gzip",
    "application/tar+gzip",
];

/// Returns the type of an artifact: the one that the manifest gives itself, or else that of its config, or else that of
/// its first layer that is not an image's, or that is encrypted.
#[must_use]
pub fn kind(manifest: &ManifestDocument) -> String {
    let config = manifest.config_type();
    let said = manifest.artifact_type().filter(|_| config == EMPTY || is_config(config));
    if let Some(said) = said {
        return said.to_owned();
    }
    if !is_config(config) {
        return config.to_owned();
    }
    let is_layer = |one: &str| LAYERS.iter().any(|known| one.starts_with(known));
    let layers = manifest.layers().iter().map(RawDescriptor::media_type);
    let mut foreign = layers.filter(|one| !is_layer(one) || is_encrypted_type(one));
    foreign.next().unwrap_or(config).to_owned()
}

/// Media type of the empty config (OCI image specification, "Guidance for an Empty Descriptor").
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

fn is_encrypted(layer: &RawDescriptor) -> bool {
    is_encrypted_type(layer.media_type())
}

/// Returns whether a media type is that of an encrypted layer (ocicrypt: `+encrypted`).
#[must_use]
pub fn is_encrypted_type(media_type: &str) -> bool {
    media_type.ends_with("+encrypted")
}

/// Returns what an artifact of this type is, for a sentence that begins with its name.
#[must_use]
pub fn description(kind: &str) -> String {
    let shown = type_or_not(kind);
    match is_encrypted_type(kind) {
        true => format!("is an encrypted image ({shown}), which cannot be read without its key"),
        false => format!("is an OCI artifact ({shown}), not an image"),
    }
}

/// Promise of a config about a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// The layer unpacks to content with this digest.
    DiffId(Digest),
    /// The layer's stored bytes have this digest: there is nothing to unpack. Attestations and signatures are such
    /// layers.
    Stored,
    /// The layer is encrypted (`+encrypted`, ocicrypt): it cannot be checked without its key.
    Secret,
}

impl Promise {
    /// Returns the promise of a diff-id about an artifact's layer.
    #[must_use]
    pub fn of(layer: &RawDescriptor, diff_id: Digest) -> Self {
        if layer.digest() == diff_id.to_string() {
            return Self::Stored;
        }
        if is_encrypted(layer) { Self::Secret } else { Self::DiffId(diff_id) }
    }
}

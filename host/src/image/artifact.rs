//! Artifacts: manifests of attestations, signatures, charts and the like, which stand where images do
//! and are none (image specification, "Guidelines for Artifact Usage").

use oci_spec::image::{Descriptor, ImageManifest};

use super::Digest;

/// Whether config or layers are not those of an image, by their media types. What buildkit attests has an
/// image's config, and layers of `application/vnd.in-toto+json`.
#[must_use]
pub fn is_artifact(manifest: &ImageManifest) -> bool {
    const CONFIGS: [&str; 2] = [
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    ];
    const LAYERS: [&str; 2] =
        ["application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs."];
    let is_layer = |layer: &Descriptor| {
        let media_type = layer.media_type().to_string();
        LAYERS.iter().any(|known| media_type.starts_with(known)) && !is_encrypted(layer)
    };
    let config = manifest.config().media_type().to_string();
    !CONFIGS.contains(&config.as_str()) || !manifest.layers().iter().all(is_layer)
}

fn is_encrypted(layer: &Descriptor) -> bool {
    layer.media_type().to_string().ends_with("+encrypted")
}

/// What a config promises of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// That it unpacks to this.
    DiffId(Digest),
    /// The very digest that its bytes have: there is nothing to unpack. So it is with attestations and
    /// signatures.
    Stored,
    /// What nobody can see without a key (`+encrypted`, ocicrypt).
    Secret,
}

impl Promise {
    /// What a diff-id promises of an artifact's layer.
    #[must_use]
    pub fn of(layer: &Descriptor, diff_id: Digest) -> Self {
        if layer.digest().to_string() == diff_id.to_string() {
            return Self::Stored;
        }
        if is_encrypted(layer) { Self::Secret } else { Self::DiffId(diff_id) }
    }
}

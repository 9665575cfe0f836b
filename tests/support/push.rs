//! Putting a test image into the registry for tests.

use super::image::{Pack, TestImage};
use super::registry::Registry;
use super::shape::oci_manifest;

/// Stores an image under its name and returns its URI for `process`.
pub fn push(registry: &Registry, image: &TestImage, pack: Pack) -> String {
    for layer in &image.layers {
        registry.put_blob(pack.pack(layer));
    }
    registry.put_blob(&image.config);
    let (repository, tag) = image.name.rsplit_once(':').unwrap();
    let manifest = oci_manifest(image, pack);
    registry.put_manifest(repository, tag, "application/vnd.oci.image.manifest.v1+json", manifest);
    format!("registry://{}/{}?insecure=true", registry.url_host(), image.name)
}

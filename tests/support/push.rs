//! Pushes of a test image to the registry for tests, by the test or by the binary.

use occystrap_base::oci::Digest;

use super::image::{Pack, TestImage};
use super::registry::Registry;
use super::shape::{docker_manifest, oci_manifest};

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

/// Works like [`push`], with a manifest of Docker's schema 2.
pub fn push_docker(registry: &Registry, image: &TestImage) -> String {
    let source = push(registry, image, Pack::Gzip);
    let (repository, tag) = image.name.rsplit_once(':').unwrap();
    let media_type = "application/vnd.docker.distribution.manifest.v2+json";
    registry.put_manifest(repository, tag, media_type, docker_manifest(image));
    source
}

/// The URI of a name in a registry, as a destination.
pub fn to(registry: &Registry, name: &str) -> String {
    format!("registry://{}/{name}?insecure=true", registry.url_host())
}

/// The registry holds this image as the test packs it, byte for byte.
#[track_caller]
pub fn holds(registry: &Registry, name: &str, image: &TestImage, pack: Pack) {
    let (repository, tag) = name.rsplit_once(':').unwrap();
    let (_, manifest) = registry.manifest(repository, tag).expect("the tag is there");
    assert_eq!(manifest, oci_manifest(image, pack));
    holds_blobs(registry, repository, image, pack);
}

/// Config and layers are there, whatever the manifest.
#[track_caller]
pub fn holds_blobs(registry: &Registry, repository: &str, image: &TestImage, pack: Pack) {
    let packed = image.layers.iter().map(|layer| pack.pack(layer));
    for bytes in packed.chain([image.config.clone()]) {
        let held = registry.blob(repository, Digest::of(&bytes)).expect("the blob is there");
        assert!(held == bytes);
    }
}

/// Checks that a tag does not exist.
#[track_caller]
pub fn nothing(registry: &Registry, name: &str) {
    let (repository, tag) = name.rsplit_once(':').unwrap();
    assert_eq!(registry.manifest(repository, tag), None, "a tag has appeared");
    assert_eq!(registry.requests_of("PUT", "/manifests/").len(), 0, "a manifest was sent");
}

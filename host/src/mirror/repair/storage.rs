//! Names in the storage of docker-registry (distribution/registry/storage/paths.go), for what its operator must remove.

use occystrap_base::oci::Digest;

/// Returns the file with the bytes of a blob or a manifest.
pub fn data(digest: Digest) -> String {
    let hex = digest.hex();
    format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2])
}

/// Returns the folder by which a repository has a blob.
pub fn blob_link(repository: &str, digest: Digest) -> String {
    format!("docker/registry/v2/repositories/{repository}/_layers/sha256/{}", digest.hex())
}

/// Returns the folder by which a repository has a manifest.
pub fn revision(repository: &str, digest: Digest) -> String {
    format!(
        "docker/registry/v2/repositories/{repository}/_manifests/revisions/sha256/{}",
        digest.hex()
    )
}

/// Returns the folder of a tag.
pub fn tag(repository: &str, tag: &str) -> String {
    format!("docker/registry/v2/repositories/{repository}/_manifests/tags/{tag}")
}

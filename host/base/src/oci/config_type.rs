//! Media type that a manifest gives its image's config, and the container engines that accept it.
//!
//! The rules here were tried with Docker 20.10 (`docker pull`), Podman 4.3 (`podman pull`) and skopeo 1.9 (`skopeo
//! copy`, which accepts all types): docs/compatibility.md. Podman accepts any config type in a Docker manifest, and
//! only OCI's config in an OCI manifest.

use super::manifest::DOCKER_MANIFEST;

/// Media type of OCI's config (OCI image specification, "Image Configuration").
pub const OCI: &str = "application/vnd.oci.image.config.v1+json";

/// Media type of Docker's config (Image Manifest Version 2, Schema 2).
pub const DOCKER: &str = "application/vnd.docker.container.image.v1+json";

/// Returns whether a media type is one of the two that are specified for an image's config.
#[must_use]
pub fn is_config(media_type: &str) -> bool {
    [OCI, DOCKER].contains(&media_type)
}

/// Media types that Docker takes for an image's config besides the two specified ones. Old registries and tools have
/// written them; an empty type counts as well.
const GENERIC: [&str; 4] = ["application/octet-stream", "application/json", "text/html", ""];

/// Media types of Docker's managed plugins, and of its old signed manifests. Docker pulls them as an image from an OCI
/// manifest, and rejects them in its own manifest.
const PLUGINS: [&str; 2] = [
    "application/vnd.docker.plugin.v1+json",
    "application/vnd.docker.container.image.v1+prettyjws",
];

/// Engines that pull an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Engines {
    /// Docker pulls it.
    pub docker: bool,
    /// Podman pulls it.
    pub podman: bool,
}

/// Returns the engines that pull an image whose config has the media type `config` in a manifest of the type
/// `manifest`. A manifest without a type is read as OCI's.
#[must_use]
pub fn engines(config: &str, manifest: &str) -> Engines {
    let is_oci = manifest != DOCKER_MANIFEST;
    let docker =
        is_config(config) || GENERIC.contains(&config) || (is_oci && PLUGINS.contains(&config));
    Engines { docker, podman: !is_oci || config == OCI }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::manifest::OCI_MANIFEST;

    #[test]
    fn engines_take_the_types_that_they_were_tried_with() {
        // The type, whether Docker and Podman pull it in Docker's manifest, and in OCI's.
        let table: [(&str, [bool; 2], [bool; 2]); 11] = [
            (DOCKER, [true, true], [true, false]),
            (OCI, [true, true], [true, true]),
            ("application/octet-stream", [true, true], [true, false]),
            ("application/json", [true, true], [true, false]),
            ("text/html", [true, true], [true, false]),
            ("", [true, true], [true, false]),
            ("text/plain", [false, true], [false, false]),
            (PLUGINS[0], [false, true], [true, false]),
            (PLUGINS[1], [false, true], [true, false]),
            ("application/vnd.oci.empty.v1+json", [false, true], [false, false]),
            ("application/vnd.cncf.helm.config.v1+json", [false, true], [false, false]),
        ];
        for (config, in_docker, in_oci) in table {
            for (manifest, [docker, podman]) in
                [(DOCKER_MANIFEST, in_docker), (OCI_MANIFEST, in_oci)]
            {
                assert_eq!(
                    engines(config, manifest),
                    Engines { docker, podman },
                    "{config} in {manifest}"
                );
            }
        }
    }
}

//! The media type of an image's config, and which engines take it.
//!
//! What is claimed here was tried with Docker 20.10 (`docker pull`), Podman 4.3 (`podman pull`) and skopeo
//! 1.9 (`skopeo copy`, which takes all of them): docs/compatibility.md. Podman reads Docker's manifests
//! whatever the config is called, and OCI's manifests only with OCI's config.

use super::finding::Severity;
use crate::image::manifest::OCI_MANIFEST;

const OCI: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER: &str = "application/vnd.docker.container.image.v1+json";

/// What Docker takes for an image's config besides the two types that are specified. Old registries and
/// tools have written it; an empty type counts as well.
const GENERIC: [&str; 3] = ["application/octet-stream", "application/json", ""];

/// Docker's managed plugins, and its signed manifests of old. In an OCI manifest Docker pulls such a thing as
/// an image, in its own manifest it does not.
const PLUGINS: [&str; 2] = [
    "application/vnd.docker.plugin.v1+json",
    "application/vnd.docker.container.image.v1+prettyjws",
];

/// Judges the type of an image's config in a manifest of a type. `None` where nothing is odd.
pub(super) fn judge(config: &str, manifest: &str) -> Option<(Severity, String)> {
    let is_oci = manifest == OCI_MANIFEST;
    if config == if is_oci { OCI } else { DOCKER } {
        return None;
    }
    let docker = match config {
        OCI | DOCKER => true,
        other if PLUGINS.contains(&other) => is_oci,
        other => GENERIC.contains(&other),
    };
    let podman = !is_oci;
    let who = match (docker, podman) {
        (true, true) => "Docker and Podman take it",
        (true, false) => "Podman refuses the image, Docker takes it",
        (false, true) => "Docker refuses the image, Podman takes it",
        (false, false) => "Docker and Podman refuse the image",
    };
    let severity = if docker || podman { Severity::Warning } else { Severity::Error };
    let what = match config {
        "" => "the config has no media type".to_owned(),
        OCI | DOCKER => format!("a config of '{config}' in a manifest of '{manifest}'"),
        other => format!("'{other}' is not the media type of an image's config"),
    };
    Some((severity, format!("{what}: {who}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::manifest::DOCKER_MANIFEST;

    #[test]
    fn what_is_said_of_a_config_is_what_engines_do_with_it() {
        // The type, whether Docker and Podman pull it in Docker's manifest, and in OCI's.
        let table: [(&str, [bool; 2], [bool; 2]); 10] = [
            (DOCKER, [true, true], [true, false]),
            (OCI, [true, true], [true, true]),
            ("application/octet-stream", [true, true], [true, false]),
            ("application/json", [true, true], [true, false]),
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
                let Some((severity, said)) = judge(config, manifest) else {
                    assert!(docker && podman, "{config} in {manifest}");
                    continue;
                };
                let refused = |who: &str| {
                    said.contains(&format!("{who} refuses"))
                        || said.contains("Docker and Podman refuse")
                };
                let what = format!("{config} in {manifest}: {said}");
                assert_eq!((refused("Docker"), refused("Podman")), (!docker, !podman), "{what}");
                let worst = if docker || podman { Severity::Warning } else { Severity::Error };
                assert_eq!(severity, worst, "{what}");
            }
        }
    }
}

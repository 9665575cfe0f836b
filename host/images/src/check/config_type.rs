//! The rule about the media type that a manifest gives its config: which engines accept it.

use super::finding::Severity;
use occystrap_base::oci::config_type::{DOCKER, Engines, OCI, engines};
use occystrap_base::oci::manifest::DOCKER_MANIFEST;

/// Checks the media type of an image's config in a manifest of the given type. Returns `None` for the type that the
/// specification of the manifest asks for.
pub(super) fn check(config: &str, manifest: &str) -> Option<(Severity, String)> {
    if config == if manifest == DOCKER_MANIFEST { DOCKER } else { OCI } {
        return None;
    }
    let Engines { docker, podman } = engines(config, manifest);
    let engines = match (docker, podman) {
        (true, true) => "Docker and Podman accept it",
        (true, false) => "Podman refuses the image, Docker accepts it",
        (false, true) => "Docker refuses the image, Podman accepts it",
        (false, false) => "Docker and Podman refuse the image",
    };
    let severity = if docker || podman { Severity::Warning } else { Severity::Error };
    let what = match config {
        "" => "the config has no media type".to_owned(),
        OCI | DOCKER => format!("a config of '{config}' in a manifest of '{manifest}'"),
        other => format!("'{other}' is not the media type of an image's config"),
    };
    Some((severity, format!("{what}: {engines}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use occystrap_base::oci::manifest::OCI_MANIFEST;

    #[test]
    fn an_error_is_what_both_engines_refuse() {
        for (config, manifest, severity, text) in [
            ("text/plain", OCI_MANIFEST, Severity::Error, "Docker and Podman refuse"),
            ("text/plain", DOCKER_MANIFEST, Severity::Warning, "Docker refuses"),
            ("application/json", OCI_MANIFEST, Severity::Warning, "Podman refuses"),
            ("application/json", DOCKER_MANIFEST, Severity::Warning, "Docker and Podman accept it"),
            (DOCKER, OCI_MANIFEST, Severity::Warning, "Podman refuses"),
        ] {
            let (found, message) = check(config, manifest).unwrap();
            assert_eq!(found, severity, "{message}");
            assert!(message.contains(text), "{message}");
        }
        assert!(check(OCI, OCI_MANIFEST).is_none() && check(DOCKER, DOCKER_MANIFEST).is_none());
    }
}

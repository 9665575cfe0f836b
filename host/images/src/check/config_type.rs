//! What `check` says of the media type that a manifest gives its config.

use super::finding::Severity;
use occystrap_base::oci::config_type::{DOCKER, Engines, OCI, engines};
use occystrap_base::oci::manifest::DOCKER_MANIFEST;

/// Judges the type of an image's config in a manifest of a type. `None` where nothing is odd.
pub(super) fn judge(config: &str, manifest: &str) -> Option<(Severity, String)> {
    if config == if manifest == DOCKER_MANIFEST { DOCKER } else { OCI } {
        return None;
    }
    let Engines { docker, podman } = engines(config, manifest);
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
    use occystrap_base::oci::manifest::OCI_MANIFEST;

    #[test]
    fn an_error_is_what_both_engines_refuse() {
        for (config, manifest, severity, said) in [
            ("text/plain", OCI_MANIFEST, Severity::Error, "Docker and Podman refuse"),
            ("text/plain", DOCKER_MANIFEST, Severity::Warning, "Docker refuses"),
            ("application/json", OCI_MANIFEST, Severity::Warning, "Podman refuses"),
            ("application/json", DOCKER_MANIFEST, Severity::Warning, "Docker and Podman take it"),
            (DOCKER, OCI_MANIFEST, Severity::Warning, "Podman refuses"),
        ] {
            let (found, message) = judge(config, manifest).unwrap();
            assert_eq!(found, severity, "{message}");
            assert!(message.contains(said), "{message}");
        }
        assert!(judge(OCI, OCI_MANIFEST).is_none() && judge(DOCKER, DOCKER_MANIFEST).is_none());
    }
}

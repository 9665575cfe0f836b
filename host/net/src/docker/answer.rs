//! Answers of an engine about itself and about an image: the needed fields, checked.

use serde::Deserialize;

use occystrap_base::error::{Error, Result};
use occystrap_base::oci::{Digest, MOST_LAYERS, Platform};

/// Description of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Whether it is Podman, which prints full names of images and gives slightly different answers.
    pub podman: bool,
    /// Version, such as `20.10.24`.
    pub version: String,
    /// Version of the API, such as `1.41`.
    pub api_version: String,
    /// Whether its images are in containerd's store. An image's ID is then the digest of a manifest or an index, and
    /// not that of the config.
    pub containerd_store: bool,
    /// Whether it pushes to 127.0.0.1 without TLS. Docker says that in a list; Podman takes it as a parameter of a push.
    pub loopback_is_insecure: bool,
    /// Why its 127.0.0.1 is not that of this machine, where that is so.
    pub elsewhere: Option<&'static str>,
}

/// Description of an image in an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// ID of the image in the engine. See [`About::containerd_store`].
    pub id: Digest,
    /// Digests of the uncompressed layers, lowest first.
    pub diff_ids: Vec<Digest>,
    /// Names, full or familiar, as the engine prints them.
    pub tags: Vec<String>,
    /// Platform of the image.
    pub platform: Platform,
    /// Size in bytes of the uncompressed layers, as the engine counts; 0 where it is not given.
    pub size: u64,
}

/// Build step of an image (`GET /images/{name}/history`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default, expecting = "a step of an image's history")]
pub struct EngineHistoryStep {
    /// Command of the step.
    pub created_by: String,
    /// Comment of the builder.
    pub comment: String,
    /// Bytes of the files of the step, uncompressed; 0 where it made no layer.
    pub size: u64,
    /// Time in seconds since 1970; 0 where it is not given.
    pub created: i64,
}

/// Answer to `GET /version`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", expecting = "what an engine says of its version")]
pub(super) struct Version {
    #[serde(default)]
    version: String,
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    components: Option<Vec<Component>>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
#[serde(rename_all = "PascalCase")]
struct Component {
    #[serde(default)]
    name: String,
}

/// Answer to `GET /info`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", expecting = "what an engine says of its state")]
pub(super) struct EngineInfo {
    /// Pairs, whose form depends on the driver.
    #[serde(default)]
    driver_status: serde_json::Value,
    #[serde(default)]
    security_options: serde_json::Value,
    #[serde(default)]
    operating_system: serde_json::Value,
    #[serde(default)]
    registry_config: serde_json::Value,
}

impl EngineInfo {
    /// Returns whether a list has an element.
    fn lists(list: &serde_json::Value, element: &str) -> bool {
        list.as_array().is_some_and(|all| all.iter().any(|one| one == element))
    }

    /// Returns why the engine's 127.0.0.1 is not that of this machine.
    fn elsewhere(&self) -> Option<&'static str> {
        let text = self.operating_system.as_str().unwrap_or_default();
        match () {
            () if Self::lists(&self.security_options, "name=rootless") => {
                Some("is rootless, and has a network of its own")
            }
            () if text.starts_with("Docker Desktop") => {
                Some("is Docker Desktop, in a virtual machine")
            }
            () => None,
        }
    }
}

impl About {
    pub(super) fn new(version: Version, info: &EngineInfo) -> Self {
        let components = version.components.unwrap_or_default();
        // Docker's documented mark: ["driver-type", "io.containerd.snapshotter.v1"].
        let is_mark = |pair: &serde_json::Value| {
            pair[0] == "driver-type" && pair[1] == "io.containerd.snapshotter.v1"
        };
        Self {
            podman: components.iter().any(|component| component.name.starts_with("Podman")),
            loopback_is_insecure: EngineInfo::lists(
                &info.registry_config["InsecureRegistryCIDRs"],
                "127.0.0.0/8",
            ),
            elsewhere: info.elsewhere(),
            version: version.version,
            api_version: version.api_version,
            containerd_store: info
                .driver_status
                .as_array()
                .is_some_and(|all| all.iter().any(is_mark)),
        }
    }
}

/// An image in the answer to `GET /images/json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", expecting = "an image that an engine lists")]
pub(super) struct ListedNames {
    #[serde(default)]
    pub(super) repo_tags: Option<Vec<String>>,
}

/// Answer to `GET /images/{name}/json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", expecting = "what an engine says of an image")]
pub(super) struct RawImage {
    id: String,
    #[serde(default, rename = "RootFS")]
    root_fs: RootFs,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default)]
    size: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(expecting = "an object")]
#[serde(rename_all = "PascalCase")]
struct RootFs {
    #[serde(default)]
    layers: Option<Vec<String>>,
}

impl Inspected {
    /// Checks an answer. Errors name `place`.
    pub(super) fn new(raw: RawImage, place: &str) -> Result<Self> {
        let layers = raw.root_fs.layers.unwrap_or_default();
        if layers.len() > MOST_LAYERS {
            let what = format!("{place}: number of layers");
            return Err(Error::mismatch(what, format!("at most {MOST_LAYERS}"), layers.len()));
        }
        let digest = |text: &String| match text.contains(':') {
            true => text.parse(),
            false => Digest::from_hex(text),
        };
        let diff_ids = layers.iter().map(digest).collect::<Result<_>>();
        Ok(Self {
            id: digest(&raw.id).map_err(|error| error.within(place))?,
            diff_ids: diff_ids.map_err(|error| error.within(place))?,
            tags: raw.repo_tags.unwrap_or_default(),
            platform: Platform {
                os: raw.os,
                architecture: raw.architecture,
                variant: raw.variant.filter(|variant| !variant.is_empty()),
            },
            size: raw.size.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(version: &str, info: &str) -> About {
        About::new(serde_json::from_str(version).unwrap(), &serde_json::from_str(info).unwrap())
    }

    #[test]
    fn engines_are_told_apart() {
        let docker = about(
            r#"{"Version":"29.0.1","ApiVersion":"1.52","Components":[{"Name":"Engine"}]}"#,
            r#"{"DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]]}"#,
        );
        assert!(docker.containerd_store && !docker.podman);
        assert_eq!((docker.version.as_str(), docker.api_version.as_str()), ("29.0.1", "1.52"));
        let old = about("{}", r#"{"DriverStatus":[["Backing Filesystem","extfs"]]}"#);
        assert!(!old.containerd_store && !old.podman);
        let podman =
            about(r#"{"Components":[{"Name":"Podman Engine"}]}"#, r#"{"DriverStatus":null}"#);
        assert!(podman.podman && !podman.containerd_store);
    }

    #[test]
    fn an_image_needs_an_id_and_digests() {
        let parse = |text: &str| {
            serde_json::from_str(text)
                .map_err(|_| ())
                .and_then(|raw| Inspected::new(raw, "x").map_err(|_| ()))
        };
        let hex = "a".repeat(64);
        let image = parse(&format!(
            r#"{{"Id":"{hex}","RepoTags":null,"Variant":"","RootFS":{{"Type":"layers","Layers":["sha256:{hex}"]}}}}"#
        ))
        .unwrap();
        assert_eq!(image.diff_ids, [image.id]);
        assert_eq!(image.platform.variant, None);
        for bad in
            ["{}", r#"{"Id":"x"}"#, &format!(r#"{{"Id":"{hex}","RootFS":{{"Layers":["x"]}}}}"#)]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

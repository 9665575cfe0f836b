//! The description of an image, in the form of the JSON document (docs/inspecting.md).

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::history::{self, HistoryStep};
use super::unpacked::UnpackedSize;
use crate::source::view::{IndexEntry, View, ViewKind, ViewedLayer, text_of};
use occystrap_base::oci::json;

/// The description of an image.
#[derive(Debug, Serialize)]
pub struct ImageInfo {
    /// Whether it is an image or an artifact.
    pub kind: ViewKind,
    /// The familiar name without the tag.
    pub image: String,
    /// The tag; empty if it has none.
    pub tag: String,
    /// A reference to exactly these bytes; only for registries and engines.
    pub reference: Option<String>,
    /// Platform such as `linux/arm64/v8`; `None` if the config names none.
    pub platform: Option<String>,
    /// Digest of the config; for an engine, its image ID.
    pub image_id: Option<String>,
    /// Digest of the manifest.
    pub manifest_digest: Option<String>,
    /// Media type of the manifest.
    pub media_type: Option<String>,
    /// Digest of the index that led to the manifest.
    pub index_digest: Option<String>,
    /// Time of creation, as written in the config.
    pub created: Option<String>,
    /// Author, as written in the config.
    pub author: Option<String>,
    /// Bytes of all stored layers; `None` if one of them is not known.
    pub size: Option<u64>,
    /// Bytes of all uncompressed layers; `None` if one of them is not known.
    pub unpacked: Option<u64>,
    /// Whether `unpacked` is certain.
    pub unpacked_exact: bool,
    /// Entries of the index; empty without one.
    pub platforms: Vec<PlatformInfo>,
    /// Layers, lowest first.
    pub layers: Vec<LayerInfo>,
    /// Steps of the history, first to last.
    pub history: Vec<HistoryStep>,
    /// Settings for running it.
    pub config: RunConfig,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// Whether it is an image with encrypted layers.
    #[serde(skip)]
    pub is_encrypted: bool,
}

/// An entry of an index.
#[derive(Debug, Serialize)]
pub struct PlatformInfo {
    /// Platform; `None` if the index names none.
    pub platform: Option<String>,
    /// Digest of its manifest.
    pub digest: String,
    /// Media type of its manifest.
    pub media_type: String,
    /// Bytes of its manifest.
    pub size: u64,
    /// Whether it is an attestation and not an image.
    pub attestation: bool,
    /// Whether it is the entry that is described.
    pub chosen: bool,
}

/// A layer.
#[derive(Debug, Serialize)]
pub struct LayerInfo {
    /// Number of the layer, from 0 for the lowest.
    pub index: usize,
    /// Digest of the stored layer; `None` if the source does not give it.
    pub digest: Option<String>,
    /// Digest of the uncompressed layer; `None` if the config does not list it.
    pub diff_id: Option<String>,
    /// Bytes of the stored layer.
    pub size: Option<u64>,
    /// Bytes of the uncompressed layer.
    pub unpacked: Option<u64>,
    /// Whether `unpacked` is certain.
    pub unpacked_exact: bool,
    /// `unpacked` divided by `size`.
    pub ratio: Option<f64>,
    /// Compression: `gzip`, `zstd`, `xz`, `bzip2`, `plain`, or the name of an unsupported one.
    pub compression: Option<String>,
    /// Media type of the stored layer; `None` if the source does not give it.
    pub media_type: Option<String>,
    /// The command that made it; `None` if the history does not fit the layers.
    pub created_by: Option<String>,
}

/// Settings for running an image (OCI image specification, "Image Configuration", `config`).
#[derive(Debug, Default, Serialize)]
pub struct RunConfig {
    /// Program and its first arguments.
    pub entrypoint: Vec<String>,
    /// Default arguments.
    pub cmd: Vec<String>,
    /// Environment variables, as `NAME=VALUE`.
    pub env: Vec<String>,
    /// User; empty for root.
    pub user: String,
    /// Working directory.
    pub working_dir: String,
    /// Ports, such as `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// Paths of volumes.
    pub volumes: Vec<String>,
    /// Labels by name.
    pub labels: BTreeMap<String, String>,
    /// Signal that stops it, such as `SIGTERM`.
    pub stop_signal: Option<String>,
    /// Shell for commands that are given as one text.
    pub shell: Vec<String>,
    /// Healthcheck, as in the config.
    pub healthcheck: Option<Value>,
}

impl ImageInfo {
    /// Describes a view. `unpacked` holds the uncompressed size of each layer.
    #[must_use]
    pub fn new(view: &View, unpacked: &[Option<UnpackedSize>]) -> Self {
        let document = &view.config.document;
        let history = history::of_view(view);
        let layers = layers(view, unpacked, &history);
        let text = |value: &Value| Some(text_of(value)).filter(|text| !text.is_empty());
        let id = match &view.config.bytes {
            Some(bytes) => Some(occystrap_base::oci::Digest::of(bytes)),
            None => view.config.promised.digest,
        };
        let manifest = view.manifest.as_ref();
        let body = manifest.and_then(|known| json::parse::<Value>(&known.bytes).ok());
        let index = view.index.as_ref();
        let all = |size: fn(&LayerInfo) -> Option<u64>| {
            layers.iter().map(size).try_fold(0_u64, |all, size| Some(all.saturating_add(size?)))
        };
        let is_known = !layers.is_empty();
        // An engine counts the files of every step, also where it does not say which layer is whose.
        let counted = view.engine_steps.iter().map(|step| step.size);
        let counted = counted.fold(0, u64::saturating_add);
        Self {
            kind: view.role,
            image: view.name.repository.clone(),
            tag: view.name.tag.clone().unwrap_or_default(),
            reference: view.reference.clone(),
            platform: platform(document),
            image_id: id.map(|id| id.to_string()),
            manifest_digest: manifest.map(|known| known.digest.to_string()),
            media_type: manifest.map(|known| known.media_type.clone()),
            index_digest: index.and_then(|known| Some(known.manifest.as_ref()?.digest.to_string())),
            created: text(&document["created"]),
            author: text(&document["author"]),
            size: all(|layer| layer.size).filter(|_| is_known),
            unpacked: all(|layer| layer.unpacked)
                .or((!view.engine_steps.is_empty()).then_some(counted))
                .filter(|_| is_known),
            unpacked_exact: layers.iter().all(|layer| layer.unpacked_exact) && is_known,
            platforms: index.map_or_else(Vec::new, |known| {
                known.entries.iter().map(PlatformInfo::new).collect()
            }),
            layers,
            history,
            config: RunConfig::new(&document["config"]),
            annotations: body.map_or_else(BTreeMap::new, |body| map(&body["annotations"])),
            is_encrypted: view.is_encrypted(),
        }
    }
}

fn layers(
    view: &View,
    unpacked: &[Option<UnpackedSize>],
    history: &[HistoryStep],
) -> Vec<LayerInfo> {
    let listed = view.config.document["rootfs"]["diff_ids"].as_array();
    let diff_id = |index: usize| listed?.get(index)?.as_str().map(str::to_owned);
    let layer = |(index, kept): (usize, &ViewedLayer)| {
        let size = kept.size.or(kept.promised.size);
        let unpacked = unpacked.get(index).copied().flatten();
        let bytes = unpacked.map(|known| known.bytes);
        let maker = history.iter().find(|step| step.layer == Some(index));
        let ratio = |(bytes, size): (u64, u64)| {
            (size > 0).then(|| (bytes as f64 / size as f64 * 100.0).round() / 100.0)
        };
        LayerInfo {
            index,
            digest: kept.promised.digest.map(|digest| digest.to_string()),
            diff_id: diff_id(index),
            size,
            unpacked: bytes,
            unpacked_exact: unpacked.is_some_and(|known| known.exact),
            ratio: bytes.zip(size).and_then(ratio),
            compression: kept.compression.map(|known| known.to_string()),
            media_type: kept.promised.media_type.clone(),
            created_by: maker.and_then(|step| step.created_by.clone()),
        }
    };
    view.layers.iter().enumerate().map(layer).collect()
}

impl PlatformInfo {
    fn new(entry: &IndexEntry) -> Self {
        Self {
            platform: entry.platform.as_ref().map(ToString::to_string),
            digest: entry.digest.clone(),
            media_type: entry.media_type.clone(),
            size: entry.size,
            attestation: entry.attestation,
            chosen: entry.chosen,
        }
    }
}

impl RunConfig {
    fn new(config: &Value) -> Self {
        let keys = |value: &Value| {
            value.as_object().map_or_else(Vec::new, |map| map.keys().cloned().collect())
        };
        Self {
            entrypoint: words(&config["Entrypoint"]),
            cmd: words(&config["Cmd"]),
            env: words(&config["Env"]),
            user: text_of(&config["User"]),
            working_dir: text_of(&config["WorkingDir"]),
            exposed_ports: keys(&config["ExposedPorts"]),
            volumes: keys(&config["Volumes"]),
            labels: map(&config["Labels"]),
            stop_signal: config["StopSignal"].as_str().map(str::to_owned),
            shell: words(&config["Shell"]),
            healthcheck: Some(config["Healthcheck"].clone()).filter(|value| !value.is_null()),
        }
    }
}

/// Returns the platform that a config names; `None` if it does not name OS and architecture.
#[must_use]
pub fn platform(document: &Value) -> Option<String> {
    let part = |name: &str| Some(text_of(&document[name])).filter(|text| !text.is_empty());
    let (os, architecture) = (part("os")?, part("architecture")?);
    Some(match part("variant") {
        Some(variant) => format!("{os}/{architecture}/{variant}"),
        None => format!("{os}/{architecture}"),
    })
}

/// Returns a list of words. A single string is a list of one word (Docker's schema 1 had those).
fn words(value: &Value) -> Vec<String> {
    match value {
        Value::String(word) => vec![word.clone()],
        _ => value.as_array().into_iter().flatten().map(text_of).collect(),
    }
}

/// Returns an object as a map of texts.
fn map(value: &Value) -> BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.map(|(key, value)| (key.clone(), text_of(value))).collect()
}

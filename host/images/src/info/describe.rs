//! What is told of an image, as JSON has it (docs/inspecting.md).

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::history::{self, Step};
use super::unpacked::Unpacked;
use crate::source::view::{IndexEntry, View, ViewKind, ViewedLayer, text_of};
use occystrap_base::oci::json;

/// An image.
#[derive(Debug, Serialize)]
pub struct Described {
    /// Whether it is an image or an artifact.
    pub kind: ViewKind,
    /// The familiar name, without the tag.
    pub image: String,
    /// The tag; empty where it has none.
    pub tag: String,
    /// How anybody gets just these bytes; of registries and engines.
    pub reference: Option<String>,
    /// Such as `linux/arm64/v8`; `None` where the config does not say.
    pub platform: Option<String>,
    /// Digest of the config; of an engine, what it calls the image.
    pub image_id: Option<String>,
    /// Digest of the manifest.
    pub manifest_digest: Option<String>,
    /// Of the manifest.
    pub media_type: Option<String>,
    /// Digest of the index that led to the manifest.
    pub index_digest: Option<String>,
    /// When it was made, as the config says it.
    pub created: Option<String>,
    /// Who made it, as the config says it.
    pub author: Option<String>,
    /// Bytes of all layers as they are stored; `None` where that is not known of each.
    pub size: Option<u64>,
    /// Bytes of all layers unpacked; `None` where that is not known of each.
    pub unpacked: Option<u64>,
    /// Whether `unpacked` is certain.
    pub unpacked_exact: bool,
    /// What the index lists; empty without one.
    pub platforms: Vec<Listing>,
    /// Lowest first.
    pub layers: Vec<Layer>,
    /// First to last.
    pub history: Vec<Step>,
    /// How it runs.
    pub config: Config,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
}

/// An entry of an index.
#[derive(Debug, Serialize)]
pub struct Listing {
    /// What it is for; `None` where the index does not say.
    pub platform: Option<String>,
    /// Of its manifest.
    pub digest: String,
    /// Of its manifest.
    pub media_type: String,
    /// Bytes of its manifest.
    pub size: u64,
    /// No image, but what somebody says of one.
    pub attestation: bool,
    /// The one that is described.
    pub chosen: bool,
}

/// A layer.
#[derive(Debug, Serialize)]
pub struct Layer {
    /// From 0, lowest first.
    pub index: usize,
    /// As it is stored; `None` where the source does not say.
    pub digest: Option<String>,
    /// Unpacked; `None` where the config lists none.
    pub diff_id: Option<String>,
    /// Bytes as it is stored.
    pub size: Option<u64>,
    /// Bytes unpacked.
    pub unpacked: Option<u64>,
    /// Whether `unpacked` is certain.
    pub unpacked_exact: bool,
    /// `unpacked` over `size`.
    pub ratio: Option<f64>,
    /// `gzip`, `zstd` or `plain`.
    pub compression: Option<String>,
    /// As it is stored; `None` where the source does not say.
    pub media_type: Option<String>,
    /// The command that made it; `None` where that cannot be told.
    pub created_by: Option<String>,
}

/// How an image runs (OCI image specification, "Image Configuration", `config`).
#[derive(Debug, Default, Serialize)]
pub struct Config {
    /// Program and first arguments.
    pub entrypoint: Vec<String>,
    /// Default arguments.
    pub cmd: Vec<String>,
    /// `NAME=VALUE`.
    pub env: Vec<String>,
    /// User, or empty for root.
    pub user: String,
    /// Where it starts.
    pub working_dir: String,
    /// Such as `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// Paths.
    pub volumes: Vec<String>,
    /// By name.
    pub labels: BTreeMap<String, String>,
    /// Such as `SIGTERM`.
    pub stop_signal: Option<String>,
    /// For commands in a shell's words.
    pub shell: Vec<String>,
    /// As it stands in the config.
    pub healthcheck: Option<Value>,
}

impl Described {
    /// Gather what there is.
    #[must_use]
    pub fn new(view: &View, unpacked: &[Option<Unpacked>]) -> Self {
        let document = &view.config.document;
        let history = history::steps(document, view.layers.len());
        let layers = layers(view, unpacked, &history);
        let text = |value: &Value| Some(text_of(value)).filter(|text| !text.is_empty());
        let id = match &view.config.bytes {
            Some(bytes) => Some(occystrap_base::oci::Digest::of(bytes)),
            None => view.config.promised.digest,
        };
        let manifest = view.manifest.as_ref();
        let body = manifest.and_then(|known| json::parse::<Value>(&known.bytes).ok());
        let index = view.index.as_ref();
        let all = |size: fn(&Layer) -> Option<u64>| {
            layers.iter().map(size).try_fold(0_u64, |all, size| Some(all.saturating_add(size?)))
        };
        let is_known = !layers.is_empty();
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
            unpacked: all(|layer| layer.unpacked).filter(|_| is_known),
            unpacked_exact: layers.iter().all(|layer| layer.unpacked_exact) && is_known,
            platforms: index
                .map_or_else(Vec::new, |known| known.entries.iter().map(Listing::new).collect()),
            layers,
            history,
            config: Config::new(&document["config"]),
            annotations: body.map_or_else(BTreeMap::new, |body| map(&body["annotations"])),
        }
    }
}

fn layers(view: &View, unpacked: &[Option<Unpacked>], history: &[Step]) -> Vec<Layer> {
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
        Layer {
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

impl Listing {
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

impl Config {
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

/// What a config says that it is for.
#[must_use]
pub fn platform(document: &Value) -> Option<String> {
    let part = |name: &str| Some(text_of(&document[name])).filter(|text| !text.is_empty());
    let (os, architecture) = (part("os")?, part("architecture")?);
    Some(match part("variant") {
        Some(variant) => format!("{os}/{architecture}/{variant}"),
        None => format!("{os}/{architecture}"),
    })
}

/// A list of words; a single string is one (Docker's schema 1 had those).
fn words(value: &Value) -> Vec<String> {
    match value {
        Value::String(word) => vec![word.clone()],
        _ => value.as_array().into_iter().flatten().map(text_of).collect(),
    }
}

fn map(value: &Value) -> BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.map(|(key, value)| (key.clone(), text_of(value))).collect()
}

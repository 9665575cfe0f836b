//! The manifest: docker-save v1.2, a list of one image.

use occystrap_plugin::writer::ImageName;
use serde_json::{Value, json};

/// Bytes of a manifest: 1,000 layers of 80 bytes are a fiftieth of it. The host reads as much.
pub const LONGEST: u64 = 4 * 1024 * 1024;

/// `image_name` goes into the file where several manifests stand side by side, as 0.4.17 has it.
pub fn render(name: &ImageName, config: &str, layers: &[String], image_name: bool) -> Vec<u8> {
    let repo_tags: Vec<String> =
        name.tag.iter().map(|tag| format!("{}:{tag}", name.repository)).collect();
    let mut image = json!({ "Config": config, "Layers": layers, "RepoTags": repo_tags });
    if image_name {
        image["ImageName"] = Value::from(name.repository.as_str());
    }
    let mut bytes = serde_json::to_vec_pretty(&json!([image])).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// The config and the layers that a manifest lists.
pub fn parse(bytes: &[u8]) -> Option<(String, Vec<String>)> {
    let document: Value = serde_json::from_slice(bytes).ok()?;
    let image = document.get(0)?;
    let config = image.get("Config")?.as_str()?.to_owned();
    let layers = image.get("Layers")?.as_array()?;
    let layers =
        layers.iter().map(|layer| layer.as_str().map(str::to_owned)).collect::<Option<_>>()?;
    Some((config, layers))
}

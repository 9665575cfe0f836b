//! `manifest.json`, which lists the members of the config and the layers, and the names of the image (Docker
//! image specification 1.2, "Combined Image JSON + Filesystem Changeset Format").

use occystrap_plugin::hex;
use occystrap_plugin::writer::ImageName;
use serde_json::json;

/// The name of the member that contains the list.
pub const NAME: &str = "manifest.json";

/// Returns the member name of a config, which contains its digest.
#[must_use]
pub fn config(digest: &str) -> String {
    format!("{}.json", hex(digest))
}

/// Returns the member name of a layer, which contains its diff-id.
#[must_use]
pub fn layer(diff_id: &str) -> String {
    format!("{}/layer.tar", hex(diff_id))
}

/// Returns the list for one image. If the image has no tag, the list contains no name.
#[must_use]
pub fn render(name: &ImageName, config: &str, layers: &[&str]) -> Vec<u8> {
    let tags: Vec<String> =
        name.tag.iter().map(|tag| format!("{}:{tag}", name.repository)).collect();
    let list = json!([{ "Config": config, "RepoTags": tags, "Layers": layers }]);
    serde_json::to_vec(&list).unwrap_or_default()
}

//! `manifest.json`: which member is the config, which are the layers, and how the image is called
//! (Docker image specification 1.2, "Combined Image JSON + Filesystem Changeset Format").

use occystrap_plugin::hex;
use occystrap_plugin::writer::ImageName;
use serde_json::json;

/// The member that holds it.
pub const NAME: &str = "manifest.json";

/// The member of a config, after its digest.
#[must_use]
pub fn config(digest: &str) -> String {
    format!("{}.json", hex(digest))
}

/// The member of a layer, after its diff-id.
#[must_use]
pub fn layer(diff_id: &str) -> String {
    format!("{}/layer.tar", hex(diff_id))
}

/// The list of one image. One that is known by its digest alone has no name in it.
#[must_use]
pub fn render(name: &ImageName, config: &str, layers: &[&str]) -> Vec<u8> {
    let tags: Vec<String> =
        name.tag.iter().map(|tag| format!("{}:{tag}", name.repository)).collect();
    let list = json!([{ "Config": config, "RepoTags": tags, "Layers": layers }]);
    serde_json::to_vec(&list).unwrap_or_default()
}

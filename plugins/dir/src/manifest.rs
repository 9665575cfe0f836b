//! The manifest file, in the format of docker-save v1.2: a list of one image.

use occystrap_plugin::writer::ImageName;
use serde_json::{Value, json};

/// The largest manifest that is read, in bytes. A manifest with 1,000 layers of 80 bytes each has a
/// fiftieth of it. The host uses the same limit.
pub const LONGEST: u64 = 4 * 1024 * 1024;

/// Returns the content of a manifest file. `image_name` adds the key `ImageName`, as 0.4.17 does where one
/// directory has several manifest files.
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

/// An image that a manifest file lists. `docker save` lists any number of images; this output writes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedImage {
    /// The path of the config.
    pub config: String,
    /// The paths of the layers.
    pub layers: Vec<String>,
    /// The names of the image, as `repository:tag`.
    pub names: Vec<String>,
}

impl ListedImage {
    /// Returns the image ID: the hexadecimal digits of the config's digest. Every tool names the config after
    /// them: `HEX.json`, `sha256:HEX` (crane), `blobs/sha256/HEX` (Docker since 25).
    pub fn id(&self) -> &str {
        id(&self.config)
    }
}

/// Returns the hexadecimal digits of the digest in a config's file name.
pub fn id(config: &str) -> &str {
    let name = config.rsplit('/').next().unwrap_or_default();
    let name = name.strip_prefix("sha256:").unwrap_or(name);
    name.strip_suffix(".json").unwrap_or(name)
}

/// Returns the images that a manifest file lists; `None` if the bytes are not a manifest. Elements that do not
/// describe an image are ignored, because no image is lost with them.
pub fn parse(bytes: &[u8]) -> Option<Vec<ListedImage>> {
    let document: Value = serde_json::from_slice(bytes).ok()?;
    Some(document.as_array()?.iter().filter_map(parse_image).collect())
}

fn parse_image(image: &Value) -> Option<ListedImage> {
    let texts = |key: &str| -> Option<Vec<String>> {
        image.get(key)?.as_array()?.iter().map(|one| one.as_str().map(str::to_owned)).collect()
    };
    Some(ListedImage {
        config: image.get("Config")?.as_str()?.to_owned(),
        layers: texts("Layers").unwrap_or_default(),
        names: texts("RepoTags").unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_of_a_list_is_found_and_known_by_its_config() {
        let list = br#"[{"Config":"ab.json","RepoTags":["a:1","b:2"],"Layers":["l"]},
            17,{"Config":"sha256:cd","RepoTags":null,"Layers":null},{"Config":"blobs/sha256/ef"}]"#;
        let found = parse(list).unwrap();
        let ids: Vec<&str> = found.iter().map(ListedImage::id).collect();
        assert_eq!(ids, ["ab", "cd", "ef"]);
        assert_eq!(
            (&found[0].names[..], &found[0].layers[..]),
            (&["a:1".to_owned(), "b:2".to_owned()][..], &["l".to_owned()][..])
        );
        assert_eq!(parse(b"{}"), None);
        assert_eq!(parse(b"[]"), Some(Vec::new()));
    }
}

//! Checks that an image was written completely, byte for byte.

use std::path::Path;

use super::image::TestImage;

/// A directory holds an image: the very config, each layer plain under its diff-id, and a manifest
/// that ties them together.
#[track_caller]
pub fn assert_in_directory(folder: &Path, image: &TestImage) {
    let read =
        |name: &str| std::fs::read(folder.join(name)).unwrap_or_else(|why| panic!("{name}: {why}"));
    assert_eq!(read(&image.config_path()), image.config, "the config's bytes");
    for (index, layer) in image.layers.iter().enumerate() {
        assert!(read(&image.layer_path(index)) == *layer, "the bytes of layer {index}");
    }
    let catalog: serde_json::Value = serde_json::from_slice(&read("catalog.json")).unwrap();
    let (repository, tag) = image.name.rsplit_once(':').unwrap();
    let manifest = catalog[repository][tag].as_str().expect("an entry in the catalog");
    let manifest: serde_json::Value = serde_json::from_slice(&read(manifest)).unwrap();
    assert_lists(&manifest, image);
}

/// A docker-save archive holds exactly an image.
#[track_caller]
pub fn assert_in_archive(path: &Path, image: &TestImage) {
    let mut archive = tar::Archive::new(std::fs::File::open(path).unwrap());
    let mut found = std::collections::BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        assert!(found.insert(name.clone(), content).is_none(), "'{name}' is there twice");
    }
    assert_lists(&serde_json::from_slice(&found["manifest.json"]).unwrap(), image);
    assert_eq!(found[&image.config_path()], image.config, "the config's bytes");
    let mut names = vec!["manifest.json".to_owned(), image.config_path()];
    for (index, layer) in image.layers.iter().enumerate() {
        assert!(found[&image.layer_path(index)] == *layer, "the bytes of layer {index}");
        names.push(image.layer_path(index));
    }
    assert!(found.keys().all(|name| names.contains(name)), "{:?}", found.keys());
}

#[track_caller]
fn assert_lists(manifest: &serde_json::Value, image: &TestImage) {
    assert_eq!(manifest.as_array().unwrap().len(), 1);
    let layers: Vec<String> =
        (0..image.layers.len()).map(|index| image.layer_path(index)).collect();
    assert_eq!(manifest[0]["Config"], image.config_path());
    assert_eq!(manifest[0]["Layers"], serde_json::json!(layers));
    assert_eq!(manifest[0]["RepoTags"], serde_json::json!([image.name]));
}

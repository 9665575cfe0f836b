//! Where things are in the directory.

use occystrap_plugin::hex;
use occystrap_plugin::writer::ImageName;

/// The images that share the directory: `{repository: {tag: manifest file}}`.
pub const CATALOG: &str = "catalog.json";
/// The manifest of a directory that holds one image, or that another tool unpacked an archive to.
pub const MANIFEST: &str = "manifest.json";
/// Checksums of everything but the catalog, in the form of `sha256sum`.
pub const CHECKSUMS: &str = "SHA256SUMS";

/// A layer by its diff-id, so that images share it.
pub fn layer(diff_id: &str) -> String {
    format!("{}/layer.tar", hex(diff_id))
}

/// A config by its digest.
pub fn config(digest: &str) -> String {
    format!("{}.json", hex(digest))
}

/// The manifest of an image. A unique name keeps the repository and the tag apart with characters
/// that neither can have, so that `a/b_c:1` and `a_b/c:1` differ.
pub fn manifest(name: &ImageName, tag: &str, unique: bool) -> String {
    if unique {
        let plain = |text: &str| text.replace('/', "+").replace(':', "=");
        format!("manifest-{}@{}.json", plain(&name.repository), plain(tag))
    } else {
        MANIFEST.to_owned()
    }
}

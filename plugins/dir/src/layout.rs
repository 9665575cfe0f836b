//! The paths of the files in the directory.

use occystrap_plugin::hex;
use occystrap_plugin::writer::ImageName;

/// The file that lists the images in the directory: `{repository: {tag: manifest file}}`.
pub const CATALOG: &str = "catalog.json";
/// The manifest file of a directory with one image, or of a directory into which another tool has unpacked
/// an archive.
pub const MANIFEST: &str = "manifest.json";
/// The checksums of all files except the catalog, in the format of `sha256sum`.
pub const CHECKSUMS: &str = "SHA256SUMS";

/// Returns the path of a layer. It depends on the diff-id only, so that images share the file.
pub fn layer(diff_id: &str) -> String {
    format!("{}/layer.tar", hex(diff_id))
}

/// Returns the path of a config, which is named after its digest.
pub fn config(digest: &str) -> String {
    format!("{}.json", hex(digest))
}

/// Returns the path of an image's manifest. A `unique` name separates the repository and the tag with
/// characters that neither of them can contain, so that `a/b_c:1` and `a_b/c:1` differ.
pub fn manifest(name: &ImageName, tag: &str, unique: bool) -> String {
    if unique {
        let plain = |text: &str| text.replace('/', "+").replace(':', "=");
        format!("manifest-{}@{}.json", plain(&name.repository), plain(tag))
    } else {
        MANIFEST.to_owned()
    }
}

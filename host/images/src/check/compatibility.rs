//! Rules about compatibility: the image is well-formed, but some clients do not accept it. Also the rules about how
//! layers are stored, which need no layer to be read.

use super::finding::{Finding, Findings};
use crate::source::view::{FlawIn, View, ViewKind};
use occystrap_base::oci::Compression;
use occystrap_base::oci::manifest::DOCKER_MANIFEST;
use occystrap_base::terminal::size::size;

/// Size in bytes above which a stored layer is reported as large: it makes pulls slow, because clients do not fetch a
/// layer in parts. The limit is that of 0.4.17.
const LARGE: u64 = 1024 * 1024 * 1024;

/// The largest number of layers that Docker's layer store accepts (`maxLayerDepth`).
const DEEPEST: usize = 125;

/// Checks which clients can read an image.
pub fn check(view: &View, to: &mut Findings) {
    if view.role == ViewKind::Image {
        zstd(view, to);
        unregistered(view, to);
    }
    for (index, layer) in view.layers.iter().enumerate() {
        match layer.size.or(layer.promised.size) {
            Some(bytes) if bytes > LARGE => {
                let message = format!("is very large: {}", size(bytes));
                to.push(Finding::warning("large-layer", message).layer(index));
            }
            _ => {}
        }
    }
    if view.layers.len() > DEEPEST {
        let message = "has more layers than Docker allows";
        to.push(
            Finding::warning("many-layers", message)
                .sides(format!("at most {DEEPEST}"), view.layers.len()),
        );
    }
}

/// Reports layers that are compressed with zstd.
fn zstd(view: &View, to: &mut Findings) {
    let is_zstd =
        |layer: &&crate::source::view::ViewedLayer| layer.compression == Some(Compression::Zstd);
    let count = view.layers.iter().filter(is_zstd).count();
    if count == 0 {
        return;
    }
    let all = view.layers.len();
    let message = format!(
        "{count} of {all} layers are compressed with zstd, which older engines do not read (containerd before 1.5, Docker of that time)"
    );
    to.push(Finding::warning("zstd-compat", message));
    if view.manifest.as_ref().is_some_and(|known| known.media_type == DOCKER_MANIFEST) {
        let message = "Docker's schema 2 has no media type for zstd: some readers refuse it";
        to.push(Finding::warning("zstd-compat", message));
    }
}

/// Reports compressions for which no image format has a media type.
fn unregistered(view: &View, to: &mut Findings) {
    for (index, layer) in view.layers.iter().enumerate() {
        if let Some(found @ (Compression::Xz | Compression::Bzip2)) = layer.compression {
            let message = format!(
                "is compressed with {found}, which containerd does not unpack; Docker (without containerd's image \
                 store) and Podman do"
            );
            to.push(Finding::warning("layer-compression", message).layer(index));
        }
    }
}

/// Checks how layers are stored: whether they are there and have the promised size. Reads no layer.
pub fn check_stored(view: &View, to: &mut Findings) {
    for flaw in &view.flaws {
        if let FlawIn::Layer(index) = flaw.part {
            to.push(Finding::unread("layer-missing", &flaw.error).layer(index));
        }
    }
    for (index, layer) in view.layers.iter().enumerate() {
        if let (Some(expected), Some(found)) = (layer.promised.size, layer.size)
            && expected != found
        {
            to.push(
                Finding::error("layer-size", "has another size than the manifest promises")
                    .sides(format!("{expected} bytes"), found)
                    .layer(index),
            );
        }
    }
}

/// Checks whether the bytes of a layer are compressed as its media type says.
pub fn check_compression(index: usize, media_type: &str, found: Compression, to: &mut Findings) {
    let declared = match media_type {
        one if one.ends_with("gzip") => Compression::Gzip,
        one if one.ends_with("zstd") => Compression::Zstd,
        one if one.ends_with("+xz") => Compression::Xz,
        one if one.ends_with("+bzip2") => Compression::Bzip2,
        one if one.ends_with(".tar") => Compression::None,
        _ => return,
    };
    if declared != found {
        let message = "is not compressed as its media type says: readers that rely on it fail";
        to.push(Finding::warning("media-type", message).sides(declared, found).layer(index));
    }
}

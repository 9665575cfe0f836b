//! Test images for plugins: small, computed, with the same bytes every time.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::Section;
use occystrap_base::oci::manifest::{OCI_INDEX, OCI_MANIFEST};
use occystrap_base::oci::{Compression, Digest, ImageName, Manifest, Platform};
use occystrap_layer::image::{Image, ImageIndex, Layer};

/// Layer of a test image: its tar, and how it is stored.
pub struct Sample {
    tar: Vec<u8>,
    compression: Compression,
}

impl Sample {
    /// Returns a layer with one file.
    pub fn file(name: &str, content: &[u8]) -> Self {
        Self { tar: tar(name, content).unwrap_or_default(), compression: Compression::None }
    }

    /// Returns a layer with exactly these bytes.
    pub fn bytes(tar: Vec<u8>) -> Self {
        Self { tar, compression: Compression::None }
    }

    /// Returns the same layer, stored in this form.
    pub fn stored(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }
}

fn tar(name: &str, content: &[u8]) -> io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, content)?;
    builder.into_inner()
}

/// Returns bytes that do not compress: a 64-bit linear congruential generator with Knuth's constants.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Returns the layers of the image that most cases use: two small layers, and between them a layer that is larger than
/// any buffer.
pub fn small() -> Vec<Sample> {
    vec![
        Sample::file("etc/hostname", b"test\n"),
        Sample::file("usr/lib/noise", &noise(7, 200_000)),
        Sample::file("usr/bin/\u{e4}\u{f6}\u{fc}-\u{753b}\u{50cf}", b"names are UTF-8"),
    ]
}

/// Returns an image of these layers, whose stored bytes are in unnamed files in `folder`.
pub fn image(folder: &Path, name: &str, samples: &[Sample]) -> Result<Image> {
    image_of(folder, name, samples, "amd64")
}

/// Returns the same image for an architecture.
pub fn image_of(
    folder: &Path,
    name: &str,
    samples: &[Sample],
    architecture: &str,
) -> Result<Image> {
    let made = |cause: io::Error| {
        Error::io(Kind::Destination, "make a test image in", folder.display(), &cause)
    };
    let layers = (0..).zip(samples).map(|(index, sample)| layer(folder, index, sample));
    let layers = layers.collect::<io::Result<Vec<Layer>>>().map_err(made)?;
    let diff_ids: Vec<String> = layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "created": "2026-01-02T03:04:05Z",
        "config": { "Labels": { "who": "\u{e4}\u{f6}\u{fc} \u{753b}\u{50cf} \u{1f980}" } },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
        "history": layers.iter().map(|_| json!({ "created_by": "a test" })).collect::<Vec<_>>(),
    });
    // No serializer writes JSON in this form: a plugin that parses and prints it changes its digest.
    let config = Bytes::from(format!(" {config}\n\n"));
    let id = Digest::of(&config);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": id.to_string(),
            "size": config.len(),
        },
        "layers": layers.iter().map(|layer| json!({
            "mediaType": layer.media_type,
            "digest": layer.digest.map(|digest| digest.to_string()),
            "size": layer.size,
        })).collect::<Vec<_>>(),
    });
    Ok(Image {
        name: ImageName::parse(name)?,
        platform: Platform {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: None,
        },
        config,
        id,
        layers,
        manifest: Some(kept(OCI_MANIFEST, manifest.to_string())),
        note: None,
        artifact: None,
    })
}

/// Returns an index of images.
pub fn index(images: &[Image]) -> ImageIndex {
    let manifests = || images.iter().filter_map(|image| Some((image, image.manifest.as_ref()?)));
    let listed = manifests().map(|(image, manifest)| {
        json!({
            "mediaType": manifest.media_type,
            "digest": manifest.digest.to_string(),
            "size": manifest.bytes.len(),
            "platform": { "os": image.platform.os, "architecture": image.platform.architecture },
        })
    });
    let document = json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": listed.collect::<Vec<_>>(),
    });
    ImageIndex {
        manifest: kept(OCI_INDEX, document.to_string()),
        children: manifests().map(|(_, manifest)| manifest.digest).collect(),
    }
}

fn kept(media_type: &str, text: String) -> Manifest {
    let digest = Digest::of(text.as_bytes());
    Manifest { bytes: Bytes::from(text), media_type: media_type.to_owned(), digest }
}

/// Returns an image whose last layer differs from its digest: fetching it fails.
pub fn broken(mut image: Image, folder: &Path) -> Result<Image> {
    let wrong = layer(folder, 0, &Sample::file("etc/other", b"not what was promised"));
    let wrong = wrong.map_err(|cause| {
        Error::io(Kind::Destination, "make a test image in", folder.display(), &cause)
    })?;
    if let Some(last) = image.layers.last_mut() {
        (last.content, last.size) = (wrong.content, wrong.size);
    }
    Ok(image)
}

fn layer(folder: &Path, index: usize, sample: &Sample) -> io::Result<Layer> {
    let stored = match sample.compression {
        Compression::None => sample.tar.clone(),
        Compression::Gzip => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&sample.tar)?;
            encoder.finish()?
        }
        Compression::Zstd => zstd::stream::encode_all(sample.tar.as_slice(), 1)?,
        other => {
            let message = format!("no test image is compressed with {other}");
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
    };
    let mut file = tempfile::tempfile_in(folder)?;
    file.write_all(&stored)?;
    let section = Section::new(Arc::new(file), 0, stored.len() as u64);
    let (diff_id, digest) = (Digest::of(&sample.tar), Some(Digest::of(&stored)));
    let place = format!("layer {} of a test image", index + 1);
    Ok(Layer::in_file(section, diff_id, digest, sample.compression, place))
}

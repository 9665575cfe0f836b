//! A component at a registry: a Wasm OCI artifact, in the CNCF's "Wasm OCI Artifact layout".
//!
//! What it refuses: anything but one component under the digest that the user named. A tag alone is not
//! accepted, because the owner of the repository can move it.

use serde::Deserialize;

use occystrap_base::error::{Error, Result};
use occystrap_base::limits::COMPONENT_SIZE;
use occystrap_base::oci::document::ManifestDocument;
use occystrap_base::oci::manifest::type_or_not;
use occystrap_base::oci::{Descriptor, Digest, Manifest, json};
use occystrap_net::registry::{Reference, Repository};
use occystrap_net::uri::Uri;

/// Media type of the config ("config.mediaType" of the layout).
pub const CONFIG: &str = "application/vnd.wasm.config.v0+json";

/// Media type of the only layer ("layers.mediaType" of the layout).
pub const LAYER: &str = "application/wasm";

/// Largest config, in bytes. It repeats imports and exports, some tens of bytes each.
const LARGEST_CONFIG: u64 = 1024 * 1024;

/// Options that the URI of an artifact may have; others belong to the command line.
const OPTIONS: [&str; 3] = ["insecure", "username", "password"];

/// The fields of a config that are checked.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
#[serde(rename_all = "camelCase")]
struct Config {
    architecture: String,
    #[serde(default)]
    layer_digests: Option<Vec<String>>,
}

/// Parses `oci://HOST/REPOSITORY[:TAG]@sha256:...`, and returns the reference and its digest. Errors when it
/// has another form.
pub fn reference(uri: &Uri) -> Result<(Reference, Digest)> {
    const FORM: &str = "oci://HOST/REPOSITORY[:TAG]@sha256:...";
    uri.check_options("plugin source", &OPTIONS)?;
    if uri.rest.is_empty() {
        return Err(Error::usage(format!("'oci://' is incomplete: {FORM}")));
    }
    let reference = Reference::parse(&uri.rest)?;
    match reference.digest {
        Some(digest) => Ok((reference, digest)),
        None => {
            let message = format!("'{}' names no digest", uri.display());
            Err(Error::usage(message).hint(format!("{FORM}: what a tag names can change")))
        }
    }
}

/// Fetches a component. Errors as [`Repository::manifest`] and [`Repository::blob_bytes`], and when the
/// artifact is not one component.
pub async fn fetch(repository: &Repository, digest: Digest) -> Result<Vec<u8>> {
    let manifest = repository.manifest(&digest.to_string()).await?;
    let place = format!("{}@{digest}", repository.place());
    let (config, layer) = parts(&manifest, &place)?;
    let bytes = repository.blob_bytes(&config, LARGEST_CONFIG).await?;
    check_config(&bytes, &layer, &place)?;
    Ok(repository.blob_bytes(&layer, COMPONENT_SIZE as u64).await?.into())
}

/// Returns the config and the only layer of an artifact.
fn parts(manifest: &Manifest, place: &str) -> Result<(Descriptor, Descriptor)> {
    let refuse = |why: &dyn std::fmt::Display| {
        Error::source(format!("{place}: is not a WebAssembly component: {why}"))
            .hint("a plugin is pushed as a Wasm OCI artifact, by 'wkg oci push' or 'oras push'")
    };
    if manifest.is_index() {
        return Err(refuse(&"it is an index").hint("name the digest of a manifest that it lists"));
    }
    let parsed = json::parse::<ManifestDocument>(&manifest.bytes)
        .map_err(|cause| Error::source(format!("{place}: cannot be read: {cause}")))?;
    let config = parsed.config(place)?.promised(place)?;
    if config.media_type != CONFIG {
        let found = type_or_not(&config.media_type);
        return Err(refuse(&format_args!("config: expected {CONFIG}, found {found}")));
    }
    let [layer] = parsed.layers() else {
        let found = parsed.layers().len();
        return Err(refuse(&format_args!("layers: expected 1, found {found}")));
    };
    let layer = layer.promised(place)?;
    if layer.media_type != LAYER {
        let found = type_or_not(&layer.media_type);
        return Err(refuse(&format_args!("layer: expected {LAYER}, found {found}")));
    }
    Ok((config, layer))
}

/// Checks the config, of which the host uses nothing else. A config that contradicts the layer is a sign that
/// the artifact was put together wrongly.
fn check_config(bytes: &[u8], layer: &Descriptor, place: &str) -> Result<()> {
    let config: Config = serde_json::from_slice(bytes)
        .map_err(|cause| Error::source(format!("{place}: its config cannot be read: {cause}")))?;
    if config.architecture != "wasm" {
        let what = format!("{place}: architecture in its config");
        return Err(Error::mismatch(what, "wasm", config.architecture));
    }
    match config.layer_digests {
        Some(digests) if digests != [layer.digest.to_string()] => {
            let what = format!("{place}: layerDigests in its config");
            Err(Error::mismatch(what, layer.digest, digests.join(" ")))
        }
        _ => Ok(()),
    }
}

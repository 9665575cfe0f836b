//! Rules about manifests: the fields that the specifications require.

use serde_json::Value;

use super::config_type;
use super::finding::{Finding, Findings};
use super::index::{self, schema_version};
use crate::source::view::{FlawIn, View, ViewKind, text_of};
use occystrap_base::oci::artifact::is_encrypted_type;
use occystrap_base::oci::manifest::{DOCKER_MANIFEST, Manifest, OCI_MANIFEST};
use occystrap_base::oci::{Digest, MOST_LAYERS, json, types};

/// Prefixes of the media types of layers.
const LAYERS: [&str; 2] =
    ["application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs."];

/// Name of the rule that every client of a registry gets the manifest.
pub(super) const SERVED: &str = "served";

/// Checks the way from a name to a manifest, and the manifest itself.
pub fn check(view: &View, to: &mut Findings) {
    for flaw in &view.flaws {
        let check = match flaw.part {
            FlawIn::Index => "index",
            FlawIn::Platform => "platform",
            FlawIn::Manifest => "manifest",
            FlawIn::Layers => "diff-id",
            FlawIn::Layout => "layout",
            FlawIn::Name => "name",
            FlawIn::Served => SERVED,
            FlawIn::Config | FlawIn::Layer(_) => continue,
        };
        to.push(Finding::unread(check, &flaw.error));
    }
    if let Some(index) = &view.index {
        index::check(index, view.role, to);
    }
    let Some(manifest) = &view.manifest else { return };
    listed_type(view, manifest, to);
    let document: Value = json::parse(&manifest.bytes).unwrap_or_default();
    let before = to.count(super::Severity::Error);
    super::config::utf8(&manifest.bytes, "manifest", to);
    schema_version(&document, "the manifest", to);
    media_type(&document, &manifest.media_type, to);
    // An artifact may use any media types.
    let of_image = (view.role == ViewKind::Image).then_some(manifest.media_type.as_str());
    config_descriptor(&document["config"], of_image, to);
    layers(&document["layers"], of_image, to);
    annotations(&document, to);
    // Clients may reject the manifest for a field that none of these rules covers.
    if to.count(super::Severity::Error) == before
        && let Err(wrong) = types::manifest(&manifest.bytes)
    {
        to.push(Finding::mistyped("manifest", &wrong));
    }
}

/// Checks that the index gives a manifest its own media type. OCI requires it; clients do not check it.
fn listed_type(view: &View, manifest: &Manifest, to: &mut Findings) {
    let digest = manifest.digest.to_string();
    let mut entries = view.index.iter().flat_map(|index| &index.entries);
    let Some(listed) = entries.find(|entry| entry.digest == digest) else { return };
    // A wrong kind of type is an error already.
    let is_other = !listed.media_type.is_empty() && listed.media_type != manifest.media_type;
    if is_other && to.failed("manifest") == 0 {
        let message = "the index gives the manifest the media type of the other specification";
        let warning = Finding::warning("manifest", message);
        to.push(warning.sides(&listed.media_type, &manifest.media_type));
    }
}

/// Reports which specification the manifest follows, and whether it names its own media type.
fn media_type(document: &Value, media_type: &str, to: &mut Findings) {
    match media_type {
        OCI_MANIFEST => to.push(Finding::info(
            "oci-media-type",
            "its media types are OCI's, which old engines and registries do not accept",
        )),
        DOCKER_MANIFEST => to.push(Finding::info(
            "docker-media-type",
            "its media types are Docker's, which clients that know only OCI's do not accept",
        )),
        _ => {}
    }
    if document["mediaType"].is_null() {
        // OCI image specification, "Image Manifest": SHOULD; Docker's schema 2 requires it.
        to.push(Finding::info("media-type", "the manifest does not say its own media type"));
    }
}

/// Returns what is wrong with a descriptor (OCI image specification, "Content Descriptors").
fn descriptor(descriptor: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    if descriptor["mediaType"].as_str().is_none_or(str::is_empty) {
        wrong.push("has no media type".to_owned());
    }
    match &descriptor["digest"] {
        Value::Null => wrong.push("has no digest".to_owned()),
        Value::String(text) => {
            if let Err(error) = text.parse::<Digest>() {
                wrong.push(format!("has a malformed digest: {error}"));
            }
        }
        other => wrong.push(format!("has a malformed digest: {other}")),
    }
    match &descriptor["size"] {
        Value::Null => wrong.push("has no size".to_owned()),
        size if size.as_u64().is_none_or(|size| i64::try_from(size).is_err()) => {
            wrong.push(format!("has a malformed size: {size}"));
        }
        _ => {}
    }
    wrong
}

/// Checks the descriptor of the config. `of_image` is the media type of the manifest if it is that of an image.
fn config_descriptor(config: &Value, of_image: Option<&str>, to: &mut Findings) {
    if !config.is_object() {
        to.push(Finding::error("config-descriptor", "the manifest lists no config"));
        return;
    }
    let wrong = descriptor(config);
    if wrong.is_empty() {
        to.pass("config-descriptor", "the manifest promises a config, its digest and its size");
    }
    for why in wrong {
        to.push(Finding::error("config-descriptor", format!("the config {why}")));
    }
    let Some(manifest_type) = of_image else { return };
    // An absent media type is an error already.
    let given = text_of(&config["mediaType"]);
    if let Some((severity, message)) =
        config_type::check(&given, manifest_type).filter(|_| !given.is_empty())
    {
        to.push(Finding::new(severity, "media-type", message));
    }
}

/// Reports a media type of one specification in a manifest of the other.
fn mixed(given: &str, what: &str, manifest_type: &str, to: &mut Findings) {
    let is_oci = |media_type: &str| media_type.starts_with("application/vnd.oci.");
    if is_oci(given) != is_oci(manifest_type) {
        let message = format!("a {what} of '{given}' in a manifest of '{manifest_type}'");
        to.push(Finding::warning("media-type", message));
    }
}

/// Checks the descriptors of the layers.
fn layers(layers: &Value, of_image: Option<&str>, to: &mut Findings) {
    let Some(layers) = layers.as_array() else {
        let message = "the manifest has no list of layers";
        // Clients treat null as an empty list.
        to.push(match layers.is_null() {
            true => Finding::warning("layer-descriptor", message),
            false => Finding::error("layer-descriptor", message),
        });
        return;
    };
    if layers.len() > MOST_LAYERS {
        let message = "the manifest lists more layers than any engine mounts; those above the limit were not checked";
        to.push(
            Finding::error("many-layers", message)
                .sides(format!("at most {MOST_LAYERS}"), layers.len()),
        );
    }
    for (index, layer) in layers.iter().take(MOST_LAYERS).enumerate() {
        for why in descriptor(layer) {
            to.push(Finding::error("layer-descriptor", why).layer(index));
        }
        let given = text_of(&layer["mediaType"]);
        let is_layer = LAYERS.iter().any(|known| given.starts_with(known));
        if is_layer && is_encrypted_type(&given) {
            let message = "is encrypted: the image runs only where its key is known";
            to.push(Finding::warning("media-type", message).layer(index));
        }
        let Some(manifest_type) = of_image.filter(|_| !given.is_empty()) else { continue };
        if !is_layer {
            let message = format!("'{given}' is not the media type of a layer");
            to.push(Finding::error("media-type", message).layer(index));
            continue;
        }
        if given.contains(".foreign.") || given.contains(".nondistributable.") {
            let message =
                "is of a kind that registries do not store: clients fetch it from elsewhere";
            to.push(Finding::warning("foreign-layer", message).layer(index));
        }
        let mut own = Findings::default();
        mixed(&given, "layer", manifest_type, &mut own);
        own.all().for_each(|finding| to.push(finding.clone().layer(index)));
    }
    if to.failed("layer-descriptor") == 0 && !layers.is_empty() {
        to.pass("layer-descriptor", "every layer has a media type, a digest and a size");
    }
    if layers.is_empty() {
        let what = if of_image.is_some() { "image" } else { "artifact" };
        to.push(Finding::info("layer-descriptor", format!("the {what} has no layer")));
    }
}

/// Checks that annotations are a map of strings (OCI image specification, "Annotations").
fn annotations(document: &Value, to: &mut Findings) {
    let wrong = match &document["annotations"] {
        Value::Null => false,
        Value::Object(map) => !map.values().all(Value::is_string),
        _ => true,
    };
    if wrong {
        to.push(Finding::error("annotations", "the manifest's annotations are not all strings"));
    }
}

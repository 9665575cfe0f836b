//! Layers that are not at a destination and need not be: the manifest there names URLs for them.
//!
//! Such a layer is *unchecked* and not *missing*: clients fetch it from its URL. This module never requests the URL, which
//! is not part of the destination, and never counts the layer as verified.

use crate::verdict::flaw::{Reason, Status};
use crate::verdict::object::CheckedObject;
use occystrap_base::oci::Digest;
use occystrap_base::oci::document::ManifestDocument;
use occystrap_net::web::Elsewhere;

/// Marks the layers as unchecked that are missing and that the manifest of their image places elsewhere.
pub fn mark_unchecked_layers(manifest: &ManifestDocument, objects: &mut [CheckedObject]) {
    let missing = |object: &&mut CheckedObject| {
        object.kind == "layer" && object.status == Status::Missing && object.index.is_some()
    };
    for object in objects.iter_mut().filter(missing) {
        let listed = object.index.and_then(|index| manifest.layers().get(index as usize));
        let is_it =
            |digest: &Digest| listed.is_some_and(|listed| listed.digest() == digest.to_string());
        if !object.digest.as_ref().is_some_and(is_it) {
            continue;
        }
        if let Some(elsewhere) = listed.and_then(Elsewhere::of) {
            object.mark_unchecked(Reason::Elsewhere { host: elsewhere.host().to_string() });
            object.hint = None;
            object.repair = None;
            object.is_elsewhere = true;
        }
    }
}

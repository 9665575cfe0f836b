//! Layers that are not at a destination and need not be: the manifest there names URLs for them.
//!
//! Such a layer is *unchecked*, never *missing*: clients fetch it from its URL. What it refuses: to ask
//! the URL, which is no part of the destination, and to count the layer as verified.

use crate::receipt::manifest_chain;
use crate::verdict::object::{CheckedObject, Status};
use occystrap_base::oci::document::ManifestDocument;
use occystrap_base::oci::{Digest, json};
use occystrap_net::web::Elsewhere;
use occystrap_output::destination::Grant;
use occystrap_output::destination::hash_memo::HashMemo;
use occystrap_output::receipt::{Receipt, Role};

/// Marks the layers as unchecked that are missing and that the manifest of their image places elsewhere.
pub fn excuse(manifest: &ManifestDocument, objects: &mut [CheckedObject]) {
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
            let message = format!("stored elsewhere ({})", elsewhere.host());
            object.blame(Status::Unchecked, None, None, &message);
            object.hint = None;
            object.repair = None;
            object.is_elsewhere = true;
        }
    }
}

/// The same, of what a receipt names. The manifest is read where a layer is missing, and counts where it
/// is the one that was promised.
pub fn of_receipt(
    receipt: &Receipt,
    grant: &Grant,
    memory: &HashMemo,
    objects: &mut [CheckedObject],
) {
    let is_missing =
        |object: &CheckedObject| object.kind == "layer" && object.status == Status::Missing;
    if !objects.iter().any(is_missing) {
        return;
    }
    let manifest = receipt.expectations.iter().find(|one| one.role == Role::Manifest);
    let document = manifest.and_then(|one| manifest_chain::document(one, grant, memory));
    let parsed = document.and_then(|(_, bytes)| json::parse::<ManifestDocument>(&bytes).ok());
    if let Some(parsed) = parsed {
        excuse(&parsed, objects);
    }
}

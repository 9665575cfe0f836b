//! Rules about indexes, which list the images of several platforms.

use std::collections::BTreeMap;

use serde_json::Value;

use super::finding::{Finding, Findings};
use crate::source::view::{IndexEntry, Listing, ViewKind};
use occystrap_base::oci::manifest::{DOCKER_MANIFEST, OCI_MANIFEST, is_manifest_type};
use occystrap_base::oci::{json, types};

/// Checks an index that led to an image, or that is viewed itself.
pub fn check(index: &Listing, role: ViewKind, to: &mut Findings) {
    let mut document = Value::Null;
    match &index.manifest {
        Some(manifest) => {
            document = json::parse(&manifest.bytes).unwrap_or_default();
            super::config::utf8(&manifest.bytes, "index", to);
            check_document(&document, to);
            if to.failed("index") == 0
                && let Err(wrong) = types::manifest(&manifest.bytes)
            {
                to.push(Finding::mistyped("index", &wrong));
            }
        }
        None if role == ViewKind::Index => {
            let message = format!(
                "the layout lists the image {} times, without an index of its own: its platforms cannot be copied at once",
                index.entries.len()
            );
            to.push(Finding::warning("index", message));
        }
        // An image that the layout itself lists.
        None => return,
    }
    if document["manifests"].as_array().is_some_and(Vec::is_empty) {
        to.push(Finding::error("index", "the index lists no image: no client finds one"));
    }
    let builds = builds(&document);
    let mut seen = Vec::new();
    for entry in &index.entries {
        match entry.attestation {
            true => check_attestation(entry, &index.entries, to),
            false => check_image(entry, &mut seen, &builds, to),
        }
    }
    let all = index.entries.len();
    let there = index.entries.iter().all(|entry| entry.chosen);
    if role == ViewKind::Index && there && to.failed("index") == 0 {
        let message = format!("{all} manifests are there, with the sizes and digests it promises");
        to.pass("index", message);
    }
}

/// Checks the fields of the index itself.
fn check_document(document: &Value, to: &mut Findings) {
    schema_version(document, "the index", to);
    if document["mediaType"].is_null() {
        to.push(Finding::info("media-type", "the index does not say its own media type"));
    }
}

/// Checks the schema version of an index or a manifest: both specifications have only version 2.
pub(super) fn schema_version(document: &Value, what: &str, to: &mut Findings) {
    match &document["schemaVersion"] {
        Value::Number(version) if version.as_u64() == Some(2) => {
            to.pass("schema-version", format!("{what} is of schema version 2"));
        }
        Value::Null => to.push(
            Finding::error("schema-version", format!("{what} has no schemaVersion"))
                .sides(2, "nothing"),
        ),
        other => to.push(
            Finding::error("schema-version", format!("{what} is of another schemaVersion"))
                .sides(2, other),
        ),
    }
}

/// Returns the builds of Windows (`os.version`) by the digest of the image: several of them are for one platform.
fn builds(document: &Value) -> BTreeMap<&str, &str> {
    let entries = document["manifests"].as_array().into_iter().flatten();
    let builds = entries.filter_map(|entry| {
        Some((entry["digest"].as_str()?, entry["platform"]["os.version"].as_str()?))
    });
    builds.collect()
}

/// Checks an entry that lists an image. `seen` holds the earlier entries that name a platform.
fn check_image<'a>(
    entry: &'a IndexEntry,
    seen: &mut Vec<&'a IndexEntry>,
    builds: &BTreeMap<&str, &str>,
    to: &mut Findings,
) {
    // An entry without a digest is an error already.
    if entry.digest.is_empty() {
        return;
    }
    if !is_manifest_type(&entry.media_type) {
        let message = format!("the index lists {} as '{}'", entry.digest, entry.media_type);
        to.push(Finding::warning("index", message));
    }
    let Some(platform) = &entry.platform else {
        if entry.media_type == OCI_MANIFEST || entry.media_type == DOCKER_MANIFEST {
            let message = format!("the index gives no platform for {}", entry.digest);
            to.push(Finding::warning("index", message));
        }
        return;
    };
    let build = |of: &IndexEntry| builds.get(of.digest.as_str()).copied();
    let same =
        |known: &IndexEntry| known.platform == entry.platform && build(known) == build(entry);
    match seen.iter().find(|known| same(known) && known.digest != entry.digest) {
        Some(first) => {
            let message = format!(
                "the index lists two images for {platform}: readers differ in which they take"
            );
            to.push(Finding::warning("index", message).sides(&first.digest, &entry.digest));
        }
        None => seen.push(entry),
    }
}

/// Checks that the index also lists the image that an attestation is about.
fn check_attestation(entry: &IndexEntry, all: &[IndexEntry], to: &mut Findings) {
    if let Some(about) = &entry.about
        && all.iter().all(|other| other.digest != *about)
    {
        let message = format!("the index lists an attestation of {about}, which it does not list");
        to.push(Finding::warning("index", message));
    }
}

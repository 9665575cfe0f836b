//! Verifying an earlier write: the blobs exist, the manifest lists them, and the index lists the manifest.

use std::collections::BTreeMap;

use occystrap_plugin::storage::{self, Directory};
use occystrap_plugin::types::Descriptor;
use occystrap_plugin::verifier::{Finding, Guest, Level, Problem};
use occystrap_plugin::writer::{Entry, Error, Expectation, Place, Receipt, Role, Step};
use occystrap_plugin::{check_expectations, finding, read_to_end};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::{OciLayout, index, layout};

/// The largest manifest that is read, in bytes. Registries have the same limit.
const LONGEST: u64 = 4 * 1024 * 1024;

/// The largest config that is read, in bytes. The host moves no larger ones.
const LONGEST_CONFIG: u64 = 8 * 1024 * 1024;

impl Guest for OciLayout {
    fn verify(receipt: Receipt, level: Level) -> Result<Vec<Finding>, Error> {
        let directory = storage::open()?;
        let mut findings = check_expectations(&directory, &receipt.expectations, level);
        for expectation in &receipt.expectations {
            findings.extend(match (&expectation.role, &expectation.place) {
                (Role::Manifest, Place::File(path)) => {
                    check_manifest(&directory, path, &receipt.expectations)?
                }
                (Role::Config, Place::File(path)) => check_config(&directory, path, expectation)?,
                (Role::Catalog, Place::Entry(entry)) => check_entry(&directory, entry, &receipt)?,
                _ => None,
            });
        }
        // An image that an index lists has no entry. The marker is checked with the receipt of that index.
        if receipt.expectations.iter().any(|one| matches!(one.role, Role::Catalog)) {
            findings.extend(check_marker(&directory));
        }
        Ok(findings)
    }
}

/// Checks that a config is JSON. The config of an artifact need not be JSON: it is right if its digest is.
fn check_config(
    directory: &Directory,
    path: &str,
    expectation: &Expectation,
) -> Result<Option<Finding>, Error> {
    // A config that is missing or has another size has been reported already.
    let Ok(Some(bytes)) = read_to_end(directory, path, LONGEST_CONFIG) else { return Ok(None) };
    let size = Some(bytes.len() as u64);
    if size != expectation.size || serde_json::from_slice::<&RawValue>(&bytes).is_ok() {
        return Ok(None);
    }
    let found = directory.digest(path, 0, None)?;
    Ok((Some(&found) != expectation.digest.as_ref())
        .then(|| finding(path, Problem::Unreadable, None, None, "is not JSON")))
}

/// Checks that the manifest lists exactly the config and the layers of the receipt, in order.
fn check_manifest(
    directory: &Directory,
    path: &str,
    expectations: &[Expectation],
) -> Result<Option<Finding>, Error> {
    let digests = |wanted: fn(&Role) -> bool| {
        let found = expectations.iter().filter(move |expectation| wanted(&expectation.role));
        found.filter_map(|expectation| expectation.digest.as_deref()).collect::<Vec<_>>()
    };
    let config = digests(|role| matches!(role, Role::Config));
    let layers = digests(|role| matches!(role, Role::Layer(_)));
    let problem = |message| Some(finding(path, Problem::Unreadable, None, None, message));
    // A manifest that is missing or is not a file has been reported already.
    let Ok(Some(bytes)) = read_to_end(directory, path, LONGEST) else { return Ok(None) };
    // The manifest of the source may have values that nest deeper than this parser accepts. Only the host
    // checks those.
    let text = String::from_utf8_lossy(&bytes);
    let Ok(manifest) = serde_json::from_str::<BTreeMap<String, &RawValue>>(&text) else {
        return Ok(problem("is not JSON"));
    };
    let part = |key: &str| {
        let value = manifest.get(key).and_then(|value| serde_json::from_str(value.get()).ok());
        value.unwrap_or(Value::Null)
    };
    if part("config")["digest"].as_str() != config.first().copied() {
        return Ok(problem("names another config"));
    }
    let layers_listed = part("layers");
    let listed = layers_listed.as_array().map(Vec::as_slice).unwrap_or_default();
    let listed: Vec<&str> = listed.iter().filter_map(|layer| layer["digest"].as_str()).collect();
    Ok(if listed == layers { None } else { problem("lists other layers, or in another order") })
}

/// Checks the marker. Readers read it first, and refuse a layout without a marker or of another version.
fn check_marker(directory: &Directory) -> Option<Finding> {
    let (problem, message) = match layout::has_marker(directory) {
        Ok(true) => return None,
        Ok(false) => (Problem::Missing, "is not there"),
        Err(Error::Other(why)) => {
            return Some(finding(layout::MARKER, Problem::Unreadable, None, None, &why));
        }
        Err(_) => (Problem::Unreadable, "cannot be read"),
    };
    Some(finding(layout::MARKER, problem, None, None, message))
}

/// Checks that `index.json` is an index, and that it lists the manifest with its size, media type and platform.
fn check_entry(
    directory: &Directory,
    entry: &Entry,
    receipt: &Receipt,
) -> Result<Option<Finding>, Error> {
    // The expectation for the full name has more steps. The host checks it.
    let [Step::Key(_), Step::Element(named), Step::Key(_)] = entry.steps.as_slice() else {
        return Ok(None);
    };
    let manifest = receipt.expectations.iter().find(|one| matches!(one.role, Role::Manifest));
    let size = manifest.and_then(|manifest| manifest.size).unwrap_or_default();
    let IndexDescription { media_type, platform } = IndexDescription::from_state(&receipt.state);
    let expected = described(&entry.value, size, &media_type);
    // The host reports why an index cannot be read.
    let bytes = read_to_end(directory, &entry.path, index::LONGEST).ok().flatten();
    let problem = |expected: Option<String>, found: Option<String>, message: &str| {
        Ok(Some(finding(&entry.path, Problem::Unreadable, expected, found, message)))
    };
    if bytes.as_ref().is_some_and(|bytes| !index::has_schema_version(bytes)) {
        return problem(None, None, "is no image index: its 'schemaVersion' is not 2");
    }
    let found = bytes.and_then(|bytes| index::find(&bytes, &named.value));
    let (found, listed_platform) = match found {
        Some(index::NamedManifest {
            manifest: Descriptor { digest, size, media_type },
            platform,
        }) => (Some(described(&digest, size, &media_type)), platform),
        None => (None, None),
    };
    if found.as_ref() != Some(&expected) {
        return problem(Some(expected), found, "does not describe the manifest of this image");
    }
    if platform.is_some() && parsed(&platform) != parsed(&listed_platform) {
        return problem(platform, listed_platform, "gives this image another platform");
    }
    Ok(None)
}

/// Parses a platform, so that two can be compared: other tools may write the same platform as other text.
fn parsed(platform: &Option<String>) -> Option<Value> {
    serde_json::from_str(platform.as_ref()?).ok()
}

/// The facts about an image that only the index contains.
pub struct IndexDescription {
    pub media_type: String,
    /// The platform as JSON text; `None` if the config states none, and in receipts of 0.5.0, which do not have
    /// it.
    pub platform: Option<String>,
}

impl IndexDescription {
    /// Returns the state of a receipt: the media type, and on a second line the platform. A media type contains
    /// no line feed.
    pub fn into_state(self) -> Vec<u8> {
        let platform = self.platform.map(|platform| format!("\n{platform}"));
        (self.media_type + &platform.unwrap_or_default()).into_bytes()
    }

    fn from_state(state: &[u8]) -> Self {
        let text = String::from_utf8_lossy(state);
        let (media_type, platform) = match text.split_once('\n') {
            Some((media_type, platform)) => (media_type, Some(platform.to_owned())),
            None => (&*text, None),
        };
        Self { media_type: media_type.to_owned(), platform }
    }
}

fn described(digest: &str, size: u64, media_type: &str) -> String {
    format!("{digest}, {size} bytes, {media_type}")
}

//! Checking an earlier write: the blobs, and that manifest and index tie them together.

use occystrap_plugin::storage::{self, Directory};
use occystrap_plugin::verifier::{Finding, Guest, Level, Problem};
use occystrap_plugin::writer::{Entry, Error, Expectation, Place, Receipt, Role, Step};
use occystrap_plugin::{check_expectations, finding, read_to_end};
use serde_json::Value;

use crate::{OciLayout, index};

/// The largest manifest that a registry takes.
const LONGEST: u64 = 4 * 1024 * 1024;

impl Guest for OciLayout {
    fn verify(receipt: Receipt, level: Level) -> Result<Vec<Finding>, Error> {
        let directory = storage::open()?;
        let mut findings = check_expectations(&directory, &receipt.expectations, level);
        for expectation in &receipt.expectations {
            findings.extend(match (&expectation.role, &expectation.place) {
                (Role::Manifest, Place::File(path)) => {
                    check_manifest(&directory, path, &receipt.expectations)?
                }
                (Role::Catalog, Place::Entry(entry)) => check_entry(&directory, entry)?,
                _ => None,
            });
        }
        Ok(findings)
    }
}

/// The manifest lists exactly the config and the layers of the receipt, in order.
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
    // A manifest that is not there, or is no file, has been reported already.
    let Ok(Some(bytes)) = read_to_end(directory, path, LONGEST) else { return Ok(None) };
    let Ok(manifest) = serde_json::from_slice::<Value>(&bytes) else {
        return Ok(problem("is not JSON"));
    };
    if manifest["config"]["digest"].as_str() != config.first().copied() {
        return Ok(problem("names another config"));
    }
    let listed = manifest["layers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let listed: Vec<&str> = listed.iter().filter_map(|layer| layer["digest"].as_str()).collect();
    Ok(if listed == layers { None } else { problem("lists other layers, or in another order") })
}

fn check_entry(directory: &Directory, entry: &Entry) -> Result<Option<Finding>, Error> {
    let [Step::Key(_), Step::Element(named), Step::Key(_)] = entry.steps.as_slice() else {
        return Ok(None);
    };
    // The host says why an index cannot be read.
    let bytes = read_to_end(directory, &entry.path, index::LONGEST).ok().flatten();
    let found = bytes.and_then(|bytes| index::named(&bytes, &named.value));
    Ok((found.as_ref() != Some(&entry.value)).then(|| {
        finding(
            &entry.path,
            Problem::Unreadable,
            Some(entry.value.clone()),
            found,
            "does not name the manifest of this image",
        )
    }))
}

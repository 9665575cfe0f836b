//! Verifying an earlier write: the files exist, the manifest lists them, and the catalog lists the manifest.

use occystrap_plugin::storage::{self, Directory};
use occystrap_plugin::verifier::{Finding, Guest, Level, Problem};
use occystrap_plugin::writer::{Entry, Error, Expectation, Place, Receipt, Role, Step};
use occystrap_plugin::{check_expectations, finding, read_to_end};

use crate::manifest::LONGEST;
use crate::{Dir, catalog, manifest};

impl Guest for Dir {
    fn verify(receipt: Receipt, level: Level) -> Result<Vec<Finding>, Error> {
        let directory = storage::open()?;
        let mut findings = check_expectations(&directory, &receipt.expectations, level);
        for expectation in &receipt.expectations {
            match (&expectation.role, &expectation.place) {
                // A manifest that differs from the receipt has been reported already.
                (Role::Manifest, Place::File(path))
                    if findings.iter().all(|known| known.subject != *path) =>
                {
                    findings.extend(check_manifest(&directory, path, &receipt.expectations)?);
                }
                (Role::Catalog, Place::Entry(entry)) => {
                    findings.extend(check_entry(&directory, entry)?);
                }
                _ => {}
            }
        }
        Ok(findings)
    }
}

/// Checks that the catalog lists the manifest of this image.
fn check_entry(directory: &Directory, entry: &Entry) -> Result<Option<Finding>, Error> {
    // The host reports that a catalog above the limit was not checked.
    if directory.stat(&entry.path)?.is_some_and(|stat| stat.size > catalog::LONGEST) {
        return Ok(None);
    }
    let expected = Some(entry.value.clone());
    let wrong = |found, message: &str| {
        Some(finding(&entry.path, Problem::Unreadable, expected.clone(), found, message))
    };
    let Some((repository, tag)) = keys(&entry.steps) else {
        return Ok(wrong(None, "has no entries of that form"));
    };
    Ok(match catalog::find(directory, &entry.path, repository, tag) {
        Ok(found) if found == expected => None,
        Ok(found) => wrong(found, "does not name the manifest of this image"),
        Err(Error::Other(why)) => wrong(None, &why),
        // The file is missing, or there is a folder in its place. The host reports which.
        Err(_) => wrong(None, "does not name the manifest of this image"),
    })
}

/// Returns the repository and the tag of an entry in the catalog.
fn keys(steps: &[Step]) -> Option<(&str, &str)> {
    match steps {
        [Step::Key(repository), Step::Key(tag)] => Some((repository, tag)),
        _ => None,
    }
}

/// Checks that the manifest lists exactly the config and the layers of the receipt, in order.
fn check_manifest(
    directory: &Directory,
    path: &str,
    expectations: &[Expectation],
) -> Result<Option<Finding>, Error> {
    let mut config = None;
    let mut layers = Vec::new();
    for expectation in expectations {
        if let Place::File(path) = &expectation.place {
            match expectation.role {
                Role::Config => config = Some(path.clone()),
                Role::Layer(_) => layers.push(path.clone()),
                _ => {}
            }
        }
    }
    let Some(bytes) = read_to_end(directory, path, LONGEST)? else { return Ok(None) };
    let problem = |message| Some(finding(path, Problem::Unreadable, None, None, message));
    Ok(match manifest::parse(&bytes).as_deref() {
        None | Some([]) => problem("is not a docker-save manifest"),
        Some([listed]) if Some(&listed.config) != config.as_ref() => {
            problem("names another config")
        }
        Some([listed]) if listed.layers != layers => {
            problem("lists other layers, or in another order")
        }
        Some([_]) => None,
        Some(_) => problem("lists more than this image"),
    })
}

//! Verifying an earlier write: the blobs, and the size of the manifest.

use occystrap_plugin::finding;
use occystrap_plugin::registry::{self, Repository};
use occystrap_plugin::types::ErrorCode;
use occystrap_plugin::verifier::{Finding, Guest, Level, Problem};
use occystrap_plugin::writer::{Error, Expectation, Place, Receipt};

use crate::Registry;

impl Guest for Registry {
    fn verify(receipt: Receipt, level: Level) -> Result<Vec<Finding>, Error> {
        let repository = registry::open()?;
        let mut findings = Vec::new();
        for expectation in &receipt.expectations {
            findings.extend(match &expectation.place {
                Place::Blob(digest) => check_blob(&repository, digest, expectation, level)?,
                Place::Manifest(reference) => check_manifest(&repository, reference, expectation)?,
                _ => None,
            });
        }
        Ok(findings)
    }
}

fn check_blob(
    repository: &Repository,
    digest: &str,
    expectation: &Expectation,
    level: Level,
) -> Result<Option<Finding>, Error> {
    let Some(size) = repository.stat_blob(digest)? else {
        return Ok(Some(finding(digest, Problem::Missing, None, None, "is not in the repository")));
    };
    if expectation.size.is_some_and(|expected| expected != size) {
        let expected = expectation.size.map(|size| size.to_string());
        let message = "has another size";
        return Ok(Some(finding(
            digest,
            Problem::SizeMismatch,
            expected,
            Some(size.to_string()),
            message,
        )));
    }
    if level == Level::Fast {
        return Ok(None);
    }
    let found = match repository.blob_digest(digest) {
        Ok(found) => found,
        Err(ErrorCode::NotFound) => {
            return Ok(Some(finding(digest, Problem::Missing, None, None, "cannot be downloaded")));
        }
        Err(code) => return Err(code.into()),
    };
    Ok((found != *digest).then(|| {
        finding(
            digest,
            Problem::DigestMismatch,
            Some(digest.to_owned()),
            Some(found),
            "has other content",
        )
    }))
}

fn check_manifest(
    repository: &Repository,
    reference: &str,
    expectation: &Expectation,
) -> Result<Option<Finding>, Error> {
    let Some(manifest) = repository.get_manifest(reference)? else {
        return Ok(Some(finding(
            reference,
            Problem::Missing,
            None,
            None,
            "is not in the repository",
        )));
    };
    let expected = expectation.size.map(|size| size as usize);
    Ok((expected != Some(manifest.bytes.len())).then(|| {
        let side = |size: usize| format!("{size} bytes");
        let (expected, found) = (expected.map(side), side(manifest.bytes.len()));
        finding(reference, Problem::SizeMismatch, expected, Some(found), "is another manifest")
    }))
}

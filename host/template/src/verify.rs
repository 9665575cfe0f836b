//! Verifying an earlier write. The host calls this code in a fresh instance that can only read. A plugin
//! that tries to write here is stopped, and the image is FAILED.

use occystrap_plugin::verifier::{Finding, Guest, Level, Problem};
use occystrap_plugin::writer::{Error, Place, Receipt, Role};
use occystrap_plugin::{check_expectations, finding, read_to_end, storage};

use crate::{Plugin, sums};

/// The largest `SHA256SUMS` that is read, in bytes. The lines of a thousand layers need less.
const LARGEST_SUMS: u64 = 1024 * 1024;

impl Guest for Plugin {
    fn verify(receipt: Receipt, level: Level) -> Result<Vec<Finding>, Error> {
        let directory = storage::open()?;
        // Every file exists with its size and, at the level `full`, with its digest.
        let mut findings = check_expectations(&directory, &receipt.expectations, level);
        if findings.iter().any(|known| known.subject == sums::NAME) {
            return Ok(findings);
        }
        // Only this plugin can check `SHA256SUMS`, because the host does not know its format.
        let mut files = receipt.expectations;
        files.retain(|file| !matches!(file.role, Role::Manifest));
        files.retain(|file| matches!(file.place, Place::File(_)));
        let found = read_to_end(&directory, sums::NAME, LARGEST_SUMS)?.unwrap_or_default();
        if found != sums::render(&files).as_bytes() {
            findings.push(finding(
                sums::NAME,
                Problem::DigestMismatch,
                None,
                None,
                "does not list the files of this image",
            ));
        }
        Ok(findings)
    }
}

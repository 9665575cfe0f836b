//! Verifying an earlier write: every file exists with its size and, at the level `full`, with its digest. At
//! every level, the inventory begins and ends as it should.

use occystrap_plugin::storage::{self, Directory};
use occystrap_plugin::types::ErrorCode;
use occystrap_plugin::verifier::{Finding, Guest, Level, Problem};
use occystrap_plugin::writer::{Error, Receipt};
use occystrap_plugin::{check_expectations, finding};

use crate::Plugin;
use crate::inventory::{BEGIN, END, NAME};

impl Guest for Plugin {
    fn verify(receipt: Receipt, level: Level) -> Result<Vec<Finding>, Error> {
        let directory = storage::open()?;
        let mut findings = check_expectations(&directory, &receipt.expectations, level);
        if findings.iter().all(|known| known.subject != NAME) && !is_complete(&directory)? {
            findings.push(finding(NAME, Problem::Unreadable, None, None, "is no inventory"));
        }
        Ok(findings)
    }
}

/// Returns whether the inventory has the expected first and last bytes.
fn is_complete(directory: &Directory) -> Result<bool, ErrorCode> {
    let size = directory.stat(NAME)?.map_or(0, |stat| stat.size);
    let end = size.saturating_sub(END.len() as u64);
    Ok(directory.read(NAME, 0, BEGIN.len() as u32)? == BEGIN.as_bytes()
        && directory.read(NAME, end, END.len() as u32)? == END.as_bytes())
}

//! Verifying an earlier write: every file exists with its size and, at the level `full`, with its digest.

use occystrap_plugin::check_web_expectations;
use occystrap_plugin::http_in;
use occystrap_plugin::verifier::{Finding, Guest, Level};
use occystrap_plugin::writer::{Error, Receipt};

use crate::Plugin;

impl Guest for Plugin {
    fn verify(receipt: Receipt, level: Level) -> Result<Vec<Finding>, Error> {
        Ok(check_web_expectations(&http_in::folder()?, &receipt.expectations, level)?)
    }
}

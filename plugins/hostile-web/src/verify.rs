//! Verifying: correctly, or as the state of the receipt says.

use occystrap_plugin::check_web_expectations;
use occystrap_plugin::http_in;
use occystrap_plugin::verifier::{Finding, Guest, Level};
use occystrap_plugin::writer::{Error, Receipt};

use crate::Hostile;
use crate::unwanted::send;

impl Guest for Hostile {
    fn verify(receipt: Receipt, level: Level) -> Result<Vec<Finding>, Error> {
        let behaviour = String::from_utf8_lossy(&receipt.state).into_owned();
        match behaviour.strip_prefix("verify-") {
            Some("blind") => return Ok(Vec::new()),
            Some(behaviour) => send(behaviour)?,
            None => {}
        }
        Ok(check_web_expectations(&http_in::folder()?, &receipt.expectations, level)?)
    }
}

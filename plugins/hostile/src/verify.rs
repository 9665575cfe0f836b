//! Verifying, and the rules that a plugin can break while verifying.

use occystrap_plugin::storage;
use occystrap_plugin::verifier::{Finding, Guest, Level, Problem};
use occystrap_plugin::writer::{Blob, Error, Receipt};
use occystrap_plugin::{check_expectations, finding, log, storage_edit};

use crate::{Hostile, sabotage};

impl Guest for Hostile {
    fn verify(receipt: Receipt, level: Level) -> Result<Vec<Finding>, Error> {
        let directory = storage::open()?;
        let behaviour = String::from_utf8_lossy(&receipt.state).into_owned();
        let false_finding = |subject: &str, message: &str| {
            finding(subject, Problem::DigestMismatch, None, Some("\u{1b}[2J".to_owned()), message)
        };
        match behaviour.as_str() {
            "verify-loop" => sabotage::forever(),
            "verify-grow" => sabotage::grow(),
            "verify-flood" => {
                (0..500).for_each(|n| log::log(log::Level::Warn, &format!("line {n}")))
            }
            "verify-panic" => panic!("as asked"),
            "verify-write" => {
                let sink = storage_edit::create_file(&directory, "config")?;
                sink.write(b"mended")?;
                return Ok(Vec::new());
            }
            "verify-lock" => storage_edit::lock(&directory)?,
            "verify-outside" => drop(directory.read("../secret", 0, 100)?),
            "verify-read" => loop {
                drop(directory.read("layer-1", 0, 64 * 1024)?);
            },
            "verify-digest" => {
                (0..).try_for_each(|n| directory.digest("layer-1", n % 1_000, None).map(drop))?
            }
            "verify-stat" => loop {
                directory.stat("config")?;
            },
            // A different range in each call, so that the host cannot answer from memory.
            "verify-ranges" => {
                (0..).try_for_each(|n| directory.digest("layer-1", n, Some(1)).map(drop))?
            }
            // Guesses handles: numbers that referred to blobs while the plugin was writing, and others.
            "verify-guess" => {
                for handle in 0..10_000 {
                    let guessed = std::mem::ManuallyDrop::new(unsafe { Blob::from_handle(handle) });
                    drop(guessed.read(0, 1));
                }
            }
            "verify-blind" => return Ok(Vec::new()),
            "verify-give-up" => return Err(Error::Other("no idea".to_owned())),
            "verify-accuse" => {
                return Ok(vec![
                    false_finding("config", "I do not like it\nat all"),
                    false_finding("../other", "nor that"),
                ]);
            }
            "verify-accuse-many" => return Ok(vec![false_finding("config", ""); 150_000]),
            _ => {}
        }
        Ok(check_expectations(&directory, &receipt.expectations, level))
    }
}

//! Verifying, and the rules that a plugin can break while verifying.

use occystrap_plugin::verifier::{Finding, Guest, Level};
use occystrap_plugin::writer::{Error, Receipt};
use occystrap_plugin::{engine, engine_load, registry, storage};

use crate::Hostile;

impl Guest for Hostile {
    fn verify(receipt: Receipt, _level: Level) -> Result<Vec<Finding>, Error> {
        let engine = engine::open()?;
        match String::from_utf8_lossy(&receipt.state).as_ref() {
            "verify-load" => drop(engine_load::load(&engine)?),
            "verify-other" => drop(engine.inspect_image("busybox:latest")?),
            "verify-hash-other" => drop(engine.hash_image("busybox:latest")?),
            "verify-storage" => drop(storage::open()?),
            "verify-registry" => drop(registry::open()?),
            "verify-flood" => {
                for _ in 0..10_000 {
                    engine.inspect_image("team/app:1")?;
                    engine.hash_image("team/app:1")?;
                }
            }
            _ => {}
        }
        Ok(Vec::new())
    }
}

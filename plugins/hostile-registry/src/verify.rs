//! Verifying, and the rules that a plugin can break while verifying.

use occystrap_plugin::registry;
use occystrap_plugin::registry_push;
use occystrap_plugin::storage;
use occystrap_plugin::types::Manifest;
use occystrap_plugin::verifier::{Finding, Guest, Level};
use occystrap_plugin::writer::{Error, Receipt};

use crate::Hostile;

impl Guest for Hostile {
    fn verify(receipt: Receipt, _level: Level) -> Result<Vec<Finding>, Error> {
        let repository = registry::open()?;
        match String::from_utf8_lossy(&receipt.state).as_ref() {
            "verify-push" => {
                let manifest = Manifest { media_type: String::new(), bytes: b"{}".to_vec() };
                registry_push::push_manifest(&repository, "1", &manifest)?;
            }
            "verify-storage" => drop(storage::open()?),
            "verify-flood" => {
                for n in 0..1_000_000_u64 {
                    drop(repository.stat_blob(&format!("sha256:{n:064x}")));
                }
            }
            _ => {}
        }
        Ok(Vec::new())
    }
}

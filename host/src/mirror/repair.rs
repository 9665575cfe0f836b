//! A repair: what is recorded as bad is sent again and read back.
//!
//! | module | what it repairs |
//! | --- | --- |
//! | `work` | what all parts share, and what the ledger and the user get |
//! | `storage` | nothing: it names what the operator of a registry must remove |
//! | `blob` | one blob, in each repository that has it |
//! | `image` | one image: its tag and manifests, or all of it in a layout, directory or plugin's destination |
//!
//! What this module refuses: to count anything as repaired because a registry said that it stored it.

mod blob;
mod image;
mod storage;
mod work;

use std::time::Instant;

use super::file::MirrorFile;
use super::run::begin;
use super::services::Services;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_mirror::ledger::Ledger;
use occystrap_mirror::ledger::record::RunKind;

use self::work::Repair;
pub use self::work::{EndedRepair, RepairCounts, RepairEvents};

/// Repairs what the ledger has recorded as bad. `again` is the command to run after the storage of a registry was mended.
/// Errors when FILE is wrong or the ledger fails.
pub fn repair<L: Ledger>(
    file: &MirrorFile,
    ledger: &L,
    services: &Services<'_>,
    again: &str,
    events: &dyn RepairEvents,
) -> Result<EndedRepair, Vec<Error>> {
    let started = Instant::now();
    let one = |error: Error| vec![error];
    let sources = file.sources()?;
    let run = begin(ledger, file, RunKind::Repair, "").map_err(one)?.id;
    let work = Repair::new(ledger, services, &sources, again, events, run);
    // A manifest is accepted when its blobs are there.
    let outcome = blob::each(&work).and_then(|()| image::each(&work));
    let is_interrupted = match outcome {
        Ok(()) => false,
        Err(error) if error.kind() == Kind::Interrupted => true,
        Err(error) => return Err(vec![error]),
    };
    let counts = *work.counts();
    let text = serde_json::to_string(&counts).unwrap_or_default();
    match is_interrupted {
        true => ledger.stop_run(run).map_err(one)?,
        false => drop(ledger.finish_run(run, &text).map_err(one)?),
    }
    Ok(EndedRepair { run, counts, is_interrupted, took: started.elapsed() })
}

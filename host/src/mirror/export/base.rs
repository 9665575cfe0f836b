//! The exports that an export builds on.

use crate::mirror::exported::document::Base;
use occystrap_base::error::{Error, Result};
use occystrap_mirror::ledger::export::Exports;
use occystrap_mirror::ledger::record::RunId;

/// Exports in a row at most, of which each builds on the one before.
const LONGEST_CHAIN: usize = 1_000;

/// Returns the export that the user wants to build on, and the runs of all exports that it builds on, the latest first.
pub fn chain(ledger: &impl Exports, since: Option<RunId>) -> Result<(Option<Base>, Vec<RunId>)> {
    let (mut base, mut chain, mut next) = (None, Vec::new(), since);
    while let Some(run) = next {
        let mark = ledger.export(run)?;
        let Some((digest, before)) = mark.and_then(|mark| Some((mark.digest?, mark.since))) else {
            let known: Vec<String> =
                ledger.exports(9)?.iter().map(|mark| mark.run.0.to_string()).collect();
            let message = format!("run {} is no export of this ledger", run.0);
            return Err(Error::usage(message).hint(match known.is_empty() {
                true => "it has none yet: export without --since first".to_owned(),
                false => format!("its exports are the runs {}", known.join(", ")),
            }));
        };
        if chain.is_empty() {
            base = Some(Base { run: run.0, export: digest });
        }
        chain.push(run);
        if chain.len() > LONGEST_CHAIN {
            let message = format!("more than {LONGEST_CHAIN} exports build on each other");
            return Err(Error::usage(message).hint("export everything: without --since"));
        }
        next = before;
    }
    Ok((base, chain))
}

//! The check of an image in a layout, a directory or a plugin's destination: by the receipt that the ledger keeps.

use super::check::Check;
use super::services::Services;
use crate::pipeline;
use occystrap_base::error::{Error, Result};
use occystrap_base::oci::Digest;
use occystrap_images::level::Level;
use occystrap_mirror::ledger::Accounts;
use occystrap_mirror::ledger::record::LedgerItem;
use occystrap_output::receipt::{Bundle, Receipt};
use occystrap_verify::receipt::plugins::Plugins;
use occystrap_verify::report::ImageStatus;
use occystrap_verify::subject::Subject;

/// Verifies an image by its receipts. `name` is that of the destination. Errors when the user interrupts, or when the
/// ledger's receipt cannot be read.
pub fn check(
    receipt: &str,
    name: &str,
    level: Level,
    plugins: &Plugins<'_>,
    services: &Services<'_>,
) -> Result<Check> {
    let receipts = Bundle::parse(receipt.as_bytes(), name)?;
    let clients = |uri: &_| services.clients.of(uri);
    let cancel = &services.context.cancel;
    let subject = match Subject::of_receipts(receipts, name, plugins, clients, cancel) {
        Ok(subject) => subject,
        Err(error) => return Ok(Check::Unchecked(error)),
    };
    let context = services.context.about(name);
    let run = pipeline::verify_subjects(&[Ok(subject)], level, 1, &context);
    services.context.cancel.check()?;
    let problem = || run.images().iter().find_map(|image| image.problem());
    let has = |status| run.images().iter().any(|image| image.status == status);
    Ok(match () {
        () if has(ImageStatus::Failed) => {
            let what = problem().map(|error| error.to_string());
            Check::Bad(what.unwrap_or_else(|| format!("{name}: the verification FAILED")))
        }
        () if run.images().iter().all(|image| image.status == ImageStatus::Verified) => Check::Good,
        () => {
            let why = || Error::destination(format!("{name}: it could not be confirmed"));
            Check::Unchecked(problem().unwrap_or_else(why))
        }
    })
}

/// Returns the digest that an image was proved with, where the source has that image now and the destination has no digests
/// to be asked for: a fast verification finds everything that the receipt lists. `source` is what the source has.
pub fn still_there(
    known: &LedgerItem,
    source: Option<Digest>,
    ledger: &impl Accounts,
    plugins: &Plugins<'_>,
    services: &Services<'_>,
) -> Result<Option<Digest>> {
    let name = &known.destination;
    let is_asked = ["registry://", "oci-layout://"].iter().any(|asked| name.starts_with(asked));
    let Some(proof) = known.proof.filter(|_| !is_asked) else { return Ok(None) };
    if source != Some(known.want_digest.unwrap_or(proof.digest)) {
        return Ok(None);
    }
    let Some(receipt) = ledger.receipt(known.id)? else { return Ok(None) };
    let found = check(&receipt, name, Level::Fast, plugins, services)?;
    Ok((found == Check::Good).then_some(proof.digest))
}

/// Returns the bytes that a full verification of an image reads, by its receipts.
pub fn bytes(receipt: &str, name: &str) -> u64 {
    let receipts = Bundle::parse(receipt.as_bytes(), name).unwrap_or_default();
    receipts.iter().map(Receipt::bytes).fold(0, u64::saturating_add)
}

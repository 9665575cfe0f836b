//! Rules that no honest receipt breaks: nothing in it leads out of its destination, and it does not name more than an
//! image can have.

use super::batch_limits::Stop;
use crate::receipt::completeness::says_enough;
use crate::receipt::format::DestinationFormat;
use crate::verdict::flaw::Reason;
use occystrap_base::error::{Error, Result};
use occystrap_base::files::destination::check_path;
use occystrap_base::limits;
use occystrap_output::receipt::Receipt;

/// Checks a receipt without opening its destination. `granted` is the name of the file, where the destination is one
/// file.
pub fn check(
    receipt: &Receipt,
    format: &DestinationFormat,
    granted: Option<&str>,
) -> Result<(), Stop> {
    keeps_rules(receipt, granted).map_err(Stop::Refused)?;
    says_enough(receipt, format).map_err(|missing| {
        Stop::Unchecked(Error::source(Reason::ReceiptSaysLittle { missing }.to_string()))
    })
}

fn keeps_rules(receipt: &Receipt, granted: Option<&str>) -> Result<()> {
    let extents: usize = receipt.journal.iter().map(|file| file.extents.len()).sum();
    let counts = [
        ("expectations", receipt.expectations.len(), limits::UNTRUSTED_ITEMS),
        ("files in its journal", receipt.journal.len(), limits::UNTRUSTED_ITEMS),
        ("runs of bytes in its journal", extents, limits::UNTRUSTED_EXTENTS),
        ("bytes of state", receipt.state.len(), limits::RECEIPT_STATE),
    ];
    if let Some((what, found, most)) = counts.into_iter().find(|(_, found, most)| found > most) {
        let message = format!("the receipt's {what}: expected at most {most}, found {found}");
        return Err(Error::source(message));
    }
    let places = receipt.expectations.iter().filter_map(|one| one.place.path());
    let mut paths = places.chain(receipt.journal.iter().map(|file| file.path.as_str()));
    match paths.find(|path| check_path(path, granted).is_err()) {
        Some(path) => Err(Error::source(format!(
            "the receipt names '{path}', which is not in its destination"
        ))),
        None => Ok(()),
    }
}

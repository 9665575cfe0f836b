//! Receipts of one run: of an image, or of an index and everything that it lists, in one file.

use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{LARGEST, Receipt, VERSION, leak};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::regular;
use occystrap_base::files::state_file::{StateFile, beside};
use occystrap_base::secret;
use occystrap_net::uri::logins_in;

/// A file with receipts.
pub const RECEIPT: StateFile = StateFile { what: "receipt", largest: LARGEST, is_one: is_receipt };

/// All receipts of one run, in the order in which things were written. A single one is a file of
/// its own kind, so that who knows those need not know this.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// [`VERSION`], for all of them.
    occystrap_receipts: u32,
    receipts: Vec<Receipt>,
}

/// Just enough to tell a bundle from a receipt.
#[derive(Deserialize)]
struct Shape {
    occystrap_receipts: Option<u32>,
    occystrap_receipt: Option<u32>,
}

/// Whether bytes are a receipt, or several, of whatever version.
fn is_receipt(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Shape>(bytes)
        .is_ok_and(|shape| shape.occystrap_receipts.or(shape.occystrap_receipt).is_some())
}

/// What to type where a file of receipts is not there.
const NO_RECEIPT: &str = "a receipt is a file that 'occystrap process --receipt FILE' wrote; what was written without one is named by its URI: 'occystrap verify dir://PATH'";

impl Bundle {
    /// Of a run.
    #[must_use]
    pub fn new(receipts: Vec<Receipt>) -> Self {
        Self { occystrap_receipts: VERSION, receipts }
    }

    /// Read a receipt, or several. Errors when it is none, is of another version, or its receipts
    /// are about different destinations or of different plugins.
    pub fn read(path: &Path) -> Result<Vec<Receipt>> {
        let place = path.display();
        let fail = |cause: std::io::Error| {
            let error = Error::io(Kind::Source, "read the receipt", place.to_string(), &cause);
            match error.kind() {
                Kind::NotFound => error.hint(NO_RECEIPT),
                _ => error,
            }
        };
        // What it says of its size is not asked: it may grow meanwhile.
        if path.is_dir() {
            return Err(Error::source(format!("'{place}' is a directory, and no receipt")).hint(
                format!(
                    "what was written is verified by its URI: 'occystrap verify dir://{place}', or oci-layout://"
                ),
            ));
        }
        let file = regular::open(path).map_err(fail)?;
        let mut bytes = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(fail)?;
        if bytes.len() as u64 > LARGEST {
            let message = format!("'{place}' has more than {LARGEST} bytes, which no receipt has");
            return Err(Error::source(message));
        }
        Self::parse(&bytes, &place.to_string())
    }

    /// Parse a receipt, or several, of bytes that were read elsewhere; `place` is what errors call them.
    /// Errors as [`Self::read`].
    pub fn parse(bytes: &[u8], place: &str) -> Result<Vec<Receipt>> {
        let receipts = Self::read_all(bytes, place)?;
        // A receipt of occystrap has no login; one from elsewhere may have.
        for receipt in &receipts {
            let again = receipt.again.iter().flat_map(|again| {
                let values =
                    again.options.iter().map(|word| word.split_once('=').unwrap_or_default().1);
                [&*again.source, &*again.destination].into_iter().chain(values)
            });
            let texts = again.chain([&*receipt.source, &*receipt.destination]);
            texts.flat_map(logins_in).for_each(|login| secret::keep_signature(&login));
        }
        Ok(receipts)
    }

    fn read_all(bytes: &[u8], place: &str) -> Result<Vec<Receipt>> {
        let no_receipt = |cause: serde_json::Error| {
            Error::source(format!("'{place}' is not a receipt of this version: {cause}"))
                .hint("receipts are written by 'occystrap process --receipt FILE'")
        };
        if !is_receipt(bytes) {
            return Err(Error::source(format!("'{place}' is not a receipt")).hint(format!(
                "receipts are written by 'occystrap process --receipt FILE'; what was written is verified by its URI: 'occystrap verify tar://{place}'"
            )));
        }
        let shape = serde_json::from_slice::<Shape>(bytes).ok();
        let said = shape.and_then(|shape| shape.occystrap_receipts.or(shape.occystrap_receipt));
        if let Some(found) = said.filter(|found| *found != VERSION) {
            return Err(Error::mismatch(format!("'{place}': receipt version"), VERSION, found));
        }
        let bundled = serde_json::from_slice::<Shape>(bytes);
        if !bundled.is_ok_and(|shape| shape.occystrap_receipts.is_some()) {
            return Ok(vec![serde_json::from_slice(bytes).map_err(no_receipt)?]);
        }
        let bundle: Self = serde_json::from_slice(bytes).map_err(no_receipt)?;
        let Some(first) = bundle.receipts.first() else {
            return Err(Error::source(format!("'{place}' holds no receipt")));
        };
        let mut versions = bundle.receipts.iter().map(|receipt| receipt.occystrap_receipt);
        if let Some(found) = versions.find(|found| *found != VERSION) {
            return Err(Error::mismatch(
                format!("'{place}': version of a receipt"),
                VERSION,
                found,
            ));
        }
        if bundle.receipts.iter().any(|other| other.destination != first.destination) {
            return Err(Error::source(format!("'{place}': its receipts are about several places")));
        }
        // Who may run to look at them is decided once.
        if bundle.receipts.iter().any(|other| other.plugin != first.plugin) {
            return Err(Error::source(format!("'{place}': its receipts are of several plugins")));
        }
        Ok(bundle.receipts)
    }

    /// Writes them, replacing the receipt that stood there when it is complete. Errors when
    /// something else stands there, or when one holds a secret.
    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(part) = self.receipts.iter().find_map(leak::in_receipt) {
            let place = path.display();
            let message = format!("cannot write the receipt '{place}': {part} holds a secret");
            return Err(Error::destination(message).hint(
                "the source repeats a password or token that it was sent: leave out --receipt, and change that secret",
            ));
        }
        let fail = |cause: std::io::Error| RECEIPT.write_failed(path, &cause);
        let real = RECEIPT.free(path)?;
        let mut file = beside(&real).map_err(fail)?;
        let written = match self.receipts.as_slice() {
            [only] => serde_json::to_writer_pretty(&mut file, only),
            _ => serde_json::to_writer_pretty(&mut file, self),
        };
        written.map_err(|cause| fail(cause.into()))?;
        std::io::Write::write_all(&mut file, b"\n").map_err(fail)?;
        file.persist(&real).map_err(|cause| fail(cause.error))?;
        Ok(())
    }
}

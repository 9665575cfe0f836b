//! Files of receipts: a file has the receipt of one image, or those of an index and everything that it lists.

use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize, Serializer};

use super::{LARGEST, Receipt, VERSION, leak};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::new_file::NewFile;
use occystrap_base::files::regular;
use occystrap_base::files::state_file::StateFile;
use occystrap_base::secret;
use occystrap_net::uri::logins_in;

/// A file with receipts, as a state file.
pub const RECEIPT: StateFile = StateFile { what: "receipt", largest: LARGEST, is_one: is_receipt };

/// The receipts of one run, in the order in which the images were written. A single receipt is a file of its
/// own kind, so that its readers need not know this one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(expecting = "receipts")]
pub struct Bundle {
    /// [`VERSION`], for all of them.
    occystrap_receipts: u32,
    receipts: Vec<Receipt>,
}

/// The fields that tell a bundle from a receipt.
#[derive(Deserialize)]
#[serde(expecting = "a document")]
struct Shape {
    occystrap_receipts: Option<u32>,
    occystrap_receipt: Option<u32>,
}

/// Returns whether bytes are a receipt, or several, of any version.
fn is_receipt(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Shape>(bytes)
        .is_ok_and(|shape| shape.occystrap_receipts.or(shape.occystrap_receipt).is_some())
}

/// The hint when a file of receipts does not exist.
const NO_RECEIPT: &str = "a receipt is a file that 'occystrap process --receipt FILE' wrote; without a receipt, name the destination by its URI: 'occystrap verify dir://PATH'";

impl Bundle {
    /// Returns the receipts of a run as one.
    #[must_use]
    pub fn new(receipts: Vec<Receipt>) -> Self {
        Self { occystrap_receipts: VERSION, receipts }
    }

    /// Reads a receipt, or several. Errors when the file is no receipt, has another version, or its receipts
    /// name different destinations or different plugins.
    pub fn read(path: &Path) -> Result<Vec<Receipt>> {
        let place = path.display();
        let fail = |cause: std::io::Error| {
            let error = Error::io(Kind::Source, "read the receipt", place.to_string(), &cause);
            match error.kind() {
                Kind::NotFound => error.hint(NO_RECEIPT),
                _ => error,
            }
        };
        // The size in its metadata is not used: the file may grow meanwhile.
        if path.is_dir() {
            return Err(Error::source(format!("'{place}' is a directory, not a receipt")).hint(
                format!(
                    "to verify a destination, name its URI: 'occystrap verify dir://{place}', or oci-layout://"
                ),
            ));
        }
        let file = regular::open(path).map_err(fail)?;
        let mut bytes = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(fail)?;
        if bytes.len() as u64 > LARGEST {
            let message =
                format!("'{place}' has more than {LARGEST} bytes, more than any receipt has");
            return Err(Error::source(message));
        }
        Self::parse(&bytes, &place.to_string())
    }

    /// Parses a receipt, or several, from bytes that were read elsewhere; `place` is their name in errors.
    /// Errors as [`Self::read`].
    pub fn parse(bytes: &[u8], place: &str) -> Result<Vec<Receipt>> {
        let receipts = Self::read_all(bytes, place)?;
        // A receipt that occystrap wrote has no login; one from elsewhere may have.
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
                "receipts are written by 'occystrap process --receipt FILE'; to verify a destination, name its URI: 'occystrap verify tar://{place}'"
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
            return Err(Error::source(format!(
                "'{place}': its receipts name several destinations"
            )));
        }
        // The plugin that may check them is decided once for all.
        if bundle.receipts.iter().any(|other| other.plugin != first.plugin) {
            return Err(Error::source(format!("'{place}': its receipts are from several plugins")));
        }
        Ok(bundle.receipts)
    }

    /// Returns them as one line of JSON, as a file of receipts has them. `None` where a receipt holds a secret.
    #[must_use]
    pub fn line(&self) -> Option<String> {
        if self.receipts.iter().any(|receipt| leak::in_receipt(receipt).is_some()) {
            return None;
        }
        let mut line = Vec::new();
        self.to(&mut serde_json::Serializer::new(&mut line)).ok()?;
        String::from_utf8(line).ok()
    }

    fn to<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self.receipts.as_slice() {
            [only] => only.serialize(serializer),
            _ => self.serialize(serializer),
        }
    }

    /// Writes them. A receipt of that name is replaced when the new one is complete. Errors when the file is
    /// something else, or when a receipt holds a secret.
    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(part) = self.receipts.iter().find_map(leak::in_receipt) {
            let place = path.display();
            let message = format!("cannot write the receipt '{place}': {part} holds a secret");
            return Err(Error::destination(message).hint(
                "the source repeats a password or token that it was sent: leave out --receipt, and change that secret",
            ));
        }
        let fail = |cause: std::io::Error| RECEIPT.write_failed(path, &cause);
        let real = RECEIPT.resolve(path)?;
        let new = NewFile::at(&real).map_err(fail)?;
        let mut file = new.file();
        self.to(&mut serde_json::Serializer::pretty(&mut file))
            .map_err(|cause| fail(cause.into()))?;
        std::io::Write::write_all(&mut file, b"\n").map_err(fail)?;
        new.publish().map_err(fail)
    }
}

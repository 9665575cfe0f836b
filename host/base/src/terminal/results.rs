//! Output of results that are printed while images are still being moved.
//!
//! Several images are moved at the same time: text that is written in one call stays together.

use std::io::{self, Write};

use super::progress::Progress;
use crate::error::{Error, Kind, Result};
use crate::secret::MaskedLines;

/// Standard output, or standard error where standard output has one document. Cheap to clone.
#[derive(Clone)]
pub struct Results {
    progress: Progress,
    beside: bool,
}

impl Results {
    /// Writes to standard output.
    #[must_use]
    pub fn printed(progress: &Progress) -> Self {
        Self { progress: progress.clone(), beside: false }
    }

    /// Writes to standard error, because standard output is for one document.
    #[must_use]
    pub fn beside_document(progress: &Progress) -> Self {
        Self { progress: progress.clone(), beside: true }
    }

    /// Writes whole lines, above the progress bars, without secrets.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        let written = self.progress.above(|| match self.beside {
            true => MaskedLines::new(io::stderr().lock()).write_all(bytes),
            false => {
                let mut out = MaskedLines::new(io::stdout().lock());
                out.write_all(bytes).and_then(|()| out.flush())
            }
        });
        let name = if self.beside { "standard error" } else { "standard output" };
        written.map_err(|cause| Error::io(Kind::Destination, "write to", name, &cause))
    }
}

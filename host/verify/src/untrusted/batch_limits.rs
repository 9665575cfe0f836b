//! What a batch may take, and why a receipt may get no verdict.

use std::time::Duration;

use occystrap_base::error::{Error, Kind};
use occystrap_base::limits;
use occystrap_base::parallel::cores;

/// What a batch may take. [`limits::Allowance`] of the plugin engine limits what a plugin may take in one session.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Receipts that are checked in parallel. Each may take [`limits::MEMORY`] for its plugin, and about ten times
    /// [`limits::UNTRUSTED_RECEIPT`] for itself.
    pub workers: usize,
    /// Time for one file of receipts: [`limits::UNTRUSTED_TIME`].
    pub time: Duration,
    /// Time for the batch: [`limits::UNTRUSTED_BATCH_TIME`].
    pub batch_time: Duration,
    /// Bytes to read for one receipt: [`limits::UNTRUSTED_BYTES`].
    pub bytes: u64,
    /// Bytes to read for the batch: [`limits::UNTRUSTED_BATCH_BYTES`]. One half is shared out evenly among the files, so
    /// that no file can take the share of another one.
    pub batch_bytes: u64,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            workers: cores(),
            time: limits::UNTRUSTED_TIME,
            batch_time: limits::UNTRUSTED_BATCH_TIME,
            bytes: limits::UNTRUSTED_BYTES,
            batch_bytes: limits::UNTRUSTED_BATCH_BYTES,
        }
    }
}

/// Why a receipt gets no verdict.
#[derive(Debug)]
pub enum Stop {
    /// It is not a receipt, or breaks a rule that no honest receipt breaks.
    Refused(Error),
    /// It may be right, and was not checked.
    Unchecked(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error.kind() {
            Kind::Usage | Kind::Source => Self::Refused(error),
            _ => Self::Unchecked(error),
        }
    }
}

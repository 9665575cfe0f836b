//! The last line of a report: `Summary: 3/4 images, 12 layers, ...`. It is made here for runs and for batches of receipts.

use std::fmt::{self, Display, Formatter};

use occystrap_base::terminal::size::size;

/// What a summary counts, images or receipts.
pub(crate) struct Counted {
    /// `images` or `receipts`.
    pub(crate) what: &'static str,
    /// All of them.
    pub(crate) all: usize,
    /// Those that were processed without an error.
    pub(crate) done: usize,
    /// Their layers.
    pub(crate) layers: usize,
    /// The size of their configs and layers in bytes.
    pub(crate) bytes: u64,
    /// The time that it took.
    pub(crate) seconds: f64,
}

/// A summary line that is being put together.
pub(crate) struct SummaryLine(String);

impl SummaryLine {
    /// Starts a line.
    pub(crate) fn new(counted: &Counted) -> Self {
        let Counted { what, all, done, layers, bytes, seconds } = counted;
        let bytes = size(*bytes);
        Self(format!("Summary: {done}/{all} {what}, {layers} layers, {bytes}, {seconds:.1}s"))
    }

    /// Adds a part.
    pub(crate) fn part(mut self, part: &str) -> Self {
        self.0 = self.0 + ", " + part;
        self
    }

    /// Adds a number, unless it is 0.
    pub(crate) fn number(self, number: u64, one: &str, several: &str) -> Self {
        match number {
            0 => self,
            1 => self.part(&format!("1 {one}")),
            more => self.part(&format!("{more} {several}")),
        }
    }

    /// Adds the verdicts.
    pub(crate) fn verdicts(
        self,
        all: usize,
        verified: usize,
        failed: usize,
        unconfirmed: usize,
    ) -> Self {
        self.part(&format!("{verified}/{all} verified"))
            .number(failed as u64, "FAILED", "FAILED")
            .number(unconfirmed as u64, "UNCONFIRMED", "UNCONFIRMED")
    }
}

impl Display for SummaryLine {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

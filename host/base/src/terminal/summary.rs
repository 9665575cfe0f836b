//! The last line of a report: `Summary: 3/4 images, 12 layers, ...`. `process`, `verify` and `check` make it here, so
//! that scripts find the same parts in the same order. The runs of a mirror have another line, because they count what
//! was done with images and no layers: `host/src/mirror/totals.rs` makes it.

use std::fmt::{self, Display, Formatter};

use super::size::size;

/// A summary line that is being put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryLine(String);

impl SummaryLine {
    /// Starts a line. `counted` is what the command worked on, such as `3/4 images`; `layers` is the number of its layers,
    /// and `bytes` their size.
    #[must_use]
    pub fn new(counted: &str, layers: usize, bytes: u64) -> Self {
        let layers = amount(layers as u64, "layer", "layers");
        Self(format!("Summary: {counted}, {layers}, {}", size(bytes)))
    }

    /// Adds a part.
    #[must_use]
    pub fn part(mut self, part: &str) -> Self {
        self.0 = self.0 + ", " + part;
        self
    }

    /// Adds the time that the command took, in seconds.
    #[must_use]
    pub fn seconds(self, seconds: f64) -> Self {
        self.part(&format!("{seconds:.1}s"))
    }

    /// Adds a number, unless it is 0.
    #[must_use]
    pub fn number(self, number: u64, one: &str, several: &str) -> Self {
        match number {
            0 => self,
            more => self.part(&amount(more, one, several)),
        }
    }

    /// Adds the verdicts of a verification.
    #[must_use]
    pub fn verdicts(self, all: usize, verified: usize, failed: usize, unconfirmed: usize) -> Self {
        self.part(&format!("{verified}/{all} verified"))
            .number(failed as u64, "FAILED", "FAILED")
            .number(unconfirmed as u64, "UNCONFIRMED", "UNCONFIRMED")
    }
}

/// Returns a number with its noun.
#[must_use]
pub fn amount(number: u64, one: &str, several: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        more => format!("{more} {several}"),
    }
}

impl Display for SummaryLine {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_layer_is_in_the_singular_and_zeros_are_left_out() {
        let line =
            SummaryLine::new("1/2 images", 1, 1_500).seconds(0.04).number(0, "retry", "retries");
        let line = line.verdicts(2, 1, 1, 0).to_string();
        assert_eq!(line, "Summary: 1/2 images, 1 layer, 1.5 kB, 0.0s, 1/2 verified, 1 FAILED");
    }
}

//! What has come of something that is fetched, in one answer or in several: counted, hashed, each
//! byte once.

use bytes::{Buf as _, Bytes};

use super::retry::Budget;
use crate::image::{Digest, Hasher};

/// What a connection must bring before it is cut for the retries to be counted anew: large layers
/// come through bad lines, but a server cannot keep us busy by a byte at a time.
const PROGRESS: u64 = 1024 * 1024;

/// The bytes so far.
#[derive(Default)]
pub(crate) struct Arrived {
    hasher: Hasher,
    size: u64,
    /// How many there were when the budget was last full.
    mark: u64,
    /// Bytes of the present answer that we have already.
    skip: u64,
}

impl Arrived {
    /// How many.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Of all of them.
    pub(crate) fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// An answer begins with the byte at `start`, which is not beyond those that are there.
    pub(crate) fn resume(&mut self, start: u64) {
        self.skip = self.size - start;
    }

    /// What of an answer's next bytes is new.
    pub(crate) fn unknown(&mut self, mut chunk: Bytes) -> Bytes {
        let known = self.skip.min(chunk.len() as u64);
        self.skip -= known;
        chunk.advance(usize::try_from(known).unwrap_or(chunk.len()));
        chunk
    }

    /// How many there are with these.
    pub(crate) fn with(&self, chunk: &Bytes) -> u64 {
        self.size + chunk.len() as u64
    }

    /// Take them.
    pub(crate) fn add(&mut self, chunk: &Bytes, budget: &mut Budget) {
        self.hasher.update(chunk);
        self.size = self.with(chunk);
        if self.size - self.mark >= PROGRESS {
            self.mark = self.size;
            budget.refill();
        }
    }
}

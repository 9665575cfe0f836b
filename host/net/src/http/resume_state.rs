//! State of a download over one or several answers: every byte is counted and hashed once.
//!
//! What it refuses: to blame the network for a file that ends at the same byte in every answer.

use bytes::{Buf as _, Bytes};

use reqwest::header::{CONTENT_RANGE, HeaderValue};

use super::retry::RetryBudget;
use super::wire::Answer;
use occystrap_base::oci::{Digest, Hasher};

/// Bytes that a connection must deliver before it breaks, for the retries to be counted anew. Large layers get through
/// bad lines, and a server cannot keep a run busy by one byte at a time.
const PROGRESS: u64 = 1024 * 1024;

/// Answers in a row that must end at the same byte, until the server counts as having no more bytes. A network cuts at
/// random; twice at the same byte of a large file is not an accident. All retries are used first, so that a server that
/// restarts has its time.
const SAME_END: u32 = 2;

/// State of a download.
#[derive(Default)]
pub(crate) struct ResumeState {
    hasher: Hasher,
    size: u64,
    /// Bytes when the budget was last full.
    mark: u64,
    /// Bytes of the current answer that were received before.
    skip: u64,
    ends: Ends,
}

/// Early ends of answers, one after the other.
#[derive(Default)]
pub(crate) struct Ends {
    /// Bytes after which the last answer ended.
    at: u64,
    /// Answers in a row that ended there.
    count: u32,
}

impl Ends {
    /// Records that an answer ended after `at` bytes, before all bytes were received.
    pub(crate) fn record(&mut self, at: u64) {
        self.count = if self.count > 0 && at == self.at { self.count + 1 } else { 1 };
        self.at = at;
    }

    /// Returns the byte at which the last answers all ended; `None` where they ended at different bytes, as on a bad
    /// network.
    pub(crate) fn same(&self) -> Option<u64> {
        (self.count >= SAME_END).then_some(self.at)
    }
}

impl ResumeState {
    /// Returns the number of bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Returns the digest of all bytes.
    pub(crate) fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// Returns the header that asks for the rest (RFC 9110, 14.2); `None` before the first byte.
    pub(crate) fn range(&self) -> Option<HeaderValue> {
        let missing = (self.size > 0).then(|| format!("bytes={}-", self.size));
        missing.and_then(|range| HeaderValue::try_from(range).ok())
    }

    /// Checks that a part continues where this ends: `bytes FIRST-LAST/SIZE` (RFC 9110, 14.4), with the size where that
    /// is known. Errors with the expected value, and with that of the answer.
    pub(crate) fn check_range(
        &self,
        answer: &Answer,
        size: Option<u64>,
    ) -> Result<(), (String, String)> {
        let said = answer.header(CONTENT_RANGE).unwrap_or("no range");
        let fits = said
            .trim()
            .strip_prefix("bytes ")
            .and_then(|range| range.split_once('/'))
            .filter(|(_, whole)| {
                *whole == "*" || size.is_none_or(|size| *whole == size.to_string())
            })
            .and_then(|(range, _)| range.split_once('-'))
            .is_some_and(|(first, _)| first.parse() == Ok(self.size));
        if fits {
            return Ok(());
        }
        let rest =
            size.map_or("...".to_owned(), |size| format!("{}/{size}", size.saturating_sub(1)));
        Err((format!("bytes {}-{rest}", self.size), said.to_owned()))
    }

    /// Starts an answer at the byte `start`, which is not beyond those that were received.
    pub(crate) fn resume(&mut self, start: u64) {
        self.skip = self.size - start;
    }

    /// Records that the current answer ended before all bytes were received.
    pub(crate) fn ended(&mut self) {
        self.ends.record(self.size - self.skip);
    }

    /// Returns the byte of [`Ends::same`].
    pub(crate) fn same_end(&self) -> Option<u64> {
        self.ends.same()
    }

    /// Returns the part of an answer's next bytes that is new.
    pub(crate) fn unknown(&mut self, mut chunk: Bytes) -> Bytes {
        let known = self.skip.min(chunk.len() as u64);
        self.skip -= known;
        chunk.advance(usize::try_from(known).unwrap_or(chunk.len()));
        chunk
    }

    /// Returns the number of bytes with these.
    pub(crate) fn with(&self, chunk: &Bytes) -> u64 {
        self.size + chunk.len() as u64
    }

    /// Adds bytes.
    pub(crate) fn add(&mut self, chunk: &Bytes, budget: &mut RetryBudget) {
        self.hasher.update(chunk);
        self.size = self.with(chunk);
        if self.size - self.mark >= PROGRESS {
            self.mark = self.size;
            budget.refill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::settings::Settings;

    /// Ends answers early, each after some new bytes, or after `skipped` bytes that were received before.
    fn same_end(answers: &[(u64, u64)]) -> Option<u64> {
        let (mut arrived, mut budget) =
            (ResumeState::default(), RetryBudget::new(&Settings::default()));
        for (start, bytes) in answers {
            arrived.resume(*start);
            let chunk = Bytes::from(vec![0; *bytes as usize]);
            let new = arrived.unknown(chunk);
            arrived.add(&new, &mut budget);
            arrived.ended();
        }
        arrived.same_end()
    }

    #[test]
    fn answers_that_end_at_one_byte_are_told_from_a_bad_network() {
        assert_eq!(same_end(&[(0, 1_000)]), None);
        assert_eq!(same_end(&[(0, 1_000), (1_000, 0)]), Some(1_000));
        // A server without ranges sends the same bytes once more.
        assert_eq!(same_end(&[(0, 1_000), (0, 1_000)]), Some(1_000));
        assert_eq!(same_end(&[(0, 0), (0, 0)]), Some(0));
        assert_eq!(same_end(&[(0, 1_000), (1_000, 7)]), None);
        assert_eq!(same_end(&[(0, 1_000), (0, 400)]), None);
        assert_eq!(same_end(&[(0, 1_000), (1_000, 0), (1_000, 5)]), None);
    }
}

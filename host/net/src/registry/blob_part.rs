//! Requests for a part of a blob, and the part in the answer.
//!
//! What this module refuses: to accept an answer with other bytes than the requested ones.

use reqwest::header::{CONTENT_RANGE, HeaderValue};

use crate::http::wire::Answer;
use occystrap_base::error::{Error, Kind, Result};

/// The bytes of a blob that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlobPart {
    /// The last byte of a blob of this size.
    Last(u64),
    /// The last byte of a blob of unknown size.
    Suffix,
    /// The first byte.
    First,
    /// All bytes, for servers that do not support ranges. Of a large blob only the beginning is read.
    Whole,
    /// All bytes, read to the end, because the server refused the range of the last byte.
    All,
}

impl BlobPart {
    /// Returns whether the request has a range.
    pub(super) fn is_range(self) -> bool {
        !matches!(self, Self::Whole | Self::All)
    }

    /// Returns the value of the `Range` header (RFC 9110, 14.1.2); `None` for all bytes.
    pub(super) fn header(self) -> Result<Option<HeaderValue>> {
        let range = match self {
            Self::Last(size) => format!("bytes={0}-{0}", size.saturating_sub(1)),
            Self::Suffix => "bytes=-1".to_owned(),
            Self::First => "bytes=0-0".to_owned(),
            Self::Whole | Self::All => return Ok(None),
        };
        HeaderValue::try_from(range)
            .map(Some)
            .map_err(|_| Error::new(Kind::Network, "no header for the range"))
    }

    /// Returns whether an answer has exactly the requested byte. `size` is the size of the blob, where it is known.
    pub(super) fn is_answered_by(self, range: &ContentRange, size: Option<u64>) -> bool {
        let Some((first, last)) = range.part else { return false };
        let wanted = match self {
            Self::Last(size) => Some(size.saturating_sub(1)),
            Self::Suffix => size.and_then(|size| size.checked_sub(1)),
            Self::First => Some(0),
            Self::Whole | Self::All => None,
        };
        wanted.is_some_and(|wanted| first == wanted && last == wanted)
    }
}

/// A `Content-Range` header (RFC 9110, 14.4): `bytes FIRST-LAST/SIZE`, `bytes FIRST-LAST/*`, and `bytes */SIZE` when
/// the requested range does not exist.
pub(super) struct ContentRange {
    /// The first and the last byte.
    part: Option<(u64, u64)>,
    /// The size of the whole blob, where it is known.
    pub(super) size: Option<u64>,
}

impl ContentRange {
    /// Returns the header of an answer; `None` when it has none, or a malformed one.
    pub(super) fn of(answer: &Answer) -> Option<Self> {
        Self::parse(answer.header(CONTENT_RANGE)?)
    }

    fn parse(said: &str) -> Option<Self> {
        let (part, size) = said.trim().strip_prefix("bytes ")?.trim().split_once('/')?;
        let part = part
            .split_once('-')
            .and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
        Some(Self { part, size: size.parse().ok() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(part: BlobPart, said: &str, size: Option<u64>) -> bool {
        ContentRange::parse(said).is_some_and(|range| part.is_answered_by(&range, size))
    }

    #[test]
    fn only_the_byte_that_was_asked_for_is_taken() {
        for good in ["bytes 9-9/10", "bytes 9-9/*", " bytes 9-9/10 "] {
            assert!(fits(BlobPart::Last(10), good, Some(10)), "{good}");
            assert!(fits(BlobPart::Suffix, good, Some(10)), "{good}");
        }
        for bad in
            ["bytes 0-0/10", "bytes 0-9/10", "bytes 9-10/11", "bytes */10", "9-9/10", "bytes 9"]
        {
            assert!(!fits(BlobPart::Last(10), bad, Some(10)), "{bad}");
        }
        assert!(fits(BlobPart::First, "bytes 0-0/10", Some(10)));
        assert!(!fits(BlobPart::Suffix, "bytes 9-9/*", None), "which is the last one is not known");
        let said = ContentRange::parse("bytes */10").unwrap();
        assert_eq!((said.part, said.size), (None, Some(10)));
    }
}

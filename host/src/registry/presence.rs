//! Whether a repository has a blob, by its size and its last byte.
//!
//! What it refuses: to take a HEAD from a cache, or the head of an answer, for the bytes of a blob, and
//! to call a blob present whose end is missing.

use reqwest::header::{CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};
use tokio::time::Instant;

use super::repository::{Repository, unexpected};
use crate::error::{Error, Kind, Result};
use crate::http::failure::Failure;
use crate::http::retry::Budget;
use crate::http::wire::{Answer, Call};
use crate::image::digest::Digest;

/// Answers in a row that announce bytes and do not send them, until the bytes count as not there: a
/// connection may break at that point, but not twice in a row.
const BROKEN_PROMISES: u32 = 2;

/// The largest blob that is read to its end where a server ignores the range and sends all of it. That is
/// the only way to its last byte; 1 MiB costs little more than the answer itself, and most layers and
/// every config are smaller. Of a larger blob the beginning is read, as the server sends it.
const READ_WHOLE: u64 = 1024 * 1024;

/// Which bytes of a blob are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The last one of so many.
    Last(u64),
    /// The last one of a number that is not known.
    Suffix,
    /// The first one.
    First,
    /// All, for servers that make nothing of a range.
    Whole,
}

/// What came of one answer.
enum Seen {
    /// The bytes that were asked for came, of a blob of this size.
    There(u64),
    /// The registry does not have the blob.
    Missing,
    /// The server makes nothing of ranges, or not what HTTP says.
    NoRange,
    /// The bytes were announced, and so many of them came, of a blob of this size.
    Broken { size: u64, came: u64, failure: Failure },
}

impl Repository {
    /// Returns the size of a blob that is there, in bytes, and nothing when it is not: for writers, who
    /// send what HEAD does not know. The last byte is read as well: many registries answer HEAD from a cache, which
    /// goes on saying yes after the blob was garbage-collected or cut, and docker-registry then
    /// promises the bytes in the head of an answer to GET as well, before it closes the connection.
    /// Errors: [`Kind::Source`] when the registry contradicts itself on the size, or does not have all
    /// that it announces; [`Kind::Auth`]; [`Kind::Network`] after all retries.
    pub async fn stat_blob(&self, digest: Digest) -> Result<Option<u64>> {
        self.presence(digest, false).await
    }

    /// As [`Self::stat_blob`], for readers: no client asks for a blob by HEAD before it pulls it, so that a
    /// HEAD that knows nothing of the blob decides nothing.
    pub async fn find_blob(&self, digest: Digest) -> Result<Option<u64>> {
        self.presence(digest, true).await
    }

    async fn presence(&self, digest: Digest, reads: bool) -> Result<Option<u64>> {
        let place = format!("{}@{digest}", self.place());
        let look = Look { repository: self, digest, place: &place };
        look.run(reads).await.map_err(|error| self.refused_or(error, &place))
    }
}

/// A look for one blob.
struct Look<'a> {
    repository: &'a Repository,
    digest: Digest,
    place: &'a str,
}

impl Look<'_> {
    async fn run(&self, reads: bool) -> Result<Option<u64>> {
        let wire = self.repository.wire();
        let mut budget = Budget::new(&wire.settings);
        let answer = self.repository.send(&self.call(Method::HEAD, None), &mut budget).await?;
        let announced = match answer.status() {
            StatusCode::OK => answer.length(),
            StatusCode::NOT_FOUND if !reads => return Ok(None),
            status if status.is_client_error() => None,
            status => return Err(unexpected(self.place, &answer, status)),
        };
        let mut part = match announced {
            None => Part::Suffix,
            // There is no last byte; what comes instead is seen at the first.
            Some(0) => Part::First,
            Some(size) => Part::Last(size),
        };
        // Where an answer ended too early, and how many in a row ended there.
        let mut broken = (0, 0);
        let mut cut = None;
        loop {
            let call = self.call(Method::GET, part.header()?);
            let answer = self.repository.send(&call, &mut budget).await?;
            let asked = Instant::now();
            let (size, came, failure) = match self.read(answer, part, announced).await? {
                Seen::There(size) => return cut.map_or(Ok(Some(size)), Err),
                Seen::Missing => return Ok(None),
                Seen::NoRange => {
                    (part, broken, cut) = (Part::Whole, (0, 0), None);
                    continue;
                }
                Seen::Broken { size, came, failure } => (size, came, failure),
            };
            if asked.elapsed() < wire.settings.idle_timeout {
                broken =
                    if broken.1 > 0 && broken.0 == came { (came, broken.1 + 1) } else { (came, 1) };
            }
            // It has neither the last byte nor the first.
            if cut.is_some() && came == 0 {
                return Ok(None);
            }
            if broken.1 == BROKEN_PROMISES {
                let at_end = matches!(part, Part::Last(_) | Part::Suffix) && size > 1;
                match came {
                    // Whether the blob is gone or cut is seen at its first byte.
                    0 if at_end => {
                        cut = Some(self.cut(size, "fewer"));
                        (part, broken) = (Part::First, (0, 0));
                        continue;
                    }
                    0 => return Ok(None),
                    _ => return Err(self.cut(size, came)),
                }
            }
            wire.pause(&mut budget, failure).await?;
        }
    }

    fn call(&self, method: Method, range: Option<HeaderValue>) -> Call {
        let mut call = Call::get(self.repository.url(&format!("blobs/{}", self.digest)));
        call.method = method;
        call.headers.extend(range.map(|range| (RANGE, range)));
        call
    }

    /// Reads an answer as far as it must be. Errors when it contradicts what was `announced`, or has no
    /// meaning here.
    async fn read(&self, answer: Answer, part: Part, announced: Option<u64>) -> Result<Seen> {
        let range = ContentRange::of(&answer);
        let is_part = answer.status() == StatusCode::PARTIAL_CONTENT;
        let found = match answer.status() {
            StatusCode::OK => answer.length(),
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE
                if part != Part::Whole =>
            {
                range.as_ref().and_then(|range| range.size)
            }
            StatusCode::NOT_FOUND => return Ok(Seen::Missing),
            status => return Err(unexpected(self.place, &answer, status)),
        };
        if let (Some(announced), Some(found)) = (announced, found)
            && announced != found
        {
            return Err(Error::mismatch(
                format!("{}: {} names two sizes of the blob", self.place, answer.host),
                format_args!("{announced} bytes, as HEAD says"),
                format_args!("{found}, as GET says"),
            ));
        }
        let size = announced.or(found);
        match (answer.status(), size) {
            (StatusCode::RANGE_NOT_SATISFIABLE, Some(0)) => Ok(Seen::There(0)),
            (StatusCode::RANGE_NOT_SATISFIABLE, _) => Ok(Seen::NoRange),
            (StatusCode::PARTIAL_CONTENT, _)
                if !range.is_some_and(|range| part.is_answered_by(&range, size)) =>
            {
                Ok(Seen::NoRange)
            }
            (_, Some(size)) => {
                let most = match size {
                    _ if is_part => 1,
                    size if size <= READ_WHOLE => size,
                    _ => 1,
                };
                self.take(answer, size, most).await
            }
            (_, None) => self.count(answer).await,
        }
    }

    /// Reads `most` bytes of an answer.
    async fn take(&self, mut answer: Answer, size: u64, most: u64) -> Result<Seen> {
        let is_whole = answer.status() == StatusCode::OK && most == size;
        let mut came = 0;
        loop {
            let failure = match answer.chunk().await {
                Ok(Some(bytes)) => {
                    came += bytes.len() as u64;
                    if is_whole && came > size {
                        return Err(self.cut(size, "more"));
                    }
                    // To its end, so that the connection can be used again.
                    if came < most || is_whole || answer.length() == Some(came) {
                        continue;
                    }
                    return Ok(Seen::There(size));
                }
                Ok(None) | Err(_) if came >= most => return Ok(Seen::There(size)),
                Ok(None) => Failure::passing(format!(
                    "{} sent {came} of the {most} bytes that were asked for, of a blob of {size}",
                    answer.host
                )),
                Err(failure) => failure,
            };
            return Ok(Seen::Broken { size, came, failure });
        }
    }

    /// Counts a small blob whose size the registry does not say.
    async fn count(&self, mut answer: Answer) -> Result<Seen> {
        let mut came = 0;
        loop {
            match answer.chunk().await {
                Ok(Some(bytes)) => came += bytes.len() as u64,
                Ok(None) => return Ok(Seen::There(came)),
                Err(failure) => return Ok(Seen::Broken { size: came, came, failure }),
            }
            if came > READ_WHOLE {
                let message =
                    format!("{}: {} does not say how large the blob is", self.place, answer.host);
                return Err(Error::new(Kind::Network, message));
            }
        }
    }

    /// The error for a blob that the registry does not have as it announces it.
    fn cut(&self, size: u64, found: impl std::fmt::Display) -> Error {
        let what =
            format!("{}: the blob does not have the bytes that the registry announces", self.place);
        Error::mismatch(what, format_args!("{size} bytes"), found)
    }
}

impl Part {
    /// RFC 9110, 14.1.2.
    fn header(self) -> Result<Option<HeaderValue>> {
        let range = match self {
            Self::Last(size) => format!("bytes={0}-{0}", size.saturating_sub(1)),
            Self::Suffix => "bytes=-1".to_owned(),
            Self::First => "bytes=0-0".to_owned(),
            Self::Whole => return Ok(None),
        };
        HeaderValue::try_from(range)
            .map(Some)
            .map_err(|_| Error::new(Kind::Network, "no header for the range"))
    }

    /// Whether an answer is about the byte that was asked for, of a blob of that size where it is known.
    fn is_answered_by(self, range: &ContentRange, size: Option<u64>) -> bool {
        let Some((first, last)) = range.part else { return false };
        let wanted = match self {
            Self::Last(size) => Some(size.saturating_sub(1)),
            Self::Suffix => size.and_then(|size| size.checked_sub(1)),
            Self::First => Some(0),
            Self::Whole => None,
        };
        wanted.is_some_and(|wanted| first == wanted && last == wanted)
    }
}

/// What an answer about a part says (RFC 9110, 14.4): `bytes FIRST-LAST/SIZE`, `bytes FIRST-LAST/*`, and
/// `bytes */SIZE` where there is no such part.
struct ContentRange {
    part: Option<(u64, u64)>,
    size: Option<u64>,
}

impl ContentRange {
    fn of(answer: &Answer) -> Option<Self> {
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

    fn fits(part: Part, said: &str, size: Option<u64>) -> bool {
        ContentRange::parse(said).is_some_and(|range| part.is_answered_by(&range, size))
    }

    #[test]
    fn only_the_byte_that_was_asked_for_is_taken() {
        for good in ["bytes 9-9/10", "bytes 9-9/*", " bytes 9-9/10 "] {
            assert!(fits(Part::Last(10), good, Some(10)), "{good}");
            assert!(fits(Part::Suffix, good, Some(10)), "{good}");
        }
        for bad in
            ["bytes 0-0/10", "bytes 0-9/10", "bytes 9-10/11", "bytes */10", "9-9/10", "bytes 9"]
        {
            assert!(!fits(Part::Last(10), bad, Some(10)), "{bad}");
        }
        assert!(fits(Part::First, "bytes 0-0/10", Some(10)));
        assert!(!fits(Part::Suffix, "bytes 9-9/*", None), "which is the last one is not known");
        let said = ContentRange::parse("bytes */10").unwrap();
        assert_eq!((said.part, said.size), (None, Some(10)));
    }
}

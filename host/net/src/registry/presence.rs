//! Whether a repository has a blob, by its size and its last byte.
//!
//! What it refuses: to take a HEAD from a cache, or the head of an answer, for the bytes of a blob, and
//! to call a blob present whose end is missing.

use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};
use tokio::time::Instant;

use super::repository::{PLAIN, Repository, unexpected};
use super::served::ACCEPT_CODING;
use crate::http::failure::Failure;
use crate::http::retry::{Budget, is_passing};
use crate::http::wire::{Answer, Call, WRONG_CODING};
use occystrap_base::error::{Error, Kind, Result, Side};
use occystrap_base::oci::Hasher;
use occystrap_base::oci::digest::Digest;

/// What to do about wrong bytes under a digest.
pub const DELETE_FIRST: &str = "the registry keeps wrong bytes under that digest, and takes no others for it: its operator must remove these bytes from the registry's storage (a DELETE request may only remove the link), then push the image again";

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
    /// All, for servers that make nothing of a range. Of a large blob the beginning is read.
    Whole,
    /// All, to the end: the server has refused the last byte.
    All,
}

/// What came of one answer.
enum Seen {
    /// The bytes that were asked for came, of a blob of this size.
    There(u64),
    /// The registry does not have the blob.
    Missing,
    /// Another part is to be asked for.
    Ask(Part),
    /// The server failed; it may not the next time.
    Faulty(Failure),
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
        self.presence(digest, false, None).await
    }

    /// As [`Self::stat_blob`], for readers, who expect the size that a descriptor has `promised`: no client asks
    /// for a blob by HEAD before it pulls it, so that HEAD decides nothing. What GET gives decides.
    pub async fn find_blob(&self, digest: Digest, promised: Option<u64>) -> Result<Option<u64>> {
        self.presence(digest, true, promised).await
    }

    async fn presence(
        &self,
        digest: Digest,
        reads: bool,
        promised: Option<u64>,
    ) -> Result<Option<u64>> {
        let place = format!("{}@{digest}", self.place());
        let look = Look { repository: self, digest, place: &place, reads, promised };
        look.run().await.map_err(|error| self.refused_or(error, &place))
    }
}

/// A look for one blob.
struct Look<'a> {
    repository: &'a Repository,
    digest: Digest,
    place: &'a str,
    /// For a reader, to whom HEAD is a hint.
    reads: bool,
    /// The size that a descriptor names.
    promised: Option<u64>,
}

impl Look<'_> {
    async fn run(&self) -> Result<Option<u64>> {
        let wire = self.repository.wire();
        let mut budget = Budget::new(&wire.settings);
        let head = match self.reads {
            true => self.hint().await?,
            false => match self.head(&mut budget).await? {
                Some(announced) => announced,
                None => return Ok(None),
            },
        };
        // Some registries, and proxies in front of them, answer every HEAD with 0.
        let known = self.promised.or(head.filter(|length| *length > 0));
        let mut part = match known.or(head) {
            None => Part::Suffix,
            // There is no last byte; what comes instead is seen at the first.
            Some(0) => Part::First,
            Some(size) => Part::Last(size),
        };
        // Where an answer ended too early, and how many in a row ended there.
        let mut broken = (0, 0);
        let mut cut = None;
        loop {
            let answer = match self.ask(part, &mut budget).await {
                // Storage that is asked by a signed URL refuses what was not signed.
                Err(error) if error.kind() == Kind::Auth && self.may_ask_whole(part) => {
                    (part, broken, cut) = (Part::Whole, (0, 0), None);
                    continue;
                }
                answer => answer?,
            };
            let asked = Instant::now();
            let (size, came, failure) = match self.read(answer, part, known).await? {
                // HEAD said that there is no byte.
                Seen::There(size) if part == Part::First && cut.is_none() && size > 1 => {
                    part = Part::Last(size);
                    continue;
                }
                Seen::There(size) => return cut.map_or(Ok(Some(size)), Err),
                Seen::Missing => return Ok(None),
                Seen::Ask(next) => {
                    (part, broken, cut) = (next, (0, 0), None);
                    continue;
                }
                Seen::Faulty(failure) => {
                    match wire.pause(&mut budget, failure).await {
                        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                        Err(_) => (part, broken, cut) = (Part::Whole, (0, 0), None),
                        Ok(()) => {}
                    }
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
                    _ if came == size => return Err(endless(self.place)),
                    _ => return Err(self.cut(size, came)),
                }
            }
            wire.pause(&mut budget, failure).await?;
        }
    }

    /// Returns the length that HEAD names, which may be none, and nothing where the blob is not there.
    async fn head(&self, budget: &mut Budget) -> Result<Option<Option<u64>>> {
        let answer = match self.repository.ask(&self.call(Method::HEAD, None), budget).await {
            // Storage that is asked by a URL which was signed for GET refuses HEAD.
            Err(error) if error.kind() == Kind::Auth => return Ok(Some(None)),
            answer => answer?,
        };
        match answer.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(self.repository.refusal().await)
            }
            StatusCode::OK if answer.is_gzip() => Ok(Some(None)),
            StatusCode::OK => Ok(Some(answer.length())),
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_client_error() || status == StatusCode::NOT_IMPLEMENTED => {
                Ok(Some(None))
            }
            status => Err(unexpected(self.place, &answer, status)),
        }
    }

    /// Returns the length that HEAD names, as far as it can be the blob's. HEAD is asked once: whatever fails
    /// is tried again by GET. Errors when the user interrupts.
    async fn hint(&self) -> Result<Option<u64>> {
        let call = self.call(Method::HEAD, None);
        match self.repository.send(&call, &mut Budget::none()).await {
            Ok(answer) if answer.status() == StatusCode::OK && !answer.is_gzip() => {
                Ok(answer.length().filter(|length| *length > 0))
            }
            Err(error) if error.kind() == Kind::Interrupted => Err(error),
            _ => Ok(None),
        }
    }

    async fn ask(&self, part: Part, budget: &mut Budget) -> Result<Answer> {
        let mut call = self.call(Method::GET, part.header()?);
        call.takes_faults = self.may_ask_whole(part);
        self.repository.send(&call, budget).await
    }

    /// Whether a refusal of a part leads to a request for all: clients ask for no part.
    fn may_ask_whole(&self, part: Part) -> bool {
        part.is_range()
    }

    fn call(&self, method: Method, range: Option<HeaderValue>) -> Call {
        // Clients ask for gzip where they ask for no part, and some servers send something else then.
        let coding = match self.reads && method == Method::GET && range.is_none() {
            true => HeaderValue::from_static(ACCEPT_CODING),
            false => PLAIN,
        };
        let mut call = Call::get(self.repository.url(&format!("blobs/{}", self.digest)));
        call.method = method;
        call.headers.insert(ACCEPT_ENCODING, coding);
        call.headers.extend(range.map(|range| (RANGE, range)));
        call
    }

    /// Reads an answer as far as it must be. `known` is the size as a descriptor or HEAD names it. Errors when
    /// the answer contradicts what HEAD says to a writer, or has no meaning here.
    async fn read(&self, answer: Answer, part: Part, known: Option<u64>) -> Result<Seen> {
        let status = answer.status();
        let is_part = status == StatusCode::PARTIAL_CONTENT;
        if self.reads && answer.is_gzip() && (status == StatusCode::OK || is_part) {
            return match part.is_range() {
                true => Ok(Seen::Ask(Part::Whole)),
                false => self.decode(answer.decoded()).await,
            };
        }
        if answer.is_gzip() && status == StatusCode::OK {
            // To send it again costs a writer no more than to read it to its end.
            return Ok(Seen::Missing);
        }
        let range = ContentRange::of(&answer);
        let found = match status {
            StatusCode::OK => answer.length(),
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if part.is_range() => {
                range.as_ref().and_then(|range| range.size)
            }
            StatusCode::NOT_FOUND if !self.reads => return Ok(Seen::Missing),
            status if self.may_ask_whole(part) => {
                return Ok(match is_passing(status) {
                    true => Seen::Faulty(answer.setback()),
                    false => Seen::Ask(Part::Whole),
                });
            }
            StatusCode::NOT_FOUND => return Ok(Seen::Missing),
            status => return Err(unexpected(self.place, &answer, status)),
        };
        let is_other = matches!((known, found), (Some(known), Some(found)) if known != found);
        if let (Some(known), Some(found)) = (known, found)
            && is_other
            && !self.reads
        {
            return Err(Error::mismatch(
                format!("{}: {} names two sizes of the blob", self.place, answer.host),
                format_args!("{known} bytes, as HEAD says"),
                format_args!("{found}, as GET says"),
            ));
        }
        // What GET says is what clients get.
        let size = found.or(known);
        match (status, size) {
            (StatusCode::RANGE_NOT_SATISFIABLE, Some(0)) if !is_other => Ok(Seen::There(0)),
            (StatusCode::RANGE_NOT_SATISFIABLE, _) => Ok(Seen::Ask(Part::All)),
            // That the byte is the last one is not known.
            (StatusCode::PARTIAL_CONTENT, _) if is_other => Ok(Seen::Ask(Part::All)),
            (StatusCode::PARTIAL_CONTENT, _)
                if !range.is_some_and(|range| part.is_answered_by(&range, size)) =>
            {
                Ok(Seen::Ask(Part::Whole))
            }
            // Where the server takes a range by its offset alone, the last byte is had all the same.
            (StatusCode::OK, Some(size)) if part == Part::Suffix && size > READ_WHOLE => {
                Ok(Seen::Ask(Part::Last(size)))
            }
            (_, Some(size)) => {
                let is_promised = self.promised.is_none_or(|promised| promised == size);
                let most = match size {
                    _ if is_part => 1,
                    size if size <= READ_WHOLE => size,
                    size if part == Part::All && is_promised => size,
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
                Ok(None) if came >= most => return Ok(Seen::There(size)),
                // Readers wait for the end of a body.
                Err(failure) if came >= most && is_whole && self.reads => match failure {
                    Failure::Ended(_) => failure,
                    // Silence; another try would wait as long.
                    failure => return Err(failure.into_error()),
                },
                Err(_) if came >= most => return Ok(Seen::There(size)),
                Ok(None) => Failure::passing(format!(
                    "{} sent {came} of the {most} bytes that were asked for, of a blob of {size}",
                    answer.host
                )),
                Err(failure) => failure,
            };
            return Ok(Seen::Broken { size, came, failure });
        }
    }

    /// Reads to its end a blob that was compressed for its way, and is decoded: what clients get of it is known
    /// in no other way. Errors ([`Kind::Source`]) where that is another blob.
    async fn decode(&self, mut answer: Answer) -> Result<Seen> {
        let (mut came, mut hasher) = (0, Hasher::default());
        let host = answer.host.clone();
        let wrong = |expected: Side, found: Side| {
            let place = self.place;
            let what = format!(
                "{place}: {host} sends the blob with Content-Encoding gzip, and decoded, as by Docker, \
                 containerd, Podman and skopeo, it is another one"
            );
            Error::mismatch(what, expected, found).hint(WRONG_CODING)
        };
        let most = self.promised.unwrap_or(u64::MAX);
        loop {
            match answer.chunk().await {
                Ok(Some(piece)) => {
                    came += piece.len() as u64;
                    hasher.update(&piece);
                    if came > most {
                        return Err(wrong(
                            Side::Bytes(most),
                            format_args!("at least {came}").into(),
                        ));
                    }
                }
                Ok(None) => break,
                Err(Failure::Lasting(error)) => return Err(error.within(self.place)),
                Err(failure) => {
                    let size = self.promised.unwrap_or(came + 1);
                    return Ok(Seen::Broken { size, came, failure });
                }
            }
        }
        match self.promised.filter(|promised| *promised != came) {
            Some(promised) => Err(wrong(Side::Bytes(promised), came.into())),
            None => match hasher.finish() {
                found if found == self.digest => Ok(Seen::There(came)),
                found => Err(wrong(self.digest.into(), found.into())),
            },
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
    fn cut(&self, size: u64, found: impl Into<Side>) -> Error {
        let what =
            format!("{}: the blob does not have the bytes that the registry announces", self.place);
        Error::mismatch(what, Side::Bytes(size), found)
    }
}

/// Returns the error for a blob whose bytes all come, in a body that then breaks off.
pub(super) fn endless(place: &str) -> Error {
    Error::source(format!(
        "{place}: the connection breaks off after the last byte, before the end of the answer, which \
         Docker, Podman and skopeo reject (unexpected EOF)"
    ))
}

impl Part {
    fn is_range(self) -> bool {
        !matches!(self, Self::Whole | Self::All)
    }

    /// RFC 9110, 14.1.2.
    fn header(self) -> Result<Option<HeaderValue>> {
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

    /// Whether an answer is about the byte that was asked for, of a blob of that size where it is known.
    fn is_answered_by(self, range: &ContentRange, size: Option<u64>) -> bool {
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

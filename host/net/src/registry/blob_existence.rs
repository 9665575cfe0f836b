//! The check whether a repository has a blob: by its size and its last byte.
//!
//! What this module refuses: to accept an answer to HEAD, which may come from a cache, or the headers of an answer to
//! GET as proof of the bytes; and to report a blob as present when its end is missing.

use reqwest::header::{ACCEPT_ENCODING, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};
use tokio::time::Instant;

use super::blob_part::{BlobPart, ContentRange};
use super::manifest_headers::ACCEPT_CODING;
use super::repository::{PLAIN, Repository, unexpected};
use crate::http::failure::Failure;
use crate::http::retry::{RetryBudget, is_passing};
use crate::http::wire::{Answer, Call, WRONG_CODING};
use occystrap_base::error::{Error, Kind, Result, Side};
use occystrap_base::oci::Hasher;
use occystrap_base::oci::digest::Digest;

/// The hint for wrong bytes under a digest.
pub const DELETE_FIRST: &str = "the registry has wrong bytes under that digest, and does not accept others for it: its operator must remove these bytes from the registry's storage (a DELETE request may only remove the link), then push the image again";

/// The number of successive answers that end at the same byte, too early, after which the bytes count as missing. A
/// connection may break at that byte by accident, but not twice in succession.
const MOST_BROKEN: u32 = 2;

/// The largest blob, in bytes, that is read to its end when a server ignores the range and sends the whole blob. That
/// is the only way to its last byte. 1 MiB costs little more than the answer itself, and most layers and every config
/// are smaller. Of a larger blob only the beginning is read.
const READ_WHOLE: u64 = 1024 * 1024;

/// The outcome of one answer.
enum Outcome {
    /// The requested bytes were received, of a blob of this size.
    Present(u64),
    /// The registry does not have the blob.
    Missing,
    /// Another part must be requested.
    AskFor(BlobPart),
    /// The server failed. The next request may succeed.
    Faulty(Failure),
    /// The answer ended too early: `came` bytes were received, of a blob of `size` bytes.
    Broken { size: u64, came: u64, failure: Failure },
}

impl Repository {
    /// Returns the size of a blob in bytes, and `None` when the registry does not have it. This check is for writers,
    /// which upload every blob that HEAD does not report. The last byte is read too, because many registries answer
    /// HEAD from a cache. The cache still reports a blob that was garbage-collected or cut. docker-registry then also
    /// announces the bytes in the headers of its answer to GET, before it closes the connection. Errors:
    /// [`Kind::Source`] when the registry reports two sizes, or does not have all bytes that it announces;
    /// [`Kind::Auth`]; [`Kind::Network`] after all retries.
    pub async fn stat_blob(&self, digest: Digest) -> Result<Option<u64>> {
        self.presence(digest, false, None).await
    }

    /// Returns the same as [`Self::stat_blob`], for readers, which expect the size that a descriptor has `promised`.
    /// Only the answer to GET decides, because no client sends HEAD before it pulls a blob.
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
        let check = ExistenceCheck { repository: self, digest, place: &place, reads, promised };
        check.run().await.map_err(|error| self.named_or_auth(error, &place))
    }
}

/// The check of one blob.
struct ExistenceCheck<'a> {
    repository: &'a Repository,
    digest: Digest,
    place: &'a str,
    /// Whether the check is for a reader, for which HEAD is only a hint.
    reads: bool,
    /// The size in the descriptor.
    promised: Option<u64>,
}

impl ExistenceCheck<'_> {
    async fn run(&self) -> Result<Option<u64>> {
        let wire = self.repository.wire();
        let mut budget = RetryBudget::new(&wire.settings);
        let head = match self.reads {
            // A promised size says where the last byte is.
            true if self.promised.is_some() => None,
            true => self.hint().await?,
            false => match self.head(&mut budget).await? {
                Some(announced) => announced,
                None => return Ok(None),
            },
        };
        // Some registries, and proxies in front of them, answer every HEAD with the length 0.
        let known = self.promised.or(head.filter(|length| *length > 0));
        let mut part = match known.or(head) {
            None => BlobPart::Suffix,
            // There is no last byte. Request the first, in case HEAD is wrong.
            Some(0) => BlobPart::First,
            Some(size) => BlobPart::Last(size),
        };
        // The byte at which the last answer ended too early, and the number of successive answers that ended there.
        let mut broken = (0, 0);
        let mut cut = None;
        loop {
            let answer = match self.ask(part, &mut budget).await {
                // A storage host may refuse a range because the signature of its URL does not cover it.
                Err(error) if error.kind() == Kind::Auth && self.may_ask_whole(part) => {
                    (part, broken, cut) = (BlobPart::Whole, (0, 0), None);
                    continue;
                }
                answer => answer?,
            };
            let asked = Instant::now();
            let (size, came, failure) = match self.read(answer, part, known).await? {
                // HEAD reported an empty blob, and GET sent bytes.
                Outcome::Present(size) if part == BlobPart::First && cut.is_none() && size > 1 => {
                    part = BlobPart::Last(size);
                    continue;
                }
                Outcome::Present(size) => return cut.map_or(Ok(Some(size)), Err),
                Outcome::Missing => return Ok(None),
                Outcome::AskFor(next) => {
                    (part, broken, cut) = (next, (0, 0), None);
                    continue;
                }
                Outcome::Faulty(failure) => {
                    match wire.pause(&mut budget, failure).await {
                        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                        Err(_) => (part, broken, cut) = (BlobPart::Whole, (0, 0), None),
                        Ok(()) => {}
                    }
                    continue;
                }
                Outcome::Broken { size, came, failure } => (size, came, failure),
            };
            if asked.elapsed() < wire.settings.idle_timeout {
                broken =
                    if broken.1 > 0 && broken.0 == came { (came, broken.1 + 1) } else { (came, 1) };
            }
            // The registry has neither the last byte nor the first.
            if cut.is_some() && came == 0 {
                return Ok(None);
            }
            if broken.1 == MOST_BROKEN {
                let at_end = matches!(part, BlobPart::Last(_) | BlobPart::Suffix) && size > 1;
                match came {
                    // The first byte shows whether the blob is missing or cut.
                    0 if at_end => {
                        cut = Some(self.cut(size, "fewer"));
                        (part, broken) = (BlobPart::First, (0, 0));
                        continue;
                    }
                    0 => return Ok(None),
                    _ if came == size => return Err(unterminated(self.place)),
                    _ => return Err(self.cut(size, came)),
                }
            }
            wire.pause(&mut budget, failure).await?;
        }
    }

    /// Requests HEAD. Returns `None` when the blob is missing, else the length in the answer, where it has one.
    async fn head(&self, budget: &mut RetryBudget) -> Result<Option<Option<u64>>> {
        let answer = match self.repository.ask(&self.call(Method::HEAD, None), budget).await {
            // A storage host refuses HEAD when its URL is signed for GET.
            Err(error) if error.kind() == Kind::Auth => return Ok(Some(None)),
            answer => answer?,
        };
        match answer.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(self.repository.auth_error().await)
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

    /// Requests HEAD, and returns the length in the answer when it can be the size of the blob. There are no retries:
    /// GET follows in any case. Errors when the user interrupts.
    async fn hint(&self) -> Result<Option<u64>> {
        let call = self.call(Method::HEAD, None);
        match self.repository.send(&call, &mut RetryBudget::none()).await {
            Ok(answer) if answer.status() == StatusCode::OK && !answer.is_gzip() => {
                Ok(answer.length().filter(|length| *length > 0))
            }
            Err(error) if error.kind() == Kind::Interrupted => Err(error),
            _ => Ok(None),
        }
    }

    async fn ask(&self, part: BlobPart, budget: &mut RetryBudget) -> Result<Answer> {
        let mut call = self.call(Method::GET, part.header()?);
        call.takes_faults = self.may_ask_whole(part);
        self.repository.send(&call, budget).await
    }

    /// Returns whether the whole blob is requested when the server refuses this part: clients do not request parts.
    fn may_ask_whole(&self, part: BlobPart) -> bool {
        part.is_range()
    }

    fn call(&self, method: Method, range: Option<HeaderValue>) -> Call {
        // Clients accept gzip in requests without a range, and some servers answer these differently.
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

    /// Reads as much of an answer as the check needs. `known` is the size in the descriptor or in the answer to HEAD.
    /// Errors when the check is for a writer and the answer contradicts HEAD, and when the status is unexpected.
    async fn read(&self, answer: Answer, part: BlobPart, known: Option<u64>) -> Result<Outcome> {
        let status = answer.status();
        let is_part = status == StatusCode::PARTIAL_CONTENT;
        if self.reads && answer.is_gzip() && (status == StatusCode::OK || is_part) {
            return match part.is_range() {
                true => Ok(Outcome::AskFor(BlobPart::Whole)),
                false => self.decode(answer.decoded()).await,
            };
        }
        if answer.is_gzip() && status == StatusCode::OK {
            // For a writer, another upload costs no more than reading the blob to its end.
            return Ok(Outcome::Missing);
        }
        let range = ContentRange::of(&answer);
        let found = match status {
            StatusCode::OK => answer.length(),
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if part.is_range() => {
                range.as_ref().and_then(|range| range.size)
            }
            StatusCode::NOT_FOUND if !self.reads => return Ok(Outcome::Missing),
            status if self.may_ask_whole(part) => {
                return Ok(match is_passing(status) {
                    true => Outcome::Faulty(answer.setback()),
                    false => Outcome::AskFor(BlobPart::Whole),
                });
            }
            StatusCode::NOT_FOUND => return Ok(Outcome::Missing),
            status => return Err(unexpected(self.place, &answer, status)),
        };
        let is_other = matches!((known, found), (Some(known), Some(found)) if known != found);
        if let (Some(known), Some(found)) = (known, found)
            && is_other
            && !self.reads
        {
            return Err(Error::mismatch(
                format!("{}: {} reports two sizes of the blob", self.place, answer.host),
                format_args!("{known} bytes in the answer to HEAD"),
                format_args!("{found} in the answer to GET"),
            ));
        }
        // Clients get what GET reports.
        let size = found.or(known);
        match (status, size) {
            (StatusCode::RANGE_NOT_SATISFIABLE, Some(0)) if !is_other => Ok(Outcome::Present(0)),
            (StatusCode::RANGE_NOT_SATISFIABLE, _) => Ok(Outcome::AskFor(BlobPart::All)),
            // The byte may not be the last one.
            (StatusCode::PARTIAL_CONTENT, _) if is_other => Ok(Outcome::AskFor(BlobPart::All)),
            (StatusCode::PARTIAL_CONTENT, _)
                if !range.is_some_and(|range| part.is_answered_by(&range, size)) =>
            {
                Ok(Outcome::AskFor(BlobPart::Whole))
            }
            // The server may support a range with an offset, and not one that counts from the end.
            (StatusCode::OK, Some(size)) if part == BlobPart::Suffix && size > READ_WHOLE => {
                Ok(Outcome::AskFor(BlobPart::Last(size)))
            }
            (_, Some(size)) => {
                let is_promised = self.promised.is_none_or(|promised| promised == size);
                let most = match size {
                    _ if is_part => 1,
                    size if size <= READ_WHOLE => size,
                    size if part == BlobPart::All && is_promised => size,
                    _ => 1,
                };
                self.take(answer, size, most).await
            }
            (_, None) => self.count(answer).await,
        }
    }

    /// Reads `most` bytes of an answer, of a blob of `size` bytes.
    async fn take(&self, mut answer: Answer, size: u64, most: u64) -> Result<Outcome> {
        let is_whole = answer.status() == StatusCode::OK && most == size;
        let mut came = 0;
        loop {
            let failure = match answer.chunk().await {
                Ok(Some(bytes)) => {
                    came += bytes.len() as u64;
                    if is_whole && came > size {
                        return Err(self.cut(size, "more"));
                    }
                    // Read to the end of the body, so that the connection can be used again.
                    if came < most || is_whole || answer.length() == Some(came) {
                        continue;
                    }
                    return Ok(Outcome::Present(size));
                }
                Ok(None) if came >= most => return Ok(Outcome::Present(size)),
                // Clients wait for the end of a body, so the check for a reader does too.
                Err(failure) if came >= most && is_whole && self.reads => match failure {
                    Failure::Ended(_) => failure,
                    // The server is silent; another request would wait as long.
                    failure => return Err(failure.into_error()),
                },
                Err(_) if came >= most => return Ok(Outcome::Present(size)),
                Ok(None) => Failure::passing(format!(
                    "{} sent {came} of the {most} bytes that were asked for, of a blob of {size}",
                    answer.host
                )),
                Err(failure) => failure,
            };
            return Ok(Outcome::Broken { size, came, failure });
        }
    }

    /// Reads a blob with `Content-Encoding` gzip to its end, decoded: this is the only way to know what clients get.
    /// Errors ([`Kind::Source`]) when it is another blob.
    async fn decode(&self, mut answer: Answer) -> Result<Outcome> {
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
                        return Err(wrong(Side::Bytes(most), format!("at least {came}").into()));
                    }
                }
                Ok(None) => break,
                Err(Failure::Lasting(error)) => return Err(error.within(self.place)),
                Err(failure) => {
                    let size = self.promised.unwrap_or(came + 1);
                    return Ok(Outcome::Broken { size, came, failure });
                }
            }
        }
        match self.promised.filter(|promised| *promised != came) {
            Some(promised) => Err(wrong(Side::Bytes(promised), came.into())),
            None => match hasher.finish() {
                found if found == self.digest => Ok(Outcome::Present(came)),
                found => Err(wrong(self.digest.into(), found.into())),
            },
        }
    }

    /// Counts the bytes of a small blob whose size the registry does not report.
    async fn count(&self, mut answer: Answer) -> Result<Outcome> {
        let mut came = 0;
        loop {
            match answer.chunk().await {
                Ok(Some(bytes)) => came += bytes.len() as u64,
                Ok(None) => return Ok(Outcome::Present(came)),
                Err(failure) => return Ok(Outcome::Broken { size: came, came, failure }),
            }
            if came > READ_WHOLE {
                let message =
                    format!("{}: {} does not say how large the blob is", self.place, answer.host);
                return Err(Error::new(Kind::Network, message));
            }
        }
    }

    /// Returns the error for a blob of which the registry does not have the announced bytes.
    fn cut(&self, size: u64, found: impl Into<Side>) -> Error {
        let what =
            format!("{}: the blob does not have the bytes that the registry announces", self.place);
        Error::mismatch(what, Side::Bytes(size), found)
    }
}

/// Returns the error for a blob whose connection breaks after the last byte, before the end of the body.
pub(super) fn unterminated(place: &str) -> Error {
    Error::source(format!(
        "{place}: the connection breaks off after the last byte, before the end of the answer, which \
         Docker, Podman and skopeo reject (unexpected EOF)"
    ))
}

//! A request with a streamed body.
//!
//! What this module refuses: to wait without a limit; to accept a successful answer that arrives before the whole body
//! was sent; and to repeat or redirect the request, because its body has been consumed.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderValue};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::body::BodyReader;
use crate::http::failure::Failure;
use crate::http::peer::Peer;
use crate::http::retry::is_passing;
use crate::http::wire::{Answer, Call, Wire};
use occystrap_base::error::{Error, Kind, Result};

/// The bytes that are given to the connection at once. The idle timeout applies to each piece. With its default of a
/// minute, the slowest supported line has a kilobyte a second.
const PIECE: u64 = 64 * 1024;

/// The pieces that wait while the connection is busy: one read of a file.
const PIECES_AHEAD: usize = 4;

/// The rate at which a registry must process the received bytes before it answers, in bytes a second: some hash them
/// then, or copy them to their storage. This time is added to the timeout of the answer.
const PROCESSING_RATE: u64 = 16 * 1024 * 1024;

/// The time that a request waits for an answer before it sends its body, when the connection of the last attempt broke.
/// A server that does not accept the body (the token expired, the body is too large) answers and closes the connection.
/// This answer is lost when bytes are still being sent. The time suffices for a handshake and an answer over the
/// longest distance on earth.
const LISTEN: Duration = Duration::from_millis(800);

/// A callback that gets the number of bytes of a blob that have been sent.
pub(crate) type Progress<'a> = &'a (dyn Fn(u64) + Send + Sync);

/// The body of a request.
pub(crate) struct StreamedBody<'a, 'b> {
    /// The reader, at the first byte of the body.
    pub(crate) reader: &'a mut BodyReader<'b>,
    pub(crate) length: u64,
    /// The offset of the body in the blob, in bytes.
    pub(crate) start: u64,
    /// The number of bytes that the server may have to process before it answers.
    pub(crate) to_process: u64,
    /// Whether the last connection broke, so that this request waits for an answer before it sends. Updated by the
    /// request.
    pub(crate) listens: &'a mut bool,
    pub(crate) progress: Progress<'a>,
}

/// An answer to a streamed request. The connection is closed when this is dropped, if the answer arrived before the
/// whole body was sent. Read the answer first.
pub(crate) struct StreamedAnswer {
    pub(crate) answer: Answer,
    _open: mpsc::Sender<Bytes>,
}

/// The reason why a body was not sent completely.
enum Stopped {
    /// The server accepted no bytes for too long.
    Silence,
    /// The connection accepts no more bytes: an error or an answer follows.
    Closed,
    /// The source of the body failed.
    Source(Error),
}

impl Wire {
    /// Makes a request once. Returns answers whose status a retry would not change; others are failures.
    pub(crate) async fn send_streamed(
        &self,
        call: &Call,
        authorization: Option<&HeaderValue>,
        body: StreamedBody<'_, '_>,
    ) -> Result<StreamedAnswer, Failure> {
        let peer = Peer::new(&call.url, &self.settings.proxies);
        let host = peer.host();
        let limit = self.settings.idle_timeout;
        self.pace.turn(host, &self.cancel).await?;
        let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
        let StreamedBody { reader, length, start, to_process, listens, progress } = body;
        let processing = Duration::from_secs(to_process / PROCESSING_RATE);
        let listen = if std::mem::take(listens) && length > 0 { LISTEN } else { Duration::ZERO };
        let mut request = self
            .http
            .request(call.method.clone(), call.url.clone())
            .headers(call.headers.clone())
            .header(CONTENT_LENGTH, length)
            .body(streamed(receiver, length));
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let handed = AtomicU64::new(0);
        let started = Instant::now();
        let mut answer = pin!(request.send());
        let to = sender.clone();
        let pump = Pump { reader, length, start, progress, to, limit, handed: &handed };
        let mut pump = pin!(pump.run(listen));
        let outcome = tokio::select! {
            stop = self.cancel.cancelled() => return Err(stop.into()),
            early = &mut answer => early,
            done = &mut pump => {
                match done {
                    Ok(()) | Err(Stopped::Closed) => {}
                    Err(Stopped::Silence) => return Err(Failure::passing(format!(
                        "{peer} accepted no bytes for {limit:?}"
                    ))),
                    Err(Stopped::Source(error)) => return Err(error.into()),
                }
                // The last bytes are still in the buffers of the connection, which may be slow.
                let answer_limit = limit + processing + started.elapsed().min(limit);
                tokio::select! {
                    stop = self.cancel.cancelled() => return Err(stop.into()),
                    late = tokio::time::timeout(answer_limit, answer) => match late {
                        Ok(late) => late,
                        Err(_) => return Err(Failure::silence(&peer, answer_limit)),
                    }
                }
            }
        };
        let handed = handed.load(Ordering::Relaxed);
        let response = match outcome {
            Ok(response) => response,
            Err(error) => {
                *listens = !error.is_connect();
                self.counters.traffic().count_answer(host, 0);
                return Err(explain(&error, &peer, self.settings.insecure, handed));
            }
        };
        let status = response.status();
        self.counters.traffic().count_answer(host, status.as_u16());
        let path = call.shown_path();
        let (method, status_code) = (&call.method, status.as_u16());
        tracing::debug!(%method, host, path, status = status_code, sent = handed, "answered");
        if is_passing(status) {
            return Err(self.setback(&peer, &response));
        }
        if status.is_success() && handed < length {
            return Err(Failure::passing(format!(
                "{peer} answered {status} after {handed} of {length} bytes"
            )));
        }
        Ok(StreamedAnswer { answer: Answer::new(response, peer, self.clone()), _open: sender })
    }
}

/// Returns a body of exactly `length` bytes. When the pieces end earlier, the body fails, and with it the connection.
fn streamed(pieces: mpsc::Receiver<Bytes>, length: u64) -> reqwest::Body {
    if length == 0 {
        return reqwest::Body::from(Bytes::new());
    }
    reqwest::Body::wrap_stream(stream::unfold((pieces, length), |(mut pieces, left)| async move {
        match pieces.recv().await {
            Some(piece) => {
                let left = left.saturating_sub(piece.len() as u64);
                Some((Ok(piece), (pieces, left)))
            }
            None if left == 0 => None,
            None => Some((Err(std::io::Error::other("given up")), (pieces, 0))),
        }
    }))
}

/// The task that gives the body to the connection, piece by piece.
struct Pump<'a, 'b> {
    reader: &'a mut BodyReader<'b>,
    length: u64,
    start: u64,
    progress: Progress<'a>,
    to: mpsc::Sender<Bytes>,
    limit: Duration,
    handed: &'a AtomicU64,
}

impl Pump<'_, '_> {
    async fn run(self, listen: Duration) -> Result<(), Stopped> {
        let mut left = self.length;
        tokio::time::sleep(listen).await;
        while left > 0 {
            // The reader has its own timeout, and handles cancellation.
            let piece = self.reader.next(left.min(PIECE)).await.map_err(Stopped::Source)?;
            let Some(piece) = piece else {
                let error = Error::source("there are fewer bytes to upload than announced");
                return Err(Stopped::Source(error));
            };
            let length = piece.len() as u64;
            match tokio::time::timeout(self.limit, self.to.send(piece)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Stopped::Closed),
                Err(_) => return Err(Stopped::Silence),
            }
            left -= length;
            let sent = self.length - left;
            self.handed.store(sent, Ordering::Relaxed);
            (self.progress)(self.start + sent);
        }
        Ok(())
    }
}

/// Returns the failure of a request. When bytes were sent, a hint says that a limit on the size of requests is a
/// possible cause: some servers close the connection in the middle of a body that is too large.
fn explain(error: &reqwest::Error, peer: &Peer, insecure: bool, handed: u64) -> Failure {
    match Failure::explain(error, peer, insecure) {
        Failure::Passing { error, wait }
            if handed > 0 && error.hint_text().is_none() && error.kind() == Kind::Network =>
        {
            let error = error.hint(
                "if this repeats, the registry or a proxy before it may limit the size of a \
                 request: try ?chunk_size=",
            );
            Failure::Passing { error, wait }
        }
        failure => failure,
    }
}

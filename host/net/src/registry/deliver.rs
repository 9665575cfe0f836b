//! One request with a body that is streamed.
//!
//! What it refuses: to wait for ever, to take an answer that came before the body for a success,
//! and to repeat or redirect a request by itself: its body is gone by then.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderValue};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::body::Reader;
use crate::http::failure::Failure;
use crate::http::peer::Peer;
use crate::http::retry::is_passing;
use crate::http::wire::{Answer, Call, Wire};
use occystrap_base::error::{Error, Kind, Result};

/// What is handed to the connection at once. Silence is measured from one piece to the next: with
/// the default of a minute the slowest line that is waited for has a kilobyte a second.
const PIECE: u64 = 64 * 1024;

/// Pieces that wait while the connection is busy: one read of a file.
const PIECES_AHEAD: usize = 4;

/// How fast a registry has to work through what it got, in bytes a second, before it answers:
/// some hash it then, or copy it to where it stays. On top of the time for any answer.
const SETTLING: u64 = 16 * 1024 * 1024;

/// How long a request whose last try broke waits for an answer before it sends its body. A server
/// that does not want the body (the token ended, it is too large) says so, closes the connection,
/// and what it said is lost when we are writing at that moment. Enough for a handshake and an
/// answer from the other side of the world.
const LISTEN: Duration = Duration::from_millis(800);

/// Hears how many bytes of a blob have been sent.
pub(crate) type Progress<'a> = &'a (dyn Fn(u64) + Send + Sync);

/// What to send with a request.
pub(crate) struct Parcel<'a, 'b> {
    /// Stands at the first byte.
    pub(crate) reader: &'a mut Reader<'b>,
    pub(crate) length: u64,
    /// Where in the blob it starts.
    pub(crate) start: u64,
    /// Bytes that the server may have to work through before it answers.
    pub(crate) settles: u64,
    /// Whether the last connection broke, so that this one listens before it sends.
    pub(crate) wary: &'a mut bool,
    pub(crate) progress: Progress<'a>,
}

/// An answer, and the rest of the request where the answer came early: the connection is cut as
/// soon as this is dropped, so what the answer says must be read before.
pub(crate) struct Sent {
    pub(crate) answer: Answer,
    _open: mpsc::Sender<Bytes>,
}

/// Why a body did not go out.
enum Stuck {
    /// Nothing was taken for too long.
    Silence,
    /// The connection takes no more: an error or an answer is on its way.
    Closed,
    /// There is nothing to send.
    Source(Error),
}

impl Wire {
    /// Makes a request once. Answers have a status that trying again would not change.
    pub(crate) async fn deliver(
        &self,
        call: &Call,
        authorization: Option<&HeaderValue>,
        parcel: Parcel<'_, '_>,
    ) -> Result<Sent, Failure> {
        let peer = Peer::new(&call.url, &self.settings.proxies);
        let host = peer.host();
        let limit = self.settings.idle_timeout;
        self.pace.turn(host, &self.cancel).await?;
        let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
        let Parcel { reader, length, start, settles, wary, progress } = parcel;
        let settling = Duration::from_secs(settles / SETTLING);
        let listen = if std::mem::take(wary) && length > 0 { LISTEN } else { Duration::ZERO };
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
                    Ok(()) | Err(Stuck::Closed) => {}
                    Err(Stuck::Silence) => return Err(Failure::passing(format!(
                        "{peer} took nothing for {limit:?}"
                    ))),
                    Err(Stuck::Source(error)) => return Err(error.into()),
                }
                // The last of it is still in the buffers of the line, which may be slow.
                let answer_limit = limit + settling + started.elapsed().min(limit);
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
                *wary = !error.is_connect();
                return Err(explain(&error, &peer, self.settings.insecure, handed));
            }
        };
        let status = response.status();
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
        Ok(Sent { answer: Answer::new(response, peer, self.clone()), _open: sender })
    }
}

/// A body of exactly so many bytes. It breaks off, and the connection with it, when they end before.
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

/// Hands the body over, bit by bit.
struct Pump<'a, 'b> {
    reader: &'a mut Reader<'b>,
    length: u64,
    start: u64,
    progress: Progress<'a>,
    to: mpsc::Sender<Bytes>,
    limit: Duration,
    handed: &'a AtomicU64,
}

impl Pump<'_, '_> {
    async fn run(self, listen: Duration) -> Result<(), Stuck> {
        let mut left = self.length;
        tokio::time::sleep(listen).await;
        while left > 0 {
            // Has its own idea of silence, and of being cancelled.
            let piece = self.reader.next(left.min(PIECE)).await.map_err(Stuck::Source)?;
            let Some(piece) = piece else {
                let error = Error::source("there is less to upload than was announced");
                return Err(Stuck::Source(error));
            };
            let length = piece.len() as u64;
            match tokio::time::timeout(self.limit, self.to.send(piece)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Stuck::Closed),
                Err(_) => return Err(Stuck::Silence),
            }
            left -= length;
            let sent = self.length - left;
            self.handed.store(sent, Ordering::Relaxed);
            (self.progress)(self.start + sent);
        }
        Ok(())
    }
}

/// A server that does not want a body may just close the connection in the middle of it.
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

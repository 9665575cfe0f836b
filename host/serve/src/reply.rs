//! Answers and their bodies: bytes in memory, a part of a file, or a stream that another task fills.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::sync::mpsc;

use occystrap_base::files::Section;

/// An answer.
pub type Reply = Response<Body>;

/// Bytes that are read from a file at a time.
const PIECE: usize = 256 * 1024;

/// Pieces that wait for a client. With [`PIECE`], this bounds the memory of one answer.
const PIECES: usize = 2;

/// Body of an answer.
pub struct Body(Content);

enum Content {
    Bytes(Option<Bytes>),
    Stream { pieces: mpsc::Receiver<io::Result<Bytes>>, left: u64 },
}

impl Body {
    /// Returns a body without bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self::from(Bytes::new())
    }

    /// Returns a body of `size` bytes that come from a task. The connection breaks where the task sends an error, or
    /// fewer bytes.
    #[must_use]
    pub fn stream(size: u64, pieces: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        match size {
            0 => Self::empty(),
            left => Self(Content::Stream { pieces, left }),
        }
    }

    /// Returns `size` bytes from `start` on of what comes from a task. What is before them is read and dropped.
    #[must_use]
    pub fn part_of_stream(
        start: u64,
        size: u64,
        mut pieces: mpsc::Receiver<io::Result<Bytes>>,
    ) -> Self {
        let (send, part) = mpsc::channel(PIECES);
        tokio::spawn(async move {
            let (mut skip, mut left) = (start, size);
            while left > 0 {
                let Some(piece) = pieces.recv().await else { return };
                let piece = piece.map(|mut piece| {
                    let dropped = skip.min(piece.len() as u64);
                    skip -= dropped;
                    let mut piece = piece.split_off(dropped as usize);
                    piece.truncate(left.min(piece.len() as u64) as usize);
                    left -= piece.len() as u64;
                    piece
                });
                if send.send(piece).await.is_err() {
                    return;
                }
            }
        });
        Self::stream(size, part)
    }

    /// Returns `size` bytes of a section of a file, from `start` on.
    #[must_use]
    pub fn section(section: &Section, start: u64, size: u64) -> Self {
        Self::stream(size, read_section(section, start, size))
    }

    /// Returns the number of bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.0 {
            Content::Bytes(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Content::Stream { left, .. } => *left,
        }
    }

    /// Returns whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Reads `size` bytes of a section of a file, from `start` on, in a task of their own.
#[must_use]
pub fn read_section(section: &Section, start: u64, size: u64) -> mpsc::Receiver<io::Result<Bytes>> {
    let (file, offset) = (section.file.clone(), section.offset + start);
    let (send, pieces) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let mut at = 0;
        while at < size {
            let mut piece = vec![0; (size - at).min(PIECE as u64) as usize];
            let read = file.read_exact_at(&mut piece, offset + at).map(|()| Bytes::from(piece));
            at += read.as_ref().map_or(size, |piece| piece.len() as u64);
            // A client that is gone needs no more.
            if send.blocking_send(read).is_err() {
                return;
            }
        }
    });
    pieces
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(Content::Bytes(Some(bytes)))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.0 {
            Content::Bytes(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            Content::Stream { left: 0, .. } => Poll::Ready(None),
            Content::Stream { pieces, left } => pieces.poll_recv(task).map(|piece| match piece {
                Some(Ok(piece)) if piece.len() as u64 <= *left => {
                    *left -= piece.len() as u64;
                    Some(Ok(Frame::data(piece)))
                }
                Some(Err(cause)) => Some(Err(cause)),
                Some(Ok(_)) | None => Some(Err(io::ErrorKind::UnexpectedEof.into())),
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len())
    }
}

/// Returns an answer without a body.
#[must_use]
pub fn status(status: StatusCode) -> Reply {
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = status;
    reply
}

/// Returns an answer with a body of this type.
#[must_use]
pub fn content(media_type: &str, body: Body) -> Reply {
    with(Response::new(body), header::CONTENT_TYPE, media_type)
}

/// Returns the value of `Warning` for a line (distribution specification, "Warnings"); `None` for one that is not valid in a
/// header.
#[must_use]
pub fn warning(line: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("299 - \"{}\"", line.replace(['"', '\\'], "'"))).ok()
}

/// Adds a header to an answer. A value that is not valid in a header is left out.
#[must_use]
pub fn with(mut reply: Reply, name: HeaderName, value: impl AsRef<str>) -> Reply {
    if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
        reply.headers_mut().insert(name, value);
    }
    reply
}

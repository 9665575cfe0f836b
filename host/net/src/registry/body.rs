//! The content of a blob that is uploaded: read in pieces, and again from the start when an attempt failed.
//!
//! What this module refuses: to hold a layer in memory, and to return the last bytes of a download before all bytes are
//! verified, so that no registry gets a complete blob of wrong bytes.

use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;

use super::download::Download;
use super::repository::Repository;
use occystrap_base::error::{Error, Kind, Result, Side};
use occystrap_base::files::Section;
use occystrap_base::oci::Descriptor;

/// The bytes of a file that are read at once: enough for the disk, and little compared with the 128 MiB for all layers
/// in transfer.
const READ: usize = 256 * 1024;

/// The place of the bytes of a blob. They can be read any number of times.
#[derive(Clone)]
pub enum Body {
    /// A small blob in memory, such as a config.
    Bytes(Bytes),
    /// A section of an open file.
    File(Section),
    /// The blob of the same digest in this repository. It is streamed, and not stored.
    Download(Repository),
}

impl Body {
    /// Errors when the size is not that of the descriptor.
    fn check(&self, what: &Descriptor) -> Result<()> {
        let size = match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(section) => section.size,
            Self::Download(_) => return Ok(()),
        };
        match size == what.size {
            true => Ok(()),
            false => Err(Error::mismatch(
                format!("{}: wrong size of the content to upload", what.digest),
                Side::Bytes(what.size),
                size,
            )),
        }
    }
}

/// A reader of a [`Body`] that can seek.
pub(crate) struct BodyReader<'a> {
    body: &'a Body,
    what: &'a Descriptor,
    /// The number of bytes that were returned or skipped.
    position: u64,
    /// Bytes that were read, and not yet returned.
    ready: Bytes,
    source: Option<Source>,
    /// The error of a failed read.
    failure: Option<Error>,
}

/// A download, and its last piece. The piece is returned when the next one arrives, or when the download is verified.
struct Source {
    download: Download,
    held: Bytes,
}

impl<'a> BodyReader<'a> {
    pub(crate) fn new(body: &'a Body, what: &'a Descriptor) -> Result<Self> {
        body.check(what)?;
        let (ready, source) = (Bytes::new(), None);
        Ok(Self { body, what, position: 0, ready, source, failure: None })
    }

    /// Takes the error of a failed read, if there is one. An upload that stopped for it did not fail itself.
    pub(crate) fn failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    /// Continues at a position in bytes. For a download, the bytes before the position are downloaded again.
    pub(crate) async fn seek(&mut self, position: u64) -> Result<()> {
        if position == self.position {
            return Ok(());
        }
        self.ready.clear();
        match self.body {
            Body::Bytes(_) | Body::File(_) => self.position = position,
            Body::Download(_) => {
                self.source = None;
                self.position = 0;
                while self.position < position {
                    let missing = position - self.position;
                    if self.next(missing).await?.is_none() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns the next bytes, at most `most`; `None` at the end.
    pub(crate) async fn next(&mut self, most: u64) -> Result<Option<Bytes>> {
        if self.ready.is_empty() {
            match self.fill().await {
                Ok(bytes) => self.ready = bytes,
                Err(error) => {
                    self.failure = Some(error.clone());
                    return Err(error);
                }
            }
        }
        let length = self.ready.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        self.position += length as u64;
        Ok((length > 0).then(|| self.ready.split_to(length)))
    }

    async fn fill(&mut self) -> Result<Bytes> {
        match self.body {
            Body::Bytes(bytes) => {
                let start = usize::try_from(self.position).unwrap_or(usize::MAX);
                Ok(bytes.slice(start.min(bytes.len())..))
            }
            Body::File(section) => read(section, self.position, self.what).await,
            Body::Download(repository) => {
                let source = self.source.get_or_insert_with(|| Source {
                    download: repository.blob(self.what),
                    held: Bytes::new(),
                });
                loop {
                    let Some(next) = source.download.next().await? else {
                        return Ok(std::mem::take(&mut source.held));
                    };
                    let before = std::mem::replace(&mut source.held, next);
                    if !before.is_empty() {
                        return Ok(before);
                    }
                }
            }
        }
    }
}

async fn read(section: &Section, position: u64, what: &Descriptor) -> Result<Bytes> {
    let left = section.size.saturating_sub(position);
    let length = usize::try_from(left).unwrap_or(READ).min(READ);
    if length == 0 {
        return Ok(Bytes::new());
    }
    let (file, at) = (Arc::clone(&section.file), section.offset + position);
    let task = tokio::task::spawn_blocking(move || {
        let mut buffer = vec![0; length];
        file.read_exact_at(&mut buffer, at).map(|()| buffer)
    });
    let outcome =
        task.await.unwrap_or_else(|_| Err(std::io::Error::other("the read was cancelled")));
    match outcome {
        Ok(buffer) => Ok(buffer.into()),
        Err(cause) if cause.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(Error::source(format!(
                "{}: the file ends before its {} bytes; was it changed?",
                what.digest, what.size
            )))
        }
        Err(cause) => Err(Error::io(Kind::Source, "read", what.digest, &cause)),
    }
}

//! The content of a blob on its way to a registry: read in pieces, and again from the start when a
//! try failed.
//!
//! What it refuses: to hold a layer in memory, and to hand out the last bytes of a download before
//! all of them were checked, so that no registry gets a whole blob of wrong bytes.

use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;

use super::download::Download;
use super::repository::Repository;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::Section;
use occystrap_base::oci::descriptor::Descriptor;

/// How much of a file is read at once: enough for the disk, little beside 128 MiB for all layers
/// that are on their way.
const READ: usize = 256 * 1024;

/// Where the bytes of a blob are. It can be read any number of times.
#[derive(Clone)]
pub enum Body {
    /// A small one, such as a config.
    Bytes(Bytes),
    /// Part of an open file.
    File(Section),
    /// The blob of the same digest in this repository, streamed through without being stored.
    Download(Repository),
}

impl Body {
    /// Errors when the content cannot be the one that is described.
    fn check(&self, what: &Descriptor) -> Result<()> {
        let size = match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(section) => section.size,
            Self::Download(_) => return Ok(()),
        };
        match size == what.size {
            true => Ok(()),
            false => Err(Error::mismatch(
                format!("{}: wrong size of what is to be uploaded", what.digest),
                format_args!("{} bytes", what.size),
                size,
            )),
        }
    }
}

/// A reader of a [`Body`] that can go back.
pub(crate) struct Reader<'a> {
    body: &'a Body,
    what: &'a Descriptor,
    /// Bytes that were handed out, or skipped.
    position: u64,
    /// Read, checked where it has to be, and not yet handed out.
    ready: Bytes,
    source: Option<Source>,
    /// Why reading failed.
    failure: Option<Error>,
}

/// A download, and its last piece, which waits for the next one or for the end.
struct Source {
    download: Download,
    held: Bytes,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(body: &'a Body, what: &'a Descriptor) -> Result<Self> {
        body.check(what)?;
        let (ready, source) = (Bytes::new(), None);
        Ok(Self { body, what, position: 0, ready, source, failure: None })
    }

    /// Why reading failed, if it did. An upload that stops for that has no fault of its own.
    pub(crate) fn failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    /// Goes on at a position in bytes. For a download that means to load what is before it again.
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

    /// The next bytes, at most as many; nothing at the end.
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
    let outcome = task.await.unwrap_or_else(|_| Err(std::io::Error::other("reading was given up")));
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

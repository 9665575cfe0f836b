//! The stored bytes of a layer as a stream, compared with their digest.
//!
//! A registry download checks itself. A section of a file is checked here, if a digest was promised for its stored
//! form.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::feed::FeedReader;
use super::io::{into_io, read_buffered};
use super::written::{put, write_error};
use crate::image::Layer;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind};
use occystrap_base::files::Section;
use occystrap_base::oci::{Compression, Digest, Hasher};
use occystrap_base::terminal::progress::LayerProgress;

/// Bytes of a file that are read at once. Larger reads gain nothing measurable.
const PIECE: usize = 256 * 1024;

/// The stream of a layer's stored bytes.
pub struct Stored {
    source: Source,
    /// The promised digest of the stored form, where it is a section of a file.
    promised: Option<(Digest, Hasher)>,
    /// The file to which a download is written as well.
    copy: Option<FileCopy>,
    place: String,
    cancel: Cancel,
    progress: LayerProgress,
    ahead: bool,
}

enum Source {
    Section { section: Section, at: u64, buffer: Vec<u8>, start: usize },
    Download(FeedReader),
    Stream(Box<dyn BufRead + Send>),
}

impl Stored {
    /// Returns the stream of a layer in a section of a file.
    #[must_use]
    pub fn file(layer: &Layer, section: &Section, cancel: &Cancel) -> Self {
        let promised = layer.digest.map(|digest| (digest, Hasher::default()));
        Self { promised, ..Self::section(section.clone(), layer.place.clone(), cancel) }
    }

    /// Returns the stream of a section of a file without a promised digest.
    #[must_use]
    pub fn section(section: Section, place: String, cancel: &Cancel) -> Self {
        Self::new(Source::Section { section, at: 0, buffer: Vec::new(), start: 0 }, place, cancel)
    }

    /// Returns the stream of a layer whose download has begun.
    #[must_use]
    pub fn fed(feed: FeedReader, place: String, cancel: &Cancel) -> Self {
        Self::new(Source::Download(feed), place, cancel)
    }

    /// Returns the stream of a layer from a reader that compares the digest itself, at its end.
    #[must_use]
    pub fn stream(stream: Box<dyn BufRead + Send>, place: String, cancel: &Cancel) -> Self {
        Self::new(Source::Stream(stream), place, cancel)
    }

    fn new(source: Source, place: String, cancel: &Cancel) -> Self {
        let progress = LayerProgress::hidden();
        let cancel = cancel.clone();
        Self { source, promised: None, copy: None, place, cancel, progress, ahead: true }
    }

    /// Shows the user how much has been read.
    #[must_use]
    pub fn showing(mut self, progress: &LayerProgress) -> Self {
        self.progress = progress.clone();
        self
    }

    /// Sets whether a separate thread reads ahead of the code that looks at the layer. The default is yes.
    #[must_use]
    pub fn read_ahead(mut self, ahead: bool) -> Self {
        self.ahead = ahead;
        self
    }

    /// Returns whether a separate thread reads ahead of the code that looks at the layer.
    #[must_use]
    pub fn is_read_ahead(&self) -> bool {
        self.ahead
    }

    /// Returns the progress bar.
    #[must_use]
    pub fn progress(&self) -> &LayerProgress {
        &self.progress
    }

    /// Writes what is downloaded to a file as well, from its start. The file is complete when the stream has been read
    /// to its end, unless `unwanted` was set on the way.
    #[must_use]
    pub fn copied_to(mut self, file: Arc<File>, unwanted: Arc<AtomicBool>) -> Self {
        self.copy = Some(FileCopy { file, unwanted, written: 0, failed: None });
        self
    }

    /// Returns the compression by the first bytes, without consuming them.
    pub fn detect(&mut self) -> io::Result<Compression> {
        if let Source::Download(reader) = &mut self.source {
            let magic = reader.peek(Compression::MAGIC_LENGTH, &self.cancel).map_err(into_io)?;
            return Ok(Compression::detect(magic));
        }
        Ok(Compression::detect(self.fill_buf()?))
    }

    /// Returns the compression by the first bytes. An uncompressed layer needs no second hash: its digest must equal
    /// the diff-id, which is compared here, and the caller compares the content with the diff-id.
    pub fn compression(&mut self, diff_id: Digest) -> io::Result<Compression> {
        let compression = self.detect()?;
        if let (Compression::None, Some((promised, _))) = (compression, &self.promised) {
            if *promised != diff_id {
                let what = format!("{}: digest of a plain layer", self.place);
                return Err(into_io(Error::mismatch(what, promised, diff_id)));
            }
            self.promised = None;
        }
        Ok(compression)
    }

    /// Returns why the decompressor failed. If the stored bytes differ from their digest, that is the reason; it is
    /// only known at their end.
    pub fn cause_of(self, cause: io::Error) -> io::Error {
        if cause.get_ref().is_some_and(|inner| inner.is::<Error>()) {
            return cause;
        }
        self.drain().err().unwrap_or(cause)
    }

    /// Reads the rest as it is stored, then checks as [`Stored::finish`] does.
    pub fn drain(mut self) -> io::Result<()> {
        loop {
            let amount = self.fill_buf()?.len();
            if amount == 0 {
                return self.finish();
            }
            self.consume(amount);
        }
    }

    /// Checks that nothing follows the end that the decompressor has seen, and compares the promised digest.
    pub fn finish(mut self) -> io::Result<()> {
        if !self.fill_buf()?.is_empty() {
            let message =
                format!("{}: there is more data after the compressed layer's end", self.place);
            return Err(into_io(Error::source(message)));
        }
        match self.promised.take() {
            Some((expected, hasher)) => {
                let found = hasher.finish();
                if found == expected {
                    return Ok(());
                }
                let what = format!("{}: digest of the compressed layer", self.place);
                Err(into_io(Error::mismatch(what, expected, found)))
            }
            None => Ok(()),
        }
    }
}

/// Reads at least one byte of a section, at offset `at`. `place` is named in errors.
fn read_section(section: &Section, at: u64, into: &mut [u8], place: &str) -> io::Result<usize> {
    let read = section.file.read_at(into, section.offset + at);
    match read.map_err(|cause| into_io(Error::io(Kind::Source, "read", place, &cause)))? {
        0 => {
            let what = format!("{place}: size in bytes");
            Err(into_io(Error::mismatch(what, section.size, at)))
        }
        read => Ok(read),
    }
}

/// A file to which a download is written as well.
struct FileCopy {
    file: Arc<File>,
    unwanted: Arc<AtomicBool>,
    written: u64,
    failed: Option<Error>,
}

impl FileCopy {
    /// Writes bytes. A failure is kept for the next [`FileCopy::check`].
    fn put(&mut self, bytes: &[u8]) {
        if self.failed.is_none() && !self.unwanted.load(Ordering::Relaxed) {
            let written = put(&self.file, bytes, self.written);
            self.failed = written.err().map(|cause| write_error(&self.file, &cause));
        }
        self.written += bytes.len() as u64;
    }

    fn check(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), |error| Err(into_io(error)))
    }
}

impl BufRead for Stored {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.cancel.check().map_err(into_io)?;
        if let Some(copy) = &mut self.copy {
            copy.check()?;
        }
        match &mut self.source {
            Source::Section { section, at, buffer, start } => {
                if *start == buffer.len() && *at < section.size {
                    let wanted = (section.size - *at).min(PIECE as u64) as usize;
                    buffer.resize(wanted, 0);
                    *start = 0;
                    let read = read_section(section, *at, buffer, &self.place)?;
                    buffer.truncate(read);
                    *at += read as u64;
                    if let Some((_, hasher)) = &mut self.promised {
                        hasher.update(buffer);
                    }
                }
                Ok(&buffer[*start..])
            }
            Source::Download(reader) => reader.fill_buf(&self.cancel).map_err(into_io),
            Source::Stream(stream) => stream.fill_buf(),
        }
    }

    fn consume(&mut self, amount: usize) {
        self.progress.add(amount as u64);
        match &mut self.source {
            Source::Section { start, .. } => *start += amount,
            Source::Stream(stream) => stream.consume(amount),
            Source::Download(reader) => {
                if let Some(copy) = &mut self.copy {
                    copy.put(&reader.piece()[..amount]);
                }
                reader.consume(amount);
            }
        }
    }
}

impl Read for Stored {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        // An uncompressed layer in a file is read straight into the caller's buffer, which saves a copy.
        if let (Source::Section { section, at, buffer, start }, None) =
            (&mut self.source, &self.promised)
            && *start == buffer.len()
            && *at < section.size
            && into.len() >= PIECE
        {
            self.cancel.check().map_err(into_io)?;
            let wanted = (section.size - *at).min(into.len() as u64) as usize;
            let read = read_section(section, *at, &mut into[..wanted], &self.place)?;
            *at += read as u64;
            self.progress.add(read as u64);
            return Ok(read);
        }
        read_buffered(self, into)
    }
}

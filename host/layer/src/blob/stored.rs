//! The bytes of a layer as the source has them, checked against what they were promised under.
//!
//! A registry download checks itself; a section of a file is checked here, where a digest was
//! promised for its stored form.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::feed::FeedReader;
use super::written::put;
use super::{into_io, write_error};
use crate::image::Layer;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind};
use occystrap_base::files::Section;
use occystrap_base::oci::{Compression, Descriptor, Digest, Hasher};
use occystrap_base::terminal::progress::LayerProgress;

/// How much of a file is read at once. Larger reads gain nothing measurable.
const PIECE: usize = 256 * 1024;

/// A layer as it is stored, as a stream.
pub struct Stored {
    source: Source,
    /// Promised for the stored form of a section of a file.
    promised: Option<(Digest, Hasher)>,
    /// Where a download goes as well.
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
    /// Read a layer from the section of a file that holds it.
    #[must_use]
    pub fn file(layer: &Layer, section: &Section, cancel: &Cancel) -> Self {
        let promised = layer.digest.map(|digest| (digest, Hasher::default()));
        Self { promised, ..Self::section(section.clone(), layer.place.clone(), cancel) }
    }

    /// Read part of a file that nobody promised a digest for.
    #[must_use]
    pub fn section(section: Section, place: String, cancel: &Cancel) -> Self {
        Self::new(Source::Section { section, at: 0, buffer: Vec::new(), start: 0 }, place, cancel)
    }

    /// Read a layer whose download has begun.
    #[must_use]
    pub fn fed(feed: FeedReader, place: String, cancel: &Cancel) -> Self {
        Self::new(Source::Download(feed), place, cancel)
    }

    /// Read a layer from a stream that checks at its end that it was the right one.
    #[must_use]
    pub fn stream(stream: Box<dyn BufRead + Send>, place: String, cancel: &Cancel) -> Self {
        Self::new(Source::Stream(stream), place, cancel)
    }

    fn new(source: Source, place: String, cancel: &Cancel) -> Self {
        let progress = LayerProgress::hidden();
        let cancel = cancel.clone();
        Self { source, promised: None, copy: None, place, cancel, progress, ahead: true }
    }

    /// Let the user see how much has been read.
    #[must_use]
    pub fn showing(mut self, progress: &LayerProgress) -> Self {
        self.progress = progress.clone();
        self
    }

    /// Whether a thread reads ahead of whoever looks at it, as it does unless told otherwise.
    #[must_use]
    pub fn read_ahead(mut self, ahead: bool) -> Self {
        self.ahead = ahead;
        self
    }

    /// Whether a thread reads ahead of whoever looks at it.
    #[must_use]
    pub fn is_read_ahead(&self) -> bool {
        self.ahead
    }

    /// What the user sees of it.
    #[must_use]
    pub fn progress(&self) -> &LayerProgress {
        &self.progress
    }

    /// Write what is downloaded to a file as well, from its start: all of it, when this has been
    /// read to its end, unless it turned out to be `unwanted`.
    #[must_use]
    pub fn copied_to(mut self, file: Arc<File>, unwanted: Arc<AtomicBool>) -> Self {
        self.copy = Some(FileCopy { file, unwanted, written: 0, failed: None });
        self
    }

    /// Returns what its first bytes say of its compression, before any of them is read.
    pub fn detect(&mut self) -> io::Result<Compression> {
        if let Source::Download(reader) = &mut self.source {
            let magic = reader.peek(Compression::MAGIC_LENGTH, &self.cancel).map_err(into_io)?;
            return Ok(Compression::detect(magic));
        }
        Ok(Compression::detect(self.fill_buf()?))
    }

    /// What its first bytes say of its compression. Plain layers need no second hash: the diff-id
    /// is checked by whoever moves them, and compared with a promised digest here.
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

    /// Why the decompressor failed: where the stored bytes are not those that were promised, that
    /// is the reason, and it is only known at their end.
    pub fn blame(self, cause: io::Error) -> io::Error {
        if cause.get_ref().is_some_and(|inner| inner.is::<Error>()) {
            return cause;
        }
        self.drain().err().unwrap_or(cause)
    }

    /// Read what is left, as it is stored, then as [`Stored::finish`].
    pub fn drain(mut self) -> io::Result<()> {
        loop {
            let amount = self.fill_buf()?.len();
            if amount == 0 {
                return self.finish();
            }
            self.consume(amount);
        }
    }

    /// Called when the decompressor has seen its end: nothing may follow, and what was promised
    /// must have been kept.
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

/// Reads some bytes of a section, from `at` on; never none. `place` is named in errors.
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

/// A file that gets what was read.
struct FileCopy {
    file: Arc<File>,
    unwanted: Arc<AtomicBool>,
    written: u64,
    failed: Option<Error>,
}

impl FileCopy {
    /// Whoever reads on hears of a failure.
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

/// What a registry promised of a layer. Layers of a registry have a digest.
pub(crate) fn descriptor(layer: &Layer) -> Descriptor {
    Descriptor {
        media_type: layer.media_type.clone(),
        digest: layer.digest.unwrap_or(layer.diff_id),
        size: layer.size,
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
        // A plain layer in a file goes straight to where it is wanted: a copy less of all of it.
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
        let available = self.fill_buf()?;
        let amount = available.len().min(into.len());
        into[..amount].copy_from_slice(&available[..amount]);
        self.consume(amount);
        Ok(amount)
    }
}

//! A file being written by a plugin: framing from the guest, content from the host.
//!
//! Every byte is hashed as it passes and ends up in exactly one extent of the journal. What it
//! refuses: gaps that were not reserved, filled twice or not at all, and more extents than
//! [`MOST_EXTENTS`].

use std::io;
use std::os::unix::fs::FileExt;

use super::deferred::{DeferredLayer, keep_all};
use crate::receipt::{Extent, WrittenFile};
use occystrap_base::error::Error;
use occystrap_base::files::Hashed;
use occystrap_base::files::unnamed_file::UnnamedFile;
use occystrap_base::limits;
use occystrap_base::oci::{Digest, Hasher};

/// The most extents of one file: an archive has four a member. Those of all files count as host memory
/// ([`limits::HOST_MEMORY`]).
pub const MOST_EXTENTS: usize = 65_536;

/// Bytes of framing that are gathered before they are written: fewer are not worth a system call.
const PENDING: usize = 64 * 1024;

/// A write to a file.
pub struct FileSink {
    path: String,
    file: UnnamedFile,
    position: u64,
    extents: Vec<Extent>,
    /// Reserved and not yet filled: offset and length.
    gaps: Vec<(u64, u64)>,
    /// Layers that have a place, by its offset, and are not there yet.
    promises: Vec<(u64, DeferredLayer)>,
    run: Option<Run>,
}

/// Framing bytes that follow each other.
struct Run {
    offset: u64,
    pending: Vec<u8>,
    hasher: Hasher,
    size: u64,
}

/// Why a call on a sink was refused.
#[derive(Debug)]
pub enum SinkError {
    /// A gap that is not there, or not filled.
    State,
    /// Too many extents.
    Quota,
    /// This kind of sink cannot do that.
    Unsupported,
    /// The system refused.
    Io(io::Error),
    /// What it writes to failed.
    Failed(Error),
}

impl From<io::Error> for SinkError {
    fn from(cause: io::Error) -> Self {
        Self::Io(cause)
    }
}

impl FileSink {
    /// Starts to write `path`, into a file without a name.
    #[must_use]
    pub fn new(path: String, file: UnnamedFile) -> Self {
        let (extents, gaps, promises) = (Vec::new(), Vec::new(), Vec::new());
        Self { path, file, position: 0, extents, gaps, promises, run: None }
    }

    /// Returns how many bytes of memory it holds.
    #[must_use]
    pub fn held(&self) -> usize {
        size_of::<Self>()
            + self.path.len()
            + self.extents.len() * limits::PIECE_KEPT
            + self.gaps.capacity() * size_of::<(u64, u64)>()
            + self.promises.capacity() * size_of::<(u64, DeferredLayer)>()
            + self.run.as_ref().map_or(0, |run| run.pending.capacity())
    }

    /// Appends framing bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        let offset = self.position;
        let run = self.run.get_or_insert_with(|| Run {
            offset,
            pending: Vec::new(),
            hasher: Hasher::default(),
            size: 0,
        });
        run.hasher.update(bytes);
        run.pending.extend_from_slice(bytes);
        run.size += bytes.len() as u64;
        if run.pending.len() >= PENDING {
            let at = run.offset + run.size - run.pending.len() as u64;
            self.file.file().write_all_at(&run.pending, at)?;
            run.pending.clear();
        }
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Appends zeros, as a run of their own: what stands before them keeps its exact extent.
    pub fn pad(&mut self, len: u32) -> Result<(), SinkError> {
        self.end_run()?;
        self.write(&vec![0; len as usize])?;
        self.end_run()
    }

    /// Leaves a gap, and returns its offset.
    pub fn reserve(&mut self, len: u32) -> Result<u64, SinkError> {
        self.end_run()?;
        if self.gaps.len() >= MOST_EXTENTS {
            return Err(SinkError::Quota);
        }
        let offset = self.position;
        self.gaps.push((offset, u64::from(len)));
        self.position += u64::from(len);
        Ok(offset)
    }

    /// Fills a gap, whole.
    pub fn fill(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        let gap = (offset, bytes.len() as u64);
        let at = self.gaps.iter().position(|reserved| *reserved == gap).ok_or(SinkError::State)?;
        self.gaps.swap_remove(at);
        self.file.file().write_all_at(bytes, offset)?;
        self.extend(Extent { offset, size: gap.1, digest: Digest::of(bytes) })
    }

    /// Ends the framing, and returns the offset at which the next content goes.
    pub fn before_content(&mut self) -> Result<u64, SinkError> {
        self.end_run()?;
        Ok(self.position)
    }

    /// Returns the file that content is moved into.
    #[must_use]
    pub fn file(&self) -> &UnnamedFile {
        &self.file
    }

    /// Notes content that was moved to the offset of [`Self::before_content`].
    pub fn after_content(&mut self, moved: Hashed) -> Result<(), SinkError> {
        let extent = Extent { offset: self.position, size: moved.size, digest: moved.digest };
        self.position += moved.size;
        self.extend(extent)
    }

    /// Reserves a place for a layer. It is there after [`Self::keep_promises`].
    pub fn promise(&mut self, promise: DeferredLayer) -> Result<(), SinkError> {
        self.end_run()?;
        if self.promises.len() >= MOST_EXTENTS {
            return Err(SinkError::Quota);
        }
        let (offset, size) = (self.position, promise.size);
        self.position = offset.checked_add(size).ok_or(SinkError::Quota)?;
        self.promises.push((offset, promise));
        Ok(())
    }

    /// Moves every layer to its reserved place, and returns how many bytes were moved. Errors when a layer cannot be
    /// moved or does not fit its place.
    pub fn keep_promises(&mut self) -> occystrap_base::error::Result<u64> {
        let kept = keep_all(std::mem::take(&mut self.promises), &self.file)?;
        let extent = |(offset, moved): (u64, Hashed)| Extent {
            offset,
            size: moved.size,
            digest: moved.digest,
        };
        let moved = kept.iter().map(|(_, moved)| moved.size).sum();
        self.extents.extend(kept.into_iter().map(extent));
        Ok(moved)
    }

    /// Returns whether nothing was written yet, so that a file with the content can take this one's place.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.position == 0
    }

    /// Takes a file that has the content already.
    pub fn adopt(&mut self, file: UnnamedFile, moved: Hashed) -> Result<(), SinkError> {
        self.file = file;
        self.after_content(moved)
    }

    /// Returns the path that it gets at the destination.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Completes the write, and returns the file and what was written.
    pub fn finish(mut self) -> Result<(WrittenFile, UnnamedFile), SinkError> {
        self.end_run()?;
        if !self.gaps.is_empty() || !self.promises.is_empty() {
            return Err(SinkError::State);
        }
        self.extents.retain(|extent| extent.size > 0 || self.position == 0);
        self.extents.sort_by_key(|extent| extent.offset);
        let written = WrittenFile { path: self.path, size: self.position, extents: self.extents };
        Ok((written, self.file))
    }

    fn end_run(&mut self) -> Result<(), SinkError> {
        let Some(run) = self.run.take() else { return Ok(()) };
        let at = run.offset + run.size - run.pending.len() as u64;
        self.file.file().write_all_at(&run.pending, at)?;
        self.extend(Extent { offset: run.offset, size: run.size, digest: run.hasher.finish() })
    }

    fn extend(&mut self, extent: Extent) -> Result<(), SinkError> {
        if self.extents.len() >= MOST_EXTENTS {
            return Err(SinkError::Quota);
        }
        self.extents.push(extent);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Arc;

    use super::*;

    fn sink() -> (tempfile::TempDir, FileSink) {
        let folder = tempfile::tempdir().unwrap();
        let dir = cap_std::fs::Dir::open_ambient_dir(folder.path(), cap_std::ambient_authority());
        let file = UnnamedFile::create(&Arc::new(dir.unwrap())).unwrap();
        (folder, FileSink::new("x".into(), file))
    }

    #[test]
    fn extents_cover_the_file_and_hash_what_is_there() {
        let (_folder, mut sink) = sink();
        let gap = sink.reserve(4).unwrap();
        sink.write(b"manifest").unwrap();
        sink.write(b" bytes").unwrap();
        sink.pad(10).unwrap();
        sink.write(&vec![7; 100_000]).unwrap();
        sink.fill(gap, b"head").unwrap();
        let (written, file) = sink.finish().unwrap();
        let mut bytes = Vec::new();
        file.file().read_to_end(&mut bytes).unwrap();
        assert_eq!(&bytes[..18], b"headmanifest bytes");
        assert_eq!(written.size, bytes.len() as u64);
        let mut at = 0;
        for extent in &written.extents {
            assert_eq!(extent.offset, at);
            at += extent.size;
            assert_eq!(extent.digest, Digest::of(&bytes[extent.offset as usize..at as usize]));
        }
        assert_eq!(at, written.size);
        assert_eq!(written.extent(4, 14), Some(Digest::of(b"manifest bytes")));
        assert_eq!(written.digest(), None);
    }

    #[test]
    fn gaps_are_filled_whole_and_once() {
        let (_folder, mut sink) = sink();
        let gap = sink.reserve(4).unwrap();
        assert!(matches!(sink.fill(gap, b"abc"), Err(SinkError::State)));
        assert!(matches!(sink.fill(gap + 1, b"abcd"), Err(SinkError::State)));
        sink.fill(gap, b"abcd").unwrap();
        assert!(matches!(sink.fill(gap, b"abcd"), Err(SinkError::State)));
        sink.reserve(1).unwrap();
        assert!(matches!(sink.finish(), Err(SinkError::State)));
    }
}

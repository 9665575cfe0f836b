//! The move itself: one thread reads and decompresses, one hashes and writes.
//!
//! The two cost about as much (docs/performance.md), so that even one huge layer keeps two cores
//! busy; a third thread only makes them wait for each other more often (measured: 10 % slower on
//! two cores).

use std::fs::File;
use std::io::{self, Read};

use super::pump::pump;
use super::written::put;
use super::{Decoder, Stored, encoder, from_io, into_io};
use crate::image::{Content, Layer};
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::files::{Hashed, Section};
use occystrap_base::oci::{Compression, Digest, Hasher};

/// Move a layer, uncompressed, into a file at `offset`, checking everything that was promised of
/// it. Errors leave undefined bytes after `offset`.
pub fn uncompressed(layer: &Layer, stored: Stored, file: &File, offset: u64) -> Result<Hashed> {
    let moved = decode(layer, stored, |plain| move_to(plain, Some(file), offset));
    let moved = moved.map_err(|why| why.of(layer))?;
    check_diff_id(layer, moved)?;
    Ok(moved)
}

/// Move a layer into a file at `offset`, compressed by us on `threads` threads, checking
/// everything that was promised of it. What was written is returned; the same layer gives the same
/// bytes whatever the number of threads. Errors leave undefined bytes after `offset`.
pub fn encoded(
    layer: &Layer,
    stored: Stored,
    file: &File,
    offset: u64,
    how: Compression,
    threads: usize,
) -> Result<Hashed> {
    let mut written = Written::new(Some(file), offset);
    let plain = decode(layer, stored, |plain| encoder::encode(plain, how, threads, &mut written));
    check_diff_id(layer, plain.map_err(|why| why.of(layer))?)?;
    Ok(written.finish())
}

/// Move a layer as it is stored into a file at `offset`, checking everything that was promised of
/// it: its diff-id in a second pass over what was written.
pub fn as_stored(
    layer: &Layer,
    mut stored: Stored,
    file: &File,
    offset: u64,
    cancel: &Cancel,
) -> Result<Hashed> {
    let progress = stored.progress().clone();
    let mut copy = || {
        // What is opaque is compared with its digest, whatever its first bytes look like.
        if !layer.opaque {
            stored.compression(layer.diff_id)?;
        }
        move_to(&mut stored, Some(file), offset)
    };
    let moved: Hashed = copy().map_err(|why: Failure| why.of(layer))?;
    stored.finish().map_err(|cause| from_io(cause, &layer.place))?;
    if layer.opaque {
        return Ok(moved);
    }
    let file = file.try_clone().map_err(|cause| write_error(file, &cause))?;
    let section = Section::new(file.into(), offset, moved.size);
    let written = Layer { content: Content::File(section.clone()), digest: None, ..layer.clone() };
    progress.begin("check", moved.size);
    let again = Stored::section(section, layer.place.clone(), cancel).showing(&progress);
    let plain = decode(&written, again, |plain| move_to(plain, None, 0));
    let plain = plain.map_err(|why| why.of(layer))?;
    check_diff_id(layer, plain)?;
    Ok(moved)
}

/// Read a layer to its end, and check everything that was promised of it. Of what is opaque, that
/// is the stored form alone.
pub fn checked(layer: &Layer, stored: Stored) -> Result<()> {
    if !layer.opaque {
        let plain = decode(layer, stored, |plain| move_to(plain, None, 0));
        return check_diff_id(layer, plain.map_err(|why| why.of(layer))?);
    }
    stored.drain().map_err(|cause| from_io(cause, &layer.place))
}

/// Read a layer to its end, and say what it holds, uncompressed. The stored form is checked by
/// whoever gives it.
pub fn unpacked(mut stored: Stored, place: &str) -> Result<Digest> {
    let compression = stored.detect().map_err(|cause| from_io(cause, place))?;
    let mut decoder = Decoder::new(compression, stored).map_err(|cause| from_io(cause, place))?;
    let moved = match move_to(&mut decoder, None, 0) {
        Ok(moved) => decoder.finish().map(|()| moved),
        Err(Failure::Read(cause)) => Err(decoder.blame(cause)),
        Err(Failure::Write(error)) => return Err(error),
    };
    moved.map(|moved| moved.digest).map_err(|cause| from_io(cause, place))
}

pub(super) fn check_diff_id(layer: &Layer, plain: Hashed) -> Result<()> {
    if plain.digest == layer.diff_id {
        return Ok(());
    }
    let what = format!("{}: digest of the uncompressed layer (its diff-id)", layer.place);
    Err(Error::mismatch(what, layer.diff_id, plain.digest)
        .hint("the source does not hold what its own config promises; fetch or save it again"))
}

/// Copy all that a decoder gives into a file, from its start, or only hash it. Nothing is promised
/// of it.
pub fn copy(
    from: &mut dyn Read,
    file: Option<&File>,
    place: &str,
    cancel: &Cancel,
) -> Result<Hashed> {
    let mut checked = Checked { from, cancel };
    move_to(&mut checked, file, 0).map_err(|why| match why {
        Failure::Read(cause) => from_io(cause, place),
        Failure::Write(error) => error,
    })
}

/// Stops when the user wants to.
struct Checked<'a> {
    from: &'a mut dyn Read,
    cancel: &'a Cancel,
}

impl Read for Checked<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.cancel.check().map_err(into_io)?;
        self.from.read(into)
    }
}

/// Which side of a move failed.
pub(super) enum Failure {
    /// The source; what it said may carry one of our errors.
    Read(io::Error),
    /// The destination, or whatever works for it.
    Write(Error),
}

impl Failure {
    pub(super) fn of(self, layer: &Layer) -> Error {
        match self {
            Self::Read(cause) => from_io(cause, &layer.place),
            Self::Write(error) => error,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(cause: io::Error) -> Self {
        Self::Read(cause)
    }
}

/// Hand the plain bytes of a layer to `consume`, then check what was promised of the stored form.
pub(super) fn decode<T>(
    layer: &Layer,
    mut stored: Stored,
    consume: impl FnOnce(&mut Decoder<Stored>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let compression = stored.compression(layer.diff_id)?;
    let mut decoder = Decoder::new(compression, stored)?;
    match consume(&mut decoder) {
        Ok(moved) => {
            decoder.finish()?;
            Ok(moved)
        }
        Err(Failure::Read(cause)) => Err(decoder.blame(cause).into()),
        Err(failure) => Err(failure),
    }
}

fn move_to(from: &mut dyn Read, file: Option<&File>, offset: u64) -> Result<Hashed, Failure> {
    let mut written = Written::new(file, offset);
    pump(from, &mut |piece| written.put(piece))?;
    Ok(written.finish())
}

/// Hashes, and writes where there is something to write to.
pub(super) struct Written<'a> {
    file: Option<&'a File>,
    offset: u64,
    size: u64,
    hasher: Hasher,
}

impl<'a> Written<'a> {
    /// Nothing yet; what comes goes to `file` from `offset` on.
    pub(super) fn new(file: Option<&'a File>, offset: u64) -> Self {
        Self { file, offset, size: 0, hasher: Hasher::default() }
    }

    /// Append bytes.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.write(bytes)
    }

    /// The same, and bytes for another, hashed side by side.
    pub(super) fn put_both(
        &mut self,
        bytes: &[u8],
        other: &mut Written<'_>,
        theirs: &[u8],
    ) -> Result<()> {
        self.put_beside(bytes, &mut other.hasher, theirs)?;
        other.write(theirs)
    }

    /// The same, while a piece of something else is hashed.
    pub(super) fn put_beside(
        &mut self,
        bytes: &[u8],
        other: &mut Hasher,
        piece: &[u8],
    ) -> Result<()> {
        Hasher::update_both([&mut self.hasher, other], [bytes, piece]);
        self.write(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(file) = self.file {
            let written = put(file, bytes, self.offset + self.size);
            written.map_err(|cause| write_error(file, &cause))?;
        }
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// What was put.
    pub(super) fn finish(self) -> Hashed {
        Hashed { size: self.size, digest: self.hasher.finish() }
    }
}

/// A failed write to a file that has no name yet: its folder is what the user can do something
/// about, and the system knows it.
pub fn write_error(file: &File, cause: &io::Error) -> Error {
    let own = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
    let path = std::fs::read_link(own).unwrap_or_default();
    let folder = path.parent().map_or_else(String::new, |folder| folder.display().to_string());
    Error::io(Kind::Destination, "write to", folder, cause)
}

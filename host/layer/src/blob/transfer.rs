//! Moving one layer to a file: one thread reads and decompresses, another one hashes and writes.
//!
//! Both take about the same time (docs/performance.md), so that even one huge layer keeps two cores busy. A third
//! thread only makes them wait for each other more often (measured: 10 % slower on two cores).

use std::fs::File;
use std::io::{self, Read};

use super::io::{Failure, from_io, into_io};
use super::pump::pump;
use super::written::{Written, write_error};
use super::{Decoder, Stored, encoder};
use crate::image::{Content, Layer};
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Result};
use occystrap_base::files::{Hashed, Section};
use occystrap_base::oci::{Compression, Digest};

/// Writes the uncompressed layer to a file at `offset`, and compares all digests that were promised. Errors leave
/// undefined bytes after `offset`.
pub fn uncompressed(layer: &Layer, stored: Stored, file: &File, offset: u64) -> Result<Hashed> {
    let moved = decode(layer, stored, |plain| move_to(plain, Some(file), offset));
    let moved = moved.map_err(|why| why.of(layer))?;
    check_diff_id(layer, moved)?;
    Ok(moved)
}

/// Writes a layer to a file at `offset`, compressed on `threads` threads, and compares all digests that were
/// promised. Returns size and digest of what was written; they do not depend on the number of threads. Errors
/// leave undefined bytes after `offset`.
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

/// Writes a layer as it is stored to a file at `offset`, and compares all digests that were promised. The diff-id is
/// compared in a second pass over what was written.
pub fn as_stored(
    layer: &Layer,
    mut stored: Stored,
    file: &File,
    offset: u64,
    cancel: &Cancel,
) -> Result<Hashed> {
    let progress = stored.progress().clone();
    let mut copy = || {
        // An opaque layer is compared with its digest only, whatever its first bytes look like.
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

/// Reads a layer to its end and compares all digests that were promised. For an opaque layer, that is the digest of
/// the stored form alone.
pub fn checked(layer: &Layer, stored: Stored) -> Result<()> {
    if !layer.opaque {
        let plain = decode(layer, stored, |plain| move_to(plain, None, 0));
        return check_diff_id(layer, plain.map_err(|why| why.of(layer))?);
    }
    stored.drain().map_err(|cause| from_io(cause, &layer.place))
}

/// Reads a layer to its end and returns the digest of its uncompressed bytes. `stored` itself checks the stored
/// form.
pub fn unpacked(mut stored: Stored, place: &str) -> Result<Digest> {
    let compression = stored.detect().map_err(|cause| from_io(cause, place))?;
    let mut decoder = Decoder::new(compression, stored).map_err(|cause| from_io(cause, place))?;
    let moved = match move_to(&mut decoder, None, 0) {
        Ok(moved) => decoder.finish().map(|()| moved),
        Err(Failure::Read(cause)) => Err(decoder.cause_of(cause)),
        Err(Failure::Write(error)) => return Err(error),
    };
    moved.map(|moved| moved.digest).map_err(|cause| from_io(cause, place))
}

/// Compares the digest of the uncompressed bytes with the diff-id.
pub(super) fn check_diff_id(layer: &Layer, plain: Hashed) -> Result<()> {
    if plain.digest == layer.diff_id {
        return Ok(());
    }
    let what = format!("{}: digest of the uncompressed layer (its diff-id)", layer.place);
    Err(Error::mismatch(what, layer.diff_id, plain.digest)
        .hint("the source does not hold what its own config promises; fetch or save it again"))
}

/// Copies everything that a decoder returns to a file, from its start, or only hashes it. Nothing is compared.
pub fn copy(
    from: &mut dyn Read,
    file: Option<&File>,
    place: &str,
    cancel: &Cancel,
) -> Result<Hashed> {
    let mut checked = Cancellable { from, cancel };
    move_to(&mut checked, file, 0).map_err(|why| match why {
        Failure::Read(cause) => from_io(cause, place),
        Failure::Write(error) => error,
    })
}

/// A reader that fails when the user cancels.
struct Cancellable<'a> {
    from: &'a mut dyn Read,
    cancel: &'a Cancel,
}

impl Read for Cancellable<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.cancel.check().map_err(into_io)?;
        self.from.read(into)
    }
}

/// Passes the uncompressed bytes of a layer to `consume`, then compares the stored form with its digest.
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
        Err(Failure::Read(cause)) => Err(decoder.cause_of(cause).into()),
        Err(failure) => Err(failure),
    }
}

fn move_to(from: &mut dyn Read, file: Option<&File>, offset: u64) -> Result<Hashed, Failure> {
    let mut written = Written::new(file, offset);
    pump(from, &mut |piece| written.put(piece))?;
    Ok(written.finish())
}

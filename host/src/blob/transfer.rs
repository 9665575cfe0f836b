//! The move itself: one thread reads and decompresses, one hashes and writes.
//!
//! The two cost about as much (docs/performance.md), so that even one huge layer keeps two cores
//! busy; a third thread only makes them wait for each other more often (measured: 10 % slower on
//! two cores). A fixed set of buffers goes around; nobody runs ahead further than that.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::{Decoder, Stored, from_io, into_io};
use crate::cancel::Cancel;
use crate::error::{Error, Kind, Result};
use crate::image::{Content, Digest, Hasher, Layer, Section};

/// Handing over a smaller one costs more than it gains (measured: 64 KiB 10 % slower, 128 KiB 5 %).
const BUFFER: usize = 256 * 1024;

/// Enough for either side to go on through a pause of the other.
const BUFFERS: usize = 6;

/// What passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Bytes.
    pub size: u64,
    /// Of the bytes.
    pub digest: Digest,
}

/// Move a layer, uncompressed, into a file at `offset`, checking everything that was promised of
/// it. Errors leave undefined bytes after `offset`.
pub fn uncompressed(layer: &Layer, stored: Stored, file: &File, offset: u64) -> Result<Moved> {
    let moved = decode(layer, stored, Some(file), offset).map_err(|why| why.of(layer))?;
    check_diff_id(layer, moved)?;
    Ok(moved)
}

/// Move a layer as it is stored into a file at `offset`, checking everything that was promised of
/// it: its diff-id in a second pass over what was written.
pub fn as_stored(
    layer: &Layer,
    mut stored: Stored,
    file: &File,
    offset: u64,
    cancel: &Cancel,
) -> Result<Moved> {
    let mut copy = || {
        stored.compression(layer.diff_id)?;
        let moved = pump(&mut stored, Some(file), offset)?;
        Ok(moved)
    };
    let moved: Moved = copy().map_err(|why: Failure| why.of(layer))?;
    stored.finish().map_err(|cause| from_io(cause, &layer.place))?;
    let file = file.try_clone().map_err(|cause| write_error(file, &cause))?;
    let section = Section::new(file.into(), offset, moved.size);
    let written = Layer { content: Content::File(section.clone()), digest: None, ..layer.clone() };
    let again = Stored::section(section, layer.place.clone(), cancel);
    let plain = decode(&written, again, None, 0).map_err(|why| why.of(layer))?;
    check_diff_id(layer, plain)?;
    Ok(moved)
}

fn check_diff_id(layer: &Layer, plain: Moved) -> Result<()> {
    if plain.digest == layer.diff_id {
        return Ok(());
    }
    let what = format!("{}: digest of the uncompressed layer (its diff-id)", layer.place);
    Err(Error::mismatch(what, layer.diff_id, plain.digest)
        .hint("the source does not hold what its own config promises; fetch or save it again"))
}

/// Copy all that a decoder gives into a file, from its start. Nothing is promised of it.
pub fn copy(from: &mut dyn Read, file: &File, place: &str, cancel: &Cancel) -> Result<Moved> {
    let mut checked = Checked { from, cancel };
    pump(&mut checked, Some(file), 0).map_err(|why| match why {
        Failure::Read(cause) => from_io(cause, place),
        Failure::Write(error) => error,
    })
}

/// Hash all that a decoder gives.
pub fn hash(from: &mut dyn Read, place: &str, cancel: &Cancel) -> Result<Moved> {
    let mut checked = Checked { from, cancel };
    pump(&mut checked, None, 0).map_err(|why| match why {
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

enum Failure {
    Read(io::Error),
    Write(Error),
}

impl Failure {
    fn of(self, layer: &Layer) -> Error {
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

fn decode(
    layer: &Layer,
    mut stored: Stored,
    file: Option<&File>,
    offset: u64,
) -> Result<Moved, Failure> {
    let compression = stored.compression(layer.diff_id)?;
    let mut decoder = Decoder::new(compression, stored)?;
    match pump(&mut decoder, file, offset) {
        Ok(moved) => {
            decoder.into_inner().finish()?;
            Ok(moved)
        }
        Err(Failure::Read(cause)) => Err(decoder.into_inner().blame(cause).into()),
        Err(failure) => Err(failure),
    }
}

fn pump(from: &mut dyn Read, file: Option<&File>, offset: u64) -> Result<Moved, Failure> {
    let mut first = vec![0; BUFFER];
    let filled = fill(from, &mut first)?;
    if filled < BUFFER {
        // All there is: not worth a thread.
        write(file, &first[..filled], offset).map_err(Failure::Write)?;
        return Ok(Moved { size: filled as u64, digest: Digest::of(&first[..filled]) });
    }
    std::thread::scope(|scope| {
        let (home, free) = sync_channel::<Vec<u8>>(BUFFERS);
        let (full, consuming) = sync_channel::<Vec<u8>>(BUFFERS);
        for _ in 1..BUFFERS {
            let _ = home.try_send(vec![0; BUFFER]);
        }
        let consumer = scope.spawn(move || hash_and_write(&consuming, &home, file, offset));
        let produce = || -> io::Result<()> {
            let mut bytes = first;
            loop {
                let last = bytes.len() < BUFFER;
                // A closed channel means that the consumer failed; it says why below.
                if full.send(bytes).is_err() || last {
                    return Ok(());
                }
                let Ok(next) = free.recv() else { return Ok(()) };
                bytes = next;
                bytes.resize(BUFFER, 0);
                let filled = fill(from, &mut bytes)?;
                bytes.truncate(filled);
            }
        };
        let produced = produce();
        drop(full);
        let moved = consumer.join().map_err(|_| broke_down())?.map_err(Failure::Write)?;
        produced?;
        Ok(moved)
    })
}

fn broke_down() -> Failure {
    Failure::Write(Error::destination("the thread that was to write a layer broke down"))
}

fn hash_and_write(
    pieces: &Receiver<Vec<u8>>,
    home: &SyncSender<Vec<u8>>,
    file: Option<&File>,
    offset: u64,
) -> Result<Moved> {
    let mut hasher = Hasher::default();
    let mut size = 0;
    for piece in pieces {
        hasher.update(&piece);
        write(file, &piece, offset + size)?;
        size += piece.len() as u64;
        // Nobody waits for buffers any more when the home is full or gone.
        let _ = home.try_send(piece);
    }
    Ok(Moved { size, digest: hasher.finish() })
}

fn write(file: Option<&File>, bytes: &[u8], offset: u64) -> Result<()> {
    match file {
        Some(file) => file.write_all_at(bytes, offset).map_err(|cause| write_error(file, &cause)),
        None => Ok(()),
    }
}

/// A failed write to a file that has no name yet: its folder is what the user can do something
/// about, and the system knows it.
pub(crate) fn write_error(file: &File, cause: &io::Error) -> Error {
    let own = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
    let path = std::fs::read_link(own).unwrap_or_default();
    let folder = path.parent().map_or_else(String::new, |folder| folder.display().to_string());
    Error::io(Kind::Destination, "write to", folder, cause)
}

/// Fill a buffer; less only at the end.
fn fill(from: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(filled)
}

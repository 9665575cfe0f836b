//! Two threads with a fixed set of buffers between them: nobody runs ahead further than that.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::transfer::{Failure, Moved, Written};
use crate::error::{Error, Result};

/// Handing over a smaller one costs more than it gains (measured: 64 KiB 10 % slower, 128 KiB 5 %,
/// 256 KiB 3 %; 1 MiB no faster).
const BUFFER: usize = 512 * 1024;

/// Enough for either side to go on through a pause of the other.
const BUFFERS: usize = 4;

/// The consumer's end: buffers that come, and go home when they are used.
pub(super) struct Pieces {
    full: Receiver<Vec<u8>>,
    home: SyncSender<Vec<u8>>,
}

impl Pieces {
    /// The next bytes; `None` at their end. What was used before goes home.
    pub(super) fn next(&self, used: Vec<u8>) -> Option<Vec<u8>> {
        // Nobody waits for buffers any more when the home is full or gone.
        let _ = self.home.try_send(used);
        self.full.recv().ok()
    }
}

/// Read all there is, and let `take` have it, piece by piece, on a thread of its own.
pub(super) fn pump(
    from: &mut dyn Read,
    take: &mut (dyn FnMut(&[u8]) -> Result<()> + Send),
) -> Result<(), Failure> {
    exchange(from, |pieces| {
        let mut piece = Vec::new();
        while let Some(next) = pieces.next(piece) {
            take(&next)?;
            piece = next;
        }
        Ok(())
    })
}

/// Read all there is, for a consumer on a thread of its own. One that stops before the end must say
/// why.
pub(super) fn exchange<T: Send>(
    from: &mut dyn Read,
    consume: impl FnOnce(Pieces) -> Result<T> + Send,
) -> Result<T, Failure> {
    let mut first = vec![0; BUFFER];
    let filled = fill(from, &mut first)?;
    let (home, free) = sync_channel::<Vec<u8>>(BUFFERS);
    let (full, consuming) = sync_channel::<Vec<u8>>(BUFFERS);
    let pieces = Pieces { full: consuming, home };
    if filled < BUFFER {
        // All there is: not worth a thread.
        first.truncate(filled);
        let _ = full.send(first);
        drop(full);
        return consume(pieces).map_err(Failure::Write);
    }
    std::thread::scope(|scope| {
        for _ in 1..BUFFERS {
            let _ = pieces.home.try_send(vec![0; BUFFER]);
        }
        let consumer = scope.spawn(move || consume(pieces));
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
        let consumed = consumer.join().map_err(|_| broke_down())?.map_err(Failure::Write)?;
        produced?;
        Ok(consumed)
    })
}

/// Let `produce` write to a file, from its start, while a thread of its own hashes and writes.
pub fn outflow<T>(
    file: &File,
    produce: impl FnOnce(&mut dyn Write) -> Result<T>,
) -> Result<(T, Moved)> {
    std::thread::scope(|scope| {
        let (home, free) = sync_channel::<Vec<u8>>(BUFFERS);
        let (full, consuming) = sync_channel::<Vec<u8>>(BUFFERS);
        for _ in 1..BUFFERS {
            let _ = home.try_send(Vec::with_capacity(BUFFER));
        }
        let consumer = scope.spawn(move || -> Result<Moved> {
            let pieces = Pieces { full: consuming, home };
            let mut written = Written::new(Some(file), 0);
            let mut piece = Vec::new();
            while let Some(next) = pieces.next(piece) {
                written.put(&next)?;
                piece = next;
            }
            Ok(written.finish())
        });
        let mut outflow = Outflow { full, free, buffer: Vec::with_capacity(BUFFER) };
        let produced = produce(&mut outflow).and_then(|made| {
            outflow.send().map(|()| made).map_err(|cause| super::from_io(cause, "a layer"))
        });
        drop(outflow);
        // Its reason goes first: whoever produces only sees that nobody takes any more.
        let moved = consumer
            .join()
            .map_err(|_| Error::destination("the thread that was to write a layer broke down"))??;
        Ok((produced?, moved))
    })
}

/// The producer's end.
struct Outflow {
    full: SyncSender<Vec<u8>>,
    free: Receiver<Vec<u8>>,
    buffer: Vec<u8>,
}

impl Outflow {
    fn send(&mut self) -> io::Result<()> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.full.send(std::mem::take(&mut self.buffer)).map_err(|_| gone())?;
        self.buffer = self.free.recv().map_err(|_| gone())?;
        self.buffer.clear();
        Ok(())
    }
}

impl Write for Outflow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let amount = bytes.len().min(BUFFER - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..amount]);
        if self.buffer.len() == BUFFER {
            self.send()?;
        }
        Ok(amount)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn broke_down() -> Failure {
    Failure::Write(Error::destination("the thread that was to write a layer broke down"))
}

/// Fill a buffer; less only at the end.
pub(super) fn fill(from: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
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

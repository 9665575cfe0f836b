//! Two threads with a fixed set of buffers between them: nobody runs ahead further than that.

use std::io::{self, Read};
use std::sync::mpsc::sync_channel;

use super::pieces::Pieces;
use super::transfer::Failure;
use occystrap_base::error::{Error, Result};

/// Handing over a smaller one costs more than it gains (measured: 64 KiB 10 % slower, 128 KiB 5 %,
/// 256 KiB 3 %; 1 MiB no faster).
pub(super) const BUFFER: usize = 512 * 1024;

/// Enough for either side to go on through a pause of the other.
pub(super) const BUFFERS: usize = 4;

/// Read all there is, and let `take` have it, piece by piece, on a thread of its own.
pub(super) fn pump(
    from: &mut dyn Read,
    take: &mut (dyn FnMut(&[u8]) -> Result<()> + Send),
) -> Result<(), Failure> {
    exchange(from, |mut pieces| {
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
    if filled < BUFFER {
        // All there is: not worth a thread.
        first.truncate(filled);
        let _ = full.send(first);
        drop(full);
        return consume(Pieces::from_thread(consuming, home)).map_err(Failure::Write);
    }
    std::thread::scope(|scope| {
        for _ in 1..BUFFERS {
            let _ = home.try_send(vec![0; BUFFER]);
        }
        // With the consumer goes the home of the buffers: nobody waits for them any more.
        let pieces = Pieces::from_thread(consuming, home);
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

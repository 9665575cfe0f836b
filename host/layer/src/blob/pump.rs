//! Two threads with a fixed set of buffers between them, so that neither runs ahead further than these.

use std::io::{self, Read};
use std::sync::mpsc::sync_channel;

use super::io::{Failure, fill};
use super::pieces::{BUFFERS, Pieces};
use occystrap_base::error::Result;

/// Size of a buffer, in bytes. Handing over smaller ones costs more than it gains (measured: 64 KiB 10 % slower,
/// 128 KiB 5 %, 256 KiB 3 %; 1 MiB no faster).
pub(super) const BUFFER: usize = 512 * 1024;

/// Reads to the end, and passes each piece to `take` on a thread of its own.
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

/// Reads to the end, for a consumer on a thread of its own. A consumer that stops before the end must return an
/// error.
pub(super) fn exchange<T: Send>(
    from: &mut dyn Read,
    consume: impl FnOnce(Pieces) -> Result<T> + Send,
) -> Result<T, Failure> {
    let mut first = vec![0; BUFFER];
    let filled = fill(from, &mut first)?;
    let (home, free) = sync_channel::<Vec<u8>>(BUFFERS);
    let (full, consuming) = sync_channel::<Vec<u8>>(BUFFERS);
    if filled < BUFFER {
        // That was everything: not worth a thread.
        first.truncate(filled);
        let _ = full.send(first);
        drop(full);
        return consume(Pieces::from_thread(consuming, home)).map_err(Failure::Write);
    }
    std::thread::scope(|scope| {
        for _ in 1..BUFFERS {
            let _ = home.try_send(vec![0; BUFFER]);
        }
        // When the consumer ends, the channel for used buffers closes, and the reader below stops.
        let pieces = Pieces::from_thread(consuming, home);
        let consumer = scope.spawn(move || consume(pieces));
        let produce = || -> io::Result<()> {
            let mut bytes = first;
            loop {
                let last = bytes.len() < BUFFER;
                // A closed channel means that the consumer failed; its error is returned below.
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
        let consumed =
            consumer.join().map_err(|_| Failure::broke_down())?.map_err(Failure::Write)?;
        produced?;
        Ok(consumed)
    })
}

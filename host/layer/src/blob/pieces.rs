//! The bytes of a layer, piece by piece, read by another thread or by the one that looks at them.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::io::{Failure, fill};
use occystrap_base::error::Result;

/// Number of buffers between two threads: enough for either side to go on through a pause of the other.
pub(super) const BUFFERS: usize = 4;

/// Bytes that a thread which reads for itself reads at once: they are still in the caches of its core when it
/// looks at them. 64 KiB and 1 MiB take as long.
const PIECE: usize = 256 * 1024;

/// A supply of filled buffers. Each goes back to its reader when it is used.
pub(super) struct Pieces<'a> {
    supply: Supply<'a>,
    home: SyncSender<Vec<u8>>,
}

/// The thread that fills the buffers.
enum Supply<'a> {
    /// Another thread.
    Thread(Receiver<Vec<u8>>),
    /// This thread, when it needs the next one.
    Here { from: &'a mut (dyn Read + Send), free: Receiver<Vec<u8>>, end: &'a mut io::Result<bool> },
}

impl<'a> Pieces<'a> {
    /// Returns the pieces that another thread reads. It gets its buffers back through `home`.
    pub(super) fn from_thread(full: Receiver<Vec<u8>>, home: SyncSender<Vec<u8>>) -> Self {
        Self { supply: Supply::Thread(full), home }
    }

    /// Reads to the end, for a consumer on this thread. A consumer that stops before the end must return an
    /// error.
    pub(super) fn read_here<T>(
        from: &mut (dyn Read + Send),
        consume: impl FnOnce(Pieces) -> Result<T>,
    ) -> Result<T, Failure> {
        let (home, free) = sync_channel(BUFFERS);
        let mut end = Ok(false);
        let supply = Supply::Here { from, free, end: &mut end };
        let consumed = consume(Pieces { supply, home }).map_err(Failure::Write)?;
        end?;
        Ok(consumed)
    }

    /// Returns the next bytes, `None` at the end. The buffer `used` goes back to the reader.
    pub(super) fn next(&mut self, used: Vec<u8>) -> Option<Vec<u8>> {
        // A full or closed channel means that the reader needs no more buffers.
        let _ = self.home.try_send(used);
        self.receive()
    }

    /// Returns the next bytes, where another thread gives used buffers back.
    pub(super) fn receive(&mut self) -> Option<Vec<u8>> {
        match &mut self.supply {
            Supply::Thread(full) => full.recv().ok(),
            Supply::Here { end: Ok(true) | Err(_), .. } => None,
            Supply::Here { from, free, end } => {
                let mut piece = free.try_recv().unwrap_or_default();
                piece.resize(PIECE, 0);
                let filled = fill(*from, &mut piece);
                piece.truncate(*filled.as_ref().unwrap_or(&0));
                **end = filled.map(|filled| filled < PIECE);
                (!piece.is_empty()).then_some(piece)
            }
        }
    }

    /// Returns the channel through which used buffers go back.
    pub(super) fn home(&self) -> SyncSender<Vec<u8>> {
        self.home.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use occystrap_base::error::Error;

    fn read(from: &mut (dyn Read + Send)) -> Result<u64, Failure> {
        Pieces::read_here(from, |mut pieces| {
            let (mut size, mut piece) = (0, Vec::new());
            while let Some(next) = pieces.next(piece) {
                assert!(!next.is_empty() && next.len() <= PIECE);
                size += next.len() as u64;
                piece = next;
            }
            assert!(pieces.receive().is_none());
            Ok(size)
        })
    }

    #[test]
    fn all_of_it_is_read() {
        for size in [0, 1, PIECE as u64 - 1, PIECE as u64, 3 * PIECE as u64, 3 * PIECE as u64 + 1] {
            assert_eq!(read(&mut io::repeat(7).take(size)).ok(), Some(size));
        }
    }

    #[test]
    fn a_source_that_breaks_is_told_whatever_the_consumer_thought_of_it() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let mut source = io::repeat(7).take(PIECE as u64 + 1).chain(Broken);
        assert!(matches!(read(&mut source), Err(Failure::Read(_))));
    }

    #[test]
    fn a_consumer_says_why_it_stopped() {
        let stopped: Result<(), Failure> =
            Pieces::read_here(&mut io::repeat(7), |_| Err(Error::destination("full")));
        assert!(matches!(stopped, Err(Failure::Write(_))));
    }
}

//! What is read of a layer, piece by piece, for whoever looks at it.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::pump::{BUFFERS, fill};
use super::transfer::Failure;
use occystrap_base::error::Result;

/// How much whoever reads for itself reads at once: what it looks at is still in the caches of its
/// core. 64 KiB and 1 MiB take as long.
const PIECE: usize = 256 * 1024;

/// Buffers that come, and go home when they are used.
pub(super) struct Pieces<'a> {
    supply: Supply<'a>,
    home: SyncSender<Vec<u8>>,
}

/// Who fills the buffers.
enum Supply<'a> {
    /// Another thread.
    Thread(Receiver<Vec<u8>>),
    /// Whoever wants the next one.
    Here { from: &'a mut (dyn Read + Send), free: Receiver<Vec<u8>>, end: &'a mut io::Result<bool> },
}

impl<'a> Pieces<'a> {
    /// What another thread reads, which gets its buffers back at `home`.
    pub(super) fn from_thread(full: Receiver<Vec<u8>>, home: SyncSender<Vec<u8>>) -> Self {
        Self { supply: Supply::Thread(full), home }
    }

    /// Read all there is, for a consumer on this thread. One that stops before the end must say why.
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

    /// The next bytes; `None` at their end. What was used before goes home.
    pub(super) fn next(&mut self, used: Vec<u8>) -> Option<Vec<u8>> {
        // Nobody waits for buffers any more when the home is full or gone.
        let _ = self.home.try_send(used);
        self.receive()
    }

    /// The next bytes, when somebody else sends home what was used.
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

    /// Where buffers go that were used.
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

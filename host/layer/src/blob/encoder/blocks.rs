//! A stream cut into blocks. Many threads work on the blocks, and the results come back in the order of the
//! stream.
//!
//! Blocks do not depend on each other, so that no thread waits for another. A failure or a panic ends all threads
//! and is returned. What it refuses: more than `BLOCKS_A_THREAD` blocks per thread at the same time.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use crate::blob::io::{Failure, fill};
use occystrap_base::error::Result;

/// Bytes of a block. A block cannot refer back to the one before it, so smaller blocks compress less: with 1 MiB
/// gzip's result is 0.2 % smaller, with 256 KiB 0.4 % larger. Larger blocks use more memory, and spread a small
/// layer over fewer threads (docs/performance.md).
pub(super) const BLOCK: usize = 512 * 1024;

/// Blocks per thread: one in work, and enough others to go on while the oldest block is late.
const BLOCKS_A_THREAD: usize = 4;

/// Part of a stream, before and after the work on it.
#[derive(Default)]
pub(super) struct Block {
    /// The bytes of the stream.
    pub(super) plain: Vec<u8>,
    /// The result of the work.
    pub(super) packed: Vec<u8>,
}

impl Block {
    fn read(&mut self, from: &mut dyn Read) -> io::Result<()> {
        self.plain.resize(BLOCK, 0);
        let filled = fill(from, &mut self.plain)?;
        self.plain.truncate(filled);
        Ok(())
    }

    fn is_last(&self) -> bool {
        self.plain.len() < BLOCK
    }
}

/// Blocks that a thread takes at once, if that many wait. Work that has to wait for its own results within a block
/// does two blocks in less than twice the time of one.
pub(super) const AT_ONCE: usize = 2;

/// The work of one thread on its blocks.
pub(super) trait Work {
    /// Fills [`Block::packed`] of one to `AT_ONCE` blocks, which need not be neighbours.
    fn pack(&mut self, blocks: &mut [Block]) -> Result<()>;
}

/// A block to work on, and the channel for the result.
type Job = (Block, SyncSender<Result<Block>>);

/// Cuts a stream into blocks, lets `threads` threads work on them, each with its own `work`, and passes the results
/// to `take` in the order of the stream. The last block may be empty.
pub(super) fn in_order<W: Work>(
    from: &mut dyn Read,
    threads: usize,
    work: &(dyn Fn() -> W + Sync),
    take: &mut (dyn FnMut(&Block) -> Result<()> + Send),
) -> Result<(), Failure> {
    let mut first = Block::default();
    first.read(from)?;
    if first.is_last() {
        // That was everything: not worth a thread.
        work().pack(std::slice::from_mut(&mut first)).map_err(Failure::Write)?;
        return take(&first).map_err(Failure::Write);
    }
    let threads = threads.max(1);
    let most = threads * BLOCKS_A_THREAD;
    let (jobs, queue) = sync_channel::<Job>(most);
    let queue = Mutex::new(queue);
    std::thread::scope(|scope| {
        let (expect, expected) = sync_channel(most);
        let (home, free) = sync_channel(most);
        let workers: Vec<_> =
            (0..threads).map(|_| scope.spawn(|| work_on(&queue, work()))).collect();
        let taker = scope.spawn(move || take_all(&expected, &home, take));
        let produced = produce(from, first, most, &free, |block| {
            let (done, result) = sync_channel(1);
            // A closed channel means that the taker failed; its error is returned below.
            expect.send(result).is_ok() && jobs.send((block, done)).is_ok()
        });
        drop((jobs, expect));
        let taken = taker.join().map_err(|_| Failure::broke_down());
        for worker in workers {
            worker.join().map_err(|_| Failure::broke_down())?;
        }
        taken??;
        Ok(produced?)
    })
}

/// Reads blocks and hands them over until the end, or until `hand_over` returns `false`.
fn produce(
    from: &mut dyn Read,
    first: Block,
    most: usize,
    free: &Receiver<Block>,
    hand_over: impl Fn(Block) -> bool,
) -> io::Result<()> {
    let (mut block, mut made) = (first, 1);
    loop {
        let last = block.is_last();
        if !hand_over(block) || last {
            return Ok(());
        }
        block = match free.try_recv() {
            Ok(used) => used,
            Err(_) if made < most => {
                made += 1;
                Block::default()
            }
            Err(_) => match free.recv() {
                Ok(used) => used,
                Err(_) => return Ok(()),
            },
        };
        block.read(from)?;
    }
}

fn work_on(queue: &Mutex<Receiver<Job>>, mut work: impl Work) {
    loop {
        let (mut blocks, waiting): (Vec<_>, Vec<_>) = next(queue).into_iter().unzip();
        if blocks.is_empty() {
            return;
        }
        // Sending fails where the taker failed, and then the results are not needed.
        match work.pack(&mut blocks) {
            Ok(()) => waiting.iter().zip(blocks).for_each(|(done, block)| {
                let _ = done.send(Ok(block));
            }),
            Err(error) => {
                let _ = waiting[0].send(Err(error));
            }
        }
    }
}

/// Returns the next block and those that wait behind it, or none at the end.
fn next(queue: &Mutex<Receiver<Job>>) -> Vec<Job> {
    // The thread that holds the lock waits for the next block; the others wait for the lock.
    let queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    let first = queue.recv().ok();
    first.into_iter().chain(queue.try_iter().take(AT_ONCE - 1)).collect()
}

fn take_all(
    expected: &Receiver<Receiver<Result<Block>>>,
    home: &SyncSender<Block>,
    take: &mut dyn FnMut(&Block) -> Result<()>,
) -> Result<(), Failure> {
    for block in expected {
        // A closed channel means that the thread with this block panicked.
        let block = block.recv().map_err(|_| Failure::broke_down())?.map_err(Failure::Write)?;
        take(&block).map_err(Failure::Write)?;
        // Sending fails where the producer has ended, and then it needs no more blocks.
        let _ = home.try_send(block);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use occystrap_base::error::Error;

    /// The number of a block, and what happens there.
    type Mishap = (usize, fn() -> Result<()>);

    /// Work that counts its blocks and fails at one of them.
    struct Odd<'a> {
        seen: &'a AtomicUsize,
        bad: Option<Mishap>,
    }

    impl Work for Odd<'_> {
        fn pack(&mut self, blocks: &mut [Block]) -> Result<()> {
            for block in blocks {
                block.packed = block.plain.iter().copied().take(1).collect();
                let turn = self.seen.fetch_add(1, Ordering::SeqCst);
                match self.bad {
                    Some((at, what)) if at == turn => what()?,
                    _ => {}
                }
            }
            Ok(())
        }
    }

    fn run(
        from: &mut dyn Read,
        bad: Option<Mishap>,
        take: &mut (dyn FnMut(&Block) -> Result<()> + Send),
    ) -> Result<(), String> {
        let seen = AtomicUsize::new(0);
        in_order(from, 3, &|| Odd { seen: &seen, bad }, take).map_err(|why| match why {
            Failure::Read(cause) => format!("read: {cause}"),
            Failure::Write(error) => format!("write: {error}"),
        })
    }

    /// A hundred blocks, each of one number.
    fn source() -> impl Read {
        let blocks = (0..100).map(|number| io::repeat(number).take(BLOCK as u64));
        blocks.fold(Box::new(io::empty()) as Box<dyn Read>, |all, block| Box::new(all.chain(block)))
    }

    #[test]
    fn blocks_come_in_order() {
        let mut next = 0;
        let mut take = |block: &Block| {
            if next < 100 {
                assert_eq!(block.packed, [next]);
            }
            next += 1;
            Ok(())
        };
        run(&mut source(), None, &mut take).unwrap();
        // The end of a whole number of blocks is an empty one.
        assert_eq!(next, 101);
    }

    #[test]
    fn whatever_fails_ends_all_threads_and_is_said() {
        let mut fine = |_: &Block| Ok(());
        let why = run(&mut source(), Some((40, || panic!("as the test wants"))), &mut fine);
        assert!(why.unwrap_err().ends_with("broke down"));

        let why = run(&mut source(), Some((40, || Err(Error::destination("work")))), &mut fine);
        assert_eq!(why.unwrap_err(), "write: work");

        let mut left = 40;
        let mut full = |_: &Block| {
            left -= 1;
            if left == 0 { Err(Error::destination("full")) } else { Ok(()) }
        };
        assert_eq!(run(&mut source(), None, &mut full).unwrap_err(), "write: full");

        let mut panics = |_: &Block| panic!("as the test wants");
        assert!(run(&mut source(), None, &mut panics).unwrap_err().ends_with("broke down"));

        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("cable"))
            }
        }
        let mut broken = io::repeat(0).take(40 * BLOCK as u64 + 1).chain(Broken);
        assert_eq!(run(&mut broken, None, &mut fine).unwrap_err(), "read: cable");
    }
}

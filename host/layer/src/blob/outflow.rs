//! A layer that is written anew while it is read: what comes in and what goes out are hashed side by
//! side, on a thread that writes as well.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::pump::{BUFFER, BUFFERS};
use super::transfer::Written;
use super::walk::PlainReader;
use occystrap_base::error::{Error, Result};
use occystrap_base::files::Hashed;
use occystrap_base::oci::Hasher;

/// Let `produce` read a layer and write to a file, from its start. Returns what it made, and what was
/// written. All that was read until then has been hashed, as `plain` would have done.
pub fn rewrite_with<T>(
    plain: &mut PlainReader,
    file: &File,
    produce: impl FnOnce(&mut PlainReader, &mut dyn Write) -> Result<T>,
) -> Result<(T, Hashed)> {
    std::thread::scope(|scope| {
        let (home, free) = sync_channel::<Vec<u8>>(BUFFERS);
        for _ in 1..BUFFERS {
            let _ = home.try_send(Vec::with_capacity(BUFFER));
        }
        // Room for all buffers of both kinds: nobody waits to hand one over.
        let (to, pieces) = sync_channel(2 * BUFFERS);
        let mut flow = Flow {
            read: plain.lend(to.clone()),
            written: Written::new(Some(file), 0),
            used: None,
            home,
        };
        let consumer = scope.spawn(move || -> Result<(Hasher, Hashed)> {
            while let Ok(piece) = pieces.recv() {
                if let Err(error) = flow.take(piece) {
                    flow.give_up(&pieces);
                    return Err(error);
                }
            }
            Ok(flow.finish())
        });
        let mut rewrite_with = Outflow { to, free, buffer: Vec::with_capacity(BUFFER) };
        let produced = produce(plain, &mut rewrite_with).and_then(|made| {
            rewrite_with.send().map(|()| made).map_err(|cause| super::from_io(cause, "a layer"))
        });
        drop(rewrite_with);
        plain.close();
        // Its reason goes first: whoever produces only sees that nobody takes any more.
        let (read, moved) = consumer
            .join()
            .map_err(|_| Error::destination("the thread that was to write a layer broke down"))??;
        plain.take_back(read);
        Ok((produced?, moved))
    })
}

/// What the consumer is sent.
pub(super) enum Piece {
    /// Was read, and goes home to who reads.
    Used(Vec<u8>),
    /// Is to be written.
    Made(Vec<u8>),
}

/// The consumer's side.
struct Flow<'a> {
    read: Reading,
    written: Written<'a>,
    /// Waits for one to be hashed with.
    used: Option<Vec<u8>>,
    home: SyncSender<Vec<u8>>,
}

/// What was read, as far as it has been hashed.
pub(super) struct Reading {
    pub(super) hasher: Hasher,
    pub(super) home: SyncSender<Vec<u8>>,
}

impl Flow<'_> {
    /// Buffers go home as soon as they are hashed; one waits at the most, so that who reads is never
    /// without any.
    fn take(&mut self, piece: Piece) -> Result<()> {
        match (piece, self.used.take()) {
            (Piece::Used(next), waiting) => {
                if let Some(waiting) = waiting {
                    self.read.alone(waiting);
                }
                self.used = Some(next);
            }
            (Piece::Made(made), Some(used)) => {
                self.written.put_beside(&made, &mut self.read.hasher, &used)?;
                let _ = self.read.home.try_send(used);
                let _ = self.home.try_send(made);
            }
            (Piece::Made(made), None) => {
                self.written.put(&made)?;
                let _ = self.home.try_send(made);
            }
        }
        Ok(())
    }

    /// Who produces is told when it wants a buffer to fill, and until then must not lack one to read.
    fn give_up(self, pieces: &Receiver<Piece>) {
        let Self { read, home, .. } = self;
        drop(home);
        for piece in pieces {
            if let Piece::Used(used) = piece {
                let _ = read.home.try_send(used);
            }
        }
    }

    fn finish(mut self) -> (Hasher, Hashed) {
        if let Some(used) = self.used.take() {
            self.read.alone(used);
        }
        (self.read.hasher, self.written.finish())
    }
}

impl Reading {
    fn alone(&mut self, piece: Vec<u8>) {
        self.hasher.update(&piece);
        let _ = self.home.try_send(piece);
    }
}

/// The producer's end.
struct Outflow {
    to: SyncSender<Piece>,
    free: Receiver<Vec<u8>>,
    buffer: Vec<u8>,
}

impl Outflow {
    fn send(&mut self) -> io::Result<()> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let made = Piece::Made(std::mem::take(&mut self.buffer));
        self.to.send(made).map_err(|_| gone())?;
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

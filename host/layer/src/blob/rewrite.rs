//! Rewriting a layer while it is read. A second thread hashes the input and the output at the same time, and
//! writes the output.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::io::from_io;
use super::pieces::BUFFERS;
use super::plain_reader::{LentHasher, Piece, PlainReader};
use super::pump::BUFFER;
use super::written::Written;
use occystrap_base::error::{Error, Result};
use occystrap_base::files::Hashed;
use occystrap_base::oci::Hasher;

/// Lets `produce` read a layer and write to a file, from its start. Returns the result of `produce`, and size and
/// digest of what was written. Everything that was read is hashed, as `plain` would have done itself.
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
        // The channel has room for all buffers of both kinds, so that sending never waits.
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
        let mut outflow = Outflow { to, free, buffer: Vec::with_capacity(BUFFER) };
        let produced = produce(plain, &mut outflow).and_then(|made| {
            outflow.send().map(|()| made).map_err(|cause| from_io(cause, "a layer"))
        });
        drop(outflow);
        plain.close();
        // The consumer's error goes first: the producer only sees that its channel was closed.
        let (read, moved) = consumer
            .join()
            .map_err(|_| Error::destination("the thread that was to write a layer broke down"))??;
        plain.take_back(read);
        Ok((produced?, moved))
    })
}

/// The consumer: hashes what was read, and writes.
struct Flow<'a> {
    read: LentHasher,
    written: Written<'a>,
    /// A used buffer that waits for output, so that both are hashed at once.
    used: Option<Vec<u8>>,
    home: SyncSender<Vec<u8>>,
}

impl Flow<'_> {
    /// Takes a buffer. Used buffers go back as soon as they are hashed. At most one waits, so that the reader
    /// always has buffers.
    fn take(&mut self, piece: Piece) -> Result<()> {
        match (piece, self.used.take()) {
            (Piece::Used(next), waiting) => {
                if let Some(waiting) = waiting {
                    self.read.hash(waiting);
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

    /// Stops after an error. The producer notices when it needs a buffer to fill; until then used buffers must
    /// go back to the reader, or it would wait for ever.
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
            self.read.hash(used);
        }
        (self.read.hasher, self.written.finish())
    }
}

/// The producer's side: collects output in buffers and sends them.
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

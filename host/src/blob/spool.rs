//! A download that runs ahead of its reader, in a temporary file without a name.
//!
//! One archive is written layer after layer, but its layers are downloaded side by side: those
//! whose turn has not come wait here, compressed. The reader follows the download and need not
//! wait for its end.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cancel::Cancel;
use crate::error::{Error, Kind, Result};
use crate::registry::Download;

/// How much the reader takes at once.
const PIECE: usize = 256 * 1024;

/// How long the reader sleeps before it looks whether the user wants to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// A growing file. The downloader appends, one reader follows.
pub struct Spool {
    file: File,
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Default)]
struct State {
    size: u64,
    ended: Option<Result<()>>,
}

impl Spool {
    /// An empty spool in a folder. The file has no name: it is gone with the process.
    pub fn create(folder: &Path) -> Result<Arc<Self>> {
        let file = tempfile::tempfile_in(folder).map_err(|cause| {
            Error::io(Kind::Destination, "create a temporary file in", folder.display(), &cause)
                .hint("choose another folder with --temp-dir")
        })?;
        Ok(Arc::new(Self { file, state: Mutex::default(), grown: Condvar::new() }))
    }

    /// Append a download until it ends, one way or the other.
    pub async fn fill(&self, mut download: Download) {
        let ended = loop {
            match download.next().await {
                Ok(Some(piece)) => {
                    let mut state = self.state();
                    if let Err(cause) = self.file.write_all_at(&piece, state.size) {
                        let place = "a temporary file";
                        break Err(Error::io(Kind::Destination, "write", place, &cause)
                            .hint("choose another folder with --temp-dir"));
                    }
                    state.size += piece.len() as u64;
                    drop(state);
                    self.grown.notify_all();
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.state().ended = Some(ended);
        self.grown.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wait until there is something after `at`; the size so far, or `None` at the end.
    fn wait(&self, at: u64, cancel: &Cancel) -> Result<Option<u64>> {
        let mut state = self.state();
        loop {
            cancel.check()?;
            if let Some(Err(error)) = &state.ended {
                return Err(error.clone());
            }
            if state.size > at {
                return Ok(Some(state.size));
            }
            if state.ended.is_some() {
                return Ok(None);
            }
            let waited = self.grown.wait_timeout(state, PATIENCE);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Follows a [`Spool`].
pub struct SpoolReader {
    spool: Arc<Spool>,
    at: u64,
    buffer: Vec<u8>,
    start: usize,
}

impl SpoolReader {
    /// A reader at the start.
    #[must_use]
    pub fn new(spool: Arc<Spool>) -> Self {
        Self { spool, at: 0, buffer: Vec::new(), start: 0 }
    }

    /// The bytes at hand; waits for some. Empty at the end.
    pub fn fill_buf(&mut self, cancel: &Cancel) -> Result<&[u8]> {
        if self.start == self.buffer.len()
            && let Some(size) = self.spool.wait(self.at, cancel)?
        {
            let wanted = (size - self.at).min(PIECE as u64) as usize;
            self.buffer.resize(wanted, 0);
            self.start = 0;
            let read = self.spool.file.read_exact_at(&mut self.buffer, self.at);
            read.map_err(|cause| Error::io(Kind::Destination, "read", "a temporary file", &cause))?;
            self.at += wanted as u64;
        }
        Ok(&self.buffer[self.start..])
    }

    /// Mark bytes as read.
    pub fn consume(&mut self, amount: usize) {
        self.start += amount;
    }
}
